//! The initrd: `/init` and `/rootfs.erofs`.
//!
//! Two archives, one after the other, as the kernel allows: the first is compressed, the second holds
//! the root, which is compressed already, and is stored as it is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lepton_formats::Content;
use lepton_formats::cpio::{self, Entry, Kind};

use super::{PackError, file_error};

/// Level 19 is the strongest that needs no more memory to unpack than the kernel sets aside.
const LEVEL: i32 = 19;
/// The kernel looks for the next archive at multiples of four bytes.
const ALIGNMENT: usize = 4;

/// Writes the initrd into `dir`.
pub fn write(init: &Path, rootfs: &Path, date: u64, dir: &Path) -> Result<PathBuf, PackError> {
    let path = dir.join("initrd");
    let init = Content::open(init).map_err(file_error("read", init))?;
    let rootfs = Content::open(rootfs).map_err(file_error("read", rootfs))?;
    let file = File::create(&path).map_err(file_error("make", &path))?;
    let mut out = BufWriter::new(file);
    let first = compressed(&first_files(init), date)?;
    let io_failed = |error| file_error("write", &path)(error);
    out.write_all(&first).map_err(io_failed)?;
    let padding = first.len().next_multiple_of(ALIGNMENT) - first.len();
    out.write_all(&[0; ALIGNMENT][..padding]).map_err(io_failed)?;
    cpio::write(&[file_entry("rootfs.erofs", 0o444, rootfs)], date, &mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error).map_err(io_failed)?;
    Ok(path)
}

fn compressed(entries: &[Entry], date: u64) -> Result<Vec<u8>, PackError> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(file_error("compress", "/init"))?;
    cpio::write(entries, date, &mut encoder)?;
    encoder.finish().map_err(file_error("compress", "/init"))
}

/// PID 1 and, for a console that does not exist, what Rust's runtime opens instead of missing streams.
fn first_files(init: Content) -> [Entry; 3] {
    let node = |path: &str, mode, kind| Entry { path: path.to_owned(), mode, uid: 0, gid: 0, kind };
    [
        node("dev", 0o755, Kind::Directory),
        node("dev/null", 0o666, Kind::CharDevice { major: 1, minor: 3 }),
        file_entry("init", 0o755, init),
    ]
}

fn file_entry(path: &str, mode: u32, content: Content) -> Entry {
    Entry { path: path.to_owned(), mode, uid: 0, gid: 0, kind: Kind::File(content) }
}
