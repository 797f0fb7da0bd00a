//! Brings what waits in the buffers to the destinations. Each has a task and a connection of its own: one that is slow or away
//! is no concern of the others, and of nobody who writes a log.

mod connect;
mod deliver;
pub mod http;
mod identity;
mod stream;
mod tls;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lepton_config::{LogCompression, LogScheme};
use tokio::sync::watch;

use crate::buffer::Buffer;
use crate::say::say;

pub use identity::Identity;

/// First wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// To close a connection.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// A connection that held for so long was a good one.
const GOOD: Duration = Duration::from_secs(10);

/// Becomes true when the program ends.
pub type End = watch::Receiver<bool>;

/// A destination.
#[derive(Debug)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// How it is spoken to.
    pub scheme: LogScheme,
    /// Host and port.
    pub authority: String,
    /// The host alone, as its certificate has it.
    pub host: String,
    /// What comes before `/v1/logs`.
    pub prefix: String,
    /// How requests of OTLP are compressed.
    pub compression: LogCompression,
    /// PEM of whom it is verified with; the image's roots unless given.
    pub trust_bundle: Option<String>,
    /// The host's identity, when it is shown.
    pub identity: Option<Identity>,

    /// What waits for it.
    pub buffer: Arc<Buffer>,
    /// Figures.
    pub figures: SendFigures,
}

/// What happened on the way to a destination since this program's start.
#[derive(Debug, Default)]
pub struct SendFigures {
    /// Bytes that it has confirmed, as they were sent, without TLS.
    pub bytes: AtomicU64,
    /// Connections and requests that failed.
    pub retries: AtomicU64,
    /// Whether there is a connection.
    pub is_connected: AtomicBool,
    /// Why the last attempt failed.
    pub last_error: Mutex<String>,
}

/// Why a destination cannot be given anything now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, #[source] io::Error),
    /// TLS cannot be set up.
    #[error("cannot use TLS: {0}")]
    Tls(String),
    /// No identity can be shown.
    #[error("the host has no X.509-SVID for the service logs yet")]
    NoIdentity,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The other end closed it.
    #[error("the destination closed the connection")]
    Closed,
    /// It takes nothing.
    #[error("the destination has taken nothing for {0} s")]
    Stalled(u64),
    /// HTTP went wrong.
    #[error("the destination does not speak HTTP as it should: {0}")]
    Http(#[from] hyper::Error),
    /// It wants to be asked again.
    #[error("the destination answers {status}")]
    Again {
        /// Its status.
        status: u16,
        /// When.
        after: Option<Duration>,
    },
    /// The program ends, and the other end was told.
    #[error("the service ends")]
    Over,
    /// The buffer cannot be read.
    #[error("cannot read the buffer: {0}")]
    Buffer(#[source] io::Error),
}

/// Brings everything to one destination, until `end` is true: then the connection is closed as its protocol has it.
pub async fn run(destination: Arc<Destination>, mut end: End) {
    let mut wait = FIRST_WAIT;
    loop {
        while !destination.buffer.has_work() {
            tokio::select! {
                () = destination.buffer.wait() => {}
                () = over(&mut end) => return,
            }
        }
        let start = tokio::time::Instant::now();
        let result = if destination.scheme.is_otlp() {
            http::session(&destination, &mut end).await
        } else {
            stream::session(&destination, &mut end).await
        };
        let Err(error) = result;
        if matches!(error, SendError::Over) {
            return;
        }
        destination.buffer.release();
        let figures = &destination.figures;
        figures.is_connected.store(false, Ordering::Relaxed);
        figures.retries.fetch_add(1, Ordering::Relaxed);
        let text = error.to_string();
        let before = {
            let mut last = figures.last_error.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *last, text.clone())
        };
        // The same again would fill the log that is to be sent.
        if before != text {
            say(format_args!("{}: {text}", destination.name));
        }
        if start.elapsed() >= GOOD {
            wait = FIRST_WAIT;
        }
        let asked = match error {
            SendError::Again { after, .. } => after,
            _ => None,
        };
        tokio::select! {
            () = tokio::time::sleep(asked.unwrap_or(wait).min(LONGEST_WAIT)) => {}
            () = over(&mut end) => return,
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Waits for the end.
async fn over(end: &mut End) {
    // A program that forgot to say it ends all the same.
    let _ = end.wait_for(|is_over| *is_over).await;
}

impl Destination {
    fn connected(&self) {
        self.figures.is_connected.store(true, Ordering::Relaxed);
        let mut last = self.figures.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        if !last.is_empty() {
            last.clear();
            say(format_args!("{}: connected again", self.name));
        }
    }
}
