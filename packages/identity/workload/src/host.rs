//! What /proc tells of processes (proc(5)). Nothing here decides anything.
//!
//! A process may end while it is looked at, and its number may be given to another one: callers hold a descriptor of the
//! process and ask, after they have read, whether it is still alive. Then all that was read was its own.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// No file of /proc that is read here is longer.
const LONGEST: u64 = 64 * 1024;

/// Where /proc is, and which process has the host's own namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    proc: PathBuf,
    first: u32,
}

/// A namespace, or a file: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of that file.
    pub(crate) fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Kinds of namespaces that tell a container from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// Process numbers.
    Pid,
    /// Users.
    User,
    /// Mounts.
    Mount,
}

impl Namespace {
    fn file(self) -> &'static str {
        match self {
            Self::Pid => "pid",
            Self::User => "user",
            Self::Mount => "mnt",
        }
    }
}

impl Default for Host {
    /// The host as PID 1 sees it. Who may not look at PID 1 (that needs CAP_SYS_PTRACE) takes its own view for the host's:
    /// then processes with another view of mounts are no processes of the host, and get less, not more.
    fn default() -> Self {
        let host = Self::of_process(1);
        match host.namespace(1, Namespace::Mount) {
            Ok(_) => host,
            Err(_) => Self::of_process(std::process::id()),
        }
    }
}

impl Host {
    /// The host as the process of that number sees it.
    pub fn of_process(first: u32) -> Self {
        Self { proc: "/proc".into(), first }
    }

    fn path(&self, pid: u32, name: &str) -> PathBuf {
        self.proc.join(pid.to_string()).join(name)
    }

    fn read(&self, pid: u32, name: &str) -> io::Result<String> {
        let mut text = Vec::new();
        File::open(self.path(pid, name))?.take(LONGEST).read_to_end(&mut text)?;
        // Names of programs and cgroups may be any bytes.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The process's cgroup, from the root of the hierarchy; none without cgroup v2.
    pub(crate) fn cgroup(&self, pid: u32) -> io::Result<Option<String>> {
        Ok(cgroup_of(&self.read(pid, "cgroup")?).map(str::to_owned))
    }

    /// When the process started, in the kernel's ticks since the host's start.
    pub(crate) fn start(&self, pid: u32) -> io::Result<u64> {
        start_of(&self.read(pid, "stat")?).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// The process's effective user and group.
    pub(crate) fn user(&self, pid: u32) -> io::Result<(u32, u32)> {
        user_of(&self.read(pid, "status")?).ok_or_else(|| ErrorKind::InvalidData.into())
    }

    /// A namespace of a process.
    pub(crate) fn namespace(&self, pid: u32, kind: Namespace) -> io::Result<FileId> {
        Ok(FileId::of(&fs::metadata(self.path(pid, "ns").join(kind.file()))?))
    }

    /// A namespace of the host.
    pub(crate) fn own_namespace(&self, kind: Namespace) -> io::Result<FileId> {
        match kind {
            // The agent has a view of mounts of its own, as most services have.
            Namespace::Mount => self.namespace(self.first, kind),
            // These it shares with the host; PID 1's may be hidden from who lacks CAP_SYS_PTRACE.
            Namespace::Pid | Namespace::User => self.namespace(std::process::id(), kind),
        }
    }

    /// The program that a process runs.
    pub(crate) fn program(&self, pid: u32) -> io::Result<FileId> {
        Ok(FileId::of(&fs::metadata(self.path(pid, "exe"))?))
    }

    /// The program that a process runs, to be read, and the path that the kernel has for it.
    pub(crate) fn open_program(&self, pid: u32) -> io::Result<(File, PathBuf)> {
        let link = self.path(pid, "exe");
        let file = File::open(&link)?;
        // Asked of the open file, so that both are of one program.
        use std::os::fd::AsRawFd as _;
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok((file, path))
    }

    /// A path as the host sees it.
    pub(crate) fn host_path(&self, path: &Path) -> PathBuf {
        self.path(self.first, "root").join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The path in the line of cgroup v2 (cgroups(7)).
pub(crate) fn cgroup_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Field 22. The name in field 2 is in parentheses, and may hold spaces and parentheses itself.
pub(crate) fn start_of(text: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Second numbers of the lines `Uid:` and `Gid:`.
pub(crate) fn user_of(text: &str) -> Option<(u32, u32)> {
    let effective = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    Some((effective("Uid:")?, effective("Gid:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc() {
        assert_eq!(cgroup_of("4:memory:/a\n0::/lepton/web\n"), Some("/lepton/web"));
        assert_eq!(cgroup_of("4:memory:/a\n"), None);
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(start_of(&format!("12 (a) S 1) {rest}")), Some(4711));
        assert_eq!(start_of("12 (a)"), None);
        assert_eq!(user_of("Name:\ta\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"), Some((2, 6)));
        assert_eq!(user_of("Uid:\t1\n"), None);
    }

    #[test]
    fn a_process_sees_itself() {
        let pid = std::process::id();
        let host = Host::of_process(pid);
        let expected = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        assert_eq!(host.user(pid).unwrap(), expected);
        assert!(host.start(pid).unwrap() > 0);
        for kind in [Namespace::Pid, Namespace::User, Namespace::Mount] {
            assert_eq!(host.namespace(pid, kind).unwrap(), host.own_namespace(kind).unwrap());
        }
        let (file, path) = host.open_program(pid).unwrap();
        assert_eq!(path, std::env::current_exe().unwrap());
        assert_eq!(FileId::of(&file.metadata().unwrap()), host.program(pid).unwrap());
        assert_eq!(FileId::of(&fs::metadata(host.host_path(&path)).unwrap()), host.program(pid).unwrap());
    }
}
