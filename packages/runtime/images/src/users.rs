//! The users and groups of a root file system: `/etc/passwd` and `/etc/group`, read through a handle of the root so that no
//! link leads out of it. It never looks at the host's users.

use std::os::fd::BorrowedFd;

/// Who a container's process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups of `/etc/group`, sorted, without `gid`.
    pub groups: Vec<u32>,
    /// The user's name, when `/etc/passwd` has one.
    pub username: Option<String>,
    /// Its home folder, when `/etc/passwd` has one.
    pub home: Option<String>,
}

/// Why a user cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The image has no such user.
    #[error("no user {0:?} in the image's /etc/passwd")]
    NoUser(String),
    /// The image has no such group.
    #[error("no group {0:?} in the image's /etc/group")]
    NoGroup(String),
    /// More than a number of 32 bits.
    #[error("{0:?} is beyond the numbers of users and groups")]
    Number(String),
    /// A file that cannot be read, or is no file.
    #[error("cannot read {path} of the root file system")]
    Read {
        /// Which.
        path: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is too large to be one of users.
    #[error("{path} of the root file system is larger than {limit} bytes")]
    TooLarge {
        /// Which.
        path: &'static str,
        /// The limit.
        limit: u64,
    },
}

/// The lines of both files that say something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Users {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Images of large sites have some thousand users.
const LARGEST: u64 = 4 << 20;

impl Users {
    /// Reads both files of a root; a missing one is an empty one.
    pub fn read(root: BorrowedFd<'_>) -> Result<Self, UserError> {
        Ok(Self::parse(&read(root, "etc/passwd")?, &read(root, "etc/group")?))
    }

    /// Lines that are not of the form are left out, as the C library does.
    fn parse(passwd: &str, group: &str) -> Self {
        let users = passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let uid = fields.nth(1)?.trim().parse().ok()?;
            let gid = fields.next()?.trim().parse().ok()?;
            Some(User { name, uid, gid, home: fields.nth(1).unwrap_or_default().to_owned() })
        });
        let groups = group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
            let gid = fields.nth(1)?.trim().parse().ok()?;
            let members = fields.next().unwrap_or_default().split(',').map(str::trim);
            let members = members.filter(|member| !member.is_empty()).map(str::to_owned).collect();
            Some(Group { name, gid, members })
        });
        Self { users: users.collect(), groups: groups.collect() }
    }

    /// `USER[:GROUP]`, names or numbers, as an image's configuration and CRI give it; empty is user 0.
    /// A number that no line has is fine, with group 0, as Docker and containerd do it; an unknown name is not.
    pub fn identity(&self, text: &str) -> Result<Identity, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let by_name = self.users.iter().find(|known| known.name == user);
        let (uid, entry) = match (by_name, number(user)?) {
            (Some(entry), _) => (entry.uid, Some(entry)),
            (None, Some(uid)) => (uid, self.users.iter().find(|known| known.uid == uid)),
            (None, None) => return Err(UserError::NoUser(user.to_owned())),
        };
        let gid = match group {
            Some(group) => self.group(group)?,
            None => entry.map_or(0, |entry| entry.gid),
        };
        let username = entry.map(|entry| entry.name.clone());
        let mut groups = username.as_deref().map(|name| self.groups_of(name)).unwrap_or_default();
        groups.retain(|group| *group != gid);
        let home = entry.map(|entry| entry.home.clone()).filter(|home| !home.is_empty());
        Ok(Identity { uid, gid, groups, username, home })
    }

    /// A group by name or number.
    pub fn group(&self, text: &str) -> Result<u32, UserError> {
        match (self.groups.iter().find(|known| known.name == text), number(text)?) {
            (Some(entry), _) => Ok(entry.gid),
            (None, Some(gid)) => Ok(gid),
            (None, None) => Err(UserError::NoGroup(text.to_owned())),
        }
    }

    /// The groups that list a user as member, sorted.
    #[must_use]
    pub fn groups_of(&self, name: &str) -> Vec<u32> {
        let listed = self.groups.iter().filter(|group| group.members.iter().any(|member| member == name));
        let sorted: std::collections::BTreeSet<u32> = listed.map(|group| group.gid).collect();
        sorted.into_iter().collect()
    }
}

/// A number, if it is made of digits.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    // The highest number means "none" to the kernel.
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    number.map(Some).ok_or_else(|| UserError::Number(crate::digest::shortened(text)))
}

fn read(root: BorrowedFd<'_>, path: &'static str) -> Result<String, UserError> {
    use std::io::Read as _;

    use rustix::fs::{OFlags, ResolveFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match crate::within::open(root, path, flags, inside) {
        Ok(file) => std::fs::File::from(file),
        // A part of the path that is no folder is as good as a missing one.
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(UserError::Read { path, source: error.into() }),
    };
    let failed = |source| UserError::Read { path, source };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("it is not a file")));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(UserError::TooLarge { path, limit: LARGEST });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:\n# comment\nbad\n7seven:x:7:8::/:\n1000:x:5:5::/five:\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\nlog:x:50:web,root\naudio:x:29:root, web\n1000:x:6:\n";

    fn check(text: &str, wanted: &str) {
        let users = Users::parse(PASSWD, GROUP);
        let shown = match users.identity(text) {
            Ok(found) => {
                format!("{}:{} {:?} {:?}", found.uid, found.gid, found.groups, found.home.unwrap_or_default())
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, wanted, "{text:?}");
    }

    #[test]
    fn names_and_numbers() {
        check("", "0:0 [29, 50] \"/root\"");
        check("web", "33:34 [29, 50] \"/srv\"");
        check("33", "33:34 [29, 50] \"/srv\"");
        check("web:log", "33:50 [29] \"/srv\"");
        check("web:77", "33:77 [29, 50] \"/srv\"");
        check("4321", "4321:0 [] \"\"");
        check("4321:www", "4321:34 [] \"\"");
        check(":50", "0:50 [29] \"/root\"");
        // A name of digits comes before the number, as in Docker.
        check("1000", "5:5 [] \"/five\"");
        check("7seven", "7:8 [] \"/\"");
    }

    #[test]
    fn refused() {
        check("nobody", "no user \"nobody\" in the image's /etc/passwd");
        check("web:none", "no group \"none\" in the image's /etc/group");
        check("4294967295", "\"4294967295\" is beyond the numbers of users and groups");
        check("99999999999", "\"99999999999\" is beyond the numbers of users and groups");
        check("-1", "no user \"-1\" in the image's /etc/passwd");
    }

    #[test]
    fn links_stay_within_the_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/etc")).unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/real"), "outside:x:1:1::/:\n").unwrap();
        std::fs::write(dir.path().join("root/real"), "inside:x:2:2::/:\n").unwrap();
        std::os::unix::fs::symlink("../../real", dir.path().join("root/etc/passwd")).unwrap();
        let root = std::fs::File::open(dir.path().join("root")).unwrap();
        let users = Users::read(root.as_fd()).unwrap();
        assert_eq!(users.identity("inside").unwrap().uid, 2);
        assert!(users.identity("outside").is_err());
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(&root, "etc/passwd", kind, rustix::fs::Mode::from(0o644), 0).unwrap();
        assert!(matches!(Users::read(root.as_fd()), Err(UserError::Read { .. })));
    }
}
