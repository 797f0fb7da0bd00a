//! The way of a layer's bytes: a thread of its own decompresses and hashes them, and another one takes them through a
//! short queue. What comes out is counted, so that a small blob cannot fill a disk.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::LayerError;
use super::decompress::decompressed;
use super::tar::TarError;
use crate::config::Limits;
use crate::digest::{Digest, Hasher};

/// Bytes that change hands at a time, and how many such pieces there are.
const PIECE: usize = 1 << 18;
const PIECES: usize = 4;

/// A limit that content exceeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exceeded {
    /// Too much comes out.
    #[error("the layer is larger than {limit} bytes when unpacked")]
    Size {
        /// The limit.
        limit: u64,
    },
    /// Too much comes out of too little.
    #[error("{stored} compressed bytes become more than {limit}: {ratio} times is the limit")]
    Ratio {
        /// The blob.
        stored: u64,
        /// What it may become.
        limit: u64,
        /// The limit.
        ratio: u64,
    },
    /// Too much memory is asked for.
    #[error("the layer's zstd window is {wanted} bytes; the limit is {limit}")]
    Window {
        /// Asked for.
        wanted: u64,
        /// The limit.
        limit: u64,
    },
}

/// Counts and hashes what passes.
struct Metered<R> {
    stream: R,
    hasher: Hasher,
    passed: u64,
    limit: u64,
    exceeded: Exceeded,
}

impl<R: Read> Metered<R> {
    fn new(stream: R, stored: u64, limits: &Limits) -> Self {
        let relative = stored.saturating_mul(limits.ratio).max(limits.ratio_from);
        let (limit, exceeded) = if relative < limits.unpacked {
            (relative, Exceeded::Ratio { stored, limit: relative, ratio: limits.ratio })
        } else {
            (limits.unpacked, Exceeded::Size { limit: limits.unpacked })
        };
        Self { stream, hasher: Hasher::new(), passed: 0, limit, exceeded }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.passed += count as u64;
        if self.passed > self.limit {
            return Err(io::Error::other(self.exceeded.clone()));
        }
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// Lets `take` read the content of a blob, and gives the content's digest.
pub(super) fn piped(
    blob: impl Read + Send,
    stored: u64,
    limits: &Limits,
    take: impl FnOnce(&mut Pieces) -> Result<(), LayerError>,
) -> Result<Digest, LayerError> {
    let (full, received) = sync_channel(PIECES);
    let (returned, empty) = channel();
    for _ in 0..PIECES {
        let _ = returned.send(Vec::with_capacity(PIECE));
    }
    std::thread::scope(|scope| {
        let producer = std::thread::Builder::new().name("decompress".into());
        let produced = producer.spawn_scoped(scope, move || produce(blob, stored, limits, full, empty));
        let produced = produced.map_err(|source| LayerError::Tar(TarError::Read(source)))?;
        let mut pieces = Pieces { received, returned, current: Vec::new(), position: 0, is_finished: false };
        let taken = take(&mut pieces);
        // The producer stops when nobody takes its pieces.
        drop(pieces);
        let digest = produced.join().expect("decompressing does not panic");
        taken?;
        digest.ok_or(LayerError::Tar(TarError::Truncated))
    })
}

/// Fills pieces until the stream or the interest in it ends; the digest if all was taken.
fn produce(
    blob: impl Read + Send,
    stored: u64,
    limits: &Limits,
    full: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
) -> Option<Digest> {
    let stream = match decompressed(blob, limits.window) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = full.send(Err(error));
            return None;
        }
    };
    let mut metered = Metered::new(stream, stored, limits);
    while let Ok(mut piece) = empty.recv() {
        piece.clear();
        let filled = metered.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        let is_last = piece.is_empty() || filled.is_err();
        let is_wanted = full.send(filled.map(|_| piece)).is_ok();
        if is_last || !is_wanted {
            break;
        }
    }
    Some(metered.hasher.finish())
}

/// The content, as the taker reads it.
pub(super) struct Pieces {
    received: Receiver<io::Result<Vec<u8>>>,
    returned: Sender<Vec<u8>>,
    current: Vec<u8>,
    position: usize,
    is_finished: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position == self.current.len() && !self.is_finished {
            let used = std::mem::take(&mut self.current);
            let _ = self.returned.send(used);
            self.position = 0;
            // An empty piece is the end. A thread that ended without one said why before.
            self.current = self.received.recv().map_err(|_| io::ErrorKind::UnexpectedEof)??;
            self.is_finished = self.current.is_empty();
        }
        let rest = &self.current[self.position..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.position += count;
        Ok(count)
    }
}
