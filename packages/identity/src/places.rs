//! Where everything of the agent lies, and what its command line says. It reads no file.

use std::path::PathBuf;

/// What the command line says.
pub(crate) const USAGE: &str = "\
usage: identity [OPTION VALUE]... [--allow-insecure-bootstrap]
       identity kubelet-credential --audience NAME [--workload SOCKET]
  --machine-config FILE    the host's machine config [/run/lepton/config.toml]
  --data FOLDER            what must survive a restart [/var/lib/lepton/identity]
  --admin SOCKET           where the agent is asked and told [/run/lepton/identity/admin.sock]
  --workload SOCKET        the SPIFFE Workload API [/run/spiffe/workload.sock]
  --control SOCKET         where PID 1 listens [/run/lepton/control.sock]
  --runtime SOCKET         where the container runtime listens [/run/lepton/runtime.sock]
  --kubelet FOLDER         client.pem and ca.pem, which kubelet knows [/run/lepton/kubelet]
  --allow-insecure-bootstrap
                           let the machine config say insecure-bootstrap; for tests only
or:    identity kubelet-credential --audience NAME [--workload SOCKET]
                           print a JWT-SVID of the caller as kubelet expects it";

/// Folders, files and sockets.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The host's machine config.
    pub(crate) machine_config: PathBuf,
    /// What must survive a restart.
    pub(crate) data: PathBuf,
    /// The admin socket.
    pub(crate) admin: PathBuf,
    /// The Workload API's socket.
    pub(crate) workload: PathBuf,
    /// PID 1's socket.
    pub(crate) control: PathBuf,
    /// The container runtime's socket.
    pub(crate) runtime: PathBuf,
    /// What kubelet is asked with.
    pub(crate) kubelet: PathBuf,
    /// What the firmware calls this machine.
    pub(crate) product_uuid: PathBuf,
    /// What says which image this is.
    pub(crate) os_release: PathBuf,
    /// Whether `insecure-bootstrap` of the machine config counts.
    pub(crate) allow_insecure_bootstrap: bool,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            machine_config: "/run/lepton/config.toml".into(),
            data: "/var/lib/lepton/identity".into(),
            admin: lepton_identity_control::SOCKET.into(),
            workload: lepton_workload_api::SOCKET.into(),
            control: "/run/lepton/control.sock".into(),
            runtime: "/run/lepton/runtime.sock".into(),
            kubelet: "/run/lepton/kubelet".into(),
            product_uuid: "/sys/class/dmi/id/product_uuid".into(),
            os_release: "/etc/os-release".into(),
            allow_insecure_bootstrap: false,
        }
    }
}

impl Places {
    /// Reads a command line; none when it cannot be understood.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut places = Self::default();
        while let Some(word) = words.next() {
            let place = match &*word {
                "--machine-config" => &mut places.machine_config,
                "--data" => &mut places.data,
                "--admin" => &mut places.admin,
                "--workload" => &mut places.workload,
                "--control" => &mut places.control,
                "--runtime" => &mut places.runtime,
                "--kubelet" => &mut places.kubelet,
                "--allow-insecure-bootstrap" => {
                    places.allow_insecure_bootstrap = true;
                    continue;
                }
                _ => return None,
            };
            *place = words.next()?.into();
        }
        Some(places)
    }

    /// The host's identity in the trust domain of a server.
    pub(crate) fn identity(&self) -> PathBuf {
        self.data.join("identity.json")
    }

    /// Entries, SVIDs of workloads and bundles, for times without a server.
    pub(crate) fn cache(&self) -> PathBuf {
        self.data.join("cache.json")
    }

    /// The authority of a host that is alone.
    pub(crate) fn local(&self) -> PathBuf {
        self.data.join("local.json")
    }

    /// Is there when the host was told to leave.
    pub(crate) fn left(&self) -> PathBuf {
        self.data.join("left")
    }

    /// What this host is called, where the firmware has no name for it.
    pub(crate) fn host_id(&self) -> PathBuf {
        self.data.join("host-id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| Places::parse(words.iter().map(|&word| word.to_owned()));
        let places = parse(&["--data", "/a", "--allow-insecure-bootstrap", "--admin", "/b"]).unwrap();
        assert_eq!(places.identity(), PathBuf::from("/a/identity.json"));
        assert!(places.allow_insecure_bootstrap);
        assert!(!parse(&[]).unwrap().allow_insecure_bootstrap);
        for bad in [&["--data"][..], &["a"], &["--other", "a"]] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
