//! What `cargo xtask cluster test` tries: a node of ours does what Kubernetes expects of one.
//!
//! Each case has a namespace of its own and asks through kubectl alone, as a person would.

mod identity;
mod limits;
mod nodes;
mod outage;
mod renewal;
mod rotation;
mod services;
mod streams;
mod terminal;
mod workloads;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Cluster, ClusterError};

/// How long pods may take to start, move or end on emulated nodes.
const PODS: Duration = Duration::from_secs(600);

/// One case.
struct Case {
    name: &'static str,
    run: fn(&mut Try<'_>) -> Result<(), ClusterError>,
}

const CASES: [Case; 17] = [
    Case { name: "nodes", run: nodes::registered },
    Case { name: "scale", run: workloads::scale },
    Case { name: "services", run: services::services },
    Case { name: "streams", run: streams::streams },
    Case { name: "top", run: streams::top },
    Case { name: "labels", run: workloads::labels },
    Case { name: "job", run: workloads::job },
    Case { name: "grace", run: workloads::grace },
    Case { name: "capacity", run: limits::capacity },
    Case { name: "limits", run: limits::limits },
    Case { name: "rotation", run: rotation::rotation },
    Case { name: "drain", run: nodes::drain },
    Case { name: "outage", run: outage::outage },
    Case { name: "kubeconfig", run: nodes::kubeconfig },
    Case { name: "renewal", run: renewal::renewal },
    Case { name: IDENTITY, run: identity::identity },
    Case { name: "power-cut", run: nodes::power_cut },
];

/// The case that needs SPIRE's programs.
const IDENTITY: &str = "identity";

/// Whether the cases whose name contains one of `names`, or all, need SPIRE's programs.
pub fn needs_spire(names: &[String]) -> bool {
    names.is_empty() || names.iter().any(|name| IDENTITY.contains(name.as_str()))
}

/// Whether names are given, and no other case has one of them in its name.
pub fn only_spire(names: &[String]) -> bool {
    !names.is_empty()
        && list()
            .filter(|case| *case != IDENTITY)
            .all(|case| !names.iter().any(|name| case.contains(name.as_str())))
}

/// The names of all cases, in the order in which they run.
pub fn list() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

/// Runs the cases whose name contains one of `names`, or all; gives the names of those that failed.
pub fn run(
    cluster: &mut Cluster,
    names: &[String],
    is_all: bool,
    out: &mut dyn Write,
) -> io::Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    let wanted =
        |case: &&Case| names.is_empty() || names.iter().any(|name| case.name.contains(name.as_str()));
    for case in CASES.iter().filter(wanted) {
        if case.name == IDENTITY && cluster.setup.programs.spire.is_none() {
            writeln!(out, "left out {IDENTITY}: the image of the nodes has no package identity")?;
            continue;
        }
        let start = Instant::now();
        let mut attempt = Try { cluster: &mut *cluster, namespace: format!("case-{}", case.name), is_all };
        let result = attempt.begin().and_then(|()| (case.run)(&mut attempt));
        let seconds = start.elapsed().as_secs_f32();
        match &result {
            Ok(()) => writeln!(out, "ok     {:<12} {seconds:6.1} s", case.name)?,
            Err(error) => {
                failed.push(case.name);
                writeln!(out, "FAIL   {:<12} {seconds:6.1} s\n{}", case.name, chain(error))?;
                writeln!(out, "{}", attempt.cluster.details())?;
            }
        }
        attempt.end();
    }
    Ok(failed)
}

fn chain(error: &ClusterError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("\n  because: {cause}"));
        source = cause.source();
    }
    text
}

/// A case that runs.
struct Try<'c> {
    cluster: &'c mut Cluster,
    namespace: String,
    /// Whether what takes long is done, too.
    is_all: bool,
}

impl Try<'_> {
    fn begin(&self) -> Result<(), ClusterError> {
        self.kubectl(&["create", "namespace", &self.namespace])?;
        // Pods are refused until their account is there.
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=120s"];
        self.kubectl(&account).map(drop)
    }

    fn end(&self) {
        // The next case has another namespace, so nobody waits for this one to go.
        let args = ["delete", "namespace", "--wait=false", self.namespace.as_str()];
        let _ = self.cluster.kubectl.output(&args);
    }

    /// kubectl in the namespace of this case; gives what it prints.
    fn kubectl(&self, args: &[&str]) -> Result<String, ClusterError> {
        let namespace = ["-n", &self.namespace];
        Ok(self.cluster.kubectl.output(&[&namespace, args].concat())?)
    }

    fn json(&self, args: &[&str]) -> Result<Value, ClusterError> {
        let namespace = ["-n", &self.namespace];
        Ok(self.cluster.kubectl.json(&[&namespace, args].concat())?)
    }

    /// Objects of a kind in this namespace.
    fn items(&self, kind: &str) -> Result<Vec<Value>, ClusterError> {
        Ok(self.json(&["get", kind])?["items"].as_array().cloned().unwrap_or_default())
    }

    /// Applies manifests to this namespace.
    fn apply(&self, manifest: &str) -> Result<(), ClusterError> {
        let path = self.cluster.setup.folder.join(format!("{}.yaml", self.namespace));
        std::fs::write(&path, manifest).map_err(ClusterError::file("write", &path))?;
        self.kubectl(&["apply", "-f", &path.to_string_lossy()]).map(drop)
    }

    /// Waits until `look` says yes.
    fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&Try<'_>) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let (namespace, is_all) = (self.namespace.clone(), self.is_all);
        self.cluster
            .until(what, patience, |cluster| look(&Try { cluster, namespace: namespace.clone(), is_all }))
    }

    /// Follows the log of a pod, from its beginning; `reader` tells those of one pod apart.
    fn follow(&self, pod: &str, reader: &str) -> Result<Follow, ClusterError> {
        let name = format!("{}-{pod}-{reader}.log", self.namespace);
        let log = self.cluster.setup.folder.join(name);
        let file = File::create(&log).map_err(ClusterError::file("make", &log))?;
        let args = ["-n", &self.namespace, "logs", "-f", pod];
        let child = self.cluster.kubectl.process(&args).spawn(Stdio::null(), file.into(), Stdio::null())?;
        Ok(Follow { child, log })
    }

    /// Waits until a pod is ready.
    fn until_ready(&mut self, pod: &str) -> Result<(), ClusterError> {
        self.until(&format!("pod {pod} to be ready"), PODS, |case| {
            Ok(super::is_ready(&case.json(&["get", "pod", pod])?))
        })
    }
}

/// `kubectl logs -f`, into a file.
struct Follow {
    child: Child,
    log: PathBuf,
}

impl Follow {
    /// Ends it; gives what it has printed.
    fn end(mut self) -> Result<String, ClusterError> {
        // One that has ended by itself has said what it had to say.
        let _ = self.child.kill();
        let _ = self.child.wait();
        std::fs::read_to_string(&self.log).map_err(ClusterError::file("read", &self.log))
    }
}

fn require(holds: bool, fact: impl FnOnce() -> String) -> Result<(), ClusterError> {
    if holds { Ok(()) } else { Err(ClusterError::Unexpected(fact())) }
}

/// A pod of the test image that runs a shell command.
fn pod(name: &str, command: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n\
         spec:\n  terminationGracePeriodSeconds: 2\n  containers:\n  - name: main\n    image: {image}\n    \
         command: [sh, -c, {command:?}]\n{more}",
        image = image(),
    )
}

/// A deployment of such pods.
fn deployment(name: &str, replicas: usize, command: &str, more: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec:\n      terminationGracePeriodSeconds: 2\n      containers:\n      - name: main\n        \
         image: {image}\n        command: [sh, -c, {command:?}]\n{more}",
        image = image(),
    )
}

fn image() -> String {
    format!("{}/busybox:1", super::REGISTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_that_need_identities() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            (needs_spire(&names), only_spire(&names))
        };
        assert_eq!(of(&[]), (true, false));
        assert_eq!(of(&["identity"]), (true, true));
        assert_eq!(of(&["identity", "scale"]), (true, false));
        assert_eq!(of(&["scale"]), (false, false));
    }
}
