//! `rootfs.erofs`: the read-only root, by mkfs.erofs from a tar stream, so that neither the files'
//! owners nor their order on a disk can matter.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use lepton_formats::Seed;

use super::{PackError, file_error, hyphenated};
use crate::tools::ToolTree;
use crate::tree::{NodeKind, RootTree};

/// mkfs.erofs compresses a cluster several times until it fits: ten times as long at level 19, for nothing that
/// larger clusters do not give, too.
const COMPRESSION: &str = "-zzstd,level=12";
/// Compressed bytes of a cluster, which the kernel reads and unpacks as a whole: the largest that erofs has.
/// The programs of `node` need 3 % less than at 256 KiB, in two thirds of the time.
const CLUSTER: &str = "-C1048576";

/// Bytes that are compared at once.
const BLOCK: usize = 1 << 20;
const IMAGE: &str = "rootfs.erofs";

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
        // Tails of files lie beside what is known of the file; equal blocks are stored once. Tails of several files in one
        // cluster (`fragments`) would be 4 % smaller, but version 1.8.6 loses some of them when clusters are large.
        .args(["-Eztailpacking,dedupe"])
        .arg(format!("-T{date}"))
        .arg(format!("-U{}", hyphenated(seed.uuid("erofs"))))
        .args(["/work/rootfs.erofs", "/work/root.tar"])
        .run(|_| {})?;
    fs::remove_file(&archive).map_err(file_error("remove", &archive))?;
    verify(tree, tools, dir)?;
    Ok(dir.join(IMAGE))
}

/// Unpacks what was packed and compares every file: a fault of the packer must end a build, and not a host.
fn verify(tree: &RootTree, tools: &ToolTree, dir: &Path) -> Result<(), PackError> {
    let unpacked = dir.join("unpacked");
    tools
        .program("fsck.erofs")
        .writable(dir, "/work")
        .args(["--no-preserve", "--extract=/work/unpacked", "/work/rootfs.erofs"])
        .run(|_| {})?;
    for (path, node) in tree.nodes() {
        let NodeKind::File(content) = &node.kind else { continue };
        let file = unpacked.join(path.relative());
        let is_same = File::open(&file).and_then(|file| is_same(content.reader(), file));
        if !is_same.map_err(file_error("read", &file))? {
            return Err(PackError::Unlike { path: path.to_string() });
        }
    }
    fs::remove_dir_all(&unpacked).map_err(file_error("remove", &unpacked))
}

/// Whether both give the same bytes.
fn is_same(mut one: impl Read, mut other: impl Read) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let (here, there) = (fill(&mut one, &mut left)?, fill(&mut other, &mut right)?);
        if left[..here] != right[..there] {
            return Ok(false);
        }
        if here == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or nothing is left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match from.read(&mut buffer[len..])? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// The tree as a tar stream: everything belongs to root and has one date.
pub(crate) fn write_tar(tree: &RootTree, date: u64, out: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    // Without an entry of its own the root would be writable for everyone.
    let mut root = header(0o755, date);
    root.set_entry_type(tar::EntryType::Directory);
    tar.append_data(&mut root, ".", io::empty())?;
    for (path, node) in tree.nodes() {
        let mut header = header(node.mode, date);
        match &node.kind {
            NodeKind::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, path.relative(), io::empty())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_compared() {
        let long = vec![7; BLOCK + 3];
        let mut other = long.clone();
        other[BLOCK + 2] = 0;
        for (left, right, expected) in [
            (&b""[..], &b""[..], true),
            (b"a", b"", false),
            (b"", b"a", false),
            (b"ab", b"ac", false),
            (&long, &long, true),
            (&long, &other, false),
            (&long, &long[..BLOCK], false),
        ] {
            assert_eq!(is_same(left, right).unwrap(), expected);
        }
    }
}
