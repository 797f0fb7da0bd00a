//! OVA packages (DSP0243 5.3): a ustar archive of an OVF descriptor, its manifest and its disk.
//!
//! Importers read the archive as a stream: the descriptor has to come first, and extended headers are not
//! understood. The files are all called `disk.*`, since a content library refuses some other names.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::{Content, vmdk};

/// Name of the disk, for the descriptor's reference.
pub const DISK: &str = vmdk::EXTENT_NAME;
/// A descriptor and its manifest share a base name.
const DESCRIPTOR: &str = "disk.ovf";
const MANIFEST: &str = "disk.mf";
/// The first size that the eleven octal digits of a ustar header cannot hold: 8 GiB.
const USTAR_LIMIT: u64 = 1 << 33;

/// Why a package was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OvaError {
    /// The disk cannot be read.
    #[error("cannot read the disk of an ova package")]
    Disk(#[source] io::Error),
    /// The package cannot be written.
    #[error("cannot write {file} of an ova package")]
    Write {
        /// The file inside the package.
        file: &'static str,
        /// What the writer said.
        source: io::Error,
    },
}

/// Writes a package; `mtime` is in seconds since 1970.
pub fn write(descriptor: &str, disk: &Content, mtime: u64, out: &mut impl Write) -> Result<(), OvaError> {
    let mut digest = Sha256::new();
    io::copy(&mut disk.reader(), &mut digest).map_err(OvaError::Disk)?;
    let manifest = manifest(descriptor, &digest.finalize());

    let mut archive = Builder::new(out);
    let files = [
        (DESCRIPTOR, Content::from(descriptor.as_bytes())),
        (MANIFEST, Content::from(manifest.as_bytes())),
        (DISK, disk.clone()),
    ];
    for (file, content) in files {
        let appended =
            header(file, content.len(), mtime).and_then(|header| archive.append(&header, content.reader()));
        appended.map_err(|source| OvaError::Write { file, source })?;
    }
    let end = archive.into_inner().and_then(Write::flush);
    end.map_err(|source| OvaError::Write { file: DISK, source })
}

/// No space may stand between the algorithm and the name: importers would read it as part of one.
fn manifest(descriptor: &str, disk: &[u8]) -> String {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let descriptor = hex(&Sha256::digest(descriptor));
    format!("SHA256({DESCRIPTOR})= {descriptor}\nSHA256({DISK})= {}\n", hex(disk))
}

fn header(file: &str, len: u64, mtime: u64) -> io::Result<Header> {
    // The standard has no disks of 8 GiB. GNU headers do, in binary sizes, and importers take them; what
    // they refuse is the POSIX way, an extended header in front of the file.
    let mut header = if len < USTAR_LIMIT { Header::new_ustar() } else { Header::new_gnu() };
    header.set_path(file)?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(len);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use expect_test::expect;
    use tar::Archive;

    use super::*;

    #[test]
    fn sizes_from_8_gib_on_are_binary() {
        let size = |len| header(DISK, len, 0).unwrap().as_bytes()[124..136].to_vec();
        assert_eq!(size(USTAR_LIMIT - 1), b"77777777777\0");
        assert_eq!(size(USTAR_LIMIT), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn files_headers_and_digests() {
        let mut out = Vec::new();
        write("<Envelope/>", &Content::from(vec![1; 1000]), 1_700_000_000, &mut out).unwrap();
        assert_eq!(out.len() % 512, 0);
        let mut listing = String::new();
        for entry in Archive::new(&*out).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            listing += &format!(
                "{} {:o} {}:{} {:?}:{:?} {} {} {:?}\n",
                entry.path().unwrap().display(),
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                header.username().unwrap().unwrap_or_default(),
                header.groupname().unwrap().unwrap_or_default(),
                header.size().unwrap(),
                header.mtime().unwrap(),
                String::from_utf8_lossy(&header.as_bytes()[257..265]),
            );
            if header.path().unwrap().to_str() != Some(DISK) {
                entry.read_to_string(&mut listing).unwrap();
                listing.push('\n');
            }
        }
        expect![[r#"
            disk.ovf 644 0:0 "":"" 11 1700000000 "ustar\000"
            <Envelope/>
            disk.mf 644 0:0 "":"" 167 1700000000 "ustar\000"
            SHA256(disk.ovf)= cbed3b27295a309da3ce42224e915b8ccb87354e24d40145475bca384c21b5f7
            SHA256(disk.vmdk)= 353c38352a855c80f4ecb0793a76493228541b5fab5ef7af26effac91e77ec46

            disk.vmdk 644 0:0 "":"" 1000 1700000000 "ustar\000"
        "#]]
        .assert_eq(&listing);
    }
}
