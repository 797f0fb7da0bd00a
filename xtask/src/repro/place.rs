//! A place for one build: a copy of the repository, a store of its own with the downloads linked into it, and a
//! folder for artifacts, all removed in the end. Nothing is built here.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lepton_builder::digest::Digest;
use lepton_builder::scratch::Scratch;
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::{FsFlags, statvfs};
use walkdir::WalkDir;

use super::variant::{Order, Variant};
use crate::context::Context;

/// What a copy of the repository leaves out.
const LEFT_OUT: [&str; 3] = ["target", "out", ".git"];
/// A file system in memory, whose folders list the newest file first; others list by hash, in both builds alike.
const IN_MEMORY: &str = "/dev/shm";
/// Bytes that a whole build takes in its place, generously.
const ROOM: u64 = 10 << 30;
/// Memory that must be left for the compilers when the place is in memory.
const SPARE: u64 = 6 << 30;
/// Where any user may make folders.
const FOR_ANYONE: [&str; 2] = ["/var/tmp", "/tmp"];
/// Files of caches in a store's work folder that are downloads.
const CRATES: [&str; 2] = ["vendor", "vendor.stamp"];

/// A place for one build.
#[derive(Debug)]
pub(super) struct Place {
    scratch: Scratch,
    dir: PathBuf,
}

/// Which outputs of a store are meant.
#[derive(Debug)]
pub(super) enum Outputs {
    All,
    These(Vec<Digest>),
}

impl Place {
    /// A place as the variant wants it, with the repository and the downloads of `context`.
    pub(super) fn make(context: &Context, variant: &Variant) -> Result<Self> {
        let beside = context.host.store.parent().unwrap_or(Path::new("/")).to_owned();
        let mut candidates = Vec::new();
        if variant.order == Order::Backward && has_room_in_memory() {
            candidates.push(PathBuf::from(IN_MEMORY));
        }
        candidates.push(beside.clone());
        candidates.extend(FOR_ANYONE.map(PathBuf::from));
        let is_open = |path: &PathBuf| variant.user.is_none() || is_open_to_all(path);
        let parent = candidates.into_iter().find(is_open).unwrap_or(beside);
        let scratch = Scratch::new_in(&parent, "lepton-repro-")
            .with_context(|| format!("cannot make a folder in {}", parent.display()))?;
        // Paths of the second build differ in length and depth too.
        let dir = match variant.order {
            Order::Forward => scratch.path().join("a"),
            Order::Backward => scratch.path().join("another/place"),
        };
        open_up(scratch.path()).context("cannot open a new folder to other users")?;
        let place = Self { scratch, dir };
        for folder in [place.store(), place.home()] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        copy_repo(context.catalog.root(), &place.repo(), variant.order)?;
        link_all(&context.store.root().join("blobs"), &place.store().join("blobs"))?;
        copy(Path::new("/proc/self/exe"), &place.program())?;
        if let Some(clock) = &variant.clock {
            copy(&clock.library, &place.library())?;
        }
        Ok(place)
    }

    /// The top of the place.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn repo(&self) -> PathBuf {
        self.dir.join("repo")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub(super) fn out(&self) -> PathBuf {
        self.dir.join("out")
    }

    pub(super) fn home(&self) -> PathBuf {
        self.dir.join("home")
    }

    /// A copy of this program.
    pub(super) fn program(&self) -> PathBuf {
        self.dir.join("xtask")
    }

    /// A copy of libfaketime.
    pub(super) fn library(&self) -> PathBuf {
        self.dir.join("libfaketime.so.1")
    }

    /// Takes finished outputs of another store, where they are there.
    pub(super) fn take_outputs(&self, store: &Path, wanted: &Outputs) -> Result<()> {
        let (from, to) = (store.join("outputs"), self.store().join("outputs"));
        match wanted {
            Outputs::All => link_all(&from, &to),
            Outputs::These(keys) => {
                let names = keys.iter().map(ToString::to_string);
                names
                    .filter(|name| from.join(name).is_dir())
                    .try_for_each(|name| link_all(&from.join(&name), &to.join(&name)))
            }
        }
    }

    /// Takes what another store's build has downloaded. Packages are checked against the lock, and cargo checks each
    /// file of a crate against its digest.
    pub(super) fn take_downloads(&self, store: &Path) -> Result<()> {
        link_all(&store.join("blobs"), &self.store().join("blobs"))?;
        let work = store.join("work");
        for cache in WalkDir::new(&work).min_depth(1).max_depth(1).sort_by_file_name() {
            let cache = cache?;
            for name in CRATES {
                let from = cache.path().join(name);
                if from.exists() {
                    link_all(&from, &self.store().join("work").join(cache.file_name()).join(name))?;
                }
            }
        }
        Ok(())
    }

    /// Makes everything but the linked files another user's.
    pub(super) fn give_to(&self, user: Option<u32>) -> Result<()> {
        let Some(user) = user else { return Ok(()) };
        for entry in WalkDir::new(self.scratch.path()).sort_by_file_name() {
            let entry = entry?;
            // A linked file is another store's too, and stays its owner's.
            if entry.file_type().is_dir() || entry.metadata()?.nlink() == 1 {
                lchown(entry.path(), Some(user), Some(user))
                    .with_context(|| format!("cannot give away {}", entry.path().display()))?;
            }
        }
        Ok(())
    }
}

/// The files that builds read, made in the given order.
pub(super) fn copy_repo(from: &Path, to: &Path, order: Order) -> Result<()> {
    let left_out = |entry: &walkdir::DirEntry| {
        entry.depth() == 1 && LEFT_OUT.contains(&&*entry.file_name().to_string_lossy())
    };
    let listed = WalkDir::new(from).sort_by_file_name().into_iter();
    let mut files = Vec::new();
    for entry in listed.filter_entry(|entry| !left_out(entry)) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    if order == Order::Backward {
        files.reverse();
    }
    for file in files {
        copy(&file, &to.join(file.strip_prefix(from).unwrap_or(&file)))?;
    }
    Ok(())
}

/// Makes `to` hold the files of `from` (or be that file): links where others may read them, else copies.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let target = if relative.as_os_str().is_empty() { to.to_owned() } else { to.join(relative) };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        } else if !target.exists() {
            let readable = entry.metadata()?.mode() & 0o004 != 0;
            if !readable || fs::hard_link(entry.path(), &target).is_err() {
                copy(entry.path(), &target)?;
            }
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)
        .and_then(|()| fs::copy(from, to))
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Whether a user who owns nothing of it can go through every folder of the path.
fn is_open_to_all(path: &Path) -> bool {
    let passes = |dir: &Path| fs::metadata(dir).is_ok_and(|meta| meta.mode() & 0o001 != 0);
    path.canonicalize().is_ok_and(|path| path.ancestors().all(passes))
}

fn has_room_in_memory() -> bool {
    let is_memory = statfs(IN_MEMORY).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
    let has_room = statvfs(IN_MEMORY).is_ok_and(|found| {
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        free >= ROOM && !found.flags().contains(FsFlags::ST_NOEXEC)
    });
    is_memory && has_room && free_memory().is_ok_and(|free| free >= ROOM + SPARE)
}

/// Bytes of memory that programs could still take (proc_meminfo(5)).
fn free_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kib.unwrap_or(0) * 1024)
}

/// Scratch folders are private; another user must get into this one.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o755))
}
