//! The root as `fsck.erofs` unpacks it: exactly the tree that the builder put together.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use lepton_builder::digest::Digest;
use lepton_builder::sandbox::Sandbox;

use super::case::{Defect, hold, scratch};
use super::files::difference;
use super::initrd::Initrd;
use super::plant::Copy;
use super::{Verdict, require, tool};
use crate::Context;
use crate::context::TestError;

/// A file that every image has, to be missed.
const SOME_FILE: &str = "usr/lib/os-release";

pub(super) fn root(cx: &Context) -> Verdict {
    let dir = scratch()?;
    let image = dir.path().join("rootfs.erofs");
    let initrd = Initrd::open(&cx.artifact("pxe")?.join("initrd"))?;
    fs::write(&image, initrd.file("rootfs.erofs")?).map_err(TestError::file("write", &image))?;
    let unpacked = unpack(cx, &image, dir.path())?;
    let judge = |image: &Path| {
        let dir = scratch()?;
        let root = unpack(cx, image, dir.path())?;
        let found = listing(cx, &root)?;
        require("fsck.erofs", found == cx.root_listing, || {
            format!("the root is not the tree:{}", difference(&cx.root_listing, &found))
        })
    };
    let without_a_file = |copy: &Copy| {
        fs::remove_file(unpacked.join(SOME_FILE))?;
        let remade = dir.path().join("remade.erofs");
        let make = Sandbox::new(&cx.tools, "mkfs.erofs").writable(dir.path(), "/work");
        let made = make.args(["-zzstd", "/work/remade.erofs", "/work/root"]).run(|_| {});
        made.map_err(io::Error::other)?;
        copy.replace(&fs::read(remade)?)
    };
    hold(
        &image,
        &judge,
        &[
            // The superblock lies at 1024 and covers what follows it in its block with a checksum.
            Defect::new("a changed superblock", &|copy| copy.flip(1024 + 64)),
            Defect::new("a file system that was cut", &|copy| copy.set_len(copy.len()? / 2)),
            Defect::new("a missing file", &without_a_file),
        ],
    )
}

/// Unpacks the file system `image` into a new folder of `dir`; every block is read.
pub(super) fn unpack(cx: &Context, image: &Path, dir: &Path) -> Result<PathBuf, TestError> {
    let extract = tool::on(cx, "fsck.erofs", image)
        .writable(dir, "/out")
        .args(["--extract=/out/root", "--preserve"])
        .arg(tool::shown(image));
    let text = tool::ask("fsck.erofs", &extract)?;
    // It ends well without a superblock, too, and only says so.
    require("fsck.erofs", text.is_empty(), || text)?;
    Ok(dir.join("root"))
}

/// The unpacked tree in the words of `lepton_builder::tree::RootTree::listing`. Owners are read inside the sandbox,
/// where an ordinary user who unpacked the tree is root.
fn listing(cx: &Context, root: &Path) -> Result<String, TestError> {
    let dir = scratch()?;
    let pack = Sandbox::new(&cx.tools, "tar").read_only(root, "/root").writable(dir.path(), "/out");
    tool::ask("tar", &pack.args(["--create", "--file=/out/root.tar", "--directory=/root", "."]))?;
    let path = dir.path().join("root.tar");
    let lines = File::open(&path).and_then(lines).map_err(TestError::file("read", path))?;
    let own = lines.get("/").map(String::as_str);
    require("fsck.erofs", own == Some("0755 0 0 / folder"), || format!("the root itself is {own:?}"))?;
    Ok(lines.values().skip(1).fold(String::new(), |text, line| text + line + "\n"))
}

/// One line for each entry of an archive, by path.
fn lines(archive: File) -> io::Result<BTreeMap<String, String>> {
    let mut lines = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let path = format!("/{}", entry.path()?.display()).replacen("/./", "/", 1);
        let path = if path == "/" { path } else { path.trim_end_matches('/').to_owned() };
        let header = entry.header();
        let (mode, uid, gid, kind) =
            (header.mode()? & 0o7777, header.uid()?, header.gid()?, header.entry_type());
        let what = match entry.link_name()? {
            Some(target) => format!("-> {}", target.display()),
            None if kind.is_dir() => "folder".to_owned(),
            None => {
                let (digest, size) = Digest::of_reader(&mut entry)?;
                format!("{size} {digest}")
            }
        };
        lines.insert(path.clone(), format!("{mode:04o} {uid} {gid} {path} {what}"));
    }
    Ok(lines)
}
