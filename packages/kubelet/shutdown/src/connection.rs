//! One client: who it is, its calls and their answers, and the signal that the host goes down.

use std::future::pending;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout};

use crate::auth::{self, Auth, Step};
use crate::calls::{self, Client, Login};
use crate::message::{Body, Call, Message, frame};
use crate::names::{BUS, LOGIN_INTERFACE, LOGIN_OWNER, LOGIN_PATH, PREPARE};
use crate::wire::Malformed;

/// How long it may take until it is known who a client is.
const AUTH: Duration = Duration::from_secs(10);
/// How long a client may take to read what it asked for.
const WRITE: Duration = Duration::from_secs(5);
/// How long a client has after the answer to its rule: godbus drops signals that come before its caller listens.
const SETTLE: Duration = Duration::from_millis(100);
const CHUNK: usize = 4096;

/// Why a connection ended before its client closed it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("who it is was not said within {} s", AUTH.as_secs())]
    Silent,
    #[error("{0}")]
    Auth(&'static str),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("it does not read what it is sent")]
    Deaf,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A client's end of the bus.
#[derive(Debug)]
pub(crate) struct Connection<'a> {
    stream: UnixStream,
    buffer: Vec<u8>,
    client: Client,
    login: &'a Login,
    serial: u32,
    /// When it last asked for signals.
    asked: Instant,
    is_told: bool,
}

impl<'a> Connection<'a> {
    /// A connection whose client will be called `name`.
    pub(crate) fn new(stream: UnixStream, name: String, pid: Option<i32>, login: &'a Login) -> Self {
        let client = Client { name, has_name: false, pid, takes_descriptors: false, rules: Vec::new() };
        let asked = Instant::now();
        Self { stream, buffer: Vec::new(), client, login, serial: 0, asked, is_told: false }
    }

    /// Serves it until the client closes it.
    pub(crate) async fn serve(mut self, uid: u32, guid: &str) -> Result<(), ConnectionError> {
        match timeout(AUTH, self.meet(uid, guid)).await {
            Err(_) => return Err(ConnectionError::Silent),
            Ok(met) => match met? {
                true => {}
                false => return Ok(()),
            },
        }
        let mut state = self.login.locks.subscribe();
        loop {
            self.answer_all().await?;
            let is_preparing = state.borrow_and_update().is_preparing;
            let is_due =
                is_preparing && !self.is_told && self.client.rules.iter().any(|rule| rule.wants_prepare());
            let due = self.asked + SETTLE;
            let tell = async { if is_due { sleep_until(due).await } else { pending().await } };
            tokio::select! {
                read = read(&mut self.stream, &mut self.buffer) => if !read? { return Ok(()) },
                () = tell => self.tell().await?,
                // The sender lives as long as `login`.
                _ = state.changed(), if !is_preparing => {}
            }
        }
    }

    /// The conversation before messages; false when the client has gone.
    async fn meet(&mut self, uid: u32, guid: &str) -> Result<bool, ConnectionError> {
        while self.buffer.is_empty() {
            if !read(&mut self.stream, &mut self.buffer).await? {
                return Ok(false);
            }
        }
        if self.buffer.remove(0) != 0 {
            return Err(ConnectionError::Auth("the first byte is not zero"));
        }
        let mut auth = Auth::new(uid, guid);
        loop {
            let Some(line) = auth::take_line(&mut self.buffer).map_err(ConnectionError::Auth)? else {
                match read(&mut self.stream, &mut self.buffer).await? {
                    true => continue,
                    false => return Ok(false),
                }
            };
            match auth.line(&line) {
                Step::Answer(answer) => self.write(&[answer.as_bytes(), b"\r\n"].concat(), None).await?,
                Step::End(why) => return Err(ConnectionError::Auth(why)),
                Step::Begin => {
                    self.client.takes_descriptors = auth.takes_descriptors();
                    return Ok(true);
                }
            }
        }
    }

    /// Answers every call that is there as a whole.
    async fn answer_all(&mut self) -> Result<(), ConnectionError> {
        while let Some(length) = frame(&self.buffer)?.filter(|length| *length <= self.buffer.len()) {
            let bytes: Vec<u8> = self.buffer.drain(..length).collect();
            let Some(call) = Call::read(&bytes)? else { continue };
            let answer = calls::answer(&call, &mut self.client, self.login)?;
            if call.member == "AddMatch" {
                self.asked = Instant::now();
            }
            if !call.wants_reply {
                continue;
            }
            let message = match answer {
                Ok(body) => Message::Answer(call.serial, body),
                Err((name, says)) => Message::Refusal(call.serial, name, says),
            };
            let sender = if call.destination == Some(BUS) { BUS } else { LOGIN_OWNER };
            self.send(message, sender).await?;
        }
        Ok(())
    }

    /// Tells the client that the host goes down; once, because it would do everything again.
    async fn tell(&mut self) -> Result<(), ConnectionError> {
        self.is_told = true;
        self.send(Message::Signal(LOGIN_PATH, LOGIN_INTERFACE, PREPARE, Body::Flag(true)), LOGIN_OWNER).await
    }

    async fn send(&mut self, message: Message<'_>, sender: &str) -> Result<(), ConnectionError> {
        // 0 is no serial number.
        self.serial = self.serial.wrapping_add(1).max(1);
        let to = self.client.has_name.then_some(self.client.name.as_str());
        let (bytes, descriptor) = message.write(self.serial, sender, to);
        self.write(&bytes, descriptor).await
    }

    /// Sends bytes, with a descriptor beside the first of them; our copy of it is closed.
    async fn write(&mut self, bytes: &[u8], descriptor: Option<OwnedFd>) -> Result<(), ConnectionError> {
        let stream = &mut self.stream;
        let written = async {
            let first = match &descriptor {
                None => 0,
                Some(descriptor) => {
                    let fds = [descriptor.as_fd()];
                    stream.async_io(Interest::WRITABLE, || send_with(stream, bytes, &fds)).await?
                }
            };
            stream.write_all(&bytes[first..]).await
        };
        timeout(WRITE, written).await.map_err(|_| ConnectionError::Deaf)?.map_err(Into::into)
    }
}

fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[std::os::fd::BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
}

/// Adds what the client has sent; false when it has closed its end. Calls are answered after each, so what is kept is a
/// message and a chunk at most.
async fn read(stream: &mut UnixStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut chunk = [0; CHUNK];
    let length = stream.read(&mut chunk).await?;
    buffer.extend(&chunk[..length]);
    Ok(length > 0)
}
