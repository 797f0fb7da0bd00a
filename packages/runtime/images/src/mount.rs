//! overlayfs of a snapshot as a mount that is nowhere yet: whoever has the namespace for it puts it there with
//! `move_mount(2)`. Each lower folder is an option of its own, so that no number of layers is too long.

use std::io;
use std::os::fd::OwnedFd;

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use crate::record::Snapshot;

/// Makes the mount. It needs Linux 6.8 (`lowerdir+`) and the right to mount in the current mount namespace, which has to see
/// the folders.
pub fn overlay(snapshot: &Snapshot) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for lower in &snapshot.lower {
        fsconfig_set_string(&context, "lowerdir+", lower)?;
    }
    fsconfig_set_string(&context, "upperdir", &snapshot.upper)?;
    fsconfig_set_string(&context, "workdir", &snapshot.work)?;
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}
