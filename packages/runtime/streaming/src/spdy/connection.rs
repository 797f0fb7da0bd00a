//! A SPDY connection: reads the client's frames, and hands over the streams that it opens.
//!
//! Data goes into the streams' pipes in parts, so a frame of any length costs no memory. When a pipe is full the
//! connection is not read on: a client that ignores windows is slowed down by TCP, on all its streams.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::sync::{mpsc, watch};

use super::frame::{CONTROL_LIMIT, Control, FrameError, GoAwayReason, HEAD, Head};
use super::headers::{HeaderError, HeaderReader};
use super::session::{Opened, SESSION_WINDOW, Session};
use super::stream::{Incoming, Writer};
use crate::drive::{Activity, drive, write_frames};
use crate::outbox::Refused;
use crate::pipe::{CAPACITY, pipe};

/// Bytes that are read at once.
const READ_BUFFER: usize = 16 * 1024;
/// Streams that wait to be accepted.
const BACKLOG: usize = 8;

/// Why a connection is cut off.
#[derive(Debug, Error)]
enum ConnectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Headers(#[from] HeaderError),
    #[error("the client does not read its answers")]
    Answers,
    #[error("the connection was lost")]
    Lost(#[from] std::io::Error),
    #[error("the connection is closing")]
    Closing,
}

impl From<Refused> for ConnectionError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Answers,
            Refused::Closed => Self::Closing,
        }
    }
}

/// The session's hold of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Arc<Session>,
    incoming: mpsc::Receiver<Incoming>,
    gone: watch::Receiver<bool>,
}

impl Connection {
    /// The next stream that the client opens, or `None` when the connection is gone.
    pub(crate) async fn incoming(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Resets every stream that the client opens from now on.
    pub(crate) fn refuse_more(&mut self) {
        self.incoming.close();
        while let Ok(incoming) = self.incoming.try_recv() {
            incoming.refuse(super::ResetReason::RefusedStream);
        }
    }

    /// Says when the connection is gone.
    pub(crate) fn gone(&self) -> watch::Receiver<bool> {
        self.gone.clone()
    }

    /// Says goodbye, after all data that was written.
    pub(crate) fn finish(self) {
        self.session.outbox.finish(self.session.go_away(GoAwayReason::Ok));
    }
}

/// A connection, and the future that runs it to its end.
pub(crate) fn serve(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    idle: Duration,
) -> (Connection, impl Future<Output = ()>) {
    let session = Arc::new(Session::new());
    let (sender, incoming) = mpsc::channel(BACKLOG);
    let (gone_sender, gone) = watch::channel(false);
    let connection = Connection { session: Arc::clone(&session), incoming, gone };
    let driver = async move {
        let activity = Activity::new();
        // The connection's window is widened at once: streams have one each.
        session.ledger.add(usize::try_from(SESSION_WINDOW).expect("it fits") - CAPACITY);
        let write = write_frames(writer, &session.outbox, &activity, |frames| session.window_updates(frames));
        let read = async {
            let mut frames = Frames {
                reader: BufReader::with_capacity(READ_BUFFER, reader),
                headers: HeaderReader::new(),
                session: Arc::clone(&session),
                incoming: sender,
                activity: &activity,
            };
            frames.last_words().await
        };
        drive(read, write, &session.outbox, &activity, idle).await;
        session.lost();
        gone_sender.send_replace(true);
    };
    (connection, driver)
}

struct Frames<'a, R> {
    reader: BufReader<R>,
    headers: HeaderReader,
    session: Arc<Session>,
    incoming: mpsc::Sender<Incoming>,
    activity: &'a Activity,
}

impl<R: AsyncRead + Unpin> Frames<'_, R> {
    /// Reads until the connection ends; the frame that tells the client why, when it is to blame.
    async fn last_words(&mut self) -> Option<Bytes> {
        loop {
            match self.frame().await {
                Ok(()) => self.activity.touch(),
                Err(ConnectionError::Lost(_) | ConnectionError::Answers) => return None,
                // Our last words are on their way already: what still comes is of no interest.
                Err(ConnectionError::Closing) => {
                    let _ = tokio::io::copy_buf(&mut self.reader, &mut tokio::io::sink()).await;
                    return None;
                }
                Err(ConnectionError::Frame(_) | ConnectionError::Headers(_)) => {
                    return Some(self.session.go_away(GoAwayReason::ProtocolError));
                }
            }
        }
    }

    async fn frame(&mut self) -> Result<(), ConnectionError> {
        let mut head = [0; HEAD];
        self.reader.read_exact(&mut head).await?;
        match Head::parse(head)? {
            Head::Data { stream, fin, length } => self.data(stream, fin, length).await,
            Head::Control { kind, flags, length } => {
                let mut payload = vec![0; length.min(CONTROL_LIMIT)];
                self.reader.read_exact(&mut payload).await?;
                self.control(Control::parse(kind, flags, &payload)?).await
            }
        }
    }

    async fn data(&mut self, stream: u32, fin: bool, mut length: usize) -> Result<(), ConnectionError> {
        let receiver = self.session.receiver(stream)?;
        while length > 0 {
            let bytes = self.reader.fill_buf().await?;
            let count = bytes.len().min(length);
            if count == 0 {
                return Err(ConnectionError::Lost(std::io::ErrorKind::UnexpectedEof.into()));
            }
            match &receiver {
                Some(receiver) => receiver.push(&bytes[..count]).await,
                None => self.session.ledger.add(count),
            }
            self.reader.consume(count);
            self.activity.touch();
            length -= count;
        }
        if fin {
            self.session.remote_end(stream);
        }
        Ok(())
    }

    async fn control(&mut self, control: Control<'_>) -> Result<(), ConnectionError> {
        match control {
            Control::SynStream { stream, fin, unidirectional, block } => {
                let headers = self.headers.read(block)?;
                let (sender, reader) = pipe(Some(Arc::clone(&self.session.ledger)));
                let (aborted_sender, aborted) = watch::channel(false);
                let done = (fin, unidirectional);
                if self.session.open(stream, sender, aborted_sender, done)? == Opened::Yes {
                    let writer = Writer { id: stream, session: Arc::clone(&self.session), aborted };
                    let incoming = Incoming { id: stream, headers, reader, writer };
                    // Nobody accepts streams any more: the call has all it needs.
                    if let Err(refused) = self.incoming.send(incoming).await {
                        refused.0.refuse(super::ResetReason::RefusedStream);
                    }
                }
            }
            Control::Headers { stream, fin, block } => {
                self.headers.read(block)?;
                if fin {
                    self.session.remote_end(stream);
                }
            }
            Control::Reset { stream } => self.session.remote_reset(stream),
            Control::Settings { initial_window: Some(window) } => self.session.initial_window(window)?,
            Control::Ping { id } if !id.is_multiple_of(2) => {
                self.session.outbox.push_urgent(super::frame::ping(id))?;
            }
            Control::GoAway => self.session.closing(),
            Control::WindowUpdate { stream, delta } => self.session.window_update(stream, delta)?,
            Control::Settings { initial_window: None } | Control::Ping { .. } | Control::Unknown => {}
        }
        Ok(())
    }
}
