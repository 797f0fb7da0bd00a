//! A WebSocket connection: reads the client's frames, answers pings and closes, and passes messages on in parts.
//!
//! Messages are never assembled: a receiver gets each part as it comes, and while it waits the connection is not read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::frame::{self, CONTROL_LIMIT, CloseCode, FrameError, HEAD_MAX, Head, Opcode};
use super::writer::{Envelope, Writer};
use crate::drive::{Activity, drive, write_frames};
use crate::outbox::{Outbox, Refused};

/// Bytes that are read at once, and of the largest part of a message.
const READ_BUFFER: usize = 16 * 1024;
/// Bytes of a message, as many as Kubernetes' servers take.
const MESSAGE_LIMIT: u64 = 32 * 1024 * 1024;
/// How often the client is pinged, so that proxies between do not take a quiet connection for a dead one.
const PING_PERIOD: Duration = Duration::from_secs(10);

/// Takes the client's messages.
pub(crate) trait Messages {
    /// A message begins.
    fn begin(&mut self, opcode: Opcode) -> Result<(), CloseCode>;
    /// The next bytes of it.
    fn part(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), CloseCode>>;
    /// It ends.
    fn end(&mut self) -> Result<(), CloseCode>;
    /// No more messages will come.
    fn lost(&mut self);
}

/// Why reading ends.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the client broke a rule: {0:?}")]
    Rule(CloseCode),
    #[error("the client said goodbye")]
    Goodbye(Bytes),
    #[error("the client does not read its answers")]
    Answers,
    #[error("the connection was lost")]
    Lost(#[from] std::io::Error),
    #[error("the connection is closing")]
    Closing,
}

/// The session's hold of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    outbox: Arc<Outbox>,
    gone: watch::Receiver<bool>,
}

impl Connection {
    /// Something that writes messages.
    pub(crate) fn writer(&self, envelope: Envelope) -> Writer {
        Writer::new(Arc::clone(&self.outbox), envelope)
    }

    /// Says when the connection is gone.
    pub(crate) fn gone(&self) -> watch::Receiver<bool> {
        self.gone.clone()
    }

    /// Says goodbye, after all messages that were written.
    pub(crate) fn finish(self) {
        self.outbox.finish(frame::close(CloseCode::Normal));
    }
}

/// A connection, and the future that runs it to its end.
pub(crate) fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    mut messages: impl Messages,
    idle: Duration,
) -> (Connection, impl Future<Output = ()>) {
    let outbox = Arc::new(Outbox::default());
    let (gone_sender, gone) = watch::channel(false);
    let connection = Connection { outbox: Arc::clone(&outbox), gone };
    let driver = async move {
        let activity = Activity::new();
        let write = write_frames(writer, &outbox, &activity, |_| ());
        let read = async {
            let reader = BufReader::with_capacity(READ_BUFFER, reader);
            let mut frames = Frames { reader, outbox: &outbox, message: None, messages: &mut messages };
            tokio::select! {
                last_words = frames.last_words(&activity) => last_words,
                () = ping(&outbox) => None,
            }
        };
        drive(read, write, &outbox, &activity, idle).await;
        messages.lost();
        gone_sender.send_replace(true);
    };
    (connection, driver)
}

/// Pings until the client has not read a thousand of them, which is a client that is gone.
async fn ping(outbox: &Outbox) {
    let mut interval = tokio::time::interval(PING_PERIOD);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    interval.tick().await;
    loop {
        interval.tick().await;
        match outbox.push_urgent(frame::encode(Opcode::Ping, &[], &[])) {
            Ok(()) => {}
            Err(Refused::Full) => return,
            Err(Refused::Closed) => std::future::pending().await,
        }
    }
}

struct Frames<'a, R, M> {
    reader: BufReader<R>,
    outbox: &'a Outbox,
    /// Bytes of the message whose parts come.
    message: Option<u64>,
    messages: &'a mut M,
}

impl<R: AsyncRead + Unpin, M: Messages> Frames<'_, R, M> {
    /// Reads until the connection ends; the close frame for the client, unless it is simply gone.
    async fn last_words(&mut self, activity: &Activity) -> Option<Bytes> {
        loop {
            match self.frame(activity).await {
                Ok(()) => {}
                Err(ReadError::Lost(_) | ReadError::Answers) => return None,
                // Our goodbye is on its way already: what still comes is of no interest.
                Err(ReadError::Closing) => {
                    let _ = tokio::io::copy_buf(&mut self.reader, &mut tokio::io::sink()).await;
                    return None;
                }
                Err(ReadError::Goodbye(reply)) => return Some(reply),
                Err(ReadError::Rule(code)) => return Some(frame::close(code)),
                Err(ReadError::Frame(_)) => return Some(frame::close(CloseCode::Protocol)),
            }
        }
    }

    async fn frame(&mut self, activity: &Activity) -> Result<(), ReadError> {
        let mut bytes = [0; HEAD_MAX];
        self.reader.read_exact(&mut bytes[..2]).await?;
        let size = Head::size([bytes[0], bytes[1]]);
        self.reader.read_exact(&mut bytes[2..size]).await?;
        let head = Head::parse(&bytes[..size])?;
        // The answer to our own ping is no sign of activity.
        if head.opcode != Opcode::Pong {
            activity.touch();
        }
        if head.opcode.is_control() {
            return self.control(&head).await;
        }
        let before = match (head.opcode, self.message) {
            (Opcode::Continuation, Some(before)) => before,
            (Opcode::Text | Opcode::Binary, None) => {
                self.messages.begin(head.opcode).map_err(ReadError::Rule)?;
                0
            }
            _ => return Err(ReadError::Rule(CloseCode::Protocol)),
        };
        let total = before.saturating_add(head.length);
        if total > MESSAGE_LIMIT {
            return Err(ReadError::Rule(CloseCode::TooBig));
        }
        self.payload(&head, activity).await?;
        self.message = (!head.fin).then_some(total);
        if head.fin {
            self.messages.end().map_err(ReadError::Rule)?;
        }
        Ok(())
    }

    async fn payload(&mut self, head: &Head, activity: &Activity) -> Result<(), ReadError> {
        let mut buffer = [0; READ_BUFFER];
        let mut offset = 0;
        while offset < head.length {
            let rest = usize::try_from(head.length - offset).unwrap_or(usize::MAX);
            let part = &mut buffer[..rest.min(READ_BUFFER)];
            let count = self.reader.read(part).await?;
            if count == 0 {
                return Err(ReadError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
            head.unmask(offset, &mut part[..count]);
            self.messages.part(&part[..count]).await.map_err(ReadError::Rule)?;
            activity.touch();
            offset += count as u64;
        }
        Ok(())
    }

    async fn control(&mut self, head: &Head) -> Result<(), ReadError> {
        let mut buffer = [0; CONTROL_LIMIT];
        let length = usize::try_from(head.length).map_err(|_| FrameError::Control)?;
        let payload = &mut buffer[..length];
        self.reader.read_exact(payload).await?;
        head.unmask(0, payload);
        match head.opcode {
            Opcode::Ping => match self.outbox.push_urgent(frame::encode(Opcode::Pong, &[], payload)) {
                Ok(()) => Ok(()),
                Err(Refused::Full) => Err(ReadError::Answers),
                Err(Refused::Closed) => Err(ReadError::Closing),
            },
            Opcode::Close => Err(goodbye(payload)),
            _ => Ok(()),
        }
    }
}

/// What answers a close frame: its own code, or a protocol error when it has none that may be sent.
fn goodbye(payload: &[u8]) -> ReadError {
    match payload {
        [] => ReadError::Goodbye(frame::close(CloseCode::Normal)),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            let known = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
            if !known {
                return ReadError::Rule(CloseCode::Protocol);
            }
            if std::str::from_utf8(reason).is_err() {
                return ReadError::Rule(CloseCode::Data);
            }
            ReadError::Goodbye(frame::encode(Opcode::Close, &[*a, *b], &[]))
        }
        [_] => ReadError::Rule(CloseCode::Protocol),
    }
}
