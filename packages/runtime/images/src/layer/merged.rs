//! The view that overlayfs will give of a layer and those below it, without mounting it: where a path leads, which folders
//! must be made in the layer for it, and what lies below. Every path is resolved by the kernel relative to a folder's handle,
//! within it and without a link; links are followed here, one by one, within the image.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::tar::LONGEST_PATH;
use super::{LayerError, shown};

/// No link, no other file system, nothing outside of the folder.
const WITHIN: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const ANY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// As many as the kernel follows.
const MOST_LINKS: usize = 40;

/// The layer that is made, and those below it.
pub(super) struct Merged {
    upper: OwnedFd,
    /// The uppermost first.
    lower: Vec<OwnedFd>,
    /// The folder that was resolved last: archives are in the order of folders.
    last: Option<(Vec<u8>, Folder)>,
}

/// A folder of the layer.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) handle: Rc<OwnedFd>,
    /// Where it is, without links; empty for the root.
    pub(super) path: Vec<u8>,
}

impl Folder {
    /// The path of a name in it.
    pub(super) fn join(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path, name)
    }
}

/// What is at a path.
enum Found {
    Nothing,
    Upper(Stat),
    Lower(OwnedFd, Stat),
}

impl Merged {
    pub(super) fn new(upper: OwnedFd, lower: Vec<OwnedFd>) -> Self {
        Self { upper, lower, last: None }
    }

    pub(super) fn is_lowest(&self) -> bool {
        self.lower.is_empty()
    }

    pub(super) fn root(&self) -> &OwnedFd {
        &self.upper
    }

    /// To be called when a folder was removed.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    /// Opens a folder of the layer itself by its path without links.
    pub(super) fn own_folder(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        rustix::fs::openat2(&self.upper, path, FOLDER, Mode::empty(), WITHIN)
    }

    /// The folder of the layer that components lead to. Folders that only lower layers have are made with their
    /// attributes, others with those of a folder of root.
    pub(super) fn folder(&mut self, components: &[&[u8]]) -> Result<Folder, LayerError> {
        let wanted = components.join(&b'/');
        if let Some((path, folder)) = &self.last
            && *path == wanted
        {
            return Ok(folder.clone());
        }
        let folder = match self.own_folder(&wanted) {
            Ok(handle) => Folder { handle: Rc::new(handle), path: wanted.clone() },
            Err(_) => {
                let path = self.resolve(components, &wanted)?;
                let handle = self.own_folder(&path).map_err(|error| failed("open", &path, error))?;
                Folder { handle: Rc::new(handle), path }
            }
        };
        self.last = Some((wanted, folder.clone()));
        Ok(folder)
    }

    /// Follows components one by one through links and lower layers.
    fn resolve(&mut self, components: &[&[u8]], wanted: &[u8]) -> Result<Vec<u8>, LayerError> {
        let mut waiting: VecDeque<Vec<u8>> = components.iter().map(|part| part.to_vec()).collect();
        let mut current: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = waiting.pop_front() {
            match &part[..] {
                b"" | b"." => continue,
                // `current` has no links, so its parent is what is before the last slash; the root is its own.
                b".." => {
                    current.truncate(current.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let next = join(&current, &part);
            if next.len() > LONGEST_PATH {
                return Err(LayerError::Deep { path: shown(wanted) });
            }
            let target = match self.find(&current, &next)? {
                Found::Nothing => {
                    self.make(&current, &part, &Attributes::of_implied_folder())?;
                    None
                }
                Found::Upper(stat) | Found::Lower(_, stat) if !is_link(&stat) && !is_folder(&stat) => {
                    return Err(LayerError::NotAFolder { path: shown(wanted), part: shown(&next) });
                }
                Found::Upper(stat) if is_folder(&stat) => None,
                Found::Lower(_, stat) if is_folder(&stat) => {
                    self.make(&current, &part, &Attributes::of(&stat))?;
                    None
                }
                Found::Upper(_) => Some(self.target(&self.upper, &next)?),
                Found::Lower(link, _) => Some(
                    rustix::fs::readlinkat(&link, c"", Vec::new())
                        .map_err(|error| failed("read", &next, error))?,
                ),
            };
            let Some(target) = target else {
                current = next;
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return Err(LayerError::Loop { path: shown(wanted) });
            }
            let target = target.into_bytes();
            if target.starts_with(b"/") {
                current.clear();
            }
            for part in target.split(|byte| *byte == b'/').rev() {
                waiting.push_front(part.to_vec());
            }
        }
        Ok(current)
    }

    fn target(&self, root: &OwnedFd, path: &[u8]) -> Result<std::ffi::CString, LayerError> {
        let link = rustix::fs::openat2(root, path, ANY, Mode::empty(), WITHIN);
        let link = link.map_err(|error| failed("open", path, error))?;
        rustix::fs::readlinkat(&link, c"", Vec::new()).map_err(|error| failed("read", path, error))
    }

    /// Makes a folder in a folder of the layer that is there.
    fn make(&self, parent: &[u8], name: &[u8], attributes: &Attributes) -> Result<(), LayerError> {
        let path = join(parent, name);
        let fail = |error| failed("make", &path, error);
        let handle = self.own_folder(parent).map_err(fail)?;
        // What the layer removed before comes back empty.
        let was_removed = match rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if attributes::is_whiteout(&stat) => {
                rustix::fs::unlinkat(&handle, name, AtFlags::empty()).map_err(fail)?;
                true
            }
            _ => false,
        };
        rustix::fs::mkdirat(&handle, name, Mode::from(0o700)).map_err(fail)?;
        let made = rustix::fs::openat(&handle, name, FOLDER, Mode::empty()).map_err(fail)?;
        attributes::set(&made, attributes).map_err(fail)?;
        if was_removed {
            attributes::make_opaque(&made).map_err(fail)?;
        }
        Ok(())
    }

    /// What the view has at a path whose parent is without links. A removed name is nothing.
    fn find(&self, parent: &[u8], path: &[u8]) -> Result<Found, LayerError> {
        match rustix::fs::openat2(&self.upper, path, ANY, Mode::empty(), WITHIN) {
            Ok(handle) => {
                let stat = rustix::fs::fstat(&handle).map_err(|error| failed("look at", path, error))?;
                return Ok(if attributes::is_whiteout(&stat) { Found::Nothing } else { Found::Upper(stat) });
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("look at", path, error)),
        }
        if is_cut(&self.upper, parent) {
            return Ok(Found::Nothing);
        }
        Ok(self.find_below(path).map_or(Found::Nothing, |(handle, stat)| Found::Lower(handle, stat)))
    }

    /// What the lower layers have at a path without links: a handle that is good for reading links and attributes.
    pub(super) fn find_below(&self, path: &[u8]) -> Option<(OwnedFd, Stat)> {
        for layer in &self.lower {
            match rustix::fs::openat2(layer, path, ANY, Mode::empty(), WITHIN) {
                Ok(handle) => {
                    let stat = rustix::fs::fstat(&handle).ok()?;
                    return (!attributes::is_whiteout(&stat)).then_some((handle, stat));
                }
                // A file or link where the path has a folder hides what is below.
                Err(Errno::NOENT) if !is_cut(layer, path) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Whether the view has something at a path that only the layers below can have.
    pub(super) fn has_below(&self, folder: &Folder, name: &[u8]) -> bool {
        !self.is_lowest()
            && !is_cut(&self.upper, &folder.path)
            && self.find_below(&folder.join(name)).is_some()
    }

    /// Opens a file of a lower layer for reading.
    pub(super) fn open_below(&self, path: &[u8]) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let found = self
            .lower
            .iter()
            .find_map(|layer| rustix::fs::openat2(layer, path, flags, Mode::empty(), WITHIN).ok());
        found.filter(|_| self.find_below(path).is_some())
    }
}

/// Whether a layer hides what lower ones have below some part of a path: the part is marked so in it.
fn is_cut(layer: &OwnedFd, path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(index, _)| index);
    for end in ends.chain([path.len()]).filter(|end| *end > 0) {
        match rustix::fs::openat2(layer, &path[..end], FOLDER, Mode::empty(), WITHIN) {
            Ok(folder) if attributes::is_opaque(&folder) => return true,
            Ok(_) => {}
            Err(Errno::NOENT) => return false,
            Err(_) => return true,
        }
    }
    false
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_link(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
}

pub(super) fn failed(what: &'static str, path: &[u8], error: Errno) -> LayerError {
    LayerError::File { what, path: shown(path), source: error.into() }
}
