//! A disk in memory that loses power after any write.

use std::cell::RefCell;

use super::*;

const LEN: usize = 8 << 20;

/// Every write, and the disk they give.
struct Memory {
    disk: RefCell<Vec<u8>>,
    writes: RefCell<Vec<(usize, Vec<u8>)>>,
    /// A byte that cannot be changed.
    stuck: Option<usize>,
}

impl Memory {
    fn new(stuck: Option<usize>) -> Self {
        Self { disk: RefCell::new(vec![0x55; LEN]), writes: RefCell::default(), stuck }
    }
}

impl Target for Memory {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut disk = self.disk.borrow_mut();
        disk[offset..offset + bytes.len()].copy_from_slice(bytes);
        if let Some(stuck) = self.stuck {
            disk[stuck] = 0x55;
        }
        self.writes.borrow_mut().push((offset, bytes.to_vec()));
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        self.write(&vec![0; usize::try_from(len).unwrap()], offset)
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn read_back(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        bytes.copy_from_slice(&self.disk.borrow()[offset..offset + bytes.len()]);
        Ok(())
    }
}

fn job() -> Job {
    let mut image = Sparse::new(6 << 20);
    image.put(0, vec![1; 1000]);
    image.put(4096, vec![2; 92]);
    image.put(20_000, vec![3; 10_000]);
    image.put(3 << 20, vec![4; (1 << 20) + 5]);
    let range = |start, end| Range { start, end };
    Job {
        image,
        spoil: vec![(0, vec![9; 4096]), (4096, vec![0; 4096]), ((LEN - 8192) as u64, vec![0; 8192])],
        body: range(8192, 6 << 20),
        last: vec![range(4096, 8192), range(0, 4096)],
        longest_zeroes: 2 << 20,
    }
}

#[test]
fn the_first_block_is_the_new_one_only_when_all_others_are() {
    let memory = Memory::new(None);
    let job = job();
    carry_out(&memory, &job).unwrap();
    let mut wanted = vec![0; 6 << 20];
    job.image.read_at(&mut wanted, 0).unwrap();
    let end = memory.disk.into_inner();
    // The hole before 3 MiB is longer than what is zeroed.
    let free = 32_768..3 << 20;
    assert!(end[free.clone()].iter().all(|byte| *byte == 0x55));
    wanted[free.clone()].fill(0x55);
    assert!(end[..6 << 20] == wanted[..], "the disk holds the image");
    let mut disk = vec![0x55; LEN];
    let writes = memory.writes.into_inner();
    for (count, (offset, bytes)) in writes.iter().enumerate() {
        let is_new = disk[..1000] == wanted[..1000];
        assert!(!is_new, "the new first block came before write {count} of {}", writes.len());
        assert!(count == 0 || disk[0] == 9, "the old first block is still there before write {count}");
        disk[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    assert!(disk == end);
}

#[test]
fn a_disk_that_lies_is_found_out_before_it_becomes_bootable() {
    for stuck in [20_001, (3 << 20) + 77] {
        let memory = Memory::new(Some(stuck));
        let error = carry_out(&memory, &job()).unwrap_err();
        assert!(matches!(error, WriteError::Differs { offset } if offset == stuck as u64), "{error}");
        assert_eq!(memory.disk.borrow()[0], 9, "it is not recognisable");
    }
}
