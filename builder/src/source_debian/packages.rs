//! The unpacked packages of one recipe as one file system: each in a folder of its own, found by path.
//!
//! Links are followed inside of the packages only, whatever they point to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::lock::{LockedPackage, PackageId};

/// A chain of links longer than this is a circle (`MAXSYMLINKS` of Linux).
const MOST_LINKS: usize = 40;

/// Unpacked packages.
#[derive(Debug)]
pub(super) struct Packages {
    /// Name of each package and the folder it is unpacked in.
    folders: Vec<(String, PathBuf)>,
}

/// A regular file of a package.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Picked {
    /// Name of the package that has it.
    pub(super) package: String,
    /// Where it lies in the store.
    pub(super) path: PathBuf,
}

impl Packages {
    /// `tree` holds a folder for each of `packages`, named by its id.
    pub(super) fn new(tree: PathBuf, packages: Vec<(&PackageId, &LockedPackage)>) -> Self {
        let name = |id: &str| id.split(':').next().unwrap_or(id).to_owned();
        Self { folders: packages.into_iter().map(|(id, _)| (name(id), tree.join(id))).collect() }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.folders.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The file at the absolute path `path`, with links followed.
    pub(super) fn find(&self, path: &str) -> Option<Picked> {
        let mut left: Vec<String> = parts(path).rev().collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let here = merged(&format!("/{}", done.join("/")));
            done = parts(&here).collect();
            if let Some(target) = self.link_at(&here) {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                done.pop();
                if target.starts_with('/') {
                    done.clear();
                }
                left.extend(parts(&target).rev().collect::<Vec<_>>());
            }
        }
        let path = done.join("/");
        let is_file = |dir: &Path| dir.join(&path).symlink_metadata().is_ok_and(|meta| meta.is_file());
        let (package, dir) = self.folders.iter().find(|(_, dir)| is_file(dir))?;
        Some(Picked { package: package.clone(), path: dir.join(&path) })
    }

    /// The regular files of a folder whose names end like this, in the order of their names.
    pub(super) fn matching(&self, folder: &str, end: &str) -> Vec<Picked> {
        let mut names = BTreeSet::new();
        for (_, dir) in &self.folders {
            let here = dir.join(merged(folder).trim_start_matches('/'));
            let listed = walkdir::WalkDir::new(here).min_depth(1).max_depth(1).sort_by_file_name();
            let found = listed.into_iter().flatten().map(|entry| entry.file_name().to_owned());
            names.extend(found.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(end)));
        }
        names.iter().filter_map(|name| self.find(&format!("{folder}/{name}"))).collect()
    }

    fn link_at(&self, path: &str) -> Option<String> {
        let target = |dir: &Path| dir.join(&path[1..]).read_link().ok();
        let found = self.folders.iter().find_map(|(_, dir)| target(dir))?;
        found.to_str().map(str::to_owned)
    }
}

/// The same path where Debian's merged /usr has it.
pub(super) fn merged(path: &str) -> String {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "bin" | "sbin" | "lib" | "lib64" => format!("/usr{path}"),
        _ => path.to_owned(),
    }
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/').filter(|part| !part.is_empty()).map(str::to_owned)
}
