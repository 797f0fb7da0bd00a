//! Mounts of containers: what every one has, and what CRI asks for.

use std::fs;
use std::path::Path;

use lepton_cri::v1::{Mount, MountPropagation};
use serde_json::{Value, json};

use crate::error::{Context as _, Failure, Result};

/// What mounts depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) privileged: bool,
    /// The pod has a network namespace of its own: without one, sysfs of the host is bound.
    pub(super) own_network: bool,
    /// Shared memory of the pod, or of the host.
    pub(super) shm: &'a Path,
    /// Files that are bound unless CRI mounts something there: source and target.
    pub(super) files: &'a [(std::path::PathBuf, &'static str)],
    pub(super) read_only_root: bool,
    /// The pod has a user namespace of its own.
    pub(super) user_namespace: bool,
}

/// All mounts, in the order in which they are made.
pub(super) fn mounts(wanted: &[Mount], around: Surroundings<'_>) -> Result<Vec<Value>> {
    let mut mounts = usual(around);
    for (source, target) in around.files {
        let mut options = vec!["rbind", "rprivate"];
        options.push(if around.read_only_root { "ro" } else { "rw" });
        mounts.push(json!({"destination": target, "type": "bind", "source": source, "options": options}));
    }
    for mount in wanted {
        let bound = bind(mount)?;
        // What is asked for replaces what is usual.
        mounts.retain(|other| other["destination"] != bound["destination"]);
        mounts.push(bound);
    }
    // A mount below another one comes after it; equal depths keep their order.
    mounts.sort_by_key(|mount| depth(mount["destination"].as_str().unwrap_or_default()));
    Ok(mounts)
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|part| !part.is_empty()).count()
}

fn usual(around: Surroundings<'_>) -> Vec<Value> {
    let system = if around.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]}),
        json!({"destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]}),
        json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"]}),
        json!({"destination": "/dev/shm", "type": "bind", "source": around.shm, "options": ["rbind", "rprivate", "rw"]}),
    ];
    // sysfs shows the network of who mounts it, and takes owners of its namespace only.
    mounts.push(if around.own_network || !around.user_namespace {
        json!({"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", system]})
    } else {
        json!({"destination": "/sys", "type": "bind", "source": "/sys", "options": ["rbind", "rprivate", "nosuid", "noexec", "nodev", "ro"]})
    });
    mounts.push(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", system]}));
    mounts
}

/// How the container's root takes part in propagation, so that its mounts can (`rootfsPropagation`).
pub(super) fn root_propagation(wanted: &[Mount]) -> &'static str {
    let any = |kind| wanted.iter().any(|mount| mount.propagation() == kind);
    if any(MountPropagation::PropagationBidirectional) {
        "shared"
    } else if any(MountPropagation::PropagationHostToContainer) {
        "slave"
    } else {
        "private"
    }
}

fn bind(mount: &Mount) -> Result<Value> {
    let target = &mount.container_path;
    if target.is_empty() || !target.starts_with('/') {
        return Err(Failure::invalid(format!("mount target {target:?} is not absolute")));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(Failure::unimplemented(format!("{target}: mounts with mapped ids are not supported")));
    }
    if mount.selinux_relabel && Path::new("/sys/fs/selinux/enforce").exists() {
        return Err(Failure::unimplemented(format!("{target}: SELinux labels are not supported")));
    }
    if mount.recursive_read_only
        && (!mount.readonly || mount.propagation() != MountPropagation::PropagationPrivate)
    {
        let message = "recursive read-only needs readonly and private propagation";
        return Err(Failure::invalid(format!("{target}: {message}")));
    }
    let source = Path::new(&mount.host_path);
    if !source.is_absolute() {
        return Err(Failure::invalid(format!("mount source {:?} is not absolute", mount.host_path)));
    }
    if !source.exists() {
        // As other runtimes do for kubelet's hostPath volumes.
        fs::create_dir_all(source).or_cannot(format!("make mount source {}", source.display()))?;
    }
    let source = source.canonicalize().or_cannot(format!("find mount source {}", source.display()))?;
    let propagation = match mount.propagation() {
        MountPropagation::PropagationPrivate => "rprivate",
        MountPropagation::PropagationHostToContainer => "rslave",
        MountPropagation::PropagationBidirectional => "rshared",
    };
    check_propagation(&source, mount.propagation())?;
    let mut options = vec!["rbind".to_owned(), propagation.to_owned()];
    options.push(
        if mount.recursive_read_only {
            "rro"
        } else if mount.readonly {
            "ro"
        } else {
            "rw"
        }
        .to_owned(),
    );
    options.extend(mount.mount_options.iter().cloned());
    Ok(json!({"destination": normal(target), "type": "bind", "source": source, "options": options}))
}

/// Without `.`, empty parts and a slash at the end, so that one target has one spelling.
fn normal(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

/// Propagation works only from mounts that take part in it (mount_namespaces(7)).
fn check_propagation(source: &Path, propagation: MountPropagation) -> Result<()> {
    let needed: &[&str] = match propagation {
        MountPropagation::PropagationPrivate => return Ok(()),
        MountPropagation::PropagationHostToContainer => &["shared:", "master:"],
        MountPropagation::PropagationBidirectional => &["shared:"],
    };
    let table = fs::read_to_string("/proc/self/mountinfo").or_cannot("read the mount table")?;
    let mounts = table.lines().filter_map(|line| {
        let (head, _) = line.split_once(" - ")?;
        let mut words = head.split(' ');
        let target = words.nth(4)?;
        Some((target, words.skip(1).collect::<Vec<_>>()))
    });
    let holder =
        mounts.filter(|(target, _)| source.starts_with(target)).max_by_key(|(target, _)| target.len());
    let takes_part = holder.is_some_and(|(_, optional)| {
        optional.iter().any(|field| needed.iter().any(|prefix| field.starts_with(prefix)))
    });
    if takes_part {
        return Ok(());
    }
    Err(Failure::precondition(format!("{} is on a mount that does not propagate", source.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around() -> Surroundings<'static> {
        Surroundings {
            privileged: false,
            own_network: true,
            shm: Path::new("/shm"),
            files: &[],
            read_only_root: false,
            user_namespace: false,
        }
    }

    #[test]
    fn what_is_asked_for_replaces_what_is_usual_and_depth_orders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display().to_string();
        let mount = |target: &str| Mount {
            container_path: target.to_owned(),
            host_path: path.clone(),
            ..Mount::default()
        };
        let mounts = mounts(&[mount("/a/b/"), mount("/dev/shm"), mount("/a")], around()).unwrap();
        let targets: Vec<&str> = mounts.iter().map(|mount| mount["destination"].as_str().unwrap()).collect();
        assert_eq!(targets.iter().filter(|target| **target == "/dev/shm").count(), 1);
        let place = |target: &str| targets.iter().position(|other| *other == target).unwrap();
        assert!(place("/a") < place("/a/b"));
        assert!(place("/dev") < place("/dev/shm"));
    }

    #[test]
    fn what_is_not_done_is_said() {
        let mount = Mount { container_path: "a".to_owned(), host_path: "/".to_owned(), ..Mount::default() };
        assert!(mounts(&[mount], around()).is_err());
        let mount = Mount {
            container_path: "/a".to_owned(),
            host_path: "/".to_owned(),
            recursive_read_only: true,
            ..Mount::default()
        };
        assert!(mounts(&[mount], around()).is_err());
    }
}
