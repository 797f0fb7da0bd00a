//! A Kubernetes cluster on this machine: its control plane as processes, its nodes as guests that boot an image of ours.
//!
//! All of it is on one network that this machine has no route into, and ends with the program that started it. The
//! programs of the control plane are Kubernetes' and etcd's own.

mod approve;
mod cases;
mod control;
mod daemon;
mod field;
mod kubectl;
mod manifests;
mod node;
mod pki;
mod running;
mod spire;

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lepton_builder::arch::Arch;
use lepton_builder::process::ProcessError;
use serde_json::Value;

use crate::guest::GuestError;
use crate::machine::Kernel;

pub use cases::{list, needs_spire, only_spire, run};
use control::Control;
use field::Field;
pub use field::MOST_NODES;
pub use kubectl::Kubectl;
pub use manifests::REGISTRY;
use node::Join;
pub use node::Node;
pub use pki::self_signed;
pub use running::Running;

/// How long the API server may take until it answers.
const API_PATIENCE: Duration = Duration::from_secs(180);
/// How long nodes may take from power-on to ready: emulated ones on a busy machine are slow.
const NODE_PATIENCE: Duration = Duration::from_secs(1800);
/// How long an add-on may take: its image is pulled by emulated machines.
const ADDON_PATIENCE: Duration = Duration::from_secs(900);
/// Time between two looks.
const BETWEEN: Duration = Duration::from_secs(2);

/// Programs that the cluster consists of, compiled.
#[derive(Clone, Debug)]
pub struct Programs {
    /// etcd, for this machine.
    pub etcd: PathBuf,
    /// Folder with kube-apiserver, kube-controller-manager, kube-scheduler and kubectl, for this machine.
    pub kubernetes: PathBuf,
    /// kube-proxy, for the nodes.
    pub kube_proxy: PathBuf,
    /// CoreDNS, for the nodes.
    pub coredns: PathBuf,
    /// metrics-server, for the nodes.
    pub metrics_server: PathBuf,
    /// Folder with spire-server and oidc-discovery-provider, for this machine, where a case needs them.
    pub spire: Option<PathBuf>,
}

/// What a cluster is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its programs.
    pub programs: Programs,
    /// The unpacked tool tree with QEMU, iproute2, python3 and openssl.
    pub tools: PathBuf,
    /// What nodes boot.
    pub kernel: Kernel,
    /// Architecture of the nodes.
    pub arch: Arch,
    /// Memory of a node in MiB.
    pub memory_mib: u32,
    /// Number of nodes.
    pub nodes: usize,
    /// Folders of OCI layouts that the cluster's registry serves.
    pub registry: Vec<PathBuf>,
    /// Folder of this cluster alone: keys, logs, disks.
    pub folder: PathBuf,
}

/// A cluster cannot be started, or did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A program could not be started.
    #[error("cannot start a program of the cluster")]
    Start(#[source] ProcessError),
    /// There is no network.
    #[error(
        "cannot make the cluster's network: {0}\nhint: it needs /dev/net/tun and the bridges of this machine's kernel"
    )]
    Network(String),
    /// Keys cannot be made.
    #[error("cannot make the cluster's certificates")]
    Certificate(#[from] rcgen::Error),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program of the control plane ended.
    #[error("{name} ended; the end of its log:\n{log}")]
    Ended {
        /// The program.
        name: &'static str,
        /// The end of its log.
        log: String,
    },
    /// A node's machine ended.
    #[error("the machine of {name} ended; its console:\n{console}")]
    NodeEnded {
        /// The node.
        name: String,
        /// Its console.
        console: String,
    },
    /// It took too long.
    #[error("timed out waiting for {what}: {last}{details}")]
    TimedOut {
        /// What was awaited.
        what: String,
        /// What was seen last.
        last: String,
        /// What may explain it.
        details: String,
    },
    /// Something is not as it should be.
    #[error("not so: {0}")]
    Unexpected(String),
    /// kubectl failed.
    #[error(transparent)]
    Kubectl(#[from] ProcessError),
    /// A machine could not be started or stopped.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl ClusterError {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// A cluster that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    setup: Setup,
    /// Set when watching should end.
    stop: Arc<AtomicBool>,
    /// How its nodes join.
    join: Join,
    nodes: Vec<Node>,
    control: Control,
    kubectl: Kubectl,
    field: Field,
}

impl Cluster {
    /// Starts it and waits until its nodes are ready and services work; `say` is told what happens.
    pub fn start(setup: Setup, say: &dyn Fn(&str)) -> Result<Self, ClusterError> {
        let pki = setup.folder.join("pki");
        let data = setup.folder.join("data");
        for folder in [&pki, &data] {
            fs::create_dir_all(folder).map_err(ClusterError::file("make", folder))?;
        }
        // One more than there are: a case adds a node.
        let spare = setup.nodes + 1;
        let ca_hash = pki::write(&pki, &format!("node-{spare}"))?;
        let field = Field::new(&setup.tools, spare)?;
        let control = Control::start(&setup, &field, &pki, &data)?;
        let kubeconfig = setup.folder.join("kubeconfig");
        fs::copy(pki.join("admin.kubeconfig"), &kubeconfig)
            .map_err(ClusterError::file("write", &kubeconfig))?;
        let kubectl =
            Kubectl { pid: field.pid(), program: setup.programs.kubernetes.join("kubectl"), kubeconfig };
        let stop = Arc::new(AtomicBool::new(false));
        let token = token()?;
        let join = Join::Token { token: token.clone(), ca_hash };
        let mut cluster = Self { setup, stop, join, nodes: Vec::new(), control, kubectl, field };
        cluster.until("the API server", API_PATIENCE, |cluster| {
            Ok(cluster.kubectl.output(&["get", "--raw=/readyz"])? == "ok")
        })?;
        say("the API server answers; starting the nodes");
        cluster.kubectl.apply(&manifests::joining(&token))?;
        cluster.watch();
        for number in 1..=cluster.setup.nodes {
            let node = Node::start(&cluster.setup, &cluster.field, number, &cluster.join, &data)?;
            cluster.nodes.push(node);
        }
        // Both wait for nodes by themselves.
        cluster.kubectl.apply(manifests::KUBE_PROXY)?;
        cluster.kubectl.apply(manifests::COREDNS)?;
        cluster.kubectl.apply(manifests::METRICS)?;
        Running::write(&cluster.setup.folder, &cluster.kubectl)?;
        Ok(cluster)
    }

    /// Waits until every node is ready.
    pub fn wait_nodes(&mut self) -> Result<(), ClusterError> {
        self.until("every node to be ready", NODE_PATIENCE, |cluster| {
            let nodes = cluster.kubectl.json(&["get", "nodes"])?;
            let ready = nodes["items"].as_array().into_iter().flatten().filter(|node| is_ready(node)).count();
            Ok(ready == cluster.setup.nodes)
        })
    }

    /// Waits until kube-proxy runs on every node and CoreDNS answers.
    pub fn wait_services(&mut self) -> Result<(), ClusterError> {
        for what in ["daemonset/kube-proxy", "deployment/coredns"] {
            self.until(what, ADDON_PATIENCE, |cluster| {
                let args = ["-n", "kube-system", "rollout", "status", "--timeout=20s", what];
                cluster.kubectl.output(&args).map(|_| true).map_err(Into::into)
            })?;
        }
        Ok(())
    }

    /// Adds a node, which joins by a kubeconfig, and gives its name; the cluster can have one more node than it began
    /// with.
    pub(crate) fn add_spare(&mut self) -> Result<String, ClusterError> {
        let path = self.setup.folder.join(format!("pki/node-{}.kubeconfig", self.setup.nodes + 1));
        let text = fs::read_to_string(&path).map_err(ClusterError::file("read", &path))?;
        self.start_spare(&Join::Kubeconfig(text))
    }

    /// Adds that node by a bootstrap token.
    pub(crate) fn add_spare_by_token(&mut self) -> Result<String, ClusterError> {
        let join = self.join.clone();
        self.start_spare(&join)
    }

    /// The name that such a node has.
    pub(crate) fn spare(&self) -> String {
        format!("node-{}", self.setup.nodes + 1)
    }

    /// Adds that node, which joins as it is told.
    pub(crate) fn start_spare(&mut self, join: &Join) -> Result<String, ClusterError> {
        let number = self.setup.nodes + 1;
        let data = self.setup.folder.join("data");
        let node = Node::start(&self.setup, &self.field, number, join, &data)?;
        self.nodes.push(node);
        Ok(format!("node-{number}"))
    }

    /// Switches that node off and forgets it.
    pub(crate) fn remove_spare(&mut self) {
        self.nodes.truncate(self.setup.nodes);
    }

    /// kubectl for this cluster.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Its nodes.
    pub fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// Fails when a process of it ended.
    pub fn check(&mut self) -> Result<(), ClusterError> {
        self.control.check()?;
        self.nodes.iter_mut().try_for_each(Node::check)
    }

    /// Looks until `look` says yes; an error of kubectl is a no.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&mut Self) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let deadline = Instant::now() + patience;
        loop {
            self.check()?;
            let last = match look(self) {
                Ok(true) => return Ok(()),
                Ok(false) => "not yet".to_owned(),
                Err(ClusterError::Kubectl(error)) => error.to_string(),
                Err(error) => return Err(error),
            };
            if Instant::now() > deadline {
                let (what, details) = (what.to_owned(), self.details());
                return Err(ClusterError::TimedOut { what, last, details });
            }
            thread::sleep(BETWEEN);
        }
    }

    /// What helps to understand a failure: objects, events, and the ends of logs and consoles.
    pub(crate) fn details(&self) -> String {
        let mut text = String::new();
        for args in [
            &["get", "nodes,pods,csr", "-A", "-o", "wide"][..],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"][..],
        ] {
            let said = self.kubectl.output(args).unwrap_or_else(|error| error.to_string());
            text.push_str(&format!("\n--- kubectl {}\n{}", args.join(" "), tail(&said)));
        }
        for (name, daemon) in [
            ("kube-apiserver", &self.control.api),
            ("kube-controller-manager", &self.control.controllers),
            ("registry", &self.control.registry),
        ] {
            text.push_str(&format!("\n--- {name}\n{}", tail(&daemon.tail())));
        }
        for node in &self.nodes {
            text.push_str(&format!("\n--- console of {}\n{}", node.name(), tail(&node.console())));
        }
        text
    }

    /// Approves certificates of kubelets, and leads traffic for pods to their nodes, as long as the cluster lives.
    fn watch(&self) {
        let (kubectl, tools) = (self.kubectl.clone(), self.setup.tools.clone());
        let data = self.setup.folder.join("data");
        self.kubectl.watch("csr", Arc::clone(&self.stop), move |object| {
            approve::look(object, &kubectl, &tools, &data);
        });
        let route = self.field.sandbox(&self.setup.tools, "ip").args(["route", "replace"]);
        self.kubectl.watch("nodes", Arc::clone(&self.stop), move |node| {
            if let Some((pods, address)) = route_of(node) {
                // It fails when the node has gone; the next change of the node tries again.
                let _ = route.clone().args([pods, "via", address]).process().output();
            }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The last lines of a text.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// The range of a node's pods, and its address.
fn route_of(node: &Value) -> Option<(&str, &str)> {
    let addresses = node["status"]["addresses"].as_array()?;
    let address = addresses.iter().find(|address| address["type"] == "InternalIP")?;
    Some((node["spec"]["podCIDR"].as_str()?, address["address"].as_str()?))
}

/// Whether a node says that it is ready.
pub(crate) fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// A bootstrap token that nobody guesses.
fn token() -> Result<String, ClusterError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 22];
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ClusterError::file("read", path))?;
    let letters = b"0123456789abcdefghijklmnopqrstuv";
    let text: String = bytes.iter().map(|byte| char::from(letters[usize::from(byte % 32)])).collect();
    Ok(format!("{}.{}", &text[..6], &text[6..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_has_the_form_of_one() {
        let text = token().unwrap();
        let (id, secret) = text.split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        assert_ne!(text, token().unwrap());
    }

    #[test]
    fn routes_and_readiness_of_nodes() {
        let mut node = json!({
            "spec": {},
            "status": { "addresses": [{ "type": "Hostname", "address": "node-1" },
                                      { "type": "InternalIP", "address": "192.0.2.11" }],
                        "conditions": [{ "type": "Ready", "status": "False" }] },
        });
        assert_eq!(route_of(&node), None);
        assert!(!is_ready(&node));
        node["spec"]["podCIDR"] = json!("10.244.1.0/24");
        node["status"]["conditions"][0]["status"] = json!("True");
        assert_eq!(route_of(&node), Some(("10.244.1.0/24", "192.0.2.11")));
        assert!(is_ready(&node));
    }
}
