//! The files of a volume as a tree: their names, their clusters, and the bytes of directories.
//!
//! Every file and directory is one run of clusters. This must not know sectors: `geometry` does.

use std::collections::{BTreeMap, BTreeSet};

use super::geometry::{ENTRY_BYTES, Geometry};
use super::name::{self, Fault, ShortName};
use super::stamp::{Attributes, Stamp};
use super::table::Allocation;
use super::{FatError, FatKind};
use crate::content::Content;
use crate::sparse::Sparse;

/// Most entries of a directory: whole sectors of 4096 bytes, and a root directory counts them in 16 bits.
const DIRECTORY_ENTRIES: u32 = 65536 - 128;

/// Directories by number, the root first; a directory comes before those inside it.
#[derive(Debug)]
pub(super) struct Tree {
    directories: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    /// Absolute; empty for the root.
    path: String,
    parent: usize,
    /// First cluster, or zero for the root of FAT12 and FAT16.
    start: u32,
    /// By folded name.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    short: ShortName,
    node: Node,
}

#[derive(Debug)]
enum Node {
    Directory(usize),
    File { path: String, content: Content, start: u32 },
}

impl Tree {
    /// Checks names and sizes, and gives every name its short form.
    pub(super) fn build(files: &BTreeMap<String, Content>) -> Result<Self, FatError> {
        let mut tree = Self { directories: vec![Directory::new(String::new(), 0)] };
        for (path, content) in files {
            tree.insert(path, content)?;
        }
        for directory in &mut tree.directories {
            directory.shorten();
        }
        for directory in &tree.directories {
            if directory.entry_count() > u64::from(DIRECTORY_ENTRIES) {
                return Err(FatError::DirectoryTooLarge(directory.path.clone()));
            }
        }
        Ok(tree)
    }

    fn insert(&mut self, path: &str, content: &Content) -> Result<(), FatError> {
        let components = path.strip_prefix('/').ok_or_else(|| FatError::Path(path.to_owned()))?;
        if u32::try_from(content.len()).is_err() {
            return Err(FatError::FileTooLarge { path: path.to_owned(), len: content.len() });
        }
        let mut at = 0;
        let mut rest = components.split('/').peekable();
        while let Some(component) = rest.next() {
            if matches!(component, "" | "." | "..") {
                return Err(FatError::Path(path.to_owned()));
            }
            name::check(component).map_err(|fault| match fault {
                Fault::Character => FatError::NameCharacter(path.to_owned()),
                Fault::Length => FatError::NameTooLong(path.to_owned()),
            })?;
            let is_file = rest.peek().is_none();
            at = match self.directories[at].entries.get(&name::fold(component)) {
                Some(Entry { name, node: Node::Directory(inner), .. }) if name == component && !is_file => {
                    *inner
                }
                Some(_) => return Err(FatError::Duplicate(path.to_owned())),
                None => {
                    let node = if is_file {
                        Node::File { path: path.to_owned(), content: content.clone(), start: 0 }
                    } else {
                        Node::Directory(self.directories.len())
                    };
                    self.add(at, component, node)
                }
            };
        }
        Ok(())
    }

    /// Adds an entry to directory `at` and returns the directory in which a path goes on.
    fn add(&mut self, at: usize, name: &str, node: Node) -> usize {
        let inside = match &node {
            Node::Directory(inner) => {
                let path = format!("{}/{name}", self.directories[at].path);
                self.directories.push(Directory::new(path, at));
                *inner
            }
            Node::File { .. } => at,
        };
        let entry = Entry { name: name.to_owned(), short: [b' '; 11], node };
        self.directories[at].entries.insert(name::fold(name), entry);
        inside
    }

    /// Entries of the root directory, volume label included.
    pub(super) fn root_entries(&self) -> u32 {
        u32::try_from(self.directories[0].entry_count()).expect("directories were checked to be small")
    }

    /// Clusters that all directories and files need on a volume of this type.
    pub(super) fn clusters(&self, kind: FatKind, bytes_per_cluster: u32) -> u64 {
        let count = |bytes: u64| bytes.div_ceil(u64::from(bytes_per_cluster));
        let fixed_root = usize::from(kind != FatKind::Fat32);
        let directories = self.directories.iter().skip(fixed_root).map(|directory| count(directory.bytes()));
        let entries = self.directories.iter().flat_map(|directory| directory.entries.values());
        let files = entries.map(|entry| match &entry.node {
            Node::File { content, .. } => count(content.len()),
            Node::Directory(_) => 0,
        });
        directories.sum::<u64>() + files.sum::<u64>()
    }

    /// Gives directories and files their clusters, in the order of the tree.
    pub(super) fn allocate(&mut self, geometry: &Geometry) -> Allocation {
        let mut allocation = Allocation::default();
        let bytes_per_cluster = u64::from(geometry.bytes_per_cluster());
        for directory in &mut self.directories {
            if !directory.is_root() || geometry.kind == FatKind::Fat32 {
                directory.start = allocation.take(directory.bytes().div_ceil(bytes_per_cluster));
            }
            for entry in directory.entries.values_mut() {
                if let Node::File { content, start, .. } = &mut entry.node {
                    *start = allocation.take(content.len().div_ceil(bytes_per_cluster));
                }
            }
        }
        allocation
    }

    /// Puts directories and files into the image; returns where files lie.
    pub(super) fn place(
        &self,
        geometry: &Geometry,
        label: ShortName,
        stamp: Stamp,
        image: &mut Sparse,
    ) -> BTreeMap<String, u64> {
        let mut offsets = BTreeMap::new();
        for directory in &self.directories {
            let at = match directory.start {
                0 => geometry.root_offset(),
                start => geometry.cluster_offset(start),
            };
            image.put(at, self.entries(directory, label, stamp));
            for entry in directory.entries.values() {
                if let Node::File { path, content, start } = &entry.node
                    && *start != 0
                {
                    let offset = geometry.cluster_offset(*start);
                    image.put(offset, content.clone());
                    offsets.insert(path.clone(), offset);
                }
            }
        }
        offsets
    }

    fn entries(&self, directory: &Directory, label: ShortName, stamp: Stamp) -> Vec<u8> {
        let mut bytes = Vec::new();
        if directory.is_root() {
            bytes.extend(stamp.entry(&label, Attributes::Label, 0, 0));
        } else {
            // The parent entry says zero for the root, even where the root has a cluster.
            let parent = if directory.parent == 0 { 0 } else { self.directories[directory.parent].start };
            bytes.extend(stamp.entry(b".          ", Attributes::Directory, directory.start, 0));
            bytes.extend(stamp.entry(b"..         ", Attributes::Directory, parent, 0));
        }
        for entry in directory.entries.values() {
            bytes.extend(name::long_entries(&entry.name, &entry.short).into_iter().flatten());
            let (attributes, start, len) = match &entry.node {
                Node::Directory(index) => (Attributes::Directory, self.directories[*index].start, 0),
                Node::File { content, start, .. } => (Attributes::File, *start, content.len()),
            };
            let len = u32::try_from(len).expect("checked when the tree was built");
            bytes.extend(stamp.entry(&entry.short, attributes, start, len));
        }
        bytes
    }
}

impl Directory {
    fn new(path: String, parent: usize) -> Self {
        Self { path, parent, start: 0, entries: BTreeMap::new() }
    }

    fn is_root(&self) -> bool {
        self.path.is_empty()
    }

    /// Entries of 32 bytes: the volume label of the root or the two dot entries, then long and short names.
    fn entry_count(&self) -> u64 {
        let fixed = if self.is_root() { 1 } else { 2 };
        let named = self.entries.values().map(|entry| 1 + name::long_count(&entry.name) as u64);
        fixed + named.sum::<u64>()
    }

    fn bytes(&self) -> u64 {
        self.entry_count() * u64::from(ENTRY_BYTES)
    }

    /// Names that need no tail come first, so that no tail can take theirs.
    fn shorten(&mut self) {
        let mut taken: BTreeSet<ShortName> =
            self.entries.values().filter_map(|entry| name::without_tail(&entry.name)).collect();
        for entry in self.entries.values_mut() {
            entry.short =
                name::without_tail(&entry.name).unwrap_or_else(|| name::with_tail(&entry.name, &taken));
            taken.insert(entry.short);
        }
    }
}
