//! Input and output of one container: pipes or a terminal on one side, its log and whoever is attached on the other.
//!
//! What an attached client does not take in time holds the container back, as a terminal would; a client that is gone
//! is dropped. It must not lose output between a container's end and its log's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::log::{Log, Stream};

/// How much is read at once.
const CHUNK: usize = 16 * 1024;

/// One end of something, as the loop waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What the container writes.
    Output(Side),
    /// What the container reads.
    Input,
    /// What the client of this place sends.
    Client(usize),
    /// Where the client of this place gets output.
    ClientOutput(usize, Side),
}

/// Output or errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Out,
    Err,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Out, Self::Err];

    fn stream(self) -> Stream {
        match self {
            Self::Out => Stream::Stdout,
            Self::Err => Stream::Stderr,
        }
    }
}

/// Somebody who takes part.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) input: Option<OwnedFd>,
    pub(super) outputs: [Option<OwnedFd>; 2],
    waiting: [Vec<u8>; 2],
}

impl Client {
    pub(super) fn new(input: Option<OwnedFd>, outputs: [Option<OwnedFd>; 2]) -> Self {
        Self { input, outputs, waiting: [Vec::new(), Vec::new()] }
    }

    fn is_gone(&self) -> bool {
        self.input.is_none() && self.outputs.iter().all(Option::is_none)
    }

    /// Closes what it has taken everything from.
    fn end(&mut self) {
        for side in Side::BOTH {
            if self.waiting[side as usize].is_empty() {
                self.outputs[side as usize] = None;
            }
        }
    }

    /// Gives it what waits; what it does not take stays.
    fn flush(&mut self, side: Side) {
        let place = side as usize;
        let Some(output) = &self.outputs[place] else {
            self.waiting[place].clear();
            return;
        };
        while !self.waiting[place].is_empty() {
            match rustix::io::write(output, &self.waiting[place]) {
                Ok(count) => drop(self.waiting[place].drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.outputs[place] = None;
                    self.waiting[place].clear();
                    return;
                }
            }
        }
    }
}

/// Input and output of one container.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) outputs: [Option<OwnedFd>; 2],
    pub(super) input: Option<OwnedFd>,
    pub(super) log: Option<Log>,
    /// The input ends with the first client whose input ends.
    pub(super) once: bool,
    pub(super) tty: bool,
    typed: Vec<u8>,
    closing: bool,
    /// The container has ended, and so does each output of a client that has taken everything.
    over: bool,
    clients: Vec<Client>,
}

impl Streams {
    pub(super) fn new(log: Option<Log>, once: bool, tty: bool) -> Self {
        Self { log, once, tty, ..Self::default() }
    }

    /// Lets somebody take part.
    pub(super) fn attach(&mut self, client: Client) -> io::Result<()> {
        for descriptor in client.outputs.iter().flatten().chain(&client.input) {
            nonblocking(descriptor)?;
        }
        self.clients.push(client);
        Ok(())
    }

    /// What the loop waits for.
    pub(super) fn waits(&self) -> Vec<(BorrowedFd<'_>, PollFlags, End)> {
        let mut waits = Vec::new();
        let held_back =
            self.clients.iter().any(|client| client.waiting.iter().any(|bytes| !bytes.is_empty()));
        for side in Side::BOTH {
            if let Some(output) = self.outputs[side as usize].as_ref().filter(|_| !held_back) {
                waits.push((output.as_fd(), PollFlags::IN, End::Output(side)));
            }
        }
        if let Some(input) = self.input.as_ref().filter(|_| !self.typed.is_empty()) {
            waits.push((input.as_fd(), PollFlags::OUT, End::Input));
        }
        for (place, client) in self.clients.iter().enumerate() {
            if let Some(input) = client.input.as_ref().filter(|_| self.typed.is_empty()) {
                waits.push((input.as_fd(), PollFlags::IN, End::Client(place)));
            }
            for side in Side::BOTH {
                if let Some(output) = &client.outputs[side as usize] {
                    let waiting = !client.waiting[side as usize].is_empty();
                    // With nothing to write, the end of the reader is reported still.
                    let flags = if waiting { PollFlags::OUT } else { PollFlags::empty() };
                    waits.push((output.as_fd(), flags, End::ClientOutput(place, side)));
                }
            }
        }
        waits
    }

    /// Something can be done at an end.
    pub(super) fn ready(&mut self, end: End, what: PollFlags) {
        match end {
            End::Output(side) => {
                self.read(side);
            }
            End::Input => self.type_on(),
            End::Client(place) => self.hear(place),
            End::ClientOutput(place, side) => {
                let client = &mut self.clients[place];
                if what.intersects(PollFlags::ERR | PollFlags::NVAL) {
                    client.outputs[side as usize] = None;
                }
                client.flush(side);
                if self.over {
                    client.end();
                }
            }
        }
    }

    /// Drops who is gone; only between rounds, as places count.
    pub(super) fn sweep(&mut self) {
        self.clients.retain(|client| !client.is_gone());
    }

    /// Reads what is left after the container's end, and closes everything but what a client has not taken yet.
    pub(super) fn finish(&mut self) {
        for side in Side::BOTH {
            while self.read(side) {}
            self.outputs[side as usize] = None;
            if let Some(log) = &mut self.log {
                let _ = log.finish(side.stream());
            }
        }
        self.input = None;
        self.over = true;
        for client in &mut self.clients {
            client.input = None;
            client.end();
        }
        self.sweep();
    }

    /// One read of what the container writes; whether there may be more.
    fn read(&mut self, side: Side) -> bool {
        let Some(output) = &self.outputs[side as usize] else { return false };
        let mut chunk = [0; CHUNK];
        let count = match rustix::io::read(output, &mut chunk) {
            Ok(count) => count,
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => return true,
            // A terminal whose last user is gone says EIO.
            Err(_) => 0,
        };
        let text = &chunk[..count];
        if text.is_empty() {
            self.outputs[side as usize] = None;
            return false;
        }
        if let Some(log) = &mut self.log {
            // A full disk must not stop the container; the next line may fit again.
            let _ = log.write(side.stream(), text);
        }
        for client in &mut self.clients {
            if client.outputs[side as usize].is_some() {
                client.waiting[side as usize].extend_from_slice(text);
                client.flush(side);
            }
        }
        true
    }

    /// A client typed something, or its input is over.
    fn hear(&mut self, place: usize) {
        let Some(input) = &self.clients[place].input else { return };
        let mut chunk = [0; CHUNK];
        match rustix::io::read(input, &mut chunk) {
            Ok(0) | Err(Errno::PIPE | Errno::IO | Errno::CONNRESET) => {
                self.clients[place].input = None;
                if self.once && !self.tty {
                    self.closing = true;
                    self.type_on();
                }
            }
            Ok(count) => {
                if self.input.is_some() {
                    self.typed.extend_from_slice(&chunk[..count]);
                    self.type_on();
                }
            }
            Err(_) => {}
        }
    }

    /// Gives the container what was typed.
    fn type_on(&mut self) {
        while let Some(input) = self.input.as_ref().filter(|_| !self.typed.is_empty()) {
            match rustix::io::write(input, &self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.input = None;
                    self.typed.clear();
                }
            }
        }
        if self.closing {
            self.input = None;
        }
    }
}

/// Makes a descriptor one that the loop may use.
pub(super) fn nonblocking(descriptor: impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(&descriptor)?;
    rustix::fs::fcntl_setfl(&descriptor, flags | rustix::fs::OFlags::NONBLOCK).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
    }

    fn read(from: &OwnedFd) -> Vec<u8> {
        let mut bytes = [0; 64];
        let count = rustix::io::read(from, &mut bytes).unwrap();
        bytes[..count].to_vec()
    }

    #[test]
    fn output_goes_to_every_client() {
        let (container, write) = pipe();
        let (first, to_first) = pipe();
        let (second, to_second) = pipe();
        let mut streams = Streams { outputs: [Some(container), None], ..Streams::default() };
        streams.attach(Client::new(None, [Some(to_first), None])).unwrap();
        streams.attach(Client::new(None, [Some(to_second), None])).unwrap();
        rustix::io::write(&write, b"hello").unwrap();
        streams.ready(End::Output(Side::Out), PollFlags::IN);
        assert_eq!(read(&first), b"hello");
        assert_eq!(read(&second), b"hello");
        drop(first);
        rustix::io::write(&write, b"again").unwrap();
        streams.ready(End::Output(Side::Out), PollFlags::IN);
        streams.sweep();
        assert_eq!(streams.clients.len(), 1);
        assert_eq!(read(&second), b"again");
        rustix::io::write(&write, b"last").unwrap();
        streams.finish();
        assert_eq!(read(&second), b"last");
        assert_eq!(read(&second), b"");
    }

    #[test]
    fn a_slow_client_holds_back_and_input_ends_once() {
        let (container, write) = pipe();
        let (slow, to_slow) = pipe();
        let (stdin, to_stdin) = pipe();
        let (typed, typing) = pipe();
        let mut streams = Streams {
            outputs: [Some(container), None],
            input: Some(to_stdin),
            once: true,
            ..Streams::default()
        };
        while rustix::io::write(&to_slow, &[0; 4096]).is_ok() {}
        streams.attach(Client::new(Some(typed), [Some(to_slow), None])).unwrap();
        rustix::io::write(&write, b"more").unwrap();
        streams.ready(End::Output(Side::Out), PollFlags::IN);
        assert!(!streams.waits().iter().any(|(_, _, end)| matches!(end, End::Output(_))));
        while rustix::io::read(&slow, &mut [0; 4096]).is_ok() {}
        streams.ready(End::ClientOutput(0, Side::Out), PollFlags::OUT);
        assert_eq!(read(&slow), b"more");
        rustix::io::write(&typing, b"in").unwrap();
        streams.ready(End::Client(0), PollFlags::IN);
        assert_eq!(read(&stdin), b"in");
        drop(typing);
        streams.ready(End::Client(0), PollFlags::HUP);
        assert_eq!(read(&stdin), b"");
    }

    #[test]
    fn a_slow_client_gets_the_rest_after_the_end() {
        let (container, write) = pipe();
        let (slow, to_slow) = pipe();
        let mut streams = Streams { outputs: [Some(container), None], ..Streams::default() };
        while rustix::io::write(&to_slow, &[0; 4096]).is_ok() {}
        streams.attach(Client::new(None, [Some(to_slow), None])).unwrap();
        rustix::io::write(&write, b"last words").unwrap();
        streams.finish();
        while rustix::io::read(&slow, &mut [0; 4096]).is_ok() {}
        let waits: Vec<End> = streams.waits().into_iter().map(|(_, _, end)| end).collect();
        assert_eq!(waits, [End::ClientOutput(0, Side::Out)]);
        streams.ready(End::ClientOutput(0, Side::Out), PollFlags::OUT);
        streams.sweep();
        assert_eq!(read(&slow), b"last words");
        assert_eq!(read(&slow), b"");
        assert!(streams.waits().is_empty() && streams.clients.is_empty());
    }
}
