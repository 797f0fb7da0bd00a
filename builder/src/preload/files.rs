//! The files of an OCI image layout or a docker archive, a folder or a tar archive, by name. It knows nothing of images.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use lepton_formats::Content;
use serde::de::DeserializeOwned;

use super::PreloadError;

/// The largest index, manifest or configuration that is read.
const DOCUMENT_BYTES: u64 = 4 << 20;
/// Links that lead to links: old docker archives have one step.
const MOST_LINKS: usize = 8;

/// Files by their relative path.
pub(super) struct Files<'a> {
    path: &'a Path,
    files: BTreeMap<String, Content>,
    /// Symbolic links: from where to where, both as seen from the top.
    links: BTreeMap<String, String>,
}

impl<'a> Files<'a> {
    /// What lies at `path`.
    pub(super) fn open(path: &'a Path) -> Result<Self, PreloadError> {
        let mut all = Self { path, files: BTreeMap::new(), links: BTreeMap::new() };
        let read = if path.is_dir() { all.read_folder() } else { all.read_archive() };
        read.map_err(|source| all.unreadable(source))?;
        Ok(all)
    }

    pub(super) fn wrong(&self, message: String) -> PreloadError {
        PreloadError::Form { path: self.path.to_owned(), message }
    }

    pub(super) fn unreadable(&self, source: io::Error) -> PreloadError {
        PreloadError::Read { path: self.path.to_owned(), source }
    }

    /// A file, also by a link to it.
    pub(super) fn find(&self, name: &str) -> Option<&Content> {
        let mut name = name;
        for _ in 0..MOST_LINKS {
            match (self.files.get(name), self.links.get(name)) {
                (Some(content), _) => return Some(content),
                (None, Some(target)) => name = target,
                (None, None) => return None,
            }
        }
        None
    }

    pub(super) fn named(&self, name: &str) -> Result<&Content, PreloadError> {
        self.find(name).ok_or_else(|| self.wrong(format!("it has no {name}")))
    }

    /// The JSON document in a file.
    pub(super) fn document<T: DeserializeOwned>(
        &self,
        content: &Content,
        name: &str,
    ) -> Result<T, PreloadError> {
        if content.len() > DOCUMENT_BYTES {
            return Err(self.wrong(format!("{name} has {} bytes", content.len())));
        }
        serde_json::from_reader(content.reader()).map_err(|error| self.wrong(format!("{name}: {error}")))
    }

    fn read_folder(&mut self) -> io::Result<()> {
        for entry in walkdir::WalkDir::new(self.path).sort_by_file_name() {
            let entry = entry?;
            let name = entry.path().strip_prefix(self.path).unwrap_or(entry.path()).to_string_lossy();
            if entry.file_type().is_file() {
                self.files.insert(name.into_owned(), Content::open(entry.path())?);
            }
        }
        Ok(())
    }

    /// Files of an archive stay in it.
    fn read_archive(&mut self) -> io::Result<()> {
        let whole = Content::open(self.path)?;
        let mut archive = tar::Archive::new(File::open(self.path)?);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let (at, size) = (entry.raw_file_position(), entry.size());
                    if at.checked_add(size).is_none_or(|end| end > whole.len()) {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the archive ends in a file",
                        ));
                    }
                    self.files.insert(name, whole.slice(at, size));
                }
                tar::EntryType::Symlink => {
                    let target = entry.link_name()?.unwrap_or_default().to_string_lossy().into_owned();
                    let target = beside(&name, &target);
                    self.links.insert(name, target);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The target of a link as seen from the top; what leads out of it names nothing that is there.
fn beside(link: &str, target: &str) -> String {
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_where_they_lie() {
        assert_eq!(beside("b/layer.tar", "../a/layer.tar"), "a/layer.tar");
        assert_eq!(beside("layer.tar", "./x"), "x");
        assert_eq!(beside("a/b", "../../../etc/passwd"), "etc/passwd");
    }
}
