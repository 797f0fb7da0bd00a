//! One client of the control socket: bytes in, lines out, and never a wait.
//!
//! A client gets its next answer only when it has taken the last one, so that what PID 1 keeps for it has a bound.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use lepton_control::{Answer, MAX_REQUEST};

/// Bytes that are read of one client before others have their turn.
const TURN_BYTES: usize = 64 * 1024;
/// Bytes of log lines that wait for one client.
const AHEAD: usize = 64 * 1024;
/// A client that takes nothing for so long is dropped.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// The kernel's.
    Kernel,
    /// That of the process of this place.
    Process(usize),
    /// Changes of services.
    Changes,
}

/// What a client follows, and how far it is.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    /// What.
    pub(super) log: Log,
    /// Number of the next line, or change.
    pub(super) next: u64,
    /// Whether it waits for more.
    pub(super) follow: bool,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    pub(super) pid: u32,
    pub(super) cursor: Option<Cursor>,
    input: Vec<u8>,
    output: VecDeque<u8>,
    moved: Duration,
}

/// A client that is gone, or must go.
#[derive(Debug)]
pub(super) struct Gone;

impl Client {
    pub(super) fn new(stream: UnixStream, pid: u32, now: Duration) -> Self {
        Self { stream, pid, cursor: None, input: Vec::new(), output: VecDeque::new(), moved: now }
    }

    /// Whether it waits until it can be written to.
    pub(super) fn is_owed(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether log lines can be put into the queue.
    pub(super) fn has_room(&self) -> bool {
        self.output.len() < AHEAD
    }

    /// Bytes that wait for it.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// When it is dropped unless it takes something.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.is_owed().then(|| self.moved + PATIENCE)
    }

    /// Puts an answer into the queue.
    pub(super) fn push(&mut self, answer: &Answer) {
        self.push_line(&answer.to_line());
    }

    /// Puts an answer into the queue that is a line already.
    pub(super) fn push_line(&mut self, line: &str) {
        self.output.extend(line.as_bytes());
    }

    /// Writes what it takes.
    pub(super) fn flush(&mut self, now: Duration) -> Result<(), Gone> {
        while !self.output.is_empty() {
            let (part, _) = self.output.as_slices();
            match self.stream.write(part) {
                Ok(count) => {
                    self.output.drain(..count);
                    self.moved = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        self.moved = now;
        Ok(())
    }

    /// Reads what it sent, so much at most that others are not kept waiting.
    pub(super) fn fill(&mut self) -> Result<(), Gone> {
        let mut buffer = [0; 8 * 1024];
        let mut taken = 0;
        while taken < TURN_BYTES {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Gone),
                // While a log is followed nothing else can be asked.
                Ok(_) if self.cursor.is_some() => return Err(Gone),
                Ok(count) => {
                    taken += count;
                    self.input.extend_from_slice(&buffer[..count]);
                    if self.input.len() > MAX_REQUEST + 1 && !self.input.contains(&b'\n') {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    /// The next whole line, or one that is too long to be a request.
    pub(super) fn line(&mut self) -> Option<Vec<u8>> {
        match self.input.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                Some(line)
            }
            None if self.input.len() > MAX_REQUEST => Some(std::mem::take(&mut self.input)),
            None => None,
        }
    }
}

/// The process at the other end, if it belongs to root.
pub(super) fn root_peer(stream: &UnixStream) -> io::Result<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    match u32::try_from(peer.pid.as_raw_nonzero().get()) {
        Ok(pid) if peer.uid.is_root() => Ok(pid),
        _ => Err(ErrorKind::PermissionDenied.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_in_pieces_and_a_slow_reader_never_blocks() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours, 1, Duration::ZERO);
        theirs.write_all(b"one\ntw").unwrap();
        client.fill().unwrap();
        assert_eq!(client.line().as_deref(), Some(&b"one"[..]));
        assert_eq!(client.line(), None);
        theirs.write_all(b"o\n").unwrap();
        client.fill().unwrap();
        assert_eq!(client.line().as_deref(), Some(&b"two"[..]));

        let text = "x".repeat(1000);
        for _ in 0..2000 {
            client.push(&Answer::Line(lepton_control::LogLine::new(0, text.as_str())));
        }
        client.flush(Duration::from_secs(1)).unwrap();
        assert!(client.is_owed());
        assert_eq!(client.deadline(), Some(Duration::from_secs(31)));
        drop(theirs);
        assert!(client.flush(Duration::from_secs(2)).is_err());
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours, 1, Duration::ZERO);
        let mut line = None;
        for _ in 0..1000 {
            let _ = theirs.write(&[b'x'; 4096]);
            client.fill().unwrap();
            line = line.or_else(|| client.line());
        }
        assert!(line.unwrap().len() > MAX_REQUEST);
    }
}
