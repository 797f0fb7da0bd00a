//! The empty file system of the state partition, by mke2fs.

use std::fs::File;
use std::path::Path;

use lepton_formats::{Content, Seed, Sparse};

use super::{PackError, file_error, hyphenated};
use crate::tools::ToolTree;

/// Blocks as large as the largest disk sectors: Linux refuses smaller ones there.
const BLOCK_BYTES: u64 = 4096;

/// An ext4 of `mib` MiB with the label `lepton-state`.
pub fn write(mib: u32, seed: &Seed, date: u64, tools: &ToolTree, dir: &Path) -> Result<Sparse, PackError> {
    let path = dir.join("state.ext4");
    let len = u64::from(mib) << 20;
    let file = File::create(&path).map_err(file_error("make", &path))?;
    file.set_len(len).map_err(file_error("make", &path))?;
    let uuid = hyphenated(seed.uuid("ext4"));
    tools
        .program("mke2fs")
        .writable(dir, "/work")
        // Both pin the times in the superblock and inodes; the second is read by older versions.
        .env("SOURCE_DATE_EPOCH", date.to_string())
        .env("E2FSPROGS_FAKE_TIME", date.to_string())
        .args(["-q", "-F", "-t", "ext4", "-b", &BLOCK_BYTES.to_string(), "-L", "lepton-state", "-m", "0"])
        .args(["-U", &uuid, "-E"])
        .arg(format!(
            "hash_seed={},root_owner=0:0,nodiscard,lazy_itable_init=1",
            hyphenated(seed.uuid("ext4 hash"))
        ))
        .arg("/work/state.ext4")
        .run(|_| {})?;
    sparse(&path, len).map_err(file_error("read", &path))
}

/// The file without its blocks of zeroes.
fn sparse(path: &Path, len: u64) -> std::io::Result<Sparse> {
    let content = Content::open(path)?;
    let mut image = Sparse::new(len);
    let mut block = vec![0; 4096];
    let mut run: Option<u64> = None;
    for offset in (0..len).step_by(block.len()) {
        content.read_exact_at(&mut block, offset)?;
        let empty = block.iter().all(|byte| *byte == 0);
        match (run, empty) {
            (None, false) => run = Some(offset),
            (Some(start), true) => {
                image.put(start, content.slice(start, offset - start));
                run = None;
            }
            _ => {}
        }
    }
    if let Some(start) = run {
        image.put(start, content.slice(start, len - start));
    }
    Ok(image)
}
