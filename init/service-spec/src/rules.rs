//! What a good `[[services]]` table is, beyond its types. All mistakes of a table are found at once.

use std::fmt;

use crate::{Kind, ReadyWhen, ServiceSpec};

/// One mistake in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key whose value is wrong.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

const NAME_RULE: &str = "use lower-case letters, digits and hyphens, a letter first, at most 32";

/// Whether `text` may name a service: names become files, cgroups and words of the control protocol.
pub fn is_service_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain)
}

fn is_path(text: &str) -> bool {
    let good = |part: &str| !part.is_empty() && part != "." && part != "..";
    !text.contains('\0') && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(good))
}

impl ServiceSpec {
    /// Everything that is wrong with this table by itself; empty when it is good.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Problems(Vec::new());
        self.check_names(&mut found);
        self.check_life(&mut found);
        self.check_sandbox(&mut found);
        self.check_limits(&mut found);
        found.0
    }

    fn check_names(&self, found: &mut Problems) {
        found.unless(is_service_name(&self.name), "name", || {
            format!("{:?} is no service name: {NAME_RULE}", self.name)
        });
        match self.command.first() {
            None => found.add("command", "it is empty; name a program".to_owned()),
            Some(program) => found.unless(is_path(program), "command", || {
                format!("{program:?} is no absolute path of a program")
            }),
        }
        found.unless(!self.command.iter().any(|word| word.contains('\0')), "command", || {
            "a word holds a zero byte".to_owned()
        });
        for (key, names) in [("needs", &self.needs), ("after", &self.after)] {
            for name in names {
                found.unless(is_service_name(name), key, || {
                    format!("{name:?} is no service name: {NAME_RULE}")
                });
                found.unless(*name != self.name, key, || "a service cannot wait for itself".to_owned());
            }
        }
    }

    fn check_life(&self, found: &mut Problems) {
        found.unless(self.give_up.starts > 0, "give-up", || "starts must be at least 1".to_owned());
        let ends = self.kind == Kind::Oneshot;
        found.unless(ends || self.ready_when() != ReadyWhen::Exited, "ready", || {
            "a daemon is not ready by ending; use kind = \"oneshot\"".to_owned()
        });
        found.unless(!ends || self.watchdog_s.is_none(), "watchdog-s", || {
            "a oneshot has no watchdog; use start-timeout-s".to_owned()
        });
        let always = self.restart == Some(crate::Restart::Always);
        found.unless(!(ends && always), "restart", || {
            "a oneshot that ended well is done; use \"on-failure\" or \"never\"".to_owned()
        });
        let zero = self.watchdog_s.is_some_and(|time| time.millis() == 0);
        found.unless(!zero, "watchdog-s", || "0 would kill it at once; leave the key out".to_owned());
    }

    fn check_sandbox(&self, found: &mut Problems) {
        let lists = [("read-only", &self.read_only), ("hidden", &self.hidden), ("writable", &self.writable)];
        for (key, paths) in lists {
            for path in paths {
                found.unless(is_path(path), key, || format!("{path:?} is no absolute path without . and .."));
            }
        }
        if let Some(dir) = &self.working_dir {
            found
                .unless(is_path(dir) || dir == "/", "working-dir", || format!("{dir:?} is no absolute path"));
        }
        if let Some(name) = &self.seccomp {
            found.unless(is_service_name(name), "seccomp", || {
                format!("{name:?} is no name of a list: {NAME_RULE}")
            });
        }
        for (name, value) in &self.environment {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let good = !name.is_empty()
                && name.chars().all(plain)
                && !name.starts_with(|c: char| c.is_ascii_digit());
            found.unless(good && !value.contains('\0'), "environment", || {
                format!("{name:?} is no variable: use letters, digits and _ and no zero byte")
            });
            found.unless(name != "NOTIFY_SOCKET", "environment", || {
                "NOTIFY_SOCKET is set by PID 1".to_owned()
            });
        }
    }

    fn check_limits(&self, found: &mut Problems) {
        let weight = self.cpu_weight.is_none_or(|weight| (1..=10_000).contains(&weight));
        found.unless(weight, "cpu-weight", || "use 1 to 10000".to_owned());
        found.unless((-1000..=1000).contains(&self.oom_score_adj), "oom-score-adj", || {
            "use -1000 to 1000".to_owned()
        });
        let counts = [
            ("memory-max-mib", self.memory_max_mib),
            ("memory-high-mib", self.memory_high_mib),
            ("cpu-max-percent", self.cpu_max_percent),
            ("pids-max", self.pids_max),
            ("open-files-max", self.open_files_max),
        ];
        found.0.extend(counts.into_iter().filter_map(no_zero));
    }
}

/// What is wrong with a limit that lets nothing run.
pub(crate) fn no_zero((key, count): (&'static str, Option<u32>)) -> Option<Problem> {
    let message = || "0 would let nothing run; leave the key out".to_owned();
    (count == Some(0)).then(|| Problem { key, message: message() })
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &'static str, message: String) {
        self.0.push(Problem { key, message });
    }

    fn unless(&mut self, good: bool, key: &'static str, message: impl FnOnce() -> String) {
        if !good {
            self.add(key, message());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seconds;

    fn keys(change: impl FnOnce(&mut ServiceSpec)) -> Vec<&'static str> {
        let mut spec = ServiceSpec::new("a", &["/usr/bin/a"]);
        change(&mut spec);
        spec.problems().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_rule_finds_its_mistake() {
        assert_eq!(keys(|_| {}), [""; 0]);
        assert_eq!(keys(|spec| spec.name = "../a".into()), ["name"]);
        assert_eq!(keys(|spec| spec.command.clear()), ["command"]);
        assert_eq!(keys(|spec| spec.command = vec!["sh".into(), "a\0".into()]), ["command", "command"]);
        assert_eq!(keys(|spec| spec.needs = vec!["a".into(), "B".into()]), ["needs", "needs"]);
        assert_eq!(keys(|spec| spec.ready = Some(ReadyWhen::Exited)), ["ready"]);
        assert_eq!(keys(|spec| spec.give_up.starts = 0), ["give-up"]);
        assert_eq!(keys(|spec| spec.watchdog_s = Some(Seconds::from_millis(0))), ["watchdog-s"]);
        assert_eq!(keys(|spec| spec.hidden = vec!["/a/../b".into()]), ["hidden"]);
        assert_eq!(keys(|spec| spec.cpu_weight = Some(0)), ["cpu-weight"]);
        assert_eq!(keys(|spec| spec.oom_score_adj = 1001), ["oom-score-adj"]);
        assert_eq!(keys(|spec| spec.pids_max = Some(0)), ["pids-max"]);
        let oneshot = |spec: &mut ServiceSpec| {
            spec.kind = Kind::Oneshot;
            spec.restart = Some(crate::Restart::Always);
        };
        assert_eq!(keys(oneshot), ["restart"]);
        assert_eq!(
            keys(|spec| drop(spec.environment.insert("NOTIFY_SOCKET".into(), "x".into()))),
            ["environment"]
        );
    }
}
