//! The initrd archive: cpio in the "newc" format that the kernel unpacks (buffer-format.rst of the kernel).
//!
//! Entries are written in the order given, as a stream, and nothing is compressed here. The kernel skips in
//! silence what it cannot create, so mistakes that it would swallow (a missing parent, a second entry of the
//! same path) are errors here.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::content::Content;

/// Inode numbers begin here; the archive's trailer has 0.
const FIRST_INODE: u32 = 1;

/// Paths and link targets with their NUL must fit the kernel's PATH_MAX, 4096 bytes.
const LONGEST_PATH: usize = 4095;

/// One file of the archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Path from the root, without a leading or trailing slash: `etc/hosts`.
    pub path: String,
    /// Permission bits with set-id and sticky bits, 0o7777 at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What it is.
    pub kind: Kind,
}

/// The kinds of file an initrd holds.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file, 4 GiB - 1 bytes at most.
    File(Content),
    /// A symbolic link and where it points.
    Symlink(String),
    /// A character device node.
    CharDevice {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpioError {
    /// The size field of newc has 32 bits.
    #[error("{path} has {len} bytes; a file of an initrd can have 4294967295 at most")]
    TooLarge {
        /// Path of the entry.
        path: String,
        /// Its size in bytes.
        len: u64,
    },
    /// The path is empty, absolute, too long, has an odd component, or is the archive's end mark.
    #[error("{path:?} cannot be a path in an initrd")]
    Path {
        /// The path as given.
        path: String,
    },
    /// The link target is empty, too long or has a NUL byte.
    #[error("{path} cannot point to {target:?}")]
    Target {
        /// Path of the link.
        path: String,
        /// Target as given.
        target: String,
    },
    /// Two entries have one path.
    #[error("{path} is in the initrd twice")]
    Twice {
        /// Path of the second entry.
        path: String,
    },
    /// The directory of an entry does not come before it.
    #[error("{path} has no directory before it in the initrd")]
    NoParent {
        /// Path of the entry.
        path: String,
    },
    /// The time field of newc has 32 bits.
    #[error("the time {epoch} does not fit a cpio header")]
    Time {
        /// Seconds since 1970.
        epoch: u64,
    },
    /// The content cannot be read or the archive cannot be written.
    #[error("cannot write {path} into the initrd")]
    Io {
        /// Path of the entry.
        path: String,
        /// What failed.
        source: io::Error,
    },
}

/// Writes the archive with its trailer; every entry gets the time `epoch` (seconds since 1970).
pub fn write(entries: &[Entry], epoch: u64, out: &mut impl Write) -> Result<(), CpioError> {
    let mtime = u32::try_from(epoch).map_err(|_| CpioError::Time { epoch })?;
    check(entries)?;
    for (inode, entry) in (FIRST_INODE..).zip(entries) {
        write_entry(entry, inode, mtime, out)?;
    }
    let failed = |source| CpioError::Io { path: "the trailer".to_owned(), source };
    trailer(Unflushed(out)).map(|_| ()).map_err(failed)
}

fn check(entries: &[Entry]) -> Result<(), CpioError> {
    let mut seen: BTreeMap<&str, &Kind> = BTreeMap::new();
    for Entry { path, kind, .. } in entries {
        let odd = |part: &str| matches!(part, "" | "." | "..");
        if path.len() > LONGEST_PATH
            || path.contains('\0')
            || path == "TRAILER!!!"
            || path.split('/').any(odd)
        {
            return Err(CpioError::Path { path: path.clone() });
        }
        if let Some((parent, _)) = path.rsplit_once('/')
            && !matches!(seen.get(parent), Some(Kind::Directory))
        {
            return Err(CpioError::NoParent { path: path.clone() });
        }
        if seen.insert(path.as_str(), kind).is_some() {
            return Err(CpioError::Twice { path: path.clone() });
        }
        match kind {
            Kind::File(content) if u32::try_from(content.len()).is_err() => {
                return Err(CpioError::TooLarge { path: path.clone(), len: content.len() });
            }
            Kind::Symlink(target)
                if target.is_empty() || target.len() > LONGEST_PATH || target.contains('\0') =>
            {
                return Err(CpioError::Target { path: path.clone(), target: target.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_entry(entry: &Entry, inode: u32, mtime: u32, out: &mut impl Write) -> Result<(), CpioError> {
    let header = Builder::new(&entry.path)
        .ino(inode)
        .mode(entry.mode & 0o7777)
        .uid(entry.uid)
        .gid(entry.gid)
        .mtime(mtime);
    let empty = Content::from(Vec::new());
    let (header, content) = match &entry.kind {
        // Two links, as a directory has; the kernel looks for hard links only among regular files.
        Kind::Directory => (header.nlink(2).set_mode_file_type(ModeFileType::Directory), empty),
        Kind::File(content) => (header.set_mode_file_type(ModeFileType::Regular), content.clone()),
        Kind::Symlink(target) => {
            (header.set_mode_file_type(ModeFileType::Symlink), Content::from(target.as_bytes()))
        }
        Kind::CharDevice { major, minor } => {
            let device = header.rdev_major(*major).rdev_minor(*minor);
            (device.set_mode_file_type(ModeFileType::Char), empty)
        }
    };
    let too_large = |_| CpioError::TooLarge { path: entry.path.clone(), len: content.len() };
    let size = u32::try_from(content.len()).map_err(too_large)?;
    let failed = |source| CpioError::Io { path: entry.path.clone(), source };
    let mut writer = header.write(Unflushed(out), size);
    io::copy(&mut content.reader(), &mut writer).map_err(failed)?;
    writer.finish().map(|_| ()).map_err(failed)
}

/// Passes bytes on but no flush: the cpio crate flushes after every entry, which would end a block of a
/// compressor behind it.
struct Unflushed<'a, W>(&'a mut W);

impl<W: Write> Write for Unflushed<'_, W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    use cpio::newc::Reader;
    use expect_test::{Expect, expect};

    fn entry(path: &str, mode: u32, kind: Kind) -> Entry {
        Entry { path: path.to_owned(), mode, uid: 0, gid: 0, kind }
    }

    fn archive(entries: &[Entry]) -> Result<Vec<u8>, CpioError> {
        let mut out = Vec::new();
        write(entries, 1_700_000_000, &mut out).map(|()| out)
    }

    fn check_listing(entries: &[Entry], expected: &Expect) {
        let bytes = archive(entries).unwrap();
        let mut rest = bytes.as_slice();
        let mut text = String::new();
        loop {
            let mut reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            let mut body = String::new();
            io::Read::read_to_string(&mut reader, &mut body).unwrap();
            let e = reader.entry();
            let (ino, mode, links, time) = (e.ino(), e.mode(), e.nlink(), e.mtime());
            let (uid, gid, major, minor) = (e.uid(), e.gid(), e.rdev_major(), e.rdev_minor());
            let name = e.name();
            writeln!(text, "{ino} {mode:06o} {links} {uid}:{gid} {time} {major},{minor} {name} {body:?}")
                .unwrap();
            rest = reader.finish().unwrap();
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn writes_every_kind() {
        let mut owned = entry("init", 0o755, Kind::File(b"abc".as_slice().into()));
        (owned.uid, owned.gid) = (1, 2);
        let entries = [
            entry("dev", 0o755, Kind::Directory),
            entry("dev/console", 0o600, Kind::CharDevice { major: 5, minor: 1 }),
            owned,
            entry("link", 0o777, Kind::Symlink("/init".to_owned())),
        ];
        check_listing(
            &entries,
            &expect![[r#"
                1 040755 2 0:0 1700000000 0,0 dev ""
                2 020600 1 0:0 1700000000 5,1 dev/console ""
                3 100755 1 1:2 1700000000 0,0 init "abc"
                4 120777 1 0:0 1700000000 0,0 link "/init"
            "#]],
        );
    }

    #[test]
    fn refuses_what_the_kernel_would_skip() {
        let file = || Kind::File(b"x".as_slice().into());
        let fails = |entries: &[Entry]| archive(entries).unwrap_err().to_string();
        let check = |entries: &[Entry], expected: Expect| expected.assert_eq(&fails(entries));
        check(&[entry("/init", 0o755, file())], expect![[r#""/init" cannot be a path in an initrd"#]]);
        check(&[entry("a/b", 0o755, file())], expect!["a/b has no directory before it in the initrd"]);
        let twice = [entry("a", 0o644, file()), entry("a", 0o644, file())];
        check(&twice, expect!["a is in the initrd twice"]);
        check(&[entry("a", 0o777, Kind::Symlink(String::new()))], expect![[r#"a cannot point to """#]]);
    }

    #[test]
    fn refuses_a_file_of_four_gib() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(1 << 32).unwrap();
        let large = Content::open(file.path()).unwrap();
        let error = archive(&[entry("rootfs.erofs", 0o444, Kind::File(large))]).unwrap_err();
        expect!["rootfs.erofs has 4294967296 bytes; a file of an initrd can have 4294967295 at most"]
            .assert_eq(&error.to_string());
    }
}
