//! Services: kube-proxy's rules lead to pods of every node, and CoreDNS knows their names.

use std::collections::BTreeSet;

use super::{PODS, Try, deployment, pod, require};
use crate::cluster::ClusterError;

/// Pods that say their name over HTTP.
const SAY: &str = "mkdir /tmp/www; hostname > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www";
const SPREAD: &str = "        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 3, timeoutSeconds: 5}\n      \
topologySpreadConstraints:\n      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, \
labelSelector: {matchLabels: {app: web}}}\n";
const SERVICE: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  \
ports: [{port: 80, targetPort: 8080}]\n";

pub(super) fn services(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let count = case.cluster.setup.nodes;
    case.cluster.wait_services()?;
    case.apply(&(deployment("web", count, SAY, SPREAD) + SERVICE))?;
    for number in 1..=count {
        let client = format!("client-{number}");
        case.apply(&pod(&client, "sleep 3600", &format!("  nodeName: node-{number}\n")))?;
        case.until_ready(&client)?;
    }
    case.until("a pod on every node", PODS, |case| {
        Ok(case.json(&["get", "deployment", "web"])?["status"]["availableReplicas"] == count)
    })?;
    let pods = case.items("pods")?;
    let web: Vec<_> = pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == "web").collect();
    let names: BTreeSet<&str> = web.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    let service = case.json(&["get", "service", "web"])?;
    let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
    let name = format!("web.{}.svc.cluster.local", case.namespace);
    for number in 1..=count {
        let client = format!("client-{number}");
        let ask = |case: &Try<'_>, script: &str| case.kubectl(&["exec", &client, "--", "sh", "-c", script]);
        for pod in &web {
            let (name, ip) = (&pod["metadata"]["name"], pod["status"]["podIP"].as_str().unwrap_or_default());
            let said = ask(case, &format!("wget -q -T 10 -O - http://{ip}:8080/"))?;
            require(*name == said.trim(), || {
                format!("{client} reaches {name} at its own address: {said:?}")
            })?;
        }
        let found = ask(case, &format!("nslookup {name}"))?;
        require(found.contains(address), || format!("{name} is {address}: {found}"))?;
        let said = ask(case, "for i in $(seq 30); do wget -q -T 10 -O - http://web/; done")?;
        let answered: BTreeSet<&str> = said.split_whitespace().collect();
        require(answered == names, || {
            format!("{client} reaches every pod through the service: {answered:?}")
        })?;
    }
    Ok(())
}
