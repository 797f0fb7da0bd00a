//! Writes a disk so that power may fail at any moment, and reads it back.
//!
//! First what makes the disk recognisable is spoiled, then everything else is written and compared with what the disk
//! gives back, and what makes it recognisable comes last. So firmware finds the old system, or nothing (and starts
//! the installation medium again), or the new system.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use lepton_formats::Sparse;
use rustix::fs::{FallocateFlags, OFlags, fallocate};

/// Bytes written or compared at a time.
const CHUNK: usize = 1 << 20;

/// Why a disk was not written, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the disk cannot be {action} at byte {offset}")]
    Io { action: &'static str, offset: u64, source: io::Error },
    #[error("the disk gives back other bytes at {offset} than were written: it is broken")]
    Differs { offset: u64 },
}

/// Bytes `start..end` of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What is to be written, in order.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) image: Sparse,
    /// What is overwritten first, so that the disk is not taken for a whole one.
    pub(crate) spoil: Vec<(u64, Vec<u8>)>,
    /// What of the image is written then.
    pub(crate) body: Range,
    /// What of the image is written last, one after the other.
    pub(crate) last: Vec<Range>,
    /// Holes of the body up to this length become zeroes; longer ones keep what is there.
    pub(crate) longest_zeroes: u64,
}

/// What is written to: a disk, or memory in tests.
pub(crate) trait Target {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn zero(&self, offset: u64, len: u64) -> io::Result<()>;
    fn flush(&self) -> io::Result<()>;
    /// Reads what the medium holds, not what was cached when it was written.
    fn read_back(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
}

/// What direct reads must be aligned to, in memory and on disk: the largest sector.
const ALIGNMENT: usize = 4096;

/// A disk.
#[derive(Debug)]
pub(crate) struct Device {
    cached: File,
    /// The same without the page cache (open(2), `O_DIRECT`).
    direct: File,
    /// For direct reads: a chunk, and room to align it.
    buffer: RefCell<Vec<u8>>,
}

impl Device {
    pub(crate) fn open(path: &Path) -> Result<Self, WriteError> {
        let direct = OFlags::DIRECT.bits().cast_signed();
        let open = || {
            Ok(Self {
                cached: File::options().read(true).write(true).open(path)?,
                direct: File::options().read(true).custom_flags(direct).open(path)?,
                buffer: RefCell::new(vec![0; CHUNK + ALIGNMENT]),
            })
        };
        open().map_err(failed("opened", 0))
    }
}

impl Target for Device {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.cached.write_all_at(bytes, offset)
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        // The disk does it itself where it can; the kernel writes zeroes where it cannot.
        if fallocate(&self.cached, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, offset, len)
            .is_ok()
        {
            return Ok(());
        }
        let zeroes = vec![0; CHUNK];
        for at in (offset..offset + len).step_by(CHUNK) {
            let count = usize::try_from(offset + len - at).unwrap_or(CHUNK).min(CHUNK);
            self.cached.write_all_at(&zeroes[..count], at)?;
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.cached.sync_data()
    }

    fn read_back(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut buffer = self.buffer.borrow_mut();
        let start = buffer.as_ptr().align_offset(ALIGNMENT);
        let aligned = &mut buffer[start..start + bytes.len().next_multiple_of(ALIGNMENT)];
        self.direct.read_exact_at(aligned, offset)?;
        bytes.copy_from_slice(&aligned[..bytes.len()]);
        Ok(())
    }
}

/// Does the whole job.
pub(crate) fn carry_out(target: &impl Target, job: &Job) -> Result<(), WriteError> {
    for (offset, bytes) in &job.spoil {
        target.write(bytes, *offset).map_err(failed("written", *offset))?;
    }
    target.flush().map_err(failed("flushed", 0))?;
    let mut at = job.body.start;
    for piece in pieces(&job.image, job.body) {
        if piece.start - at <= job.longest_zeroes {
            zero(target, at, piece.start)?;
        }
        each_chunk(&job.image, piece, |bytes, offset| {
            target.write(bytes, offset).map_err(failed("written", offset))
        })?;
        at = piece.end;
    }
    if job.body.end - at <= job.longest_zeroes {
        zero(target, at, job.body.end)?;
    }
    target.flush().map_err(failed("flushed", 0))?;
    for piece in pieces(&job.image, job.body) {
        compare(target, &job.image, piece)?;
    }
    for range in &job.last {
        each_chunk(&job.image, *range, |bytes, offset| {
            target.write(bytes, offset).map_err(failed("written", offset))
        })?;
        target.flush().map_err(failed("flushed", range.start))?;
        compare(target, &job.image, *range)?;
    }
    Ok(())
}

fn compare(target: &impl Target, image: &Sparse, range: Range) -> Result<(), WriteError> {
    let mut found = vec![0; CHUNK];
    each_chunk(image, range, |bytes, offset| {
        let found = &mut found[..bytes.len()];
        target.read_back(found, offset).map_err(failed("read", offset))?;
        let differs = found.iter().zip(bytes).position(|(one, other)| one != other);
        differs.map_or(Ok(()), |at| Err(WriteError::Differs { offset: offset + at as u64 }))
    })
}

fn zero(target: &impl Target, start: u64, end: u64) -> Result<(), WriteError> {
    if start < end { target.zero(start, end - start).map_err(failed("written", start)) } else { Ok(()) }
}

/// The parts of `range` that hold bytes, rounded to whole blocks of 4096 and joined.
fn pieces(image: &Sparse, range: Range) -> Vec<Range> {
    let mut pieces: Vec<Range> = Vec::new();
    for (offset, content) in image.extents() {
        let start = (offset / 4096 * 4096).max(range.start);
        let end = (offset + content.len()).next_multiple_of(4096).min(range.end);
        match pieces.last_mut() {
            _ if start >= end => {}
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => pieces.push(Range { start, end }),
        }
    }
    pieces
}

fn each_chunk(
    image: &Sparse,
    range: Range,
    mut act: impl FnMut(&[u8], u64) -> Result<(), WriteError>,
) -> Result<(), WriteError> {
    let mut buffer = vec![0; CHUNK];
    for at in (range.start..range.end).step_by(CHUNK) {
        let count = usize::try_from(range.end - at).unwrap_or(CHUNK).min(CHUNK);
        image.read_at(&mut buffer[..count], at).map_err(failed("prepared", at))?;
        act(&buffer[..count], at)?;
    }
    Ok(())
}

fn failed(action: &'static str, offset: u64) -> impl FnOnce(io::Error) -> WriteError {
    move |source| WriteError::Io { action, offset, source }
}

#[cfg(test)]
mod tests;
