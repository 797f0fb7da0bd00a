//! A log that kubelet has compressed. It is read once and in order, and never held as a whole.

use std::io::{self, Read as _};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;

use crate::source::files::{At, Opened};

/// A compressed file, which is read once and in order.
#[derive(Debug)]
pub(super) struct Unpacked {
    decoder: MultiGzDecoder<At<Arc<Opened>>>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
}

impl Unpacked {
    /// From its beginning.
    pub(super) fn new(file: &Arc<Opened>) -> Self {
        let decoder = MultiGzDecoder::new(At { file: Arc::clone(file), offset: 0 });
        Self { decoder, rest: Vec::new() }
    }

    /// Reads what was given back, and more.
    pub(super) fn read(&mut self, chunk: &mut [u8]) -> usize {
        let mut count = self.rest.len().min(chunk.len());
        chunk[..count].copy_from_slice(&self.rest[..count]);
        self.rest.drain(..count);
        while count < chunk.len() {
            match self.decoder.read(&mut chunk[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A damaged file ends where the damage begins.
                Err(_) => break,
            }
        }
        count
    }

    /// Takes back what was read and not used.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// Reads the first bytes, and skips what follows up to a place.
    pub(super) fn begin(&mut self, first: &mut [u8], place: u64) -> io::Result<()> {
        self.decoder.read_exact(first)?;
        let skipped = place.saturating_sub(first.len() as u64);
        io::copy(&mut self.decoder.by_ref().take(skipped), &mut io::sink()).map(drop)
    }
}
