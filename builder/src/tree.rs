//! The root file system as a value: sorted paths, each with its mode and contents. Everything is
//! owned by root; nothing here touches a disk but to read contents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use lepton_formats::Content;

use crate::digest::Digest;
use crate::name::RootPath;

/// One file of the root.
#[derive(Clone, Debug)]
pub struct Node {
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub kind: NodeKind,
    /// The package (or part of the builder) that it comes from.
    pub owner: String,
}

/// What a file is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// A folder.
    Folder,
    /// A regular file.
    File(Content),
    /// A symbolic link.
    Link(String),
}

/// A root file system.
#[derive(Clone, Debug, Default)]
pub struct RootTree {
    nodes: BTreeMap<RootPath, Node>,
}

/// Two owners want the same path.
#[derive(Debug, thiserror::Error)]
#[error("both {first} and {second} install {path}")]
pub struct Clash {
    path: RootPath,
    first: String,
    second: String,
}

impl RootTree {
    /// Adds a node and the folders above it.
    pub(crate) fn add(&mut self, path: RootPath, node: Node) -> Result<(), Clash> {
        for parent in path.parents() {
            let above = self.nodes.entry(parent.clone()).or_insert_with(|| Node {
                mode: 0o755,
                kind: NodeKind::Folder,
                owner: node.owner.clone(),
            });
            if !matches!(above.kind, NodeKind::Folder) {
                return Err(Clash { path: parent, first: above.owner.clone(), second: node.owner });
            }
        }
        if let Some(other) = self.nodes.get(&path)
            && !(matches!(other.kind, NodeKind::Folder) && matches!(node.kind, NodeKind::Folder))
        {
            return Err(Clash { path, first: other.owner.clone(), second: node.owner });
        }
        self.nodes.insert(path, node);
        Ok(())
    }

    /// All nodes, parents first.
    pub fn nodes(&self) -> impl Iterator<Item = (&RootPath, &Node)> {
        self.nodes.iter()
    }

    /// One line for each node: mode, owner, group, size and digest or target, path.
    pub fn listing(&self) -> io::Result<String> {
        let mut text = String::new();
        for (path, node) in &self.nodes {
            let what = match &node.kind {
                NodeKind::Folder => "folder".to_owned(),
                NodeKind::Link(target) => format!("-> {target}"),
                NodeKind::File(content) => {
                    let (sha256, size) = Digest::of_reader(content.reader())?;
                    format!("{size} {sha256}")
                }
            };
            writeln!(text, "{:04o} 0 0 {path} {what}", node.mode).expect("writing to a string cannot fail");
        }
        Ok(text)
    }
}
