//! A host's folders, and the program that reads them.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// For what comes at once, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The pod whose container writes.
pub(crate) const POD: &str = "shop_web-1_c7e4c2a1";

pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Host {
    /// A host with this machine config.
    pub(crate) fn new(config: &str) -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap(), child: None };
        for folder in ["pods", "containers", "host/services"] {
            fs::create_dir_all(host.path(folder)).unwrap();
        }
        fs::create_dir_all(host.log().parent().unwrap()).unwrap();
        host.configure(config);
        host
    }

    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("new.toml"), config).unwrap();
        fs::rename(self.path("new.toml"), self.path("config.toml")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The log of the container `app`.
    pub(crate) fn log(&self) -> PathBuf {
        self.path(&format!("pods/{POD}/app/0.log"))
    }

    #[expect(clippy::disallowed_methods, reason = "it is the program that is tested")]
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none());
        let mut command = Command::new(env!("CARGO_BIN_EXE_lepton-logs"));
        for (word, name) in [
            ("--machine-config", "config.toml"),
            ("--state", "state"),
            ("--pods", "pods"),
            ("--containers", "containers"),
            ("--host-logs", "host"),
            ("--control", "control.sock"),
            ("--workload", "workload.sock"),
            ("--metrics", "metrics.sock"),
        ] {
            command.arg(word).arg(self.path(name));
        }
        let said = OpenOptions::new().append(true).create(true).open(self.path("said")).unwrap();
        self.child = Some(command.stdin(Stdio::null()).stderr(said).spawn().unwrap());
    }

    /// What the program printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// SIGKILL, as a crash is.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.said());
    }

    /// Waits for the program's own end.
    pub(crate) fn ended(&mut self) -> bool {
        let mut child = self.child.take().unwrap();
        let start = Instant::now();
        while start.elapsed() < SOON {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        false
    }

    /// All figures.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        if let Ok(mut stream) = UnixStream::connect(self.path("metrics.sock")) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.read_to_string(&mut text);
        }
        text
    }

    /// A figure of a destination.
    pub(crate) fn figure(&self, name: &str, destination: &str) -> u64 {
        let start = format!("lepton_logs_{name}{{destination=\"{destination}\"}} ");
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// The sum of a figure over all sources.
    pub(crate) fn of_sources(&self, name: &str) -> u64 {
        let start = format!("lepton_logs_{name}{{");
        let metrics = self.metrics();
        let of = metrics.lines().filter(|line| line.starts_with(&start));
        of.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    /// Most memory that the program had, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the program said:\n{}", self.said());
        }
    }
}

/// Adds entries with these numbers to a container's log.
pub(crate) fn write_lines(path: &Path, numbers: std::ops::Range<u64>) {
    let mut text = String::new();
    for number in numbers {
        text += &format!("2026-11-30T10:00:00.{number:09}Z stdout F line {number}\n");
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
