//! The line that says the host is up, and where its numbers come from.
//!
//! Its fields are a contract with test harnesses and fleet tools: they are described in `docs/boot.md`.

use std::fs;
use std::time::Duration;

use crate::clock::millis;
use crate::json::Json;
use crate::os_release::OsRelease;
use crate::state::State;

/// The two figures of `/proc/meminfo` that matter here, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemInfo {
    /// `MemTotal`
    pub total_kb: u64,
    /// `MemAvailable`
    pub available_kb: u64,
}

impl MemInfo {
    /// Reads the kernel's figures; `None` when `/proc` does not have them.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    /// Reads lines such as `MemTotal:  487288 kB`.
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self { total_kb: field("MemTotal")?, available_kb: field("MemAvailable")? })
    }

    /// Memory that is not available to new programs, in KiB.
    pub fn used_kb(self) -> u64 {
        self.total_kb.saturating_sub(self.available_kb)
    }
}

/// Everything the ready line tells.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which image runs.
    pub image: OsRelease,
    /// Architecture that this program was built for, as the image's file name has it.
    pub arch: &'static str,
    /// Kernel start to the start of PID 1.
    pub kernel: Duration,
    /// Kernel start to now.
    pub ready: Duration,
    /// Memory in use now.
    pub memory: Option<MemInfo>,
    /// The host name.
    pub hostname: String,
    /// Addresses other hosts can reach.
    pub addresses: Vec<String>,
    /// What `/var` is.
    pub state: State,
    /// Where the configuration came from, first source first.
    pub sources: Vec<String>,
    /// What was wrong with it.
    pub errors: Vec<String>,
    /// Services in start order, each with what became of it.
    pub services: Vec<(String, String)>,
}

impl Report {
    /// The line, without its newline.
    pub fn line(&self) -> String {
        let text = |value: &Option<String>| Json::from(value.as_deref());
        let services = self.services.iter().map(|(name, state)| (name.clone(), state.as_str().into()));
        let report = Json::Object(vec![
            ("image", text(&self.image.image)),
            ("version", text(&self.image.version)),
            ("arch", self.arch.into()),
            ("kernel_ms", millis(self.kernel).into()),
            ("ready_ms", millis(self.ready).into()),
            ("mem_used_kb", self.memory.map(MemInfo::used_kb).into()),
            ("hostname", self.hostname.as_str().into()),
            ("addresses", Json::texts(&self.addresses)),
            (
                "state",
                Json::Object(vec![
                    ("device", text(&self.state.device)),
                    ("filesystem", self.state.filesystem.into()),
                ]),
            ),
            (
                "config",
                Json::Object(vec![
                    ("sources", Json::texts(&self.sources)),
                    ("errors", Json::texts(&self.errors)),
                ]),
            ),
            ("services", Json::Map(services.collect())),
        ]);
        format!("lepton: ready {report}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn meminfo() {
        let text = "MemTotal:         487288 kB\nMemFree:          461400 kB\nMemAvailable:     440000 kB\n";
        let memory = MemInfo::parse(text).unwrap();
        assert_eq!(memory, MemInfo { total_kb: 487_288, available_kb: 440_000 });
        assert_eq!(memory.used_kb(), 47_288);
        for bad in
            ["", "MemTotal: 1 kB\n", "MemTotal: x kB\nMemAvailable: 1 kB\n", "MemTotal 1\nMemAvailable 1\n"]
        {
            assert_eq!(MemInfo::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_line_has_every_field_in_order() {
        let mut report = Report {
            image: OsRelease { image: Some("minimal".into()), version: Some("0.1.0".into()) },
            arch: "x86_64",
            kernel: Duration::from_micros(1_150_999),
            ready: Duration::from_millis(1200),
            memory: Some(MemInfo { total_kb: 10, available_kb: 4 }),
            hostname: "edge-1".into(),
            addresses: vec!["192.0.2.1".into(), "2001:db8::1".into()],
            state: State { device: Some("/dev/vda2".into()), filesystem: "ext4", errors: vec![] },
            sources: vec!["image".into(), "cmdline".into()],
            errors: vec!["bad \"x\"".into()],
            services: vec![("network".into(), "ready".into())],
        };
        expect![[r#"lepton: ready {"image":"minimal","version":"0.1.0","arch":"x86_64","kernel_ms":1150,"ready_ms":1200,"mem_used_kb":6,"hostname":"edge-1","addresses":["192.0.2.1","2001:db8::1"],"state":{"device":"/dev/vda2","filesystem":"ext4"},"config":{"sources":["image","cmdline"],"errors":["bad \"x\""]},"services":{"network":"ready"}}"#]]
        .assert_eq(&report.line());

        report.state = State { device: None, filesystem: "tmpfs", errors: vec![] };
        report.memory = None;
        let line = report.line();
        assert!(line.contains(r#""mem_used_kb":null"#), "{line}");
        assert!(line.contains(r#""state":{"device":null,"filesystem":"tmpfs"}"#), "{line}");
    }
}
