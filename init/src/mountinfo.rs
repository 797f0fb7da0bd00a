//! `/proc/self/mountinfo` (proc(5)): the mounts that a stopping host has to undo.

/// One mount, in mount order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedAt {
    /// Path of the mount point, with escapes undone.
    pub target: String,
    /// Name of the file system type, with its subtype if any (`fuse.sshfs`).
    pub fs_type: String,
}

impl MountedAt {
    /// Whether the file system may wait for the network, or for a process that is gone.
    pub fn is_remote(&self) -> bool {
        let fs_type = self.fs_type.split('.').next().unwrap_or_default();
        matches!(fs_type, "9p" | "ceph" | "cifs" | "fuse" | "nfs" | "nfs4" | "smb3" | "virtiofs")
    }

    /// Whether it is `/` or an interface of the kernel, which hold nothing to be written back.
    pub fn is_permanent(&self) -> bool {
        let below =
            |top| self.target.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.target == "/" || below("/proc") || below("/sys") || below("/dev")
    }
}

/// Reads all lines; a line that is not understood is left out.
pub fn parse(text: &str) -> Vec<MountedAt> {
    text.lines().filter_map(parse_line).collect()
}

/// `ID PARENT MAJOR:MINOR ROOT TARGET OPTIONS [TAG...] - TYPE SOURCE OPTIONS`
fn parse_line(line: &str) -> Option<MountedAt> {
    let (mount, file_system) = line.split_once(" - ")?;
    let target = unescape(mount.split(' ').nth(4)?);
    let fs_type = file_system.split(' ').next()?.to_owned();
    Some(MountedAt { target, fs_type })
}

/// Undoes the kernel's `\ooo` escapes of blank, tab, newline and backslash.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                rest = &after[3..];
            }
            _ => {
                text.push('\\');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_tags_escapes_and_garbage() {
        let text = "22 1 0:20 / / ro shared:1 - erofs /rootfs.erofs ro\n\
                    30 22 254:2 / /var rw,noatime shared:7 master:2 - ext4 /dev/vda2 rw\n\
                    31 30 0:40 / /var/lib/a\\040b\\134c rw - fuse.x x rw\n\
                    nonsense\n";
        let mounts: Vec<_> = parse(text).into_iter().map(|m| (m.target, m.fs_type)).collect();
        let expected = [("/", "erofs"), ("/var", "ext4"), ("/var/lib/a b\\c", "fuse.x")];
        assert_eq!(mounts, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn kinds() {
        let mount =
            |target: &str, fs_type: &str| MountedAt { target: target.into(), fs_type: fs_type.into() };
        for permanent in ["/", "/proc", "/sys/fs/cgroup", "/dev/pts"] {
            assert!(mount(permanent, "x").is_permanent(), "{permanent}");
        }
        for other in ["/var", "/system", "/development/proc"] {
            assert!(!mount(other, "x").is_permanent(), "{other}");
        }
        for remote in ["nfs4", "fuse.sshfs", "virtiofs"] {
            assert!(mount("/", remote).is_remote(), "{remote}");
        }
        for local in ["ext4", "overlay", "tmpfs"] {
            assert!(!mount("/", local).is_remote(), "{local}");
        }
    }
}
