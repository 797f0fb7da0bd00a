//! What the host shows of its containers: processes, mounts, cgroups, files; and PID 1's word on the runtime.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{Answer, Client, LogLine, LogName, Request, ServiceState, ServiceStatus};

/// Nothing here takes longer, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);
/// Long enough for what ends to be gone.
const SETTLE: Duration = Duration::from_secs(5);
/// The service that is judged.
const RUNTIME: &str = "runtime";
/// Folders that have an entry for each pod or container.
const FOLDERS: [&str; 6] = [
    "/run/lepton/runtime/pods",
    "/run/lepton/runtime/containers",
    "/run/lepton/runtime/oci",
    "/var/lib/lepton/runtime/pods",
    "/var/lib/lepton/runtime/containers",
    "/sys/class/net",
];

/// How much of the host containers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    shims: usize,
    mounts: usize,
    cgroups: usize,
    entries: usize,
}

impl Taken {
    /// Now.
    pub(crate) fn now() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
        let mut entries = 0;
        for folder in FOLDERS {
            // The bridge stays for the next pod.
            entries += names(Path::new(folder)).iter().filter(|name| *name != "cni0").count();
        }
        Ok(Self { shims: shims(), mounts: mounts.lines().count(), cgroups: cgroups(), entries })
    }

    /// What is taken when that is as wanted, or does not become so: a process that was let go ends a moment later.
    pub(crate) fn settled(wanted: impl Fn(Self) -> bool) -> Result<Self, String> {
        let start = Instant::now();
        loop {
            let now = Self::now()?;
            if wanted(now) || start.elapsed() > SETTLE {
                return Ok(now);
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Whether no shim runs and no cgroup of a pod is there.
    pub(crate) fn is_idle(self) -> bool {
        self.shims == 0 && self.cgroups == 0
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shims, mounts, cgroups, entries } = self;
        write!(f, "shims={shims} mounts={mounts} cgroups={cgroups} entries={entries}")
    }
}

fn shims() -> usize {
    let comms = names(Path::new("/proc")).into_iter().map(|pid| format!("/proc/{pid}/comm"));
    comms
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter(|comm| comm.starts_with("runtime-"))
        .filter(|comm| comm.trim() != "runtime-tests")
        .count()
}

/// Cgroups of pods and shims; the folders that hold them stay.
fn cgroups() -> usize {
    let top = Path::new("/sys/fs/cgroup");
    let parents = names(top).into_iter().filter(|name| name != "lepton" && top.join(name).is_dir());
    parents.map(|name| below(&top.join(name))).sum()
}

fn below(folder: &Path) -> usize {
    let children = names(folder).into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
    children.map(|child| 1 + below(&child)).sum()
}

#[expect(clippy::disallowed_methods, reason = "only counted and filtered; order does not matter")]
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Memory that the runtime and all shims are charged for, in KiB.
pub(crate) fn memory() -> String {
    let kib = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}/memory.current")).unwrap_or_default();
        text.trim().parse::<u64>().map_or_else(|_| "unknown".to_owned(), |bytes| (bytes >> 10).to_string())
    };
    format!("runtime-kib={} shims-kib={}", kib("lepton/runtime"), kib("runtime-shims"))
}

/// Does something that ends the runtime's process, and waits until there is another one that is ready.
pub(crate) fn replaced(end: impl FnOnce(u32) -> Result<(), String>) -> Result<Duration, String> {
    let was = service(RUNTIME)?;
    let start = Instant::now();
    end(was.pid.ok_or("the runtime has no process")?)?;
    loop {
        let now = service(RUNTIME)?;
        if now.pid.is_some() && now.pid != was.pid && now.state == ServiceState::Ready {
            return Ok(start.elapsed());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("the runtime does not come back: {now:?}"));
        }
        sleep(Duration::from_millis(20));
    }
}

/// Asks PID 1 for another process.
pub(crate) fn restart(_: u32) -> Result<(), String> {
    ask(&Request::Restart { name: RUNTIME.to_owned() }).map(drop)
}

/// Ends the process without a warning.
pub(crate) fn kill(pid: u32) -> Result<(), String> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).ok_or("the runtime has no process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).map_err(|error| error.to_string())
}

/// The end of what a service printed.
pub(crate) fn log(service: &str) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let each = |line: LogLine| {
        lines.push(line.text);
        true
    };
    let name = LogName::Service(service.to_owned());
    let client = Client::connect().map_err(|error| error.to_string())?;
    client.logs(name, false, Some(40), each).map_err(|error| error.to_string())?;
    Ok(lines)
}

/// What PID 1 knows of a service.
pub(crate) fn service(name: &str) -> Result<ServiceStatus, String> {
    match ask(&Request::Service { name: name.to_owned() })? {
        Answer::Service(status) => Ok(*status),
        other => Err(format!("unexpected answer {other:?}")),
    }
}

fn ask(request: &Request) -> Result<Answer, String> {
    let mut client = Client::connect().map_err(|error| error.to_string())?;
    client.ask(request).map_err(|error| error.to_string())
}
