//! Programs that run beside a test: their output is a file, and they end with what holds them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(50);
/// A machine that does other things, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs.
pub(crate) struct Daemon {
    child: Child,
    name: String,
}

impl Daemon {
    /// Starts it; what it writes is appended to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { child, name }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name} {}", self.name);
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let mut ended = None;
        until(&format!("{} to end", self.name), PATIENCE, || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, patience: Duration, mut look: impl FnMut() -> bool) {
    let start = Instant::now();
    while !look() {
        assert!(start.elapsed() < patience, "timed out after {patience:?} waiting for {what}");
        thread::sleep(LOOK);
    }
}

/// What a program that ended wrote, and how it ended.
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl Said {
    /// Its output, when it ended well.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }
}

/// Runs a program to its end.
pub(crate) fn run(mut command: Command) -> Said {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// A program with arguments.
pub(crate) fn command(program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args.iter().map(OsStr::new));
    command
}

/// The same as another user, with nothing of root's.
pub(crate) fn as_user(mut command: Command, uid: u32) -> Command {
    command.uid(uid).gid(uid).env_remove("HOME");
    command
}

/// A port of 127.0.0.1 that nobody uses.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
