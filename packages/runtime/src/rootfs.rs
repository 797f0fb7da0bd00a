//! Mounts of the host's side: root file systems and images from snapshots, and a pod's shared memory. They are all below
//! the runtime's folder, so that one look at the mount table finds what is left over.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use lepton_runtime_images::{Snapshot, within};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
    unmount,
};

use crate::error::{Context as _, Result};
use crate::user_namespace::{Passing, UserNamespace};

/// Mounts a snapshot, with owners mapped for a user namespace. The calls of fsopen(2) take any number of layers; mount(2)
/// takes one page of text.
pub(crate) fn mount_snapshot(snapshot: &Snapshot, target: &Path, user: Option<&UserNamespace>) -> Result<()> {
    fs::create_dir_all(target).or_cannot(format!("make {}", target.display()))?;
    // overlayfs keeps what it needs of these.
    let mut passing = Passing::default();
    let lower = layers(snapshot, target, user, &mut passing)?;
    if let Some(user) = user {
        // Changes are written as the namespace's users: overlayfs itself, which is the host's root, could make nothing on
        // a mount that does not map that one.
        let (uid, gid) = user.root();
        std::os::unix::fs::chown(&snapshot.upper, Some(uid), Some(gid))
            .or_cannot(format!("give {} to the pod", snapshot.upper.display()))?;
    }
    let mounted = || -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for lower in &lower {
            fsconfig_set_string(&context, "lowerdir+", lower.as_path())?;
        }
        fsconfig_set_string(&context, "upperdir", snapshot.upper.as_path())?;
        fsconfig_set_string(&context, "workdir", snapshot.work.as_path())?;
        // What a container writes into its root ends with the boot, as the container does: nothing is forced to the disk
        // when it is unmounted, and a snapshot of an earlier boot is never mounted again.
        fsconfig_set_flag(&context, "volatile")?;
        fsconfig_create(&context)?;
        put(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?, target)
    };
    mounted().or_cannot(format!("mount the root file system of {}", snapshot.key))
}

/// The layers of a snapshot, the uppermost first; for a user namespace, with their owners mapped.
fn layers(
    snapshot: &Snapshot,
    target: &Path,
    user: Option<&UserNamespace>,
    passing: &mut Passing,
) -> Result<Vec<PathBuf>> {
    let mut layers = snapshot.lower.clone();
    if let Some(user) = user {
        for (place, layer) in layers.iter_mut().enumerate() {
            *layer = passing.bind(user, layer, target.with_extension(format!("layer-{place}")))?;
        }
    }
    Ok(layers)
}

/// Mounts the image of a snapshot read-only: its layers alone, without the folder that takes changes.
pub(crate) fn mount_image(snapshot: &Snapshot, target: &Path, user: Option<&UserNamespace>) -> Result<()> {
    fs::create_dir_all(target).or_cannot(format!("make {}", target.display()))?;
    let mut passing = Passing::default();
    let mut lower = layers(snapshot, target, user, &mut passing)?;
    // Where nothing takes changes, overlayfs wants two folders, and an image may have one layer: an empty one is below.
    lower.push(snapshot.work.clone());
    let mounted = || -> rustix::io::Result<()> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for lower in &lower {
            fsconfig_set_string(&context, "lowerdir+", lower.as_path())?;
        }
        fsconfig_create(&context)?;
        put(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_RDONLY)?, target)
    };
    mounted().or_cannot(format!("mount image {}", snapshot.image))
}

/// Puts a folder of what is mounted in the place of the whole. Its path is followed within the mount: neither links nor
/// `..` lead out of it.
pub(crate) fn narrow(target: &Path, folder: &Path) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let whole = rustix::fs::open(target, flags, Mode::empty())?;
    let found = within::open(&whole, folder, flags, ResolveFlags::IN_ROOT)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let part = open_tree(found.as_fd(), "", clone | OpenTreeFlags::AT_EMPTY_PATH)?;
    unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
    put(part, target)
}

fn put(mounted: OwnedFd, target: &Path) -> rustix::io::Result<()> {
    move_mount(mounted, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Mounts the shared memory of a pod; 64 MiB, as every runtime gives.
pub(crate) fn mount_shm(target: &Path, user: Option<&UserNamespace>) -> Result<()> {
    fs::create_dir_all(target).or_cannot(format!("make {}", target.display()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let (uid, gid) = user.map(UserNamespace::root).unwrap_or_default();
    let options = CString::new(format!("mode=1777,size=67108864,uid={uid},gid={gid}"));
    let options = options.or_cannot("mount the pod's shared memory")?;
    mount("shm", target, "tmpfs", flags, options.as_c_str()).or_cannot("mount the pod's shared memory")
}

/// Takes away every mount at or below a folder, several at a time: the kernel makes each call wait until all processors
/// have let go of the mount. What is mounted within another one may go with that one.
pub(crate) fn unmount_below(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").or_cannot("read the mount table")?;
    let mut targets = below(&table, folder);
    targets.reverse();
    let Some((first, rest)) = targets.split_first() else { return Ok(()) };
    std::thread::scope(|scope| {
        let others: Vec<_> = rest
            .chunks(rest.len().div_ceil(UNMOUNTERS).max(1))
            .map(|part| scope.spawn(move || part.iter().try_for_each(|target| take_away(target))))
            .collect();
        let done = take_away(first);
        let others = others.into_iter().map(|other| other.join().expect("it does not panic"));
        others.fold(done, Result::and)
    })
}

/// Threads that unmount, besides the one that asks for it.
const UNMOUNTERS: usize = 7;

fn take_away(target: &str) -> Result<()> {
    match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(io::Error::from(error)).or_cannot(format!("unmount {target}")),
    }
}

/// Mount points at or below a folder, in the order in which they were mounted. The table writes blanks as `\040`; the
/// runtime's own paths have none, and what a container mounts is in its own namespace.
fn below(table: &str, folder: &Path) -> Vec<String> {
    let targets = table.lines().filter_map(|line| line.split(' ').nth(4));
    targets.filter(|target| Path::new(target).starts_with(folder)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below() {
        let table = "22 1 0:20 / / rw - ext4 x rw\n23 22 0:21 / /run/a rw - tmpfs x rw\n24 22 0:22 / /run/ab rw - tmpfs x rw\n25 23 0:23 / /run/a/b rw - tmpfs x rw\n";
        assert_eq!(below(table, Path::new("/run/a")), ["/run/a", "/run/a/b"]);
    }
}
