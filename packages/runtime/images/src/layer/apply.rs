//! Applies the entries of a layer's archive to its folder, in their order, as OCI's image specification says it: later ones
//! replace earlier ones, folders are merged, and `.wh.` names remove what lower layers have.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::attributes::{self, Attributes};
use super::merged::{Folder, Merged, failed};
use super::tar::{Entry, Kind};
use super::{LayerError, shown};
use crate::config::Devices;
use crate::disk;

/// Names of whiteouts.
const WHITEOUT: &[u8] = b".wh.";
/// The one that hides all that lower layers have in its folder.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Notes of AUFS to itself begin so.
const NOTE: &[u8] = b".wh..wh.";
/// Most bytes of folders' names whose times are set at the end. Images have some hundred kilobytes.
const MOST_NAMES: usize = 16 << 20;

/// A layer on its way.
pub(super) struct Target {
    view: Merged,
    devices: Devices,
    /// Folders and their times, which every later entry in them changes.
    times: Vec<(Vec<u8>, (i64, u32))>,
    names: usize,
    buffer: Vec<u8>,
}

impl Target {
    pub(super) fn new(view: Merged, devices: Devices) -> Self {
        Self { view, devices, times: Vec::new(), names: 0, buffer: vec![0; 1 << 17] }
    }

    /// Applies one entry; `data` is a file's content.
    pub(super) fn apply(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<(), LayerError> {
        let components = components(&entry.path)?;
        let Some((name, parents)) = components.split_last() else { return self.root(entry) };
        if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Err(LayerError::Reserved { path: shown(&entry.path) });
        }
        if name.starts_with(WHITEOUT) {
            return self.whiteout(entry, parents, name);
        }
        let folder = self.view.folder(parents)?;
        let fail = |what| move |error| failed(what, &entry.path, error);
        let existing = stat(&folder, name).map_err(fail("look at"))?;
        if entry.kind == Kind::HardLink {
            return self.hard_link(entry, &folder, name, existing);
        }
        let is_merged = entry.kind == Kind::Directory
            && existing.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
        if existing.is_some() && !is_merged {
            self.remove(&folder, name).map_err(fail("replace"))?;
        }
        let handle = folder.handle.as_fd();
        let attributes = Attributes::of_entry(entry);
        match entry.kind {
            Kind::File => self.file(entry, &folder, name, data)?,
            Kind::Directory => {
                if !is_merged {
                    rustix::fs::mkdirat(handle, *name, Mode::from(0o700)).map_err(fail("make"))?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(handle, *name, flags, Mode::empty()).map_err(fail("open"))?;
                attributes::set(&made, &attributes).map_err(fail("set the owner and mode of"))?;
                attributes::set_xattrs(&made, &entry.xattrs).map_err(fail("set attributes of"))?;
                // What was here before was no folder, so the lower layers' folder of this name is gone.
                if existing.is_some() && !is_merged && !self.view.is_lowest() {
                    attributes::make_opaque(&made).map_err(fail("mark"))?;
                }
                self.remember(folder.join(name), entry.mtime)?;
            }
            Kind::Symlink => {
                rustix::fs::symlinkat(entry.link.as_slice(), handle, *name).map_err(fail("make"))?;
                attributes::set_at(handle, name, &attributes, false).map_err(fail("set the owner of"))?;
            }
            Kind::Fifo => self.node(entry, &folder, name, FileType::Fifo, 0)?,
            Kind::Character { major: 0, minor: 0 } => {
                return Err(LayerError::OverlayDevice { path: shown(&entry.path) });
            }
            Kind::Character { .. } | Kind::Block { .. } if self.devices == Devices::Refuse => {
                return Err(LayerError::Device { path: shown(&entry.path) });
            }
            Kind::Character { major, minor } => {
                self.node(
                    entry,
                    &folder,
                    name,
                    FileType::CharacterDevice,
                    rustix::fs::makedev(major, minor),
                )?;
            }
            Kind::Block { major, minor } => {
                self.node(entry, &folder, name, FileType::BlockDevice, rustix::fs::makedev(major, minor))?;
            }
            Kind::HardLink => unreachable!("it was dealt with above"),
        }
        Ok(())
    }

    /// Sets the times of folders, the last entry of each first.
    pub(super) fn finish(mut self) -> Result<(), LayerError> {
        while let Some((path, mtime)) = self.times.pop() {
            // One that was replaced since, or that an earlier entry named too, needs nothing more.
            if let Ok(folder) = self.view.own_folder(&path) {
                attributes::set_time(&folder, mtime)
                    .map_err(|error| failed("set the time of", &path, error))?;
            }
        }
        Ok(())
    }

    fn root(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != Kind::Directory {
            return Err(LayerError::Root);
        }
        let fail = |error| failed("set the owner and mode of", b"/", error);
        attributes::set(self.view.root(), &Attributes::of_entry(entry)).map_err(fail)?;
        attributes::set_xattrs(self.view.root(), &entry.xattrs).map_err(fail)?;
        self.remember(Vec::new(), entry.mtime)
    }

    fn remember(&mut self, path: Vec<u8>, mtime: (i64, u32)) -> Result<(), LayerError> {
        self.names += path.len() + size_of::<(Vec<u8>, (i64, u32))>();
        if self.names > MOST_NAMES {
            return Err(LayerError::Folders { limit: MOST_NAMES });
        }
        self.times.push((path, mtime));
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        folder: &Folder,
        name: &[u8],
        data: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let fail = |what| move |error| failed(what, &entry.path, error);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made =
            rustix::fs::openat(&folder.handle, name, flags, Mode::from(0o600)).map_err(fail("make"))?;
        let mut made = File::from(made);
        let mut left = entry.size;
        while left > 0 {
            let count = match data.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(super::TarError::Truncated.into());
                }
                count => count.map_err(super::TarError::Read)?,
            };
            if count == 0 {
                return Err(super::TarError::Truncated.into());
            }
            made.write_all(&self.buffer[..count]).map_err(|source| LayerError::File {
                what: "write",
                path: shown(&entry.path),
                source,
            })?;
            left -= count as u64;
        }
        attributes::set(&made, &Attributes::of_entry(entry)).map_err(fail("set the owner and mode of"))?;
        attributes::set_xattrs(&made, &entry.xattrs).map_err(fail("set attributes of"))?;
        attributes::set_time(&made, entry.mtime).map_err(fail("set the time of"))
    }

    fn node(
        &self,
        entry: &Entry,
        folder: &Folder,
        name: &[u8],
        kind: FileType,
        device: u64,
    ) -> Result<(), LayerError> {
        let fail = |error| failed("make", &entry.path, error);
        let handle = folder.handle.as_fd();
        rustix::fs::mknodat(handle, name, kind, Mode::from(0o600), device).map_err(fail)?;
        attributes::set_at(handle, name, &Attributes::of_entry(entry), true).map_err(fail)
    }

    fn hard_link(
        &mut self,
        entry: &Entry,
        folder: &Folder,
        name: &[u8],
        existing: Option<Stat>,
    ) -> Result<(), LayerError> {
        let refused = |is| LayerError::HardLink { path: shown(&entry.path), target: shown(&entry.link), is };
        let parts = components(&entry.link)?;
        let (target_name, parents) = parts.split_last().ok_or_else(|| refused("a folder of"))?;
        if parts.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Err(LayerError::Reserved { path: shown(&entry.link) });
        }
        let target_folder = self.view.folder(parents)?;
        let target = target_folder.join(target_name);
        let fail = |what| move |error| failed(what, &entry.path, error);
        let kind = match stat(&target_folder, target_name).map_err(fail("look at the target of"))? {
            Some(stat) if attributes::is_whiteout(&stat) => return Err(refused("not in")),
            Some(stat) => FileType::from_raw_mode(stat.st_mode),
            None if self.view.has_below(&target_folder, target_name) => {
                self.copy_up(&target_folder, target_name).map_err(fail("copy the target of"))?
            }
            None => return Err(refused("not in")),
        };
        if kind == FileType::Directory {
            return Err(refused("a folder of"));
        }
        if target == folder.join(name) {
            return Ok(());
        }
        if existing.is_some() {
            self.remove(folder, name).map_err(fail("replace"))?;
            // The target could have been in the folder that is gone now.
            if stat(&target_folder, target_name).map_err(fail("look at the target of"))?.is_none() {
                return Err(refused("not in"));
            }
        }
        let none = AtFlags::empty();
        rustix::fs::linkat(&target_folder.handle, *target_name, &folder.handle, name, none)
            .map_err(fail("make"))
    }

    /// Copies a file or link of a lower layer into this one, so that it can be linked to. Gives its type.
    fn copy_up(&mut self, folder: &Folder, name: &[u8]) -> rustix::io::Result<FileType> {
        let path = folder.join(name);
        let (link, stat) = self.view.find_below(&path).ok_or(Errno::NOENT)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let attributes = Attributes::of(&stat);
        let handle = folder.handle.as_fd();
        match kind {
            FileType::RegularFile => {
                let mut source = File::from(self.view.open_below(&path).ok_or(Errno::NOENT)?);
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut made = File::from(rustix::fs::openat(handle, name, flags, Mode::from(0o600))?);
                let copied = io::copy(&mut source, &mut made);
                copied.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                attributes::set(&made, &attributes)?;
                let mut value = vec![0; 1024];
                if let Ok(length) = rustix::fs::fgetxattr(&source, "security.capability", &mut value[..]) {
                    value.truncate(length);
                    attributes::set_xattrs(&made, &[(b"security.capability".to_vec(), value)])?;
                }
                attributes::set_time(&made, attributes.mtime)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&link, c"", Vec::new())?;
                rustix::fs::symlinkat(&target, handle, name)?;
                attributes::set_at(handle, name, &attributes, false)?;
            }
            FileType::Directory => {}
            _ => {
                rustix::fs::mknodat(handle, name, kind, Mode::from(0o600), stat.st_rdev)?;
                attributes::set_at(handle, name, &attributes, true)?;
            }
        }
        Ok(kind)
    }

    fn whiteout(&mut self, entry: &Entry, parents: &[&[u8]], name: &[u8]) -> Result<(), LayerError> {
        let fail = |error| failed("mark", &entry.path, error);
        if name == OPAQUE {
            let folder = self.view.folder(parents)?;
            return if self.view.is_lowest() {
                Ok(())
            } else {
                attributes::make_opaque(&folder.handle).map_err(fail)
            };
        }
        if name.starts_with(NOTE) {
            return Ok(());
        }
        let removed = &name[WHITEOUT.len()..];
        if matches!(removed, b"" | b"." | b"..") {
            return Err(LayerError::Reserved { path: shown(&entry.path) });
        }
        if self.view.is_lowest() {
            return Ok(());
        }
        let folder = self.view.folder(parents)?;
        match stat(&folder, removed).map_err(fail)? {
            // What this layer itself has stays; of a folder, only what it has.
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let inner = self.view.own_folder(&folder.join(removed)).map_err(fail)?;
                attributes::make_opaque(&inner).map_err(fail)
            }
            Some(_) => Ok(()),
            None if self.view.has_below(&folder, removed) => {
                attributes::make_whiteout(folder.handle.as_fd(), removed).map_err(fail)
            }
            None => Ok(()),
        }
    }

    fn remove(&mut self, folder: &Folder, name: &[u8]) -> rustix::io::Result<()> {
        self.view.forget();
        let name = CString::new(name).map_err(|_| Errno::INVAL)?;
        disk::remove_at(folder.handle.as_fd(), &name)
    }
}

/// The components of a name. A leading slash means the root of the image; `..` is refused.
fn components(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let parts: Vec<&[u8]> = parts.collect();
    if parts.contains(&b"..".as_slice()) {
        return Err(LayerError::Upwards { path: shown(path) });
    }
    Ok(parts)
}

/// What the layer itself has under a name.
fn stat(folder: &Folder, name: &[u8]) -> rustix::io::Result<Option<Stat>> {
    match rustix::fs::statat(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
