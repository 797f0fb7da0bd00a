//! Power cuts while a file system is made: at every write, the device starts over or is finished.
#![expect(clippy::cast_possible_truncation, reason = "a device in memory has offsets of its size")]

use std::cell::RefCell;

use super::*;

/// A device in memory that remembers every write.
struct Recorder {
    writes: RefCell<Vec<(u64, Vec<u8>)>>,
}

impl Target for Recorder {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writes.borrow_mut().push((offset, bytes.to_vec()));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The device before, with the first `count` writes.
fn after(before: &[u8], writes: &[(u64, Vec<u8>)], count: usize) -> Vec<u8> {
    let mut bytes = before.to_vec();
    for (offset, data) in &writes[..count] {
        let from = *offset as usize;
        bytes[from..from + data.len()].copy_from_slice(data);
    }
    bytes
}

fn image() -> Sparse {
    let mut image = Sparse::new(3 << 20);
    image.put(1024, vec![7; 1024]);
    image.put(4096, vec![8; 4096]);
    image.put((2 << 20) + 4096, vec![9; 10]);
    image
}

fn all(image: &Sparse) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_wiped_partition_is_old_marked_or_new_after_every_write() {
    let image = image();
    let old = vec![0x55; 3 << 20];
    let recorder = Recorder { writes: RefCell::default() };
    write_anew(&recorder, 0, &image).unwrap();
    let writes = recorder.writes.into_inner();
    assert!(writes.len() >= 5, "{} writes", writes.len());
    for count in 0..=writes.len() {
        let bytes = after(&old, &writes, count);
        let marked = bytes.starts_with(MARK);
        assert!(marked || bytes == old || bytes == all(&image), "after {count} writes");
        assert_eq!(marked, count > 0 && count < writes.len(), "after {count} writes");
        // A superblock beside old contents would be mounted by rescue systems.
        assert!(bytes[1024] != 7 || count >= writes.len() - 1);
    }
}

#[test]
fn a_new_disk_has_no_partitions_until_everything_is_written() {
    let image = image();
    for sector in [512, 4096] {
        let table = table(&image, [1; 32]).unwrap();
        let recorder = Recorder { writes: RefCell::default() };
        write_disk(&recorder, sector, &table, &image).unwrap();
        let writes = recorder.writes.into_inner();
        let blank = vec![0; table.len() as usize];
        for count in 0..writes.len() {
            let bytes = after(&blank, &writes, count);
            assert_eq!(bytes.starts_with(MARK), count > 0, "after {count} writes");
            assert_ne!(bytes[510..512], [0x55, 0xaa], "a disk with the mark has no protective MBR");
        }
        let mut disk = Sparse::new(table.len());
        disk.put(0, after(&blank, &writes, writes.len()));
        let text = gpt::dump(&disk, sector).unwrap();
        assert_eq!(text.matches("crc good").count(), 4, "{text}");
        assert!(text.contains("\"lepton-state\""), "{text}");
        let other = gpt::dump(&disk, if sector == 512 { 4096 } else { 512 }).unwrap();
        assert!(other.contains("primary: none") && other.contains("backup: none"), "{other}");
        let mut inside = vec![0; 3 << 20];
        disk.read_at(&mut inside, LOOKED_AT).unwrap();
        assert_eq!(inside, all(&image));
    }
}

#[test]
fn only_zeroes_are_blank() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    let disk = Disk {
        name: "vdb".to_owned(),
        sector: 512,
        bytes: 8 << 20,
        serials: vec![],
        removable: false,
        read_only: false,
        partitions: vec![],
        in_use: None,
    };
    must_be_blank(&file, &disk).unwrap();
    file.write_all_at(b"x", (4 << 20) + 1).unwrap();
    must_be_blank(&file, &disk).unwrap();
    for at in [(8 << 20) - 1, 1080] {
        file.write_all_at(b"S", at).unwrap();
        let error = must_be_blank(&file, &disk).unwrap_err().to_string();
        assert!(error.starts_with(&format!("vdb is not blank: there are bytes at {at}")), "{error}");
    }
    assert!(!has_begun(&path));
    file.write_all_at(MARK, 0).unwrap();
    assert!(has_begun(&path));
}
