//! `rootfs.erofs`: the read-only root, by mkfs.erofs from a tar stream, so that neither the files'
//! owners nor their order on a disk can matter.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lepton_formats::Seed;

use super::{PackError, file_error, hyphenated};
use crate::tools::ToolTree;
use crate::tree::{NodeKind, RootTree};

/// mkfs.erofs compresses a cluster several times until it fits: ten times as long at level 19, for nothing that
/// larger clusters do not give, too.
const COMPRESSION: &str = "-zzstd,level=12";
/// Compressed bytes of a cluster, which the kernel reads and unpacks as a whole: the largest that erofs has.
/// The programs of `node` need 24,141,824 bytes at 256 KiB and 23,453,696 so, in two thirds of the time.
const CLUSTER: &str = "-C1048576";

/// Writes the tree as `rootfs.erofs` into `dir`.
pub fn write(
    tree: &RootTree,
    seed: &Seed,
    date: u64,
    tools: &ToolTree,
    dir: &Path,
) -> Result<PathBuf, PackError> {
    let archive = dir.join("root.tar");
    let file = File::create(&archive).map_err(file_error("make", &archive))?;
    write_tar(tree, date, BufWriter::new(file)).map_err(file_error("write", &archive))?;
    tools
        .program("mkfs.erofs")
        .writable(dir, "/work")
        .args(["--quiet", "--tar=f", COMPRESSION, CLUSTER])
        // Small files and tails of files share blocks; equal blocks are stored once.
        .args(["-Eztailpacking,fragments,dedupe"])
        .arg(format!("-T{date}"))
        .arg(format!("-U{}", hyphenated(seed.uuid("erofs"))))
        .args(["/work/rootfs.erofs", "/work/root.tar"])
        .run(|_| {})?;
    std::fs::remove_file(&archive).map_err(file_error("remove", &archive))?;
    Ok(dir.join("rootfs.erofs"))
}

/// The tree as a tar stream: everything belongs to root and has one date.
pub(crate) fn write_tar(tree: &RootTree, date: u64, out: impl Write) -> std::io::Result<()> {
    let mut tar = tar::Builder::new(out);
    // Without an entry of its own the root would be writable for everyone.
    let mut root = header(0o755, date);
    root.set_entry_type(tar::EntryType::Directory);
    tar.append_data(&mut root, ".", std::io::empty())?;
    for (path, node) in tree.nodes() {
        let mut header = header(node.mode, date);
        match &node.kind {
            NodeKind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, path.relative(), std::io::empty())?;
            }
            NodeKind::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, path.relative(), target)?;
            }
            NodeKind::File(content) => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(content.len());
                tar.append_data(&mut header, path.relative(), content.reader())?;
            }
        }
    }
    tar.into_inner()?.flush()
}

/// A header with no kind yet: mkfs.erofs leaves out what says none.
fn header(mode: u32, date: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_mode(mode);
    header.set_mtime(date);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}
