//! One cgroup for each service (cgroup-v2 of the kernel's admin guide): what it may use, and the way to reach all of it.

use std::fs;
use std::io;
use std::path::PathBuf;

use lepton_service_spec::Limits;

use crate::files;

/// The cgroup that holds those of the services.
const TOP: &str = "/sys/fs/cgroup/lepton";
/// Controllers that limits need.
const CONTROLLERS: [&str; 3] = ["+cpu", "+memory", "+pids"];
/// Accounting period of `cpu.max`, the kernel's own default, in microseconds.
const PERIOD_US: u64 = 100_000;

/// Makes the top cgroup and gives its children controllers; what the kernel lacks is reported.
pub fn prepare() -> Vec<String> {
    let mut errors = Vec::new();
    if let Err(error) = fs::create_dir_all(TOP) {
        errors.push(format!("cannot make {TOP}: {error}"));
    }
    for dir in ["/sys/fs/cgroup", TOP] {
        for controller in CONTROLLERS {
            if let Err(error) = fs::write(format!("{dir}/cgroup.subtree_control"), controller) {
                errors.push(format!("cannot enable {controller} in {dir}: {error}"));
            }
        }
    }
    errors
}

/// The service whose cgroup, or one below it, the text of `/proc/PID/cgroup` names.
pub fn service_of(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.strip_prefix("/lepton/")?.split('/').next().filter(|name| !name.is_empty())
}

/// The service that a process belongs to.
pub fn service_of_process(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    service_of(&text).map(str::to_owned)
}

/// The cgroup of one service.
#[derive(Clone, Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The cgroup of the service of this name; it need not exist.
    pub fn of(name: &str) -> Self {
        Self(PathBuf::from(TOP).join(name))
    }

    /// Its path.
    pub fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// Makes it and sets its limits; every limit is set, so that one that is gone from the table is gone here, too.
    pub fn make(&self, limits: &Limits) -> io::Result<()> {
        match fs::create_dir(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        values(limits).into_iter().try_for_each(|(file, value, wanted)| {
            match fs::write(self.0.join(file), value) {
                Err(error) if wanted => {
                    Err(io::Error::new(error.kind(), format!("cannot set {file}: {error}")))
                }
                // A kernel without the controller has no file to set back.
                _ => Ok(()),
            }
        })
    }

    /// Kills every process in it; one that is gone is fine.
    pub fn kill(&self) -> io::Result<()> {
        match fs::write(self.0.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Whether no process is in it or below it.
    pub fn is_empty(&self) -> bool {
        match fs::read_to_string(self.0.join("cgroup.events")) {
            Ok(text) => text.lines().any(|line| line == "populated 0"),
            Err(_) => true,
        }
    }

    /// Removes it with those below it; what still has processes stays.
    pub fn remove(&self) {
        let mut dirs = vec![self.0.clone()];
        let mut next = 0;
        while let Some(dir) = dirs.get(next).cloned() {
            let names = files::list_dir(&dir).unwrap_or_default();
            dirs.extend(names.into_iter().map(|name| dir.join(name)).filter(|path| path.is_dir()));
            next += 1;
        }
        for dir in dirs.iter().rev() {
            // A cgroup that is busy is tried again when its service is emptied next.
            let _ = fs::remove_dir(dir);
        }
    }

    /// Memory it uses, in KiB.
    pub fn memory_kb(&self) -> Option<u64> {
        self.number("memory.current").map(|bytes| bytes / 1024)
    }

    /// Processes and threads in it.
    pub fn tasks(&self) -> Option<u64> {
        self.number("pids.current")
    }

    fn number(&self, file: &str) -> Option<u64> {
        files::read_value(self.0.join(file)).ok()?.parse().ok()
    }
}

/// Files, their values, and whether the value was asked for.
fn values(limits: &Limits) -> Vec<(&'static str, String, bool)> {
    let mib = |limit: Option<u32>| limit.map(|mib| (u64::from(mib) << 20).to_string());
    let cpu =
        limits.cpu_max_percent.map(|percent| format!("{} {PERIOD_US}", u64::from(percent) * PERIOD_US / 100));
    let limited = limits.memory_max_mib.is_some();
    let rows = [
        ("memory.max", mib(limits.memory_max_mib), "max"),
        ("memory.high", mib(limits.memory_high_mib), "max"),
        // The processes of a service depend on each other: half a service is worse than one that starts again.
        ("memory.oom.group", limited.then(|| "1".to_owned()), "0"),
        ("cpu.weight", limits.cpu_weight.map(|weight| weight.to_string()), "100"),
        ("cpu.max", cpu, "max"),
        ("pids.max", limits.pids_max.map(|count| count.to_string()), "max"),
    ];
    let value = |(file, value, unlimited): (&'static str, Option<String>, &str)| {
        let wanted = value.is_some();
        (file, value.unwrap_or_else(|| unlimited.to_owned()), wanted)
    };
    rows.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_by_cgroup() {
        for (text, service) in [
            ("0::/lepton/network\n", Some("network")),
            ("1:x:/a\n0::/lepton/runtime/pod/a\n", Some("runtime")),
            ("0::/\n", None),
            ("0::/lepton\n", None),
            ("0::/lepton/\n", None),
            ("0::/pods/lepton/a\n", None),
            ("", None),
        ] {
            assert_eq!(service_of(text), service, "{text:?}");
        }
    }

    #[test]
    fn limits_in_the_words_of_the_kernel() {
        let limits = Limits { memory_max_mib: Some(64), cpu_max_percent: Some(150), ..Limits::default() };
        let set = values(&limits);
        let of = |file: &str| set.iter().find(|(name, ..)| *name == file).map(|(_, value, _)| value.as_str());
        assert_eq!(of("memory.max"), Some("67108864"));
        assert_eq!(of("memory.oom.group"), Some("1"));
        assert_eq!(of("cpu.max"), Some("150000 100000"));
        assert_eq!(of("pids.max"), Some("max"));
    }
}
