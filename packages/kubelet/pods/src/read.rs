//! What a container has written so far: the file of its log, and those that kubelet moved aside before.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lepton_runtime_client::log;
use lepton_runtime_client::rotation;

/// The log so far.
#[derive(Debug, Default)]
pub struct SoFar {
    /// The lines that are wanted, in the log's format.
    pub text: Vec<u8>,
    /// The file that goes on, and how much of it was read.
    pub last: Option<(File, u64)>,
}

/// Reads a log, or at least its last lines.
pub fn so_far(path: &Path, tail: Option<usize>) -> io::Result<SoFar> {
    // Before those that were moved aside: one that is moved meanwhile is among them, and known by its inode.
    let current = open(path)?;
    let mut files = Vec::new();
    for path in rotation::aside(path)? {
        // What is gone meanwhile was too old, or is compressed, which kubelet does not do with the last one.
        if let Some(file) = open(&path)? {
            files.push((file, rotation::is_compressed(&path)));
        }
    }
    if let Some(current) = current {
        let inode = current.metadata()?.ino();
        let mut others = Vec::new();
        for (file, is_compressed) in files {
            if file.metadata()?.ino() != inode {
                others.push((file, is_compressed));
            }
        }
        files = others;
        files.push((current, false));
    }
    let mut so_far = SoFar::default();
    while let Some((mut file, is_compressed)) = files.pop() {
        let mut older = Vec::new();
        match is_compressed {
            true => drop(MultiGzDecoder::new(&file).read_to_end(&mut older)?),
            false => drop(file.read_to_end(&mut older)?),
        }
        if so_far.last.is_none() && !is_compressed {
            so_far.last = Some((file, older.len() as u64));
        }
        older.append(&mut so_far.text);
        so_far.text = older;
        if let Some(lines) = tail {
            let start = log::tail(&so_far.text, lines);
            if start > 0 {
                so_far.text.drain(..start);
                break;
            }
        }
    }
    Ok(so_far)
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is a folder of the log.
pub(crate) fn has_folder(path: &Path) -> bool {
    path.parent().is_some_and(|folder| fs::metadata(folder).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn lines(numbers: std::ops::Range<u32>) -> String {
        numbers.map(|number| format!("T stdout F {number}\n")).collect()
    }

    #[test]
    fn all_files_and_the_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        assert!(so_far(&path, None).unwrap().text.is_empty());
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(lines(0..3).as_bytes()).unwrap();
        fs::write(folder.path().join("0.log.20261128-101112.gz"), packed.finish().unwrap()).unwrap();
        fs::write(folder.path().join("0.log.20261129-101112"), lines(3..6)).unwrap();
        fs::write(&path, lines(6..9) + "T stdo").unwrap();
        let text = |tail| String::from_utf8(so_far(&path, tail).unwrap().text).unwrap();
        assert_eq!(text(None), lines(0..9) + "T stdo");
        for (tail, first) in [(1, 8), (2, 7), (5, 4), (8, 1), (9, 0), (20, 0)] {
            // An entry that is not complete is none of the lines.
            assert_eq!(text(Some(tail)), lines(first..9) + "T stdo", "{tail}");
        }
        assert_eq!(text(Some(0)), "T stdo");
        let (_, offset) = so_far(&path, Some(1)).unwrap().last.unwrap();
        assert_eq!(offset, fs::metadata(&path).unwrap().len());
        // Between the two steps of a rotation.
        fs::rename(&path, folder.path().join("0.log.20261129-101113")).unwrap();
        assert_eq!(text(None), lines(0..9) + "T stdo");
        assert!(so_far(&path, None).unwrap().last.is_some());
    }
}
