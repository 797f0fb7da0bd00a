//! The command lines of mount(8) and umount(8), as far as kubelet writes them. Pure.

use std::ffi::CString;

use rustix::mount::{MountFlags, MountPropagationFlags};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    New,
    Bind,
    BindRecursive,
    Remount,
    /// Only the propagation changes.
    Propagate,
    Unmount {
        is_forced: bool,
    },
}

/// A command line that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) action: Action,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) fs_type: String,
    pub(crate) flags: MountFlags,
    pub(crate) propagation: MountPropagationFlags,
    /// Options of the file system itself.
    pub(crate) data: CString,
}

impl Request {
    fn new(action: Action, target: String) -> Self {
        Self {
            action,
            source: String::new(),
            target,
            fs_type: String::new(),
            flags: MountFlags::empty(),
            propagation: MountPropagationFlags::empty(),
            data: CString::default(),
        }
    }
}

/// `mount [-t TYPE] [-o OPTION,...]... [--FLAG]... [SOURCE] TARGET`
pub(crate) fn mount(mut words: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut places, mut given, mut fs_type) = (Vec::new(), Vec::new(), String::new());
    let mut only_places = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            _ if only_places || !word.starts_with('-') => places.push(word),
            "--" => only_places = true,
            "-t" | "--types" => fs_type = value()?,
            "-o" | "--options" => given.extend(value()?.split(',').map(str::to_owned)),
            // Nothing is written to a table of mounts, and no helper is asked, anyway.
            "-n" | "--no-mtab" | "-i" | "--internal-only" | "--no-canonicalize" => {}
            "-r" | "--read-only" => given.push("ro".to_owned()),
            _ => match word.strip_prefix("--make-").or_else(|| word.strip_prefix("--")) {
                Some(flag) => given.push(flag.to_owned()),
                None => return Err(format!("unknown argument {word}")),
            },
        }
    }
    let target = places.pop().ok_or("no mount point is named")?;
    let mut request = Request::new(Action::New, target);
    request.source = places.pop().unwrap_or_else(|| "none".to_owned());
    if !places.is_empty() {
        return Err("more than a source and a mount point are named".to_owned());
    }
    let (mut data, mut is_remount) = (Vec::new(), false);
    for option in given.iter().filter(|option| !option.is_empty()) {
        match option.as_str() {
            "bind" => request.action = Action::Bind,
            "rbind" => request.action = Action::BindRecursive,
            "remount" => is_remount = true,
            name => match (flag(name), propagation(name)) {
                (Some((bits, true)), _) => request.flags |= bits,
                (Some((bits, false)), _) => request.flags &= !bits,
                (None, Some(bits)) => request.propagation |= bits,
                // What only other programs read.
                (None, None) if is_for_others(name) => {}
                (None, None) => data.push(name),
            },
        }
    }
    if is_remount {
        let is_bind = matches!(request.action, Action::Bind | Action::BindRecursive);
        request.flags |= if is_bind { MountFlags::BIND } else { MountFlags::empty() };
        request.action = Action::Remount;
    } else if request.action == Action::New && fs_type.is_empty() {
        if request.propagation == MountPropagationFlags::empty() {
            return Err("the type of the file system is missing: -t TYPE".to_owned());
        }
        request.action = Action::Propagate;
    }
    request.data = CString::new(data.join(",")).map_err(|_| "an option holds a NUL".to_owned())?;
    request.fs_type = fs_type;
    Ok(request)
}

/// `umount [-f] TARGET`
pub(crate) fn umount(words: impl Iterator<Item = String>) -> Result<Request, String> {
    let (mut targets, mut is_forced) = (Vec::new(), false);
    for word in words {
        match word.as_str() {
            "-f" | "--force" => is_forced = true,
            "--" => {}
            _ if word.starts_with('-') => return Err(format!("unknown argument {word}")),
            _ => targets.push(word),
        }
    }
    match (targets.pop(), targets.is_empty()) {
        (Some(target), true) => Ok(Request::new(Action::Unmount { is_forced }, target)),
        (None, _) => Err("no mount point is named".to_owned()),
        (Some(_), false) => Err("more than one mount point is named".to_owned()),
    }
}

/// The kernel's flag of an option, and whether the option sets it.
fn flag(name: &str) -> Option<(MountFlags, bool)> {
    Some(match name {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "lazytime" => (MountFlags::LAZYTIME, true),
        "silent" => (MountFlags::SILENT, true),
        _ => return None,
    })
}

fn propagation(name: &str) -> Option<MountPropagationFlags> {
    let (name, below) = match name.strip_prefix('r') {
        Some(rest) if ["shared", "slave", "private", "unbindable"].contains(&rest) => {
            (rest, MountPropagationFlags::REC)
        }
        _ => (name, MountPropagationFlags::empty()),
    };
    let bits = match name {
        "shared" => MountPropagationFlags::SHARED,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "private" => MountPropagationFlags::PRIVATE,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(bits | below)
}

/// Words of fstab(5), and comments.
fn is_for_others(name: &str) -> bool {
    matches!(
        name,
        "defaults" | "auto" | "noauto" | "nofail" | "_netdev" | "user" | "nouser" | "users" | "owner"
    ) || name.starts_with("x-")
        || name.starts_with("X-")
        || name.starts_with("comment=")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount_of(line: &str) -> Result<Request, String> {
        mount(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_kubelet_writes() {
        let request = mount_of("-t tmpfs -o size=64M,noswap tmpfs /var/lib/kubelet/x").unwrap();
        assert_eq!((request.action, request.fs_type.as_str()), (Action::New, "tmpfs"));
        assert_eq!((request.source.as_str(), request.target.as_str()), ("tmpfs", "/var/lib/kubelet/x"));
        assert_eq!(request.data.to_str(), Ok("size=64M,noswap"));

        assert_eq!(mount_of("-o bind /a /b").unwrap().action, Action::Bind);
        assert_eq!(mount_of("--no-canonicalize -o rbind /a /b").unwrap().action, Action::BindRecursive);
        let request = mount_of("-o bind,remount,ro,nosuid /a /b").unwrap();
        assert_eq!(request.action, Action::Remount);
        assert_eq!(request.flags, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID);
        let request = mount_of("-t ext4 -o rw,noatime,errors=continue,_netdev /dev/vdb /b").unwrap();
        assert_eq!((request.flags, request.data.to_str()), (MountFlags::NOATIME, Ok("errors=continue")));
        let request = mount_of("--make-rshared /b").unwrap();
        assert_eq!(request.action, Action::Propagate);
        assert_eq!(request.propagation, MountPropagationFlags::SHARED | MountPropagationFlags::REC);
    }

    #[test]
    fn mistakes() {
        for line in ["", "-t", "/a /b", "-t tmpfs a /b /c", "-Q /a /b"] {
            assert!(mount_of(line).is_err(), "{line}");
        }
    }

    #[test]
    fn unmounting() {
        let words = |line: &str| umount(line.split_whitespace().map(str::to_owned));
        assert_eq!(words("/a").unwrap().action, Action::Unmount { is_forced: false });
        assert_eq!(words("-f /a").unwrap().action, Action::Unmount { is_forced: true });
        for line in ["", "/a /b", "-x /a"] {
            assert!(words(line).is_err(), "{line}");
        }
    }
}
