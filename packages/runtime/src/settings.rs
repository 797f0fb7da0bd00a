//! Where everything of the runtime lies, and what its command line may change of it. It reads no file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lepton_runtime_images::{Config as ImagesConfig, Endpoint, RegistryConfig};

/// All settings.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The socket of CRI.
    pub(crate) socket: PathBuf,
    /// What is gone after a restart of the host: sockets, namespaces, mounts.
    pub(crate) run: PathBuf,
    /// What stays: what pods and containers are, and how they ended.
    pub(crate) state: PathBuf,
    /// The program that keeps a pod.
    pub(crate) shim: PathBuf,
    /// The program that makes containers.
    pub(crate) oci: PathBuf,
    /// Folder of CNI configurations.
    pub(crate) cni_config: PathBuf,
    /// Folders of CNI plugins.
    pub(crate) cni_plugins: Vec<PathBuf>,
    /// What the pods' network is made from when kubelet names their range of addresses.
    pub(crate) cni_template: Option<PathBuf>,
    /// Address of the streaming server.
    pub(crate) streaming: SocketAddr,
    /// The host's machine config, which names registries.
    pub(crate) machine_config: PathBuf,
    /// Images.
    pub(crate) images: ImagesConfig,
    /// Archives and layouts that are imported at the start.
    pub(crate) imports: Vec<PathBuf>,
}

/// How it is called.
pub(crate) const USAGE: &str = "usage: runtime [--socket FILE] [--run FOLDER] [--state FOLDER] [--shim FILE] [--oci FILE] \
[--cni-config FOLDER] [--cni-plugins FOLDER]... [--cni-template FILE] [--streaming ADDRESS:PORT] [--machine-config FILE] [--registry HOST=URL]... [--ca FILE]... [--preload FOLDER]... \
[--import FILE]...";

impl Settings {
    /// Those of a host.
    fn of_host() -> Self {
        let state = PathBuf::from("/var/lib/lepton/runtime");
        Self {
            socket: "/run/lepton/runtime.sock".into(),
            run: "/run/lepton/runtime".into(),
            shim: "/usr/bin/runtime-shim".into(),
            oci: "/usr/bin/runtime-oci".into(),
            cni_config: "/etc/cni/net.d".into(),
            cni_plugins: vec!["/opt/cni/bin".into(), "/usr/lib/cni".into()],
            cni_template: None,
            machine_config: "/run/lepton/config.toml".into(),
            // A port that the kernel chooses: kubelet is told the address with each call.
            streaming: SocketAddr::from(([127, 0, 0, 1], 0)),
            images: ImagesConfig::new(state.join("images")),
            imports: Vec::new(),
            state,
        }
    }

    /// Those of a host, with what the command line changes.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut settings = Self::of_host();
        let mut plugins = Vec::new();
        while let Some(word) = words.next() {
            let value = words.next()?;
            match word.as_str() {
                "--socket" => settings.socket = value.into(),
                "--run" => settings.run = value.into(),
                "--state" => {
                    settings.state = value.into();
                    settings.images.root = settings.state.join("images");
                }
                "--shim" => settings.shim = value.into(),
                "--oci" => settings.oci = value.into(),
                "--cni-config" => settings.cni_config = value.into(),
                "--cni-plugins" => plugins.push(value.into()),
                "--cni-template" => settings.cni_template = Some(value.into()),
                "--streaming" => settings.streaming = value.parse().ok()?,
                "--machine-config" => settings.machine_config = value.into(),
                "--registry" => settings.images.registries.push(registry(&value)?),
                "--ca" => settings.images.ca_files.push(value.into()),
                "--preload" => settings.images.preloaded.push(value.into()),
                "--import" => settings.imports.push(value.into()),
                _ => return None,
            }
        }
        if !plugins.is_empty() {
            settings.cni_plugins = plugins;
        }
        Some(settings)
    }

    /// The volatile folder of a pod.
    pub(crate) fn pod_run(&self, id: &str) -> PathBuf {
        self.run.join("pods").join(id)
    }

    /// The persistent folder of a pod.
    pub(crate) fn pod_state(&self, id: &str) -> PathBuf {
        self.state.join("pods").join(id)
    }

    /// The bundle of a container.
    pub(crate) fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// The persistent folder of a container.
    pub(crate) fn container_state(&self, id: &str) -> PathBuf {
        self.state.join("containers").join(id)
    }

    /// Where the container maker keeps its state.
    pub(crate) fn oci_state(&self) -> PathBuf {
        self.run.join("oci")
    }
}

/// `HOST=URL`: where a registry is asked, plain HTTP included.
fn registry(text: &str) -> Option<RegistryConfig> {
    let (host, url) = text.split_once('=')?;
    let endpoint = Endpoint { url: url.to_owned(), gets_credentials: true, ..Endpoint::default() };
    Some(RegistryConfig { host: host.to_owned(), endpoints: vec![endpoint], only_endpoints: true })
}

/// Mode of folders that only root may look into.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path)
}
