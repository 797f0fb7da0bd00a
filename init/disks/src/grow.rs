//! Carries out what `lepton_formats::gpt::grow` planned, on a real disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use lepton_formats::gpt::grow::{self, GrowError, Growth};

use crate::list::Disk;

/// Grows the last partition of `disk`, called `name`, to the disk's end; `None` when there was nothing to do. The
/// kernel is not told.
pub fn grow_table(disk: &Disk, name: &str) -> Result<Option<Growth>, GrowError> {
    // Most boots end here; a disk that is only read keeps its partitions' change events quiet.
    if plan(&File::open(disk.path())?, disk, name)?.is_none() {
        return Ok(None);
    }
    let file = File::options().read(true).write(true).open(disk.path())?;
    let Some(growth) = plan(&file, disk, name)? else { return Ok(None) };
    for group in &growth.groups {
        for write in group {
            file.write_all_at(&write.bytes, write.offset)?;
        }
        // The next group relies on this one, also after a power cut: fdatasync(2) flushes the disk's own cache.
        file.sync_data()?;
    }
    Ok(Some(growth))
}

fn plan(file: &File, disk: &Disk, name: &str) -> Result<Option<Growth>, GrowError> {
    let read = |offset: u64, len: usize| -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    };
    grow::plan(&read, disk.sector, disk.bytes, name)
}
