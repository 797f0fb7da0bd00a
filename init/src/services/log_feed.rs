//! The lines of all logs on their way to the process that keeps them in files (`log_files.rs`).
//!
//! That process waits for the disk, so that PID 1 does not: between the two is a pipe, which is written to only while it
//! has room. What waits meanwhile is in the rings; a line that leaves its ring before it could be sent is counted, and
//! the file says so.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use lepton_control::LogLine;

use super::log::Ring;
use super::spawn::SELF;
use crate::clock::millis;
use crate::kmsg;
use crate::log_files::{self, KERNEL};

/// Bytes that are taken out of the rings at once.
const AHEAD: usize = 16 * 1024;
/// Between two looks at a pipe that is full.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Before a process that ended is replaced.
const RESTART: Duration = Duration::from_secs(10);

/// The pipe, and how far each log was sent.
#[derive(Debug, Default)]
pub(super) struct LogFeed {
    pipe: Option<File>,
    pid: Option<u32>,
    /// When the process may be started; none while logs are kept in memory only.
    start_at: Option<Duration>,
    waiting: Vec<u8>,
    /// Number of the next line of each log, the kernel's first.
    next: Vec<u64>,
}

impl LogFeed {
    /// Lets the process be started: there is a place for files.
    pub(super) fn enable(&mut self, now: Duration) {
        self.start_at.get_or_insert(now);
    }

    /// When [`LogFeed::feed`] has something to do although nothing happened.
    pub(super) fn deadline(&self, now: Duration) -> Option<Duration> {
        match &self.pipe {
            Some(_) => (!self.waiting.is_empty()).then(|| now + LOOK_EVERY),
            None => self.start_at,
        }
    }

    /// Sends what the pipe takes. `logs` are the rings by the names of their files, always in the same order.
    pub(super) fn feed<'a>(
        &mut self,
        logs: impl Iterator<Item = (&'a str, &'a Ring)> + Clone,
        now: Duration,
    ) {
        if self.pipe.is_none() && self.start_at.is_some_and(|at| at <= now) {
            self.start(now);
        }
        while self.pipe.is_some() {
            if self.waiting.is_empty() {
                self.take(logs.clone(), now);
            }
            if self.waiting.is_empty() || !self.write(now) {
                return;
            }
        }
    }

    /// A child ended; true when it was this one's.
    pub(super) fn exited(&mut self, pid: u32, now: Duration) -> bool {
        let is_ours = self.pid == Some(pid);
        if is_ours {
            kmsg::warn("the process that writes log files ended; another one is started");
            self.close(now);
        }
        is_ours
    }

    /// Ends it: the process writes what it has and goes.
    pub(super) fn finish(&mut self) {
        (self.pipe, self.start_at) = (None, None);
    }

    fn close(&mut self, now: Duration) {
        (self.pipe, self.pid) = (None, None);
        // A half line would be read as one by the next process.
        self.waiting.clear();
        self.start_at = Some(now + RESTART);
    }

    fn start(&mut self, now: Duration) {
        match spawn() {
            Ok((pid, pipe)) => (self.pid, self.pipe) = (Some(pid), Some(pipe)),
            Err(error) => {
                kmsg::warn(&format!("cannot keep log files: {error}"));
                self.start_at = Some(now + RESTART);
            }
        }
    }

    /// Takes lines out of the rings.
    fn take<'a>(&mut self, logs: impl Iterator<Item = (&'a str, &'a Ring)>, now: Duration) {
        for (place, (name, ring)) in logs.enumerate() {
            if place == self.next.len() {
                self.next.push(0);
            }
            let next = &mut self.next[place];
            if *next < ring.first() {
                let text = format!("lepton: {} lines are not in this file", ring.first() - *next);
                log_files::frame(&mut self.waiting, name, &LogLine::new(millis(now), text));
                *next = ring.first();
            }
            while self.waiting.len() < AHEAD
                && let Some(line) = ring.get(*next)
            {
                log_files::frame(&mut self.waiting, name, line);
                *next += 1;
            }
        }
    }

    /// Writes what waits; whether all of it is gone.
    fn write(&mut self, now: Duration) -> bool {
        while let Some(pipe) = &mut self.pipe
            && !self.waiting.is_empty()
        {
            match pipe.write(&self.waiting) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // Its end comes as that of any child.
                Err(_) => {
                    self.close(now);
                    return false;
                }
            }
        }
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "the child is this program, and is reaped as any other")]
fn spawn() -> io::Result<(u32, File)> {
    let (reader, pipe) = io::pipe()?;
    let pipe = File::from(OwnedFd::from(pipe));
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let mut command = Command::new(SELF);
    command.arg0(log_files::NAME).env_clear();
    command.stdin(Stdio::from(reader)).stdout(Stdio::null()).stderr(Stdio::null());
    Ok((command.spawn()?.id(), pipe))
}

/// The name of the kernel's log, before those of the services.
pub(super) const FIRST: &str = KERNEL;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn ring(texts: &[&str]) -> Ring {
        let mut ring = Ring::new(200);
        texts.iter().for_each(|&text| ring.push(LogLine::new(1, text)));
        ring
    }

    #[test]
    fn a_full_pipe_keeps_nobody_waiting_and_what_is_lost_is_counted() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let pipe = File::from(OwnedFd::from(pipe));
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let mut feed = LogFeed { pipe: Some(pipe), ..LogFeed::default() };
        let now = Duration::from_secs(1);
        let (kernel, mut service) = (ring(&["k"]), ring(&["a"]));
        feed.feed([("", &kernel), ("s", &service)].into_iter(), now);
        assert_eq!(feed.deadline(now), None);
        let mut text = [0; 100];
        let length = reader.read(&mut text).unwrap();
        assert_eq!(&text[..length], b"\t1\tk\ns\t1\ta\n");

        // Nobody reads: the pipe fills, and the ring goes on.
        for number in 0..100_000 {
            service.push(LogLine::new(2, format!("line {number}")));
            feed.feed([("", &kernel), ("s", &service)].into_iter(), now);
        }
        assert_eq!(feed.deadline(now), Some(now + LOOK_EVERY));
        let mut all = Vec::new();
        let mut chunk = vec![0; 1 << 20];
        while feed.deadline(now).is_some() {
            let length = reader.read(&mut chunk).unwrap();
            all.extend_from_slice(&chunk[..length]);
            feed.feed([("", &kernel), ("s", &service)].into_iter(), now);
        }
        feed.finish();
        reader.read_to_end(&mut all).unwrap();
        let all = String::from_utf8(all).unwrap();
        let lost = all.lines().find_map(|line| {
            line.strip_prefix("s\t1000\tlepton: ")?
                .strip_suffix(" lines are not in this file")?
                .parse::<usize>()
                .ok()
        });
        let kept = all.lines().filter(|line| line.starts_with("s\t2\tline ")).count();
        assert_eq!(kept + lost.unwrap(), 100_000);
        assert!(all.ends_with("s\t2\tline 99999\n"));
    }
}
