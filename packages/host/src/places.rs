//! Where everything is on a host. Tests put it elsewhere.

use std::path::PathBuf;

/// How the service is started.
pub const USAGE: &str = "\
usage: lepton-host [OPTION VALUE]...
  --machine-config FILE   the host's machine config [/run/lepton/config.toml]
  --control SOCKET        PID 1's control socket [/run/lepton/control.sock]
  --socket SOCKET         the local socket of this service [/run/lepton/host/api.sock]
  --workload SOCKET       the SPIFFE Workload API [/run/spiffe/workload.sock]
  --runtime SOCKET        the container runtime [/run/lepton/runtime.sock]
  --kubelet ADDRESS       where kubelet listens [127.0.0.1:10250]
  --credentials FOLDER    client.pem and ca.pem, which kubelet knows [/run/lepton/kubelet]
  --network FILE          what the service network reports [/run/lepton/network.json]
  --proc FOLDER           proc(5) [/proc]
  --sys FOLDER            sysfs(5) [/sys]";

/// The places.
#[derive(Clone, Debug)]
pub struct Places {
    /// The host's machine config.
    pub machine_config: PathBuf,
    /// PID 1's control socket.
    pub control: PathBuf,
    /// The local socket of this service.
    pub socket: PathBuf,
    /// The SPIFFE Workload API.
    pub workload: PathBuf,
    /// The container runtime.
    pub runtime: PathBuf,
    /// Where kubelet listens.
    pub kubelet: std::net::SocketAddr,
    /// `client.pem` and `ca.pem`, which kubelet knows.
    pub credentials: PathBuf,
    /// What the service `network` reports.
    pub network: PathBuf,
    /// proc(5).
    pub proc: PathBuf,
    /// sysfs(5).
    pub sys: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            machine_config: "/run/lepton/config.toml".into(),
            control: lepton_control::SOCKET.into(),
            socket: lepton_host_api::SOCKET.into(),
            workload: "/run/spiffe/workload.sock".into(),
            runtime: "/run/lepton/runtime.sock".into(),
            kubelet: std::net::SocketAddr::from(([127, 0, 0, 1], 10250)),
            credentials: "/run/lepton/kubelet".into(),
            network: "/run/lepton/network.json".into(),
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }
}

impl Places {
    /// Places with those of a command line; nothing when it is wrong.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut places = Self::default();
        while let Some(word) = words.next() {
            let value = words.next()?;
            let place = match &*word {
                "--machine-config" => &mut places.machine_config,
                "--control" => &mut places.control,
                "--socket" => &mut places.socket,
                "--workload" => &mut places.workload,
                "--runtime" => &mut places.runtime,
                "--credentials" => &mut places.credentials,
                "--network" => &mut places.network,
                "--proc" => &mut places.proc,
                "--sys" => &mut places.sys,
                "--kubelet" => {
                    places.kubelet = value.parse().ok()?;
                    continue;
                }
                _ => return None,
            };
            *place = value.into();
        }
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        let parse = |words: &[&str]| Places::parse(words.iter().map(ToString::to_string));
        let places = parse(&["--proc", "/p", "--kubelet", "127.0.0.1:1"]).unwrap();
        assert_eq!((places.proc, places.kubelet.port()), (PathBuf::from("/p"), 1));
        for bad in [&["--proc"][..], &["x", "y"], &["--kubelet", "x"]] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }
}
