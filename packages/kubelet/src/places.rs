//! Where everything of kubelet lies. It reads no file.

use std::path::PathBuf;

/// Folders and files.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The host's machine config.
    pub(crate) machine_config: PathBuf,
    /// Is there while PID 1 stops the host.
    pub(crate) stopping: PathBuf,
    /// Names of hosts.
    pub(crate) hosts: PathBuf,
    /// The network that pods of a host have that is alone.
    pub(crate) network: PathBuf,
    /// The image's copy of it, from which PID 1 fills /etc.
    pub(crate) network_of_image: PathBuf,
    /// The one that the runtime makes of the range that a cluster gives.
    pub(crate) network_of_cluster: PathBuf,
    /// The program.
    pub(crate) kubelet: PathBuf,
    /// The identity agent, which gives kubelet its JWT-SVIDs.
    pub(crate) identity: PathBuf,
    /// Where kubelet finds the programs that it calls.
    pub(crate) path: String,
    /// The container runtime.
    pub(crate) runtime: PathBuf,
    /// What is made at each start: configuration, manifests, certificates of the host alone.
    pub(crate) run: PathBuf,
    /// Manifests that people put there; they stay.
    pub(crate) people: PathBuf,
    /// What kubelet keeps: volumes of pods, its certificates in a cluster.
    pub(crate) state: PathBuf,
}

impl Places {
    /// Those of a host.
    pub(crate) fn of_host() -> Self {
        Self {
            machine_config: "/run/lepton/config.toml".into(),
            stopping: "/run/lepton/stopping".into(),
            hosts: "/etc/hosts".into(),
            network: "/etc/cni/net.d/99-bridge.conflist".into(),
            network_of_image: "/usr/share/lepton/etc/cni/net.d/99-bridge.conflist".into(),
            network_of_cluster: "/etc/cni/net.d/10-pods.conflist".into(),
            kubelet: "/usr/bin/kubelet".into(),
            identity: "/usr/bin/identity".into(),
            path: "/usr/lib/kubelet:/usr/bin".to_owned(),
            runtime: "/run/lepton/runtime.sock".into(),
            run: "/run/lepton/kubelet".into(),
            people: "/var/lib/lepton/pods".into(),
            state: "/var/lib/kubelet".into(),
        }
    }

    /// kubelet's configuration.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.run.join("config.json")
    }

    /// The folder that kubelet takes static pods from.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.run.join("manifests")
    }

    /// Certificates that clients of kubelet may have come from these.
    pub(crate) fn client_ca(&self) -> PathBuf {
        self.run.join("client-ca.pem")
    }

    /// kubelet's certificates in a cluster.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// How kubelet reaches the API server; kubelet writes it when it has joined by a token.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// How it reaches the API server to get its first certificate.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.run.join("bootstrap-kubeconfig")
    }

    /// Which cluster the certificates are of.
    pub(crate) fn membership(&self) -> PathBuf {
        self.state.join("lepton-cluster.json")
    }
}
