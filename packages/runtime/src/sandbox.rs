//! One pod sandbox: what was asked for, what was made, and what is written down of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use lepton_cri::v1::{
    LinuxContainerResources, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
    PodSandboxState,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Failure, Result};
use crate::files;

/// What is written down beside the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// When it was made, in nanoseconds since 1970.
    pub(crate) created_at: i64,
    /// The boot that it was made in.
    pub(crate) boot: String,
    /// Its addresses, the first one first.
    pub(crate) addresses: Vec<String>,
    /// The network that it was added to, and what CNI said; to be able to take it away again.
    pub(crate) network: Option<Attachment>,
    /// It was made completely; one that was not is taken apart when the runtime comes back.
    pub(crate) complete: bool,
    /// It was stopped.
    pub(crate) stopped: bool,
    /// The handler that was asked for.
    pub(crate) handler: String,
}

/// A network that a pod is part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    /// The configuration list as it was.
    pub(crate) list: serde_json::Value,
    /// The last plugin's result.
    pub(crate) result: serde_json::Value,
}

/// What a pod may use in all, which changes as its containers' resources do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    /// The pod itself.
    pub(crate) overhead: Option<LinuxContainerResources>,
    /// The sum of its containers.
    pub(crate) containers: Option<LinuxContainerResources>,
}

/// A pod sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// What was asked for; its resources are those of the beginning.
    pub(crate) config: PodSandboxConfig,
    record: Mutex<Record>,
    resources: Mutex<Resources>,
    /// One start, stop or removal at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

const CONFIG: &str = "config.pb";
const RECORD: &str = "record.json";

impl Sandbox {
    /// A new one.
    pub(crate) fn new(config: PodSandboxConfig, record: Record) -> Self {
        let linux = config.linux.clone().unwrap_or_default();
        let resources = Resources { overhead: linux.overhead, containers: linux.resources };
        Self {
            config,
            record: Mutex::new(record),
            resources: Mutex::new(resources),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// One that was written down.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let config = std::fs::read(folder.join(CONFIG)).or_cannot("read a pod's configuration")?;
        let config = PodSandboxConfig::decode(config.as_slice()).or_cannot("read a pod's configuration")?;
        let record = files::read_json(&folder.join(RECORD)).or_cannot("read a pod's record")?;
        Ok(Self::new(config, record))
    }

    /// Writes it down.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).or_cannot(format!("make {}", folder.display()))?;
        let mut config = self.config.clone();
        let resources = self.resources();
        if resources != Resources::default() {
            let linux = config.linux.get_or_insert_default();
            (linux.overhead, linux.resources) = (resources.overhead, resources.containers);
        }
        files::write(&folder.join(CONFIG), &config.encode_to_vec())
            .or_cannot("write a pod's configuration")?;
        files::write_json(&folder.join(RECORD), &self.record()).or_cannot("write a pod's record")
    }

    /// What it may use now.
    pub(crate) fn resources(&self) -> Resources {
        self.resources.lock().expect("no holder panics").clone()
    }

    /// Changes what it may use; what is not given stays.
    pub(crate) fn set_resources(&self, new: Resources) {
        let mut resources = self.resources.lock().expect("no holder panics");
        let old = std::mem::take(&mut *resources);
        *resources = Resources {
            overhead: new.overhead.or(old.overhead),
            containers: new.containers.or(old.containers),
        };
    }

    /// What is known now.
    pub(crate) fn record(&self) -> Record {
        self.record.lock().expect("no holder panics").clone()
    }

    /// Changes what is known.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().expect("no holder panics"));
    }

    /// Its id.
    pub(crate) fn id(&self) -> String {
        self.record().id
    }

    /// Its name and namespace.
    pub(crate) fn metadata(&self) -> PodSandboxMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    /// Which namespaces it shares with whom.
    pub(crate) fn namespaces(&self) -> NamespaceOption {
        namespaces(&self.config)
    }

    /// Whether it can take containers.
    pub(crate) fn state(&self) -> PodSandboxState {
        if self.record().stopped { PodSandboxState::SandboxNotready } else { PodSandboxState::SandboxReady }
    }

    /// The cgroup below which those of its containers are, from the root of the hierarchy.
    pub(crate) fn cgroup(&self) -> PathBuf {
        cgroup(&self.config, &self.id())
    }

    /// Labels.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        self.config.labels.clone()
    }
}

/// Which namespaces a pod shares with whom.
pub(crate) fn namespaces(config: &PodSandboxConfig) -> NamespaceOption {
    let context = config.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    context.and_then(|context| context.namespace_options.clone()).unwrap_or_default()
}

/// Whether a pod's network is the host's.
pub(crate) fn has_host_network(config: &PodSandboxConfig) -> bool {
    namespaces(config).network() == NamespaceMode::Node
}

/// Where the cgroups of a pod's containers are.
pub(crate) fn cgroup(config: &PodSandboxConfig, id: &str) -> PathBuf {
    let parent = config.linux.as_ref().map(|linux| linux.cgroup_parent.as_str()).unwrap_or_default();
    if parent.is_empty() { Path::new(OWN_CGROUP).join(id) } else { Path::new("/").join(parent) }
}

/// The cgroup of pods that name no parent.
pub(crate) const OWN_CGROUP: &str = "/pods";

/// The name that a pod has once at a time, as kubelet composes it.
pub(crate) fn name(metadata: &PodSandboxMetadata) -> Result<String> {
    if metadata.name.is_empty() || metadata.namespace.is_empty() || metadata.uid.is_empty() {
        return Err(Failure::invalid("a pod sandbox needs a name, a namespace and a uid"));
    }
    Ok(format!("{}_{}_{}_{}", metadata.name, metadata.namespace, metadata.uid, metadata.attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_change_and_stay() {
        let of = |cpu_shares| Some(LinuxContainerResources { cpu_shares, ..Default::default() });
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::new(PodSandboxConfig::default(), Record::default());
        sandbox.save(folder.path()).unwrap();
        assert_eq!(Sandbox::load(folder.path()).unwrap().config, PodSandboxConfig::default());
        sandbox.set_resources(Resources { overhead: of(10), containers: of(20) });
        sandbox.set_resources(Resources { overhead: None, containers: of(30) });
        sandbox.save(folder.path()).unwrap();
        let read = Sandbox::load(folder.path()).unwrap();
        assert_eq!(read.resources(), Resources { overhead: of(10), containers: of(30) });
    }
}
