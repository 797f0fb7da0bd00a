//! Workloads of many users, each a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{as_user, command};
use crate::workload::Work;

/// A thousand processes on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(300);

/// Processes that run until this is dropped, or they end.
pub(crate) struct Crowd {
    children: Vec<Child>,
    lines: Receiver<String>,
}

/// What a workload has seen: an SVID that is good.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Update {
    pub(crate) user: u32,
    /// When it came, in microseconds since 1970.
    pub(crate) at_us: u64,
    /// Until when it is good, in seconds since 1970.
    pub(crate) until_s: u64,
}

impl Update {
    fn parse(line: &str) -> Result<Self, String> {
        let mut numbers = line.split(' ').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(user)), Some(Ok(at_us)), Some(Ok(until_s)), None) => {
                Ok(Self { user: u32::try_from(user).map_err(|_| line.to_owned())?, at_us, until_s })
            }
            _ => Err(line.to_owned()),
        }
    }
}

impl Crowd {
    /// Starts one for each user.
    pub(crate) fn start(client: &Path, socket: &Path, work: &Work, users: impl Iterator<Item = u32>) -> Self {
        // One pipe for all: lines are shorter than what the kernel writes in one piece.
        let (reader, writer) = std::io::pipe().unwrap();
        let words = work.words(socket);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = |user| {
            let mut command = as_user(command(client, &words), user);
            command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap());
            command.spawn().unwrap_or_else(|error| panic!("cannot start {client:?}: {error}"))
        };
        let (send, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { children: users.map(start).collect(), lines }
    }

    /// The next line of any of them.
    pub(crate) fn next(&self, deadline: Instant) -> Option<String> {
        self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    /// What each of them says when it says one thing.
    pub(crate) fn answers(mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let count = self.children.len();
        let answers: Vec<String> = (0..count).map_while(|_| self.next(deadline)).collect();
        assert_eq!(answers.len(), count, "some workloads have failed: {answers:?}");
        for child in &mut self.children {
            child.wait().unwrap();
        }
        answers
    }

    /// Waits until each has an SVID.
    pub(crate) fn first_updates(&self) -> BTreeMap<u32, Update> {
        let deadline = Instant::now() + PATIENCE;
        let mut first = BTreeMap::new();
        while first.len() < self.children.len() {
            let line = self.next(deadline);
            let line = line.unwrap_or_else(|| panic!("{} workloads have an SVID, no more", first.len()));
            let update = Update::parse(&line).unwrap();
            let before = first.insert(update.user, update);
            assert!(before.is_none(), "SVIDs were made anew before all workloads had begun");
        }
        first
    }

    /// The next update, or what a workload has lost.
    pub(crate) fn update(&self, deadline: Instant) -> Option<Result<Update, String>> {
        self.next(deadline).map(|line| Update::parse(&line))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}
