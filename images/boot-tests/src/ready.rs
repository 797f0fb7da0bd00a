//! What a host says about itself on its console once all services run.
//!
//! The fields are the contract of PID 1's `lepton: ready` line; unknown ones are ignored, so that a new PID 1
//! can be tested by an old program.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How the line starts.
pub(crate) const READY: &str = "lepton: ready ";
/// How the line starts when a required service gave up.
pub(crate) const FAILED: &str = "lepton: failed";
/// PID 1's last line before it restarts the machine.
pub(crate) const REBOOT: &str = "lepton: reboot";
/// PID 1's last line before it powers the machine off.
pub(crate) const POWER_OFF: &str = "lepton: power off";

/// The values of the `lepton: ready` line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// Name of the image; `None` when the image does not say.
    pub image: Option<String>,
    /// Version of the image.
    pub version: Option<String>,
    /// Architecture, as the image's os-release file says it.
    pub arch: Option<String>,
    /// Milliseconds from the kernel's start to PID 1's.
    pub kernel_ms: u64,
    /// Milliseconds from the kernel's start to this line.
    pub ready_ms: u64,
    /// MemTotal - MemAvailable, in KiB.
    pub mem_used_kb: Option<u64>,
    /// Host name.
    pub hostname: String,
    /// Addresses that other hosts can reach.
    pub addresses: Vec<String>,
    /// What `/var` is.
    pub state: State,
    /// Where the machine config came from.
    pub config: Config,
    /// State of each service by name.
    pub services: BTreeMap<String, serde_json::Value>,
}

/// The machine config as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// Sources that gave something, the weakest first.
    pub sources: Vec<String>,
    /// What was wrong with them.
    pub errors: Vec<String>,
}

/// What is mounted on `/var`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// Device node of the state partition, for example `/dev/vda2`; `None` when `/var` is in memory.
    pub device: Option<String>,
    /// File system type.
    pub filesystem: String,
}

impl Ready {
    /// The values of a console line, when it is the one: kernel messages may stand before it.
    pub(crate) fn parse(line: &str) -> Option<Result<Self, serde_json::Error>> {
        let (_, text) = line.split_once(READY)?;
        Some(serde_json::from_str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"lepton: ready {"image":"minimal","version":"0.1.0","arch":"x86_64","kernel_ms":900,"ready_ms":1100,"mem_used_kb":20000,"hostname":"lepton","addresses":["10.0.2.15/24"],"config":{"sources":["image"],"errors":[]},"services":{"network":"running"},"state":{"device":"/dev/vda2","filesystem":"ext4"},"new":1}"#;

    #[test]
    fn reads_the_line_behind_a_time_stamp() {
        let ready = Ready::parse(&format!("[    1.1] {LINE}")).unwrap().unwrap();
        assert_eq!(ready.ready_ms, 1100);
        assert_eq!(ready.state.device.as_deref(), Some("/dev/vda2"));
        assert_eq!(ready.config.sources, ["image"]);
    }

    #[test]
    fn other_lines_are_not_it_and_a_torn_one_is_an_error() {
        assert!(Ready::parse("lepton: failed {}").is_none());
        assert!(Ready::parse(&LINE[..100]).unwrap().is_err());
    }
}
