//! Tool trees: the pinned packages of one set, unpacked in the store.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::arch::Arch;
use crate::cpu::thread_cpu;
use crate::deb::{self, DebError, Docs};
use crate::digest::{Digest, KeyBuilder};
use crate::fetch::{self, FetchError, Source};
use crate::lock::{Lock, LockError};
use crate::lock_update::{Tools, UpdateError};
use crate::progress::Progress;
use crate::sandbox::{RESOLV_CONF, Sandbox};
use crate::store::{Store, StoreError};

/// Raised when unpacking changes, so that older trees are not used.
const LAYOUT: &str = "tool-tree-2";
/// The same for packages whose files go into images.
const GUEST_LAYOUT: &str = "guest-tree-1";

/// Everything needed to make tool trees.
#[derive(Debug)]
pub struct Toolbox<'a> {
    /// The lock.
    pub lock: &'a Lock,
    /// Link tables of the sets.
    pub tools: &'a Tools,
    /// The machine's architecture.
    pub host: Arch,
    /// Where trees lie.
    pub store: &'a Store,
    /// Where packages come from.
    pub source: &'a Source,
    /// What a person sees.
    pub progress: &'a Progress,
}

/// An unpacked tool set.
#[derive(Clone, Debug)]
pub struct ToolTree {
    root: PathBuf,
}

/// A tool tree could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsError {
    /// A package could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The lock does not fit.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// `builder/tools.toml` cannot be used.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// A file of the tree cannot be written.
    #[error("cannot make {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Toolbox<'_> {
    /// The key of a set, known without unpacking it.
    pub fn key(&self, set: &str) -> Result<Digest, LockError> {
        let mut key = KeyBuilder::new(LAYOUT).with_digest("packages", self.lock.set_key(self.host, set)?);
        for (link, target) in self.links(set) {
            key = key.with(link, target);
        }
        Ok(key.finish())
    }

    /// The unpacked set, downloading and unpacking it when it is not in the store.
    pub fn tree(&self, set: &str) -> Result<ToolTree, ToolsError> {
        let key = self.key(set)?;
        if let Some(root) = self.store.tree(key) {
            return Ok(ToolTree { root });
        }
        let _lock = self.store.lock(&format!("tree-{key}"))?;
        if let Some(root) = self.store.tree(key) {
            return Ok(ToolTree { root });
        }
        let packages = self.lock.set(self.host, set)?;
        let debs = fetch::packages(&packages, self.host, self.store, self.source, self.progress)?;
        let dir = self.store.scratch("tree")?;
        self.unpack(set, &debs, dir.path())?;
        self.link(set, dir.path())?;
        let root = self.store.add_tree(dir, key)?;
        Ok(ToolTree { root })
    }

    /// The folder with the Debian packages that a recipe takes files from, each unpacked in a folder named by its id.
    pub fn guest_tree(&self, arch: Arch, recipe: &str) -> Result<PathBuf, ToolsError> {
        let packages = self.lock.guest(arch, recipe)?;
        let mut key = KeyBuilder::new(GUEST_LAYOUT);
        for (id, package) in &packages {
            key = key.with_digest(id, package.sha256);
        }
        let key = key.finish();
        if let Some(root) = self.store.tree(key) {
            return Ok(root);
        }
        let _lock = self.store.lock(&format!("tree-{key}"))?;
        if let Some(root) = self.store.tree(key) {
            return Ok(root);
        }
        let debs = fetch::packages(&packages, self.host, self.store, self.source, self.progress)?;
        let dir = self.store.scratch("tree")?;
        for ((id, _), deb) in packages.iter().zip(&debs) {
            let folder = dir.path().join(id);
            fs::create_dir(&folder).map_err(|source| ToolsError::Write { path: folder.clone(), source })?;
            deb::unpack(deb, &folder, Docs::Copyright)?;
        }
        Ok(self.store.add_tree(dir, key)?)
    }

    fn links(&self, set: &str) -> impl Iterator<Item = (&String, &String)> {
        self.tools.sets.get(set).into_iter().flat_map(|tools| &tools.links)
    }

    /// Packages have no files in common, so they can be unpacked side by side.
    fn unpack(&self, set: &str, debs: &[PathBuf], root: &Path) -> Result<(), ToolsError> {
        let mut step = self.progress.step(&format!("unpack {set} tools"), Some(debs.len() as u64));
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(8);
        // Large packages first, so that no worker is left with one at the end.
        let mut queue: Vec<(u64, &PathBuf)> =
            debs.iter().map(|deb| (fs::metadata(deb).map_or(0, |meta| meta.len()), deb)).collect();
        queue.sort();
        let queue = Mutex::new(queue);
        let spent = Mutex::new(Duration::ZERO);
        let (done, results) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (queue, spent, done) = (&queue, &spent, done.clone());
                scope.spawn(move || {
                    while let Some((_, deb)) = queue.lock().ok().and_then(|mut left| left.pop()) {
                        if done.send(deb::unpack(deb, root, Docs::LeftOut)).is_err() {
                            break;
                        }
                    }
                    *spent.lock().unwrap_or_else(PoisonError::into_inner) += thread_cpu();
                });
            }
            drop(done);
            for result in &results {
                result?;
                step.advance(1);
            }
            Ok::<_, DebError>(())
        })?;
        step.add_cpu(spent.into_inner().unwrap_or_else(PoisonError::into_inner));
        step.finish();
        Ok(())
    }

    /// Debian's merged /usr and the links that maintainer scripts would have made.
    fn link(&self, set: &str, root: &Path) -> Result<(), ToolsError> {
        let usr = ["bin", "sbin", "lib", "lib64"].map(|name| (name.to_owned(), format!("usr/{name}")));
        let listed = self.links(set).map(|(link, target)| (link.clone(), target.clone()));
        let links: BTreeMap<String, String> = usr.into_iter().chain(listed).collect();
        for (link, target) in links {
            let path = root.join(&link);
            let fail = |source| ToolsError::Write { path: path.clone(), source };
            if path.is_symlink() {
                fs::remove_file(&path).map_err(fail)?;
            }
            symlink(target, &path).map_err(fail)?;
        }
        for dir in ["etc", "usr/sbin", "usr/lib64"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).map_err(|source| ToolsError::Write { path, source })?;
        }
        // Something to mount the machine's list of name servers over.
        let path = root.join(RESOLV_CONF);
        fs::write(&path, "").map_err(|source| ToolsError::Write { path, source })
    }
}

impl ToolTree {
    /// The folder that holds `usr` and `etc`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A program of this tree, to be run where it sees nothing else.
    pub fn program(&self, name: &str) -> Sandbox {
        Sandbox::new(&self.root, name)
    }
}
