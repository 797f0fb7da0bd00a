//! Networks of pods through CNI plugins (specification 1.1.0): configuration lists from a folder, plugins as programs.
//! It must not know what a plugin does.

mod config;
mod plugin;
mod range;

use std::collections::BTreeMap;
use std::path::PathBuf;

use lepton_cri::v1::{PodSandboxConfig, Protocol};
use serde_json::{Value, json};

use crate::sandbox::Attachment;

pub(crate) use config::List;

/// The interface that a pod gets.
const INTERFACE: &str = "eth0";
/// The kubelet's annotations for bandwidth.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";
const EGRESS: &str = "kubernetes.io/egress-bandwidth";

/// A network could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CniError {
    /// There is no usable configuration.
    #[error("no network configuration in {}: put one there, or use the host's network", .0.display())]
    NoConfig(PathBuf),
    /// A configuration is wrong.
    #[error("{}: {reason}", path.display())]
    Config { path: PathBuf, reason: String },
    /// A plugin is not there.
    #[error("no CNI plugin {name:?} in {folders}")]
    NoPlugin { name: String, folders: String },
    /// A plugin could not be run.
    #[error("cannot run CNI plugin {name:?}")]
    Run { name: String, source: std::io::Error },
    /// A plugin said no.
    #[error("CNI plugin {name:?} failed on {command}: {message}")]
    Plugin { name: String, command: &'static str, message: String },
}

/// The networks of a host.
#[derive(Clone, Debug)]
pub(crate) struct Cni {
    config: PathBuf,
    plugins: Vec<PathBuf>,
    template: Option<PathBuf>,
}

/// The pod that a plugin is run for.
#[derive(Clone, Debug)]
pub(crate) struct Pod<'a> {
    pub(crate) id: &'a str,
    /// Its network namespace; none when it is gone already.
    pub(crate) namespace: Option<PathBuf>,
    pub(crate) config: &'a PodSandboxConfig,
}

impl Cni {
    pub(crate) fn new(config: PathBuf, plugins: Vec<PathBuf>, template: Option<PathBuf>) -> Self {
        Self { config, plugins, template }
    }

    /// Uses the cluster's range of addresses, if the host's network is made from a template.
    pub(crate) fn set_range(&self, ranges: &str) -> Result<(), CniError> {
        match &self.template {
            Some(template) => range::write(template, &self.config, ranges),
            None => {
                eprintln!("the range {ranges} of pods is left to whoever writes {}", self.config.display());
                Ok(())
            }
        }
    }

    /// Why pods cannot get a network now, if they cannot. Asks the plugins where the list's version has `STATUS`.
    pub(crate) async fn status(&self) -> Result<(), CniError> {
        let list = List::first(&self.config)?;
        for plugin in list.plugins() {
            self.find(plugin)?;
        }
        if list.has_status() {
            for plugin in list.plugins() {
                self.run(plugin, "STATUS", &list.for_plugin(plugin, None, &Value::Null), None).await?;
            }
        }
        Ok(())
    }

    /// Adds a pod to the host's network.
    pub(crate) async fn add(&self, pod: &Pod<'_>) -> Result<Attachment, CniError> {
        let list = List::first(&self.config)?;
        let mut result: Option<Value> = None;
        for plugin in list.plugins() {
            let input = list.for_plugin(plugin, result.as_ref(), &capabilities(pod.config));
            match self.run(plugin, "ADD", &input, Some(pod)).await {
                Ok(output) => result = Some(output),
                Err(error) => {
                    // What earlier plugins made is taken away; the error that counts is the first.
                    let attachment = Attachment { list: list.json(), result: result.unwrap_or(Value::Null) };
                    let _ = self.remove(pod, &attachment).await;
                    return Err(error);
                }
            }
        }
        Ok(Attachment { list: list.json(), result: result.unwrap_or(Value::Null) })
    }

    /// Takes a pod out of its network again; what is gone already is fine, as the specification asks of plugins.
    pub(crate) async fn remove(&self, pod: &Pod<'_>, attachment: &Attachment) -> Result<(), CniError> {
        let list = List::stored(&attachment.list)?;
        let previous = (!attachment.result.is_null()).then_some(&attachment.result);
        let plugins: Vec<&Value> = list.plugins().collect();
        for plugin in plugins.into_iter().rev() {
            let input = list.for_plugin(plugin, previous, &capabilities(pod.config));
            self.run(plugin, "DEL", &input, Some(pod)).await?;
        }
        Ok(())
    }
}

impl Cni {
    /// Asks the plugins whether a pod's network is still as they made it (`CHECK`, from version 0.4.0 on).
    pub(crate) async fn check(&self, pod: &Pod<'_>, attachment: &Attachment) -> Result<(), CniError> {
        let list = List::stored(&attachment.list)?;
        if !list.has_check() || attachment.result.is_null() {
            return Ok(());
        }
        for plugin in list.plugins() {
            let input = list.for_plugin(plugin, Some(&attachment.result), &capabilities(pod.config));
            self.run(plugin, "CHECK", &input, Some(pod)).await?;
        }
        Ok(())
    }

    /// Tells the plugins which pods there are, so that they give back what belongs to others (`GC`, from version 1.1.0
    /// on).
    pub(crate) async fn collect(&self, pods: &[String]) -> Result<(), CniError> {
        let list = match List::first(&self.config) {
            Err(CniError::NoConfig(_)) => return Ok(()),
            list => list?,
        };
        if !list.has_status() {
            return Ok(());
        }
        let valid: Vec<Value> =
            pods.iter().map(|id| json!({"containerID": id, "ifname": INTERFACE})).collect();
        for plugin in list.plugins() {
            let mut input = list.for_plugin(plugin, None, &Value::Null);
            input["cni.dev/valid-attachments"] = json!(valid);
            self.run(plugin, "GC", &input, None).await?;
        }
        Ok(())
    }
}

/// The addresses of a result, without their prefix lengths; those of the pod's own interface.
pub(crate) fn addresses(result: &Value) -> Vec<String> {
    let inside = |ip: &Value| {
        let interface = ip["interface"].as_u64().and_then(|place| usize::try_from(place).ok());
        let interface = interface.map(|place| &result["interfaces"][place]);
        interface
            .is_none_or(|interface| interface["sandbox"].as_str().is_some_and(|sandbox| !sandbox.is_empty()))
    };
    let ips = result["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    ips.iter()
        .filter(|ip| inside(ip))
        .filter_map(|ip| ip["address"].as_str()?.split('/').next().map(str::to_owned))
        .collect()
}

/// What the pod wants of plugins that declare the capability.
fn capabilities(config: &PodSandboxConfig) -> Value {
    let mappings: Vec<Value> = config
        .port_mappings
        .iter()
        .filter(|mapping| mapping.host_port > 0)
        .map(|mapping| {
            let protocol = match mapping.protocol() {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
                Protocol::Sctp => "sctp",
            };
            json!({"hostPort": mapping.host_port, "containerPort": mapping.container_port, "protocol": protocol,
                "hostIP": mapping.host_ip})
        })
        .collect();
    let mut wanted = serde_json::Map::new();
    if !mappings.is_empty() {
        wanted.insert("portMappings".to_owned(), mappings.into());
    }
    let rate = |annotation: &str| config.annotations.get(annotation).and_then(|text| quantity(text));
    let (ingress, egress) = (rate(INGRESS), rate(EGRESS));
    if ingress.is_some() || egress.is_some() {
        // The plugin wants a burst with each rate; the largest it takes does not shape bursts at all.
        let burst = i64::from(i32::MAX) * 8;
        let mut bandwidth = BTreeMap::new();
        for (name, value) in [("ingress", ingress), ("egress", egress)] {
            if let Some(value) = value {
                bandwidth.insert(format!("{name}Rate"), json!(value));
                bandwidth.insert(format!("{name}Burst"), json!(burst));
            }
        }
        wanted.insert("bandwidth".to_owned(), json!(bandwidth));
    }
    if let Some(dns) = &config.dns_config {
        wanted.insert(
            "dns".to_owned(),
            json!({"servers": dns.servers, "searches": dns.searches, "options": dns.options}),
        );
    }
    let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
    if !parent.is_empty() {
        wanted.insert("cgroupPath".to_owned(), json!(parent));
    }
    Value::Object(wanted)
}

/// A quantity of Kubernetes (`10M`, `1Gi`) in bits per second.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_pods_own() {
        let result = json!({
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/ns"}],
            "ips": [{"address": "10.0.0.1/24", "interface": 0}, {"address": "10.0.0.7/24", "interface": 1},
                {"address": "fd00::7/64", "interface": 1}, {"address": "10.9.0.1/32"}],
        });
        assert_eq!(addresses(&result), ["10.0.0.7", "fd00::7", "10.9.0.1"]);
    }

    #[tokio::test]
    async fn plugins_are_told_which_pods_there_are() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("keeps");
        let heard = folder.path().join("heard");
        let script = format!("#!/bin/sh\necho $CNI_COMMAND > {0}\ncat >> {0}\n", heard.display());
        std::fs::write(&plugin, script).unwrap();
        std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
        let config = folder.path().join("net.d");
        let cni = Cni::new(config.clone(), vec![folder.path().to_owned()], None);
        cni.collect(&[]).await.unwrap();
        std::fs::create_dir(&config).unwrap();
        let write = |version: &str| {
            let list = json!({"cniVersion": version, "name": "a", "plugins": [{"type": "keeps"}]});
            std::fs::write(config.join("a.conflist"), list.to_string()).unwrap();
        };
        write("1.0.0");
        cni.collect(&["pod".to_owned()]).await.unwrap();
        assert!(!heard.exists(), "a list of an older version has no GC");
        write("1.1.0");
        cni.collect(&["pod".to_owned()]).await.unwrap();
        let heard = std::fs::read_to_string(heard).unwrap();
        let (command, input) = heard.split_once('\n').unwrap();
        assert_eq!(command, "GC");
        let input: Value = serde_json::from_str(input).unwrap();
        assert_eq!(input["cni.dev/valid-attachments"], json!([{"containerID": "pod", "ifname": "eth0"}]));
    }

    #[test]
    fn quantities() {
        assert_eq!(quantity("10M"), Some(10_000_000));
        assert_eq!(quantity("1Gi"), Some(1 << 30));
        assert_eq!(quantity("7"), Some(7));
        assert_eq!(quantity("7X"), None);
    }
}
