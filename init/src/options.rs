//! What the kernel command line asks of PID 1: the `lepton.` keys and `panic=`.
//!
//! A key that cannot be understood is reported and skipped, never guessed: the report shows it as a
//! configuration error.

use std::time::Duration;

use lepton_config::MachineConfig;

use crate::cmdline::Cmdline;

/// Where `/var` may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateRule {
    /// The state partition when there is one, else memory.
    #[default]
    Auto,
    /// Memory, even when there is a state partition.
    Tmpfs,
    /// The state partition; the boot fails without one.
    Required,
}

/// The meaning of the `lepton.` keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `lepton.config-wait=`: how long a disk with a machine config may take to appear, in seconds.
    pub config_wait: Option<Duration>,
    /// `lepton.state=auto|tmpfs|required`.
    pub state: StateRule,
    /// `lepton.state-wait=`: how long a state partition may take to appear, in seconds.
    pub state_wait: Option<Duration>,
    /// `lepton.state-disk=`: a blank disk to make a state partition on when there is none.
    pub state_disk: Option<String>,
    /// `lepton.reset=state`: the state partition is emptied before it is mounted.
    pub reset_state: bool,
    /// `lepton.install=`: the disk to install on.
    pub install: Option<String>,
    /// `lepton.install-wipe`: a state partition on that disk is emptied.
    pub install_wipe: bool,
    /// `lepton.applied=ignore`: what was applied on the running host is left aside.
    pub ignore_applied: bool,
    /// Whether any `lepton.` key was given.
    pub used: bool,
    /// One sentence per key that was skipped.
    pub errors: Vec<String>,
}

/// A wait longer than this is a typing error, and would look like a hang.
const MAX_WAIT_S: u64 = 600;

impl Options {
    /// Reads the `lepton.` keys; the last of several equal keys wins.
    pub fn from_cmdline(cmdline: &Cmdline) -> Self {
        let mut options = Self::default();
        for (key, value) in cmdline.iter() {
            let Some(name) = key.strip_prefix("lepton.") else { continue };
            options.used = true;
            let known = match name {
                // Read where the machine config is gathered.
                "config" | "hostname" => true,
                "config-wait" => parse_wait(value).map(|wait| options.config_wait = Some(wait)).is_some(),
                "state" => parse_state(value).map(|rule| options.state = rule).is_some(),
                "state-disk" => {
                    options.state_disk = Some(value.to_owned());
                    true
                }
                "install" => {
                    options.install = Some(value.to_owned()).filter(|disk| !disk.is_empty());
                    options.install.is_some()
                }
                "install-wipe" => {
                    options.install_wipe = value.is_empty();
                    options.install_wipe
                }
                "applied" => {
                    options.ignore_applied = value == "ignore";
                    options.ignore_applied
                }
                "reset" => {
                    options.reset_state = value == "state";
                    options.reset_state
                }
                "state-wait" => parse_wait(value).map(|wait| options.state_wait = Some(wait)).is_some(),
                _ => {
                    options.errors.push(format!("kernel command line: unknown key {key}"));
                    continue;
                }
            };
            if !known {
                options.errors.push(format!("kernel command line: {key} has the bad value {value:?}"));
            }
        }
        options
    }
}

impl Options {
    /// Takes from the machine config what the command line leaves open.
    pub fn fill_from(&mut self, config: &MachineConfig) {
        if self.state_disk.is_none() {
            self.state_disk.clone_from(&config.state.disk);
        }
        if self.install.is_none() {
            self.install.clone_from(&config.install.disk);
        }
        self.install_wipe |= self.install.is_some() && config.install.wipe == Some(true);
    }
}

fn parse_state(value: &str) -> Option<StateRule> {
    match value {
        "auto" => Some(StateRule::Auto),
        "tmpfs" => Some(StateRule::Tmpfs),
        "required" => Some(StateRule::Required),
        _ => None,
    }
}

fn parse_wait(value: &str) -> Option<Duration> {
    value.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_S).map(Duration::from_secs)
}

/// What follows a failed required step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Stay, so that the message can be read.
    Halt,
    /// Restart after this time.
    RebootAfter(Duration),
}

/// Long enough to read the failure, short enough for a host that nobody watches.
const READING_TIME: Duration = Duration::from_secs(10);

impl OnFailure {
    /// `panic=` means for PID 1 what it means for the kernel: 0 stays, a negative number restarts at once, a
    /// positive one restarts after that many seconds.
    pub fn from_cmdline(cmdline: &Cmdline) -> Self {
        match cmdline.value("panic").and_then(|value| value.parse::<i64>().ok()) {
            None => Self::RebootAfter(READING_TIME),
            Some(0) => Self::Halt,
            Some(seconds) => Self::RebootAfter(Duration::from_secs(seconds.try_into().unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_mistakes() {
        let parse = |text: &str| Options::from_cmdline(&Cmdline::parse(text));
        assert_eq!(parse("console=ttyS0 quiet"), Options::default());
        let options = parse(
            "lepton.hostname=x lepton.state=required lepton.state-wait=7 lepton.config-wait=3 lepton.applied=ignore",
        );
        assert_eq!(
            options,
            Options {
                config_wait: Some(Duration::from_secs(3)),
                state: StateRule::Required,
                state_wait: Some(Duration::from_secs(7)),
                state_disk: None,
                reset_state: false,
                install: None,
                install_wipe: false,
                ignore_applied: true,
                used: true,
                errors: vec![],
            }
        );
        let options = parse("lepton.state=disk lepton.state-wait=9999 lepton.hostnam=x lepton.state=tmpfs");
        assert_eq!(options.state, StateRule::Tmpfs);
        assert_eq!(options.state_wait, None);
        assert_eq!(
            options.errors,
            [
                "kernel command line: lepton.state has the bad value \"disk\"",
                "kernel command line: lepton.state-wait has the bad value \"9999\"",
                "kernel command line: unknown key lepton.hostnam",
            ]
        );
    }

    #[test]
    fn the_command_line_comes_before_the_machine_config() {
        let text = "install = { disk = \"smallest\", wipe = true }\nstate.disk = \"/dev/vdb\"";
        let config = lepton_config::parse("test", text).config;
        let fill = |words: &str| {
            let mut options = Options::from_cmdline(&Cmdline::parse(words));
            options.fill_from(&config);
            (options.install, options.install_wipe, options.state_disk)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(fill(""), (text("smallest"), true, text("/dev/vdb")));
        let words = "lepton.install=/dev/vda lepton.state-disk=x";
        assert_eq!(fill(words), (text("/dev/vda"), true, text("x")));
    }

    #[test]
    fn panic_has_the_meaning_of_the_kernel() {
        let after = |seconds| OnFailure::RebootAfter(Duration::from_secs(seconds));
        for (text, expected) in [
            ("", after(10)),
            ("panic=x", after(10)),
            ("panic=0", OnFailure::Halt),
            ("panic=-1", after(0)),
            ("panic=30", after(30)),
            ("panic=0 panic=5", after(5)),
        ] {
            assert_eq!(OnFailure::from_cmdline(&Cmdline::parse(text)), expected, "{text:?}");
        }
    }
}
