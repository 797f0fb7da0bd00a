//! Compares two folders byte by byte and says where they differ. It knows no format but tar, of which appliances are.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Result;
use walkdir::WalkDir;

/// Bytes of a tar header and of the unit that members fill (pax(1), "ustar Interchange Format").
const TAR_BLOCK: u64 = 512;

/// One file that is not the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Its name below both folders.
    pub name: PathBuf,
    /// How it differs.
    pub kind: Kind,
}

/// How a file differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only one of the builds has it.
    Once,
    /// The first byte that differs, and the part of the file that holds it.
    Byte(u64, Option<String>),
    /// Its digest is not the published one; the published file is not at hand.
    Digest,
    /// A result of a compiler, in the stores: the cause of differences in artifacts.
    Compiled(u64),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.display();
        match &self.kind {
            Kind::Once => write!(f, "{name} exists only once"),
            Kind::Byte(byte, None) => write!(f, "{name} differs first at byte {byte}"),
            Kind::Byte(byte, Some(part)) => write!(f, "{name} differs first at byte {byte}, in {part}"),
            Kind::Digest => write!(f, "{name} has another digest than the published one"),
            Kind::Compiled(byte) => write!(f, "compiled: {name} differs first at byte {byte}"),
        }
    }
}

/// Every file of two folders that differs, by name.
pub(super) fn folders(one: &Path, two: &Path) -> Result<Vec<Difference>> {
    let (names, others) = (files(one)?, files(two)?);
    let mut differences = Vec::new();
    for name in names.union(&others) {
        let kind = if !(names.contains(name) && others.contains(name)) {
            Some(Kind::Once)
        } else {
            first_difference(&one.join(name), &two.join(name))?
                .map(|byte| Kind::Byte(byte, part(&one.join(name), byte)))
        };
        differences.extend(kind.map(|kind| Difference { name: name.clone(), kind }));
    }
    Ok(differences)
}

/// Compiled results that two stores have under the same key and that differ.
pub(super) fn outputs(one: &Path, two: &Path) -> Result<Vec<Difference>> {
    let (one, two) = (one.join("outputs"), two.join("outputs"));
    let names = files(&one)?;
    let mut differences = Vec::new();
    for name in files(&two)?.intersection(&names).filter(|name| !name.ends_with("output.json")) {
        if let Some(byte) = first_difference(&one.join(name), &two.join(name))? {
            // The first part is the key, which says nothing to a person.
            differences.push(Difference { name: name.iter().skip(1).collect(), kind: Kind::Compiled(byte) });
        }
    }
    Ok(differences)
}

/// Where two files begin to differ; a file that ends earlier differs there.
pub(super) fn first_difference(one: &Path, two: &Path) -> io::Result<Option<u64>> {
    let mut readers = [BufReader::new(File::open(one)?), BufReader::new(File::open(two)?)];
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    loop {
        let (had, other) = (fill(&mut readers[0], &mut left)?, fill(&mut readers[1], &mut right)?);
        // The usual case, by the fastest comparison there is.
        if left[..had] != right[..other] {
            let (left, right) = (&left[..had], &right[..other]);
            let at = left.iter().zip(right).position(|(one, two)| one != two).unwrap_or(had.min(other));
            return Ok(Some(offset + at as u64));
        }
        if had == 0 {
            return Ok(None);
        }
        offset += had as u64;
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

fn files(dir: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(dir).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            names.insert(entry.path().strip_prefix(dir).unwrap_or(entry.path()).to_owned());
        }
    }
    Ok(names)
}

/// The member of an appliance that holds this byte.
fn part(path: &Path, byte: u64) -> Option<String> {
    path.extension().filter(|extension| *extension == "ova")?;
    let mut file = File::open(path).ok()?;
    let mut at = 0;
    loop {
        let mut header = [0; 512];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut header).ok()?;
        let text = |from: usize, to: usize| {
            let field = header[from..to].split(|byte| *byte == 0).next().unwrap_or_default();
            String::from_utf8_lossy(field).into_owned()
        };
        let size = u64::from_str_radix(text(124, 136).trim(), 8).ok()?;
        let end = at + TAR_BLOCK + size.div_ceil(TAR_BLOCK) * TAR_BLOCK;
        if byte < end {
            return Some(match byte.checked_sub(at + TAR_BLOCK) {
                Some(inside) => format!("byte {inside} of its member {}", text(0, 100)),
                None => format!("the header of its member {}", text(0, 100)),
            });
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_difference_is_named_with_its_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        for (path, changed, extra) in [(&one, b'x', false), (&two, b'y', true)] {
            fs::create_dir_all(path.join("p")).unwrap();
            fs::write(path.join("same"), "same").unwrap();
            fs::write(path.join("p/changed"), [b'a', changed]).unwrap();
            fs::write(path.join("longer"), if extra { "abc" } else { "ab" }).unwrap();
            if extra {
                fs::write(path.join("alone"), "").unwrap();
            }
        }
        let found: Vec<String> = folders(&one, &two).unwrap().iter().map(ToString::to_string).collect();
        let wanted =
            ["alone exists only once", "longer differs first at byte 2", "p/changed differs first at byte 1"];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_byte_of_an_appliance_is_found_in_its_member() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ova");
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        for (name, bytes) in [("a.ovf", vec![1; 600]), ("a.vmdk", vec![2; 3])] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        tar.finish().unwrap();
        let find = |byte| part(&path, byte).unwrap();
        assert_eq!(find(512 + 599), "byte 599 of its member a.ovf");
        assert_eq!(find(512 + 1024 + 7), "the header of its member a.vmdk");
        assert_eq!(find(512 + 1024 + 512 + 2), "byte 2 of its member a.vmdk");
    }
}
