//! User namespaces of pods (Kubernetes' `hostUsers: false`): what is asked for, and mounts whose owners are mapped
//! (mount_setattr(2)), so that root of the pod owns its root file system without being root of the host.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use lepton_cri::v1::{IdMapping, NamespaceMode, PodSandboxConfig};
use lepton_runtime_shim::pod::{IdMap, UserMaps};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};

use crate::error::{Context as _, Failure, Result};
use crate::{sandbox, sys};

/// A user namespace, by the file that pins it, and who its root is on the host.
#[derive(Clone, Debug)]
pub(crate) struct UserNamespace {
    pub(crate) path: PathBuf,
    pub(crate) maps: UserMaps,
}

/// Whether this kernel has them.
pub(crate) fn are_supported() -> bool {
    Path::new("/proc/self/ns/user").exists()
}

/// The maps that a pod asks for; none when it shares the host's users.
pub(crate) fn maps(config: &PodSandboxConfig) -> Result<Option<UserMaps>> {
    let options = sandbox::namespaces(config);
    let Some(user) = &options.userns_options else { return Ok(None) };
    match user.mode() {
        NamespaceMode::Node if user.uids.is_empty() && user.gids.is_empty() => return Ok(None),
        NamespaceMode::Node => {
            return Err(Failure::invalid(
                "a pod with the host's users cannot have mappings of users or groups",
            ));
        }
        NamespaceMode::Pod => {}
        mode => {
            return Err(Failure::invalid(format!(
                "user namespace mode {} is none of a pod",
                mode.as_str_name()
            )));
        }
    }
    if !are_supported() {
        return Err(Failure::precondition("the kernel has no user namespaces"));
    }
    for (kind, mode) in [("network", options.network()), ("IPC", options.ipc()), ("PID", options.pid())] {
        if mode == NamespaceMode::Node {
            return Err(Failure::invalid(format!(
                "a pod with a user namespace cannot share the host's {kind} namespace"
            )));
        }
    }
    let maps = UserMaps { uids: vec![map("user", &user.uids)?], gids: vec![map("group", &user.gids)?] };
    if maps.uids != maps.gids {
        return Err(Failure::invalid("the mappings of users and groups of a pod must be equal"));
    }
    Ok(Some(maps))
}

fn map(kind: &str, maps: &[IdMapping]) -> Result<IdMap> {
    let [map] = maps else {
        let count = maps.len();
        return Err(Failure::invalid(format!("a pod needs one {kind} mapping, and has {count}")));
    };
    if map.container_id != 0 {
        return Err(Failure::invalid(format!("the {kind} mapping of a pod must begin at id 0 inside")));
    }
    if map.length == 0 || map.host_id == 0 || map.host_id.checked_add(map.length).is_none() {
        return Err(Failure::invalid(format!(
            "the {kind} mapping of {} ids to those from {} on the host is none for a pod",
            map.length, map.host_id
        )));
    }
    Ok(IdMap { inside: map.container_id, host: map.host_id, length: map.length })
}

impl UserNamespace {
    /// Root of the namespace, as the host sees it.
    pub(crate) fn root(&self) -> (u32, u32) {
        let first = |maps: &[IdMap]| maps.first().map_or(0, |map| map.host);
        (first(&self.maps.uids), first(&self.maps.gids))
    }

    /// Whether CRI names the same mapping for a mount.
    pub(crate) fn is(&self, uids: &[IdMapping], gids: &[IdMapping]) -> bool {
        let same = |wanted: &[IdMapping], own: &[IdMap]| {
            wanted.len() == own.len()
                && wanted.iter().zip(own).all(|(wanted, own)| {
                    (wanted.container_id, wanted.host_id, wanted.length) == (own.inside, own.host, own.length)
                })
        };
        same(uids, &self.maps.uids) && same(gids, &self.maps.gids)
    }

    /// Mounts what is at `source` once more at `target`, with owners mapped.
    pub(crate) fn bind(&self, source: &Path, target: &Path) -> Result<()> {
        let is_folder = source.is_dir();
        let made = if is_folder { fs::create_dir_all(target) } else { File::create(target).map(drop) };
        made.or_cannot(format!("make {}", target.display()))?;
        let namespace = File::open(&self.path).or_cannot("open the pod's user namespace")?;
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mapped = || -> std::io::Result<OwnedFd> {
            let mount = open_tree(rustix::fs::CWD, source, flags)?;
            sys::map_owners(mount.as_fd(), namespace.as_fd())?;
            Ok(mount)
        };
        let mount = mapped().or_cannot(format!(
            "map the owners of {}: does its file system have mapped mounts?",
            source.display()
        ))?;
        move_mount(&mount, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .or_cannot(format!("mount {}", target.display()))
    }
}

/// Folders that are mounted only until something else has been made of them.
#[derive(Debug, Default)]
pub(crate) struct Passing(Vec<PathBuf>);

impl Passing {
    /// Binds one more.
    pub(crate) fn bind(&mut self, user: &UserNamespace, source: &Path, target: PathBuf) -> Result<PathBuf> {
        user.bind(source, &target)?;
        self.0.push(target.clone());
        Ok(target)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        for target in self.0.drain(..) {
            let _ = unmount(&target, UnmountFlags::DETACH);
            let _ = fs::remove_dir(&target);
        }
    }
}

#[cfg(test)]
mod tests {
    use lepton_cri::v1::{
        LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceOption, UserNamespace as Asked,
    };

    use super::*;

    fn pod(asked: Asked, network: NamespaceMode) -> PodSandboxConfig {
        let mut options = NamespaceOption { userns_options: Some(asked), ..NamespaceOption::default() };
        options.set_network(network);
        let context = LinuxSandboxSecurityContext { namespace_options: Some(options), ..Default::default() };
        let linux = LinuxPodSandboxConfig { security_context: Some(context), ..Default::default() };
        PodSandboxConfig { linux: Some(linux), ..Default::default() }
    }

    fn asked(mode: NamespaceMode, maps: &[(u32, u32, u32)]) -> Asked {
        let maps: Vec<IdMapping> = maps
            .iter()
            .map(|&(host_id, container_id, length)| IdMapping { host_id, container_id, length })
            .collect();
        let mut asked = Asked { uids: maps.clone(), gids: maps, ..Asked::default() };
        asked.set_mode(mode);
        asked
    }

    #[test]
    fn one_mapping_from_root_on() {
        use NamespaceMode::{Container, Node, Pod, Target};
        let good = maps(&pod(asked(Pod, &[(65_536, 0, 65_536)]), Pod)).unwrap().unwrap();
        assert_eq!(good.uids, [IdMap { inside: 0, host: 65_536, length: 65_536 }]);
        assert_eq!(maps(&pod(asked(Node, &[]), Pod)).unwrap(), None);
        assert_eq!(maps(&PodSandboxConfig::default()).unwrap(), None);
        let wrong = [
            asked(Pod, &[]),
            asked(Pod, &[(65_536, 1, 65_536)]),
            asked(Pod, &[(65_536, 0, 10), (100_000, 10, 10)]),
            asked(Pod, &[(0, 0, 65_536)]),
            asked(Pod, &[(u32::MAX, 0, 65_536)]),
            asked(Container, &[(65_536, 0, 65_536)]),
            asked(Target, &[(65_536, 0, 65_536)]),
            asked(Node, &[(65_536, 0, 65_536)]),
        ];
        for asked in wrong {
            assert!(maps(&pod(asked.clone(), Pod)).is_err(), "{asked:?}");
        }
        assert!(maps(&pod(asked(Pod, &[(65_536, 0, 65_536)]), Node)).is_err());
    }
}
