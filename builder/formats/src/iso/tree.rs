//! The directory hierarchy of a volume: identifiers, directory extents and path tables (ECMA-119 6.8, 9.4).
//!
//! Positions are given by the caller; nothing here knows what files hold.

use std::collections::BTreeMap;

use super::date::Date;
use super::record::{Extent, Kind, record};
use super::{BLOCK, IsoError};

/// Directories may nest this deep, the root included (ECMA-119 6.8.2.1).
const DEEPEST: usize = 8;

/// Longest name: a record has 255 bytes, of which identifier and fields but the name take 89.
const LONGEST_NAME: usize = 160;

/// Directories in the order of the path table, the root first.
#[derive(Debug)]
pub(super) struct Tree {
    dirs: Vec<Dir>,
}

#[derive(Debug)]
struct Dir {
    /// With a slash at the end; empty for the root.
    path: String,
    identifier: String,
    parent: usize,
    /// By identifier, in which order records are.
    children: BTreeMap<String, Child>,
}

#[derive(Debug)]
struct Child {
    name: String,
    /// The number of the directory; `None` for a file.
    dir: Option<usize>,
}

/// Where directories (by number) and files (by path) are.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) dirs: Vec<Extent>,
    pub(super) files: BTreeMap<String, Extent>,
}

impl Tree {
    /// The hierarchy that holds files of these paths (`dir/name`).
    pub(super) fn build<'a>(paths: impl Iterator<Item = &'a String> + Clone) -> Result<Self, IsoError> {
        let mut dirs = vec![Dir::new(String::new(), "\0", 0)];
        let mut number = 0;
        // Breadth first, with sorted children, is the order that path tables need.
        while number < dirs.len() {
            for path in paths.clone() {
                dirs[number].add(path)?;
            }
            let mut children = std::mem::take(&mut dirs[number].children);
            for (identifier, child) in children.iter_mut().filter(|(_, child)| child.dir.is_some()) {
                child.dir = Some(dirs.len());
                dirs.push(Dir::new(format!("{}{}/", dirs[number].path, child.name), identifier, number));
            }
            dirs[number].children = children;
            number += 1;
        }
        Ok(Self { dirs })
    }

    /// How many directories there are.
    pub(super) fn len(&self) -> usize {
        self.dirs.len()
    }

    /// The bytes of directory `number`: records never cross a block.
    pub(super) fn directory(&self, number: usize, places: &Places, date: &Date) -> Vec<u8> {
        let dir = &self.dirs[number];
        let links = |number: usize| {
            let inside = self.dirs[number].children.values().filter(|child| child.dir.is_some()).count();
            2 + u32::try_from(inside).unwrap_or(u32::MAX - 2)
        };
        let own = if number == 0 { Kind::RootSelf } else { Kind::OwnSelf };
        let mut bytes = record(own, places.dirs[number], links(number), date);
        bytes.extend(record(Kind::Parent, places.dirs[dir.parent], links(dir.parent), date));
        for (identifier, child) in &dir.children {
            let next = match child.dir {
                Some(inside) => {
                    record(Kind::Directory(identifier, &child.name), places.dirs[inside], links(inside), date)
                }
                None => {
                    let extent = places.files[&format!("{}{}", dir.path, child.name)];
                    record(Kind::File(identifier, &child.name), extent, 1, date)
                }
            };
            let block = usize::try_from(BLOCK).expect("2048 fits");
            if bytes.len() % block + next.len() > block {
                bytes.resize(bytes.len().next_multiple_of(block), 0);
            }
            bytes.extend(next);
        }
        bytes
    }

    /// The path table; `word` and `half` write numbers in its byte order.
    pub(super) fn path_table(
        &self,
        places: &Places,
        word: fn(u32) -> [u8; 4],
        half: fn(u16) -> [u8; 2],
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (dir, extent) in self.dirs.iter().zip(&places.dirs) {
            bytes.push(u8::try_from(dir.identifier.len()).expect("identifiers have 8 bytes at most"));
            bytes.push(0);
            bytes.extend(word(extent.block));
            bytes.extend(half(u16::try_from(dir.parent + 1).unwrap_or(u16::MAX)));
            bytes.extend(dir.identifier.as_bytes());
            if !dir.identifier.len().is_multiple_of(2) {
                bytes.push(0);
            }
        }
        bytes
    }
}

impl Dir {
    fn new(path: String, identifier: &str, parent: usize) -> Self {
        Self { path, identifier: identifier.to_owned(), parent, children: BTreeMap::new() }
    }

    /// Makes a child of the first component of `path` below this directory, if it is below.
    fn add(&mut self, path: &str) -> Result<(), IsoError> {
        let Some(inside) = path.strip_prefix(&self.path) else {
            return Ok(());
        };
        let (name, is_dir) = inside.split_once('/').map_or((inside, false), |(name, _)| (name, true));
        let is_odd = name.is_empty() || matches!(name, "." | "..") || name.contains('\0');
        if is_odd || name.len() > LONGEST_NAME || path.split('/').count() > DEEPEST {
            return Err(IsoError::Name { path: path.to_owned() });
        }
        let identifier = if is_dir { directory_identifier(name) } else { file_identifier(name) };
        let child = Child { name: name.to_owned(), dir: is_dir.then_some(0) };
        match self.children.insert(identifier, child) {
            Some(old) if old.name != name || old.dir.is_some() != is_dir => {
                let other = format!("{}{}", self.path, old.name);
                Err(IsoError::SameIdentifier { path: path.to_owned(), other })
            }
            _ => Ok(()),
        }
    }
}

/// Eight d-characters (ECMA-119 7.6.3, level 1).
fn directory_identifier(name: &str) -> String {
    d_characters(name, 8)
}

/// Eight and three d-characters with a version: `NAME.EXT;1` (ECMA-119 7.5.1, level 1).
fn file_identifier(name: &str) -> String {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    format!("{}.{};1", d_characters(base, 8), d_characters(extension, 3))
}

fn d_characters(name: &str, most: usize) -> String {
    let d_character = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().take(most).map(d_character).collect()
}
