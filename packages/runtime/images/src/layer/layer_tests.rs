//! What layers do to folders, one on top of the other.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::tar::Kind;
use super::test_archive::Made;
use super::*;

/// Layers in a folder, the lowest first. They end with it.
pub(super) struct Stack {
    dir: tempfile::TempDir,
    layers: Vec<PathBuf>,
    pub(super) rules: Rules,
}

impl Stack {
    pub(super) fn new() -> Self {
        let rules = Rules { limits: Limits::default(), devices: Devices::Create };
        Self { dir: tempfile::tempdir().unwrap(), layers: Vec::new(), rules }
    }

    /// Unpacks an archive on top.
    pub(super) fn add(&mut self, archive: &[u8]) -> Result<PathBuf, LayerError> {
        self.add_as(archive, Digest::of(archive))
    }

    pub(super) fn add_as(&mut self, archive: &[u8], diff_id: Digest) -> Result<PathBuf, LayerError> {
        self.add_stored(archive, diff_id)
    }

    /// The same for one that is compressed.
    pub(super) fn add_stored(&mut self, stored: &[u8], diff_id: Digest) -> Result<PathBuf, LayerError> {
        let folder = self.dir.path().join(self.layers.len().to_string());
        fs::create_dir(&folder).unwrap();
        let open = |path: &PathBuf| OwnedFd::from(fs::File::open(path).unwrap());
        let lower = self.layers.iter().rev().map(open).collect();
        unpack(stored, stored.len() as u64, diff_id, open(&folder), lower, &self.rules)?;
        self.layers.push(folder.clone());
        Ok(folder)
    }

    /// Nothing may have been written here.
    pub(super) fn outside(&self) -> Vec<String> {
        let names = crate::disk::list(self.dir.path()).unwrap();
        names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| name.len() > 1).collect()
    }
}

fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("left out: only root can make devices and overlayfs's marks");
    }
    is_root
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_char_device() && found.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    attributes::is_opaque(fs::File::open(path).unwrap())
}

#[test]
fn each_kind_of_entry() {
    let mut stack = Stack::new();
    let archive = Made::default()
        .folder("./")
        .folder("etc/")
        .entry(b'0', "etc/shadow", "", b"secret", |header| header[100..108].copy_from_slice(b"0004640\0"))
        .symlink("etc/link", "../../../shadow")
        .hard_link("again", "etc/shadow")
        .device("pipe", Kind::Fifo)
        .pax(&[
            b"mtime=1234567890.5",
            b"SCHILY.xattr.user.note=hello",
            b"SCHILY.xattr.trusted.overlay.redirect=/etc",
        ])
        .file("noted", "x")
        .finish();
    let folder = stack.add(&archive).unwrap();
    let found = fs::metadata(folder.join("etc/shadow")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.nlink(), found.mtime()), (0o4640, 2, 0o1750));
    assert_eq!(fs::read(folder.join("again")).unwrap(), b"secret");
    assert_eq!(fs::read_link(folder.join("etc/link")).unwrap(), Path::new("../../../shadow"));
    assert!(fs::metadata(folder.join("pipe")).unwrap().file_type().is_fifo());
    // Folders keep their times although files were added to them later.
    assert_eq!(fs::metadata(folder.join("etc")).unwrap().mtime(), 0o1750);
    assert_eq!(fs::metadata(&folder).unwrap().mtime(), 0o1750);
    let noted = fs::File::open(folder.join("noted")).unwrap();
    assert_eq!(
        (noted.metadata().unwrap().mtime(), noted.metadata().unwrap().mtime_nsec()),
        (1_234_567_890, 500_000_000)
    );
    let mut value = [0; 16];
    // A file system without users' attributes is fine.
    if let Ok(length) = rustix::fs::fgetxattr(&noted, "user.note", &mut value[..]) {
        assert_eq!(&value[..length], b"hello");
    }
    assert!(rustix::fs::fgetxattr(&noted, "trusted.overlay.redirect", &mut value[..]).is_err());
}

#[test]
fn later_entries_replace_earlier_ones() {
    let mut stack = Stack::new();
    let archive = Made::default()
        .file("a", "one")
        .file("a", "two")
        .folder("b")
        .file("b/inner", "x")
        .file("b", "file over folder")
        .symlink("c", "nowhere")
        .folder("c")
        .file("c/inner", "folder over link")
        .folder("d")
        .file("d/kept", "y")
        .folder("d")
        .finish();
    let folder = stack.add(&archive).unwrap();
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"two");
    assert_eq!(fs::read(folder.join("b")).unwrap(), b"file over folder");
    assert!(fs::symlink_metadata(folder.join("c")).unwrap().is_dir());
    assert_eq!(fs::read(folder.join("c/inner")).unwrap(), b"folder over link");
    assert_eq!(fs::read(folder.join("d/kept")).unwrap(), b"y");
}

#[test]
fn compressed_layers_and_their_digests() {
    use std::io::Write as _;
    let mut stack = Stack::new();
    let archive = Made::default().file("a", &"content ".repeat(50_000)).finish();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&archive).unwrap();
    stack.add_stored(&gzip.finish().unwrap(), Digest::of(&archive)).unwrap();
    let zstd = zstd::encode_all(&archive[..], 3).unwrap();
    let folder = stack.add_stored(&zstd, Digest::of(&archive)).unwrap();
    assert_eq!(fs::metadata(folder.join("a")).unwrap().len(), 400_000);
    let error = stack.add_stored(&zstd, Digest::of(b"other")).unwrap_err();
    assert!(matches!(error, LayerError::DiffId { .. }), "{error}");
}

#[test]
fn folders_of_lower_layers_keep_their_attributes() {
    let mut stack = Stack::new();
    let private = |header: &mut [u8; 512]| header[100..108].copy_from_slice(b"0000700\0");
    stack.add(&Made::default().entry(b'5', "home", "", b"", private).folder("home/web").finish()).unwrap();
    let upper =
        stack.add(&Made::default().file("home/web/file", "x").file("new/file", "y").finish()).unwrap();
    assert_eq!(fs::metadata(upper.join("home")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(fs::metadata(upper.join("home/web")).unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(upper.join("new")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[test]
fn links_of_lower_layers_are_followed() {
    let mut stack = Stack::new();
    let lowest =
        Made::default().folder("usr").folder("usr/lib").symlink("lib", "usr/lib").symlink("abs", "/usr");
    stack.add(&lowest.finish()).unwrap();
    let upper = stack.add(&Made::default().file("lib/one", "1").file("abs/lib/two", "2").finish()).unwrap();
    assert_eq!(fs::read(upper.join("usr/lib/one")).unwrap(), b"1");
    assert_eq!(fs::read(upper.join("usr/lib/two")).unwrap(), b"2");
    assert!(!upper.join("lib").exists() && !upper.join("abs").exists());
}

#[test]
fn hard_links_to_lower_layers_copy_the_file() {
    let mut stack = Stack::new();
    let setuid = |header: &mut [u8; 512]| header[100..108].copy_from_slice(b"0004755\0");
    stack.add(&Made::default().folder("bin").entry(b'0', "bin/su", "", b"program", setuid).finish()).unwrap();
    let upper = stack.add(&Made::default().hard_link("bin/doas", "bin/su").finish()).unwrap();
    let found = fs::metadata(upper.join("bin/doas")).unwrap();
    assert_eq!((found.mode() & 0o7777, found.nlink()), (0o4755, 2));
    assert_eq!(fs::read(upper.join("bin/su")).unwrap(), b"program");
}

#[test]
fn whiteouts() {
    if !is_root() {
        return;
    }
    let mut stack = Stack::new();
    let lowest =
        Made::default().folder("a").file("a/gone", "1").file("a/kept", "2").folder("b").file("b/old", "3");
    stack.add(&lowest.folder("c").file("c/old", "4").finish()).unwrap();
    let middle = Made::default()
        .file("a/.wh.gone", "")
        .file("a/.wh.never", "")
        .file("b/new", "5")
        .file("b/.wh..wh..opq", "")
        .file(".wh.c", "")
        .file(".wh..wh.plnk", "")
        .file("own", "6")
        .file(".wh.own", "");
    let middle = stack.add(&middle.finish()).unwrap();
    assert!(is_whiteout(&middle.join("a/gone")));
    assert!(!middle.join("a/never").exists() && !middle.join("a/kept").exists());
    assert!(is_opaque(&middle.join("b")) && middle.join("b/new").exists());
    assert!(is_whiteout(&middle.join("c")));
    assert_eq!(fs::read(middle.join("own")).unwrap(), b"6");
    // A folder that comes back is an empty one, even if only a file in it says so.
    let upper = stack.add(&Made::default().file("c/new", "7").file("a/gone", "8").finish()).unwrap();
    assert_eq!(fs::read(upper.join("c/new")).unwrap(), b"7");
    assert_eq!(fs::read(upper.join("a/gone")).unwrap(), b"8");
    // What is below a whiteout or an opaque folder is not there to be linked to.
    for target in ["b/old", "c/old"] {
        let error = stack.add(&Made::default().hard_link("x", target).finish()).unwrap_err();
        assert!(matches!(error, LayerError::HardLink { .. }), "{error}");
        stack.forget_failed();
    }
}

#[test]
fn whiteouts_and_entries_of_the_same_layer() {
    if !is_root() {
        return;
    }
    let mut stack = Stack::new();
    stack
        .add(&Made::default().folder("a").file("a/old", "1").folder("b").file("b/old", "2").finish())
        .unwrap();
    let upper =
        Made::default().file(".wh.a", "").folder("a").file("a/new", "3").folder("b").file("b/new", "4");
    let upper = stack.add(&upper.file(".wh.b", "").finish()).unwrap();
    for name in ["a", "b"] {
        assert!(is_opaque(&upper.join(name)), "{name}");
        assert!(upper.join(name).join("new").exists());
    }
}

#[test]
fn devices_follow_the_settings() {
    if !is_root() {
        return;
    }
    let mut stack = Stack::new();
    let archive = Made::default().device("null", Kind::Character { major: 1, minor: 3 }).finish();
    let folder = stack.add(&archive).unwrap();
    let found = fs::metadata(folder.join("null")).unwrap();
    assert_eq!((found.rdev(), found.mode() & 0o7777), (rustix::fs::makedev(1, 3), 0o644));
    stack.rules.devices = Devices::Refuse;
    let error = stack.add(&archive).unwrap_err();
    assert!(matches!(error, LayerError::Device { .. }), "{error}");
}

impl Stack {
    /// A layer that was refused leaves its folder.
    pub(super) fn forget_failed(&self) {
        let _ = crate::disk::remove_tree(&self.dir.path().join(self.layers.len().to_string()));
    }
}
