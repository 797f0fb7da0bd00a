//! What a disk holds after its power was cut, made from a record of what a guest wrote.
//!
//! A disk may lose any write since the last flush, and tear the one in progress. QEMU's `blklogwrites` records every
//! write and flush of a whole run (in the format of the kernel's dm-log-writes), and a cut is a moment of that record:
//!
//! * everything up to the last flush before it is there, as are writes with forced unit access (FUA);
//! * of the writes since then, each is there or not, as a seed decides;
//! * of the write at that moment, the first sectors are there and the rest is not.
//!
//! This must not start a guest.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `WRITE_LOG_MAGIC`, at the start of a record; its fields are little-endian numbers of 64 bits.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// Bytes of a sector of the record and of the disk: QEMU's default.
const SECTOR: u64 = 512;
/// Flags of an entry: the cache is flushed, the write does not stay in it, the bytes are given up.
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// Bytes copied at a time.
const CHUNK: u64 = 1 << 20;

/// One request of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// First sector of the disk.
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its bytes are in the record.
    data: u64,
}

impl Entry {
    fn is_write(&self) -> bool {
        self.sectors > 0 && self.flags & DISCARD == 0
    }
}

/// What a guest did to a disk, in order.
#[derive(Debug)]
pub(crate) struct Record {
    file: File,
    entries: Vec<Entry>,
}

impl Record {
    /// Reads a record whose QEMU has ended.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bad =
            |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
        let [magic, version, count, sector] = numbers(&file, 0)?;
        if (magic, version, sector & 0xffff_ffff) != (MAGIC, 1, SECTOR) {
            return Err(bad("no record of writes"));
        }
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..count {
            let [sector, sectors, flags, _] = numbers(&file, at)?;
            let entry = Entry { sector, sectors, flags, data: at + SECTOR };
            at = entry.data + if entry.is_write() { sectors * SECTOR } else { 0 };
            entries.push(entry);
        }
        if entries.iter().filter(|entry| entry.is_write()).count() == 0 {
            return Err(bad("the guest wrote nothing"));
        }
        Ok(Self { file, entries })
    }

    /// A moment that `seed` chooses: every second one near a flush, where the order of writes matters most.
    pub(crate) fn moment(&self, seed: u64) -> usize {
        let pick = |count: usize, number: u64| usize::try_from(number % count as u64).expect("below a count");
        let flushes: Vec<usize> =
            (0..self.entries.len()).filter(|at| self.entries[*at].flags & FLUSH != 0).collect();
        if seed.is_multiple_of(2) || flushes.is_empty() {
            return pick(self.entries.len(), scattered(seed));
        }
        // From three requests before the flush to two after it.
        let flush = flushes[pick(flushes.len(), scattered(seed))];
        (flush + pick(6, scattered(seed + 1000))).saturating_sub(3).min(self.entries.len() - 1)
    }

    /// [`Record::cut`] for the file `disk`.
    pub(crate) fn cut_file(&self, moment: usize, seed: u64, disk: &Path) -> io::Result<()> {
        self.cut(moment, seed, &File::options().write(true).open(disk)?)
    }

    /// Does to `disk`, which is as it was before the guest started, what is left when the power goes at `moment`.
    fn cut(&self, moment: usize, seed: u64, disk: &File) -> io::Result<()> {
        let before = &self.entries[..moment];
        let safe = before.iter().rposition(|entry| entry.flags & FLUSH != 0).map_or(0, |last| last + 1);
        for (at, entry) in before.iter().enumerate() {
            let luck = scattered(seed.wrapping_mul(0x1_0000).wrapping_add(at as u64));
            let is_lucky = luck.is_multiple_of(2);
            if entry.is_write() && (at < safe || entry.flags & FUA != 0 || is_lucky) {
                self.write(entry, entry.sectors, disk)?;
            }
        }
        match self.entries.get(moment).filter(|entry| entry.is_write()) {
            Some(torn) => self.write(torn, scattered(seed) % torn.sectors, disk),
            None => Ok(()),
        }
    }

    fn write(&self, entry: &Entry, sectors: u64, disk: &File) -> io::Result<()> {
        let len = sectors * SECTOR;
        let mut buffer = vec![0; usize::try_from(CHUNK.min(len)).expect("a chunk")];
        for at in (0..len).step_by(buffer.len().max(1)) {
            let count = usize::try_from((len - at).min(CHUNK)).expect("a chunk");
            self.file.read_exact_at(&mut buffer[..count], entry.data + at)?;
            disk.write_all_at(&buffer[..count], entry.sector * SECTOR + at)?;
        }
        Ok(())
    }
}

fn numbers(file: &File, at: u64) -> io::Result<[u64; 4]> {
    let mut bytes = [0; 32];
    file.read_exact_at(&mut bytes, at)?;
    let number =
        |index: usize| u64::from_le_bytes(bytes[8 * index..8 * index + 8].try_into().expect("eight"));
    Ok([number(0), number(1), number(2), number(3)])
}

/// Numbers without a pattern that are the same in every run (splitmix64).
fn scattered(seed: u64) -> u64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of requests: first sector, sectors, flags; the bytes of request N are all N + 1.
    fn record(dir: &Path, requests: &[(u64, u64, u64)]) -> std::path::PathBuf {
        let sector = |numbers: [u64; 4]| {
            let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector([MAGIC, 1, requests.len() as u64, SECTOR]);
        for (index, (first, count, flags)) in requests.iter().enumerate() {
            bytes.extend(sector([*first, *count, *flags, 0]));
            if flags & DISCARD == 0 {
                let byte = u8::try_from(index + 1).unwrap();
                bytes.extend(vec![byte; usize::try_from(count * SECTOR).unwrap()]);
            }
        }
        let path = dir.join("record");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The first byte of each of the first sectors after a cut.
    fn after(record: &Record, moment: usize, seed: u64) -> Vec<u8> {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(8 * SECTOR).unwrap();
        record.cut(moment, seed, &disk).unwrap();
        let mut bytes = vec![0; 8 * 512];
        disk.read_exact_at(&mut bytes, 0).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    #[test]
    fn what_was_flushed_is_there_and_the_rest_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let requests = [(0, 1, 0), (0, 0, FLUSH), (1, 1, 0), (2, 1, FUA), (5, 2, DISCARD), (3, 4, 0)];
        let record = Record::open(&record(dir.path(), &requests)).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let disk = after(&record, 5, seed);
            assert_eq!((disk[0], disk[2]), (1, 4), "seed {seed}");
            assert!([0, 3].contains(&disk[1]), "seed {seed}");
            // The torn write: a prefix, never all of it.
            let torn: Vec<bool> = disk[3..7].iter().map(|byte| *byte == 6).collect();
            assert!(torn.is_sorted_by(|one, other| one >= other) && !torn[3], "seed {seed}");
            seen.insert((disk[1], torn));
            assert_eq!(after(&record, 1, seed)[1..], [0; 7], "nothing from after the cut");
        }
        assert_eq!(seen.len(), 8, "all outcomes are tried");
    }

    #[test]
    fn moments_are_spread_and_inside() {
        let dir = tempfile::tempdir().unwrap();
        let mut requests = vec![(0, 1, 0); 100];
        requests[50] = (0, 0, FLUSH);
        let record = Record::open(&record(dir.path(), &requests)).unwrap();
        let moments: std::collections::BTreeSet<usize> = (0..200).map(|seed| record.moment(seed)).collect();
        assert!(moments.len() > 50 && moments.iter().all(|moment| *moment < 100), "{moments:?}");
        assert!((1..40).step_by(2).all(|seed| (47..=52).contains(&record.moment(seed))));
    }

    #[test]
    fn other_files_are_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zeroes");
        std::fs::write(&path, [0; 1024]).unwrap();
        assert!(Record::open(&path).is_err());
        assert!(Record::open(&record(dir.path(), &[(0, 0, FLUSH)])).is_err(), "nothing was written");
    }
}
