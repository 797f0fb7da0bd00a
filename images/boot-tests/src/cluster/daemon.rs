//! A program of the cluster that runs until it is stopped, with its log in a file.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lepton_builder::sandbox::Sandbox;
use walkdir::WalkDir;

use super::ClusterError;

/// A program that was killed has ended by then.
const ENDS: Duration = Duration::from_secs(30);
/// Lines of its log that an error shows.
const TAIL: usize = 30;

/// The program.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    sandbox: Sandbox,
    /// Arguments besides those of the sandbox.
    more: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it; its log is `NAME.log` in `folder`.
    pub(crate) fn start(name: &'static str, sandbox: Sandbox, folder: &Path) -> Result<Self, ClusterError> {
        let log = folder.join(format!("{name}.log"));
        let mut daemon = Self { name, sandbox, more: Vec::new(), log, child: None };
        daemon.start_again()?;
        Ok(daemon)
    }

    /// Starts it when it does not run.
    pub(crate) fn start_again(&mut self) -> Result<(), ClusterError> {
        if self.child.is_some() {
            return Ok(());
        }
        let open = OpenOptions::new().append(true).create(true).open(&self.log);
        let log = open.map_err(ClusterError::file("open", &self.log))?;
        let errors = log.try_clone().map_err(ClusterError::file("open", &self.log))?;
        let process = self.sandbox.clone().args(&self.more).process();
        let child = process.spawn(Stdio::null(), log.into(), errors.into()).map_err(ClusterError::Start)?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it anew, with these arguments besides.
    pub(crate) fn run_with(&mut self, more: &[&str]) -> Result<(), ClusterError> {
        self.stop();
        self.more = more.iter().map(|&arg| arg.to_owned()).collect();
        self.start_again()
    }

    /// Kills it. The program in the sandbox ends a moment after the sandbox, and has its ports until then.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let below = descendants(child.id());
            // It may have ended by itself; both calls then do nothing.
            let _ = child.kill();
            let _ = child.wait();
            let deadline = Instant::now() + ENDS;
            while below.iter().any(|pid| task(*pid).exists()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Fails with the end of its log when it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), ClusterError> {
        match self.child.as_mut().map(Child::try_wait) {
            None | Some(Ok(None)) => Ok(()),
            Some(_) => Err(ClusterError::Ended { name: self.name, log: self.tail() }),
        }
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Everything that a process has started and what that has started (proc(5): `/proc/PID/task/TID/children`).
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        let threads = WalkDir::new(task(pid)).min_depth(1).max_depth(1).into_iter().flatten();
        for thread in threads {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            next.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        found.push(pid);
    }
    // The process itself is waited for.
    found.split_off(1)
}

fn task(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/task"))
}
