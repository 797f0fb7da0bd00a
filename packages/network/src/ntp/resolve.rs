//! Names of NTP servers to addresses. The C library's resolver waits, so it has a thread of its own.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

const PORT: u16 = 123;
/// The resolver of musl needs some tens of KiB.
const STACK: usize = 256 * 1024;
/// Addresses taken of one name: pools give many.
const MOST: usize = 4;

/// Names with their addresses; an empty list is a failure.
type Answer = (String, Vec<SocketAddr>);

/// Resolves names beside the main loop.
#[derive(Debug)]
pub struct Resolver {
    questions: Option<Sender<String>>,
    answers: Receiver<Answer>,
    wake: UnixStream,
    under_way: BTreeSet<String>,
}

impl Resolver {
    /// A resolver; its thread starts with the first name that is no address.
    pub fn new() -> std::io::Result<Self> {
        let (questions, asked) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        thread::Builder::new().name("resolver".into()).stack_size(STACK).spawn(move || {
            while let Ok(name) = asked.recv() {
                let found = (name.as_str(), PORT).to_socket_addrs().map(|all| all.take(MOST).collect());
                if answer.send((name, found.unwrap_or_default())).is_err() {
                    return;
                }
                // A full pipe has woken the loop already.
                let _ = std::io::Write::write(&mut &woken, &[1]);
            }
        })?;
        Ok(Self { questions: Some(questions), answers, wake, under_way: BTreeSet::new() })
    }

    /// Asks for a name, or answers at once when it is an address.
    pub fn ask(&mut self, name: &str) -> Option<SocketAddr> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Some(SocketAddr::new(address, PORT));
        }
        if self.under_way.insert(name.to_owned())
            && let Some(questions) = &self.questions
        {
            // The thread lives as long as this sender.
            let _ = questions.send(name.to_owned());
        }
        None
    }

    /// Answers that have come.
    pub fn answers(&mut self) -> Vec<Answer> {
        let mut bytes = [0; 64];
        while std::io::Read::read(&mut &self.wake, &mut bytes).is_ok_and(|count| count > 0) {}
        let answers: Vec<Answer> = self.answers.try_iter().collect();
        for (name, _) in &answers {
            self.under_way.remove(name);
        }
        answers
    }
}

impl AsFd for Resolver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
