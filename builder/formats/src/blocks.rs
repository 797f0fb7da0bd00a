//! The non-zero blocks of a disk image, deflated on all cores and handed over in order.
//!
//! Disk formats that store compressed blocks share this file. Bytes must not depend on the number of
//! threads, so every block gets a compressor of its own. Memory is bounded by one batch.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::Sparse;

/// Blocks in flight: with blocks of 64 KiB a batch holds 8 MiB, enough to keep the cores busy.
const BATCH: usize = 128;

/// Above this, batches are too short to gain from more threads.
const MAX_THREADS: usize = 8;

/// How blocks become bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codec {
    /// Bytes of a block before compression; the last block of an image is filled up with zeroes.
    pub(crate) block_len: usize,
    /// The framing around the deflated bytes.
    pub(crate) framing: Framing,
    /// A block that deflates to more bytes than this stays plain.
    pub(crate) max_deflated: usize,
}

/// The framing around deflated bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// RFC 1950 with a window of 32 KiB.
    Zlib,
    /// RFC 1951 with a window of 4 KiB.
    RawSmallWindow,
}

/// One block that is not all zeroes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// Compressed bytes.
    Deflated(Vec<u8>),
    /// The block as it is.
    Plain(Vec<u8>),
}

/// The number of threads worth starting on this machine.
pub(crate) fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}

/// Calls `sink` with the index and bytes of every block that is not all zeroes, in order.
pub(crate) fn for_each<E: From<io::Error>>(
    image: &Sparse,
    codec: Codec,
    threads: usize,
    mut sink: impl FnMut(u64, Encoded) -> Result<(), E>,
) -> Result<(), E> {
    let mut indices = touched(image, codec.block_len as u64);
    loop {
        let batch: Vec<u64> = indices.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return Ok(());
        }
        for (index, encoded) in encode_batch(image, codec, threads, &batch)? {
            sink(index, encoded)?;
        }
    }
}

/// The indices of the blocks that an extent touches, each once, in order.
fn touched(image: &Sparse, block_len: u64) -> impl Iterator<Item = u64> {
    let mut next = 0;
    image.extents().flat_map(move |(offset, content)| {
        let first = next.max(offset / block_len);
        next = (offset + content.len()).div_ceil(block_len);
        first..next
    })
}

fn encode_batch(
    image: &Sparse,
    codec: Codec,
    threads: usize,
    batch: &[u64],
) -> io::Result<Vec<(u64, Encoded)>> {
    let turn = AtomicUsize::new(0);
    let work = || -> io::Result<Vec<(u64, Encoded)>> {
        let mut block = vec![0; codec.block_len];
        let mut done = Vec::new();
        while let Some(&index) = batch.get(turn.fetch_add(1, Ordering::Relaxed)) {
            image.read_at(&mut block, index * codec.block_len as u64)?;
            if !is_zero(&block) {
                done.push((index, encode(codec, &block)?));
            }
        }
        Ok(done)
    };
    let mut all = Vec::with_capacity(batch.len());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.extend(worker.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?);
        }
        io::Result::Ok(())
    })?;
    all.sort_unstable_by_key(|(index, _)| *index);
    Ok(all)
}

fn encode(codec: Codec, block: &[u8]) -> io::Result<Encoded> {
    let mut deflater = match codec.framing {
        Framing::Zlib => Compress::new(Compression::default(), true),
        Framing::RawSmallWindow => Compress::new_with_window_bits(Compression::default(), false, 12),
    };
    // Deflate never grows its input by an eighth: blocks that do not compress are framed as they are.
    let mut deflated = Vec::with_capacity(block.len() + block.len() / 8 + 64);
    match deflater.compress_vec(block, &mut deflated, FlushCompress::Finish)? {
        Status::StreamEnd if deflated.len() <= codec.max_deflated => Ok(Encoded::Deflated(deflated)),
        Status::StreamEnd => Ok(Encoded::Plain(block.to_vec())),
        Status::Ok | Status::BufError => Err(io::Error::other("deflate did not finish a block")),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    // Chunks without an early exit inside become vector instructions.
    bytes.chunks(64).all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Bytes that do not compress, from a linear congruential generator.
    pub(crate) fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let step = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        (0..len).map(step).collect()
    }

    fn sample() -> Sparse {
        let mut image = Sparse::new(100 * 4096);
        image.put(3000, vec![7; 10]);
        image.put(3100, vec![8; 2000]);
        image.put(20 * 4096, vec![0; 3 * 4096]);
        image.put(50 * 4096 + 1, noise(9000));
        image.put(100 * 4096 - 1, vec![1]);
        image
    }

    fn collect(threads: usize, max_deflated: usize) -> Vec<(u64, Encoded)> {
        let codec = Codec { block_len: 4096, framing: Framing::Zlib, max_deflated };
        let mut all = Vec::new();
        for_each(&sample(), codec, threads, |index, encoded| {
            all.push((index, encoded));
            io::Result::Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn visits_touched_blocks_once_and_leaves_zeroes_out() {
        let indices: Vec<u64> = collect(2, usize::MAX).iter().map(|(index, _)| *index).collect();
        assert_eq!(indices, [0, 1, 50, 51, 52, 99]);
    }

    #[test]
    fn bytes_do_not_depend_on_the_number_of_threads() {
        assert_eq!(collect(1, usize::MAX), collect(7, usize::MAX));
    }

    #[test]
    fn keeps_blocks_plain_that_do_not_shrink() {
        let plain = |(_, encoded): &(u64, Encoded)| matches!(encoded, Encoded::Plain(_));
        let all = collect(2, 4000);
        assert!(plain(&all[3]) && !plain(&all[0]) && !plain(&all[5]));
    }
}
