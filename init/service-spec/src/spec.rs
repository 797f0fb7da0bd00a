//! The `[[services]]` table, field by field.
//!
//! Only types and defaults; what a good value is stands in `rules.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Capability, Seconds};

/// How a service lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It runs until it is stopped.
    #[default]
    Daemon,
    /// It does one thing and ends.
    Oneshot,
}

/// When services that need this one may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ReadyWhen {
    /// When it has sent `READY=1` to the socket in `NOTIFY_SOCKET` (sd_notify(3)).
    Notify,
    /// When its program was started.
    Started,
    /// When its program has ended with status 0.
    Exited,
}

/// What follows when a service ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It is started again.
    Always,
    /// It is started again when it ended with another status than 0, by a signal, or past a deadline.
    OnFailure,
    /// It stays ended.
    Never,
}

/// When PID 1 stops starting a service again: after `starts` starts within `within-s` seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GiveUp {
    /// So many starts, at least 1.
    pub starts: u32,
    /// Within this span.
    pub within_s: Seconds,
}

impl Default for GiveUp {
    fn default() -> Self {
        // With back-off doubling from 0.5 s, a service that fails at once gives up after about half a minute.
        Self { starts: 6, within_s: Seconds::from_millis(120_000) }
    }
}

/// What the kernel holds a service's cgroup to; what is not given is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// `memory.max` in MiB.
    pub memory_max_mib: Option<u32>,
    /// `memory.high` in MiB.
    pub memory_high_mib: Option<u32>,
    /// `cpu.weight`.
    pub cpu_weight: Option<u16>,
    /// `cpu.max` in percent of one processor.
    pub cpu_max_percent: Option<u32>,
    /// `pids.max`.
    pub pids_max: Option<u32>,
}

/// A program of the image that PID 1 starts and looks after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceSpec {
    /// Its name: lower-case letters, digits and hyphens, a letter first, at most 32.
    pub name: String,
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Whether it runs until it is stopped (`daemon`) or does one thing and ends (`oneshot`).
    #[serde(default)]
    pub kind: Kind,
    /// Services that must be ready before this one starts; it does not start without them, and stops before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Services that start before this one when they exist; it starts even if they failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// When it counts as ready; `started` for a daemon and `exited` for a oneshot unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadyWhen>,
    /// What follows when it ends by itself; `always` for a daemon and `never` for a oneshot unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
    /// Wait before the first start again; each further one waits twice as long, 30 seconds at most.
    #[serde(default = "ServiceSpec::default_restart_s")]
    pub restart_s: Seconds,
    /// Time to become ready; 0 means no limit.
    #[serde(default = "ServiceSpec::default_timeout_s")]
    pub start_timeout_s: Seconds,
    /// Time between SIGTERM and SIGKILL.
    #[serde(default = "ServiceSpec::default_timeout_s")]
    pub stop_timeout_s: Seconds,
    /// It must send `WATCHDOG=1` at least this often once it is ready, or it is killed as failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<Seconds>,
    /// Whether the host counts as failed when this service is given up.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Whether it starts with the host; else only on request.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub enabled: bool,
    /// Whether the ready line waits for it.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub wanted: bool,
    /// The user it runs as: a name of /etc/passwd or a number; root unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Groups besides the user's own: names of /etc/group or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The capabilities it has, whoever its user is; none unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Whether set-id programs give it nothing.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub no_new_privileges: bool,
    /// Name of a seccomp allow-list in /usr/share/lepton/seccomp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
    /// Whether it has a /tmp of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub private_tmp: bool,
    /// Whether it has a /dev of its own with null, zero, full, random, urandom and tty only.
    #[serde(default, skip_serializing_if = "is_false")]
    pub private_dev: bool,
    /// Paths that it cannot change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_only: Vec<String>,
    /// Paths that it sees empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hidden: Vec<String>,
    /// Paths that it can change although they lie below one of `read-only`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writable: Vec<String>,
    /// Memory past which it is killed, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max_mib: Option<u32>,
    /// Memory past which it is slowed down, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high_mib: Option<u32>,
    /// Its share of busy processors, 1 to 10000; others have 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u16>,
    /// Its limit of processor time, in percent of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_max_percent: Option<u32>,
    /// Most processes and threads at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u32>,
    /// Most open files of one process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files_max: Option<u32>,
    /// How likely it is killed when the host runs out of memory: -1000 (never) to 1000.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oom_score_adj: i16,
    /// The folder it starts in; / unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// When PID 1 stops starting it again.
    #[serde(default)]
    pub give_up: GiveUp,
    /// Variables of its environment; it also gets PATH, and NOTIFY_SOCKET when it may notify.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

impl ServiceSpec {
    pub(crate) fn default_restart_s() -> Seconds {
        Seconds::from_millis(500)
    }

    pub(crate) fn default_timeout_s() -> Seconds {
        Seconds::from_millis(10_000)
    }

    /// A service with defaults only.
    pub fn new(name: &str, command: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            kind: Kind::default(),
            needs: Vec::new(),
            after: Vec::new(),
            ready: None,
            restart: None,
            restart_s: Self::default_restart_s(),
            start_timeout_s: Self::default_timeout_s(),
            stop_timeout_s: Self::default_timeout_s(),
            watchdog_s: None,
            required: false,
            enabled: true,
            wanted: true,
            user: None,
            groups: Vec::new(),
            capabilities: Vec::new(),
            no_new_privileges: true,
            seccomp: None,
            private_tmp: false,
            private_dev: false,
            read_only: Vec::new(),
            hidden: Vec::new(),
            writable: Vec::new(),
            memory_max_mib: None,
            memory_high_mib: None,
            cpu_weight: None,
            cpu_max_percent: None,
            pids_max: None,
            open_files_max: None,
            oom_score_adj: 0,
            working_dir: None,
            give_up: GiveUp::default(),
            environment: BTreeMap::new(),
        }
    }

    /// When it counts as ready, given or by its kind.
    pub fn ready_when(&self) -> ReadyWhen {
        self.ready.unwrap_or(match self.kind {
            Kind::Daemon => ReadyWhen::Started,
            Kind::Oneshot => ReadyWhen::Exited,
        })
    }

    /// What follows when it ends, given or by its kind.
    pub fn restart_rule(&self) -> Restart {
        self.restart.unwrap_or(match self.kind {
            Kind::Daemon => Restart::Always,
            Kind::Oneshot => Restart::Never,
        })
    }

    /// What its cgroup is held to.
    pub fn limits(&self) -> Limits {
        Limits {
            memory_max_mib: self.memory_max_mib,
            memory_high_mib: self.memory_high_mib,
            cpu_weight: self.cpu_weight,
            cpu_max_percent: self.cpu_max_percent,
            pids_max: self.pids_max,
        }
    }
}

/// What `enabled` is unless given, and with it every other key of a service that is on by itself.
pub(crate) fn yes() -> bool {
    true
}

/// Whether such a key need not be written.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
pub(crate) fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(value: &i16) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_table_means_what_new_means_and_comes_back_the_same() {
        let text = "name = \"agent\"\ncommand = [\"/usr/bin/agent\"]\n";
        let spec: ServiceSpec = toml::from_str(text).unwrap();
        assert_eq!(spec, ServiceSpec::new("agent", &["/usr/bin/agent"]));
        assert_eq!((spec.ready_when(), spec.restart_rule()), (ReadyWhen::Started, Restart::Always));
        assert_eq!(toml::from_str::<ServiceSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
    }

    #[test]
    fn a_full_table() {
        let text = r#"
            name = "n"
            command = ["/usr/bin/n", "-v"]
            kind = "oneshot"
            needs = ["a"]
            restart = "on-failure"
            restart-s = 0.1
            give-up = { starts = 3, within-s = 10 }
            watchdog-s = 2
            capabilities = ["CAP_NET_ADMIN"]
            no-new-privileges = false
            oom-score-adj = -500
            environment = { A = "b" }
        "#;
        let spec: ServiceSpec = toml::from_str(text).unwrap();
        assert_eq!(spec.ready_when(), ReadyWhen::Exited);
        assert_eq!(spec.restart_s.millis(), 100);
        assert_eq!(spec.give_up.starts, 3);
        assert_eq!(toml::from_str::<ServiceSpec>(&toml::to_string(&spec).unwrap()).unwrap(), spec);
        for bad in ["comand = []", "kind = \"fork\"", "capabilities = [\"NET\"]", "restart-s = -1"] {
            assert!(toml::from_str::<ServiceSpec>(&format!("name = \"n\"\n{bad}\n")).is_err(), "{bad}");
        }
    }
}
