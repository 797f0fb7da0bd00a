//! What is there of each kind of thing that a service could leave behind. It only looks.

use std::fmt;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Long enough for PID 1 to close what others have let go of.
const SETTLE: Duration = Duration::from_secs(5);
/// Time between two looks.
const BETWEEN: Duration = Duration::from_millis(200);
/// Where the cgroups of services are.
const CGROUPS: &str = "/sys/fs/cgroup/lepton";
/// Where services and PID 1 write when there is no state partition.
const WRITTEN: [&str; 3] = ["/run/lepton", "/tmp", "/etc"];
/// Tables of sockets below `/proc/net`.
const SOCKETS: [&str; 9] = ["unix", "netlink", "packet", "raw", "raw6", "udp", "udp6", "tcp", "tcp6"];

/// One count of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    /// Descriptors of PID 1.
    fds: usize,
    cgroups: usize,
    zombies: usize,
    /// Processes that have a program, so no threads of the kernel.
    processes: usize,
    /// Mounts that PID 1 sees.
    mounts: usize,
    /// Sockets of the whole host.
    sockets: usize,
    files: usize,
}

impl Census {
    /// Counts until nothing changes: PID 1 closes its end of a connection a moment after its client does.
    pub(crate) fn settled() -> Result<Self, String> {
        let mut last = Self::take()?;
        loop {
            sleep(BETWEEN);
            let now = Self::take()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    /// Counts again: the same as before, with no zombie, or an error. What is only late gets some time to go; a leak stays.
    pub(crate) fn unchanged(&self) -> Result<String, String> {
        let deadline = Instant::now() + SETTLE;
        let mut now = Self::take()?;
        while (now != *self || now.zombies > 0) && Instant::now() < deadline {
            sleep(BETWEEN);
            now = Self::take()?;
        }
        let facts = format!("before: {self}; after: {now}");
        if now == *self && now.zombies == 0 { Ok(facts) } else { Err(facts) }
    }

    fn take() -> Result<Self, String> {
        let mut files = 0;
        for folder in WRITTEN {
            files += below(folder)?;
        }
        Ok(Self {
            fds: listed("/proc/1/fd")?.len(),
            cgroups: folders(CGROUPS)?,
            zombies: zombies()?,
            processes: processes()?,
            mounts: lines("/proc/1/mountinfo")?,
            sockets: sockets()?,
            files,
        })
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fds, cgroups, zombies, processes, mounts, sockets, files } = self;
        write!(
            f,
            "fds={fds} cgroups={cgroups} zombies={zombies} processes={processes} mounts={mounts} sockets={sockets} files={files}"
        )
    }
}

/// Processes that ended and that nobody reaped; looked at twice, because one may just be on its way.
pub(crate) fn zombies() -> Result<usize, String> {
    let count = || {
        let stats =
            pids()?.into_iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
        Ok::<_, String>(
            stats.filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))).count(),
        )
    };
    if count()? > 0 {
        sleep(Duration::from_millis(500));
    }
    count()
}

/// Cgroups that were removed and that the kernel still keeps, because memory is charged to them.
pub(crate) fn dying_cgroups() -> Result<usize, String> {
    let text = read("/sys/fs/cgroup/cgroup.stat")?;
    let number = text.lines().find_map(|line| line.strip_prefix("nr_dying_descendants "));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| format!("no dying cgroups in {text:?}"))
}

fn processes() -> Result<usize, String> {
    let programs = pids()?.into_iter().filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
    Ok(programs.filter(|command| !command.is_empty()).count())
}

/// Cgroups that this folder holds, and those below them.
fn folders(path: &str) -> Result<usize, String> {
    let paths = listed(path)?.into_iter().map(|name| format!("{path}/{name}"));
    let is_folder = |path: &String| fs::metadata(path).is_ok_and(|meta| meta.is_dir());
    // One that goes meanwhile holds nothing.
    Ok(paths.filter(is_folder).map(|path| 1 + folders(&path).unwrap_or(0)).sum())
}

/// Files and folders below this one. Links are not followed.
fn below(path: &str) -> Result<usize, String> {
    let mut count = 0;
    for name in listed(path)? {
        let path = format!("{path}/{name}");
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        count += 1 + if is_folder { below(&path)? } else { 0 };
    }
    Ok(count)
}

fn sockets() -> Result<usize, String> {
    let tables = SOCKETS.map(|name| format!("/proc/net/{name}")).into_iter();
    // A family that the kernel lacks has no sockets.
    tables.filter(|path| fs::exists(path).is_ok_and(|is_there| is_there)).map(|path| lines(&path)).sum()
}

fn lines(path: &str) -> Result<usize, String> {
    Ok(read(path)?.lines().count())
}

fn pids() -> Result<Vec<String>, String> {
    let names = listed("/proc")?.into_iter();
    Ok(names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "only counted and filtered; order does not matter")]
fn listed(path: &str) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
}
