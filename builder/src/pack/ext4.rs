//! The empty file system of the state partition, by mke2fs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use lepton_formats::{Content, Seed, Sparse, simg};

use super::{PackError, file_error, hyphenated};
use crate::digest::KeyBuilder;
use crate::tools::{ToolTree, Toolbox, ToolsError};

/// Blocks as large as the largest disk sectors: Linux refuses smaller ones there.
const BLOCK_BYTES: u64 = 4096;

/// Largest size in blocks that the descriptors of block groups are kept together for: 1 TiB. Beyond it the kernel
/// spreads them over the disk (`meta_bg`) while it grows the file system.
const RESERVED_FOR: u64 = 1 << 28;
/// One inode for each 16 KiB of a grown file system: the size given here is half a block group, and its count of
/// inodes becomes that of every group.
const BYTES_PER_INODE: u64 = 8192;
/// A journal cannot grow with its file system, and the default for a small one (4 MiB) is slow on a large one.
const JOURNAL_MIB: u64 = 16;
/// The file of an output.
const FILE: &str = "state.simg";
/// Raised when this file makes other bytes from the same arguments.
const RECIPE: &str = "state-2";

/// The empty file system of the state partition, in the sparse form that an image also carries.
#[derive(Debug)]
pub struct StateBuild {
    /// Size as written; it grows on the host.
    pub mib: u32,
    /// Identifies the file system until a host gives it an identity of its own.
    pub seed: Seed,
    /// Seconds since 1970 of its times.
    pub date: u64,
}

impl StateBuild {
    /// The sparse image (`lepton_formats::simg`), from the store when it is there.
    pub fn output(&self, toolbox: &Toolbox<'_>) -> Result<PathBuf, PackError> {
        let key = KeyBuilder::new(RECIPE)
            .with_digest("tools", toolbox.key("image").map_err(ToolsError::from)?)
            .with("mib", self.mib.to_string())
            .with("seed", self.seed.bytes("ext4"))
            .with("date", self.date.to_string())
            .finish();
        let _lock = toolbox.store.lock(&format!("state-{key}"))?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output.path(FILE));
        }
        let tools = toolbox.tree("image")?;
        let dir = toolbox.store.scratch("state")?;
        let image = write(self.mib, &self.seed, self.date, &tools, dir.path())?;
        let result = toolbox.store.scratch("state-output")?;
        let path = result.path().join(FILE);
        let bytes = simg::write(&image).map_err(file_error("read", dir.path()))?;
        fs::write(&path, bytes).map_err(file_error("write", &path))?;
        Ok(toolbox.store.add_output(result, key)?.path(FILE))
    }
}

/// An ext4 of `mib` MiB with the label `lepton-state`.
fn write(mib: u32, seed: &Seed, date: u64, tools: &ToolTree, dir: &Path) -> Result<Sparse, PackError> {
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
        // With the checksum seed stored, a host can change the UUID while the file system is mounted.
        .args(["-O", "64bit,metadata_csum,metadata_csum_seed,resize_inode"])
        .args(["-i", &BYTES_PER_INODE.to_string(), "-J", &format!("size={JOURNAL_MIB}")])
        .args(["-U", &uuid, "-E"])
        .arg(format!(
            "hash_seed={},root_owner=0:0,nodiscard,lazy_itable_init=1,resize={RESERVED_FOR}",
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
