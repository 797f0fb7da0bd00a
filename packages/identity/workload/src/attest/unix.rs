//! Attestor `unix`: users, groups and programs of the host's processes, with SPIRE's names: `unix:uid:1000`,
//! `unix:user:web`, `unix:gid:…`, `unix:group:…`, `unix:supplementary_gid:…`, `unix:supplementary_group:…`,
//! `unix:path:/usr/bin/web`, `unix:sha256:…`.
//!
//! Users and groups are those that the kernel noted when the process connected. The path is only said when the host has the
//! same program under it: a process can make mounts of its own, and call its program anything.

mod digest;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Attestor, Finding, Found, Subject};
use crate::host::FileId;
use crate::origin::Origin;
use digest::Digests;

const NAME: &str = "unix";
/// Programs that are larger get no digest: reading them takes longer than callers wait.
const LARGEST: u64 = 256 << 20;

/// The attestor.
#[derive(Clone, Debug)]
pub struct Unix {
    largest: u64,
    users: PathBuf,
    groups: PathBuf,
    digests: Arc<Digests>,
}

impl Default for Unix {
    fn default() -> Self {
        Self {
            largest: LARGEST,
            users: "/etc/passwd".into(),
            groups: "/etc/group".into(),
            digests: Arc::default(),
        }
    }
}

impl Unix {
    /// The attestor with a limit for the size of programs in bytes that it gives digests of; none above it.
    pub fn with_largest(largest: u64) -> Self {
        Self { largest, ..Self::default() }
    }
}

impl Attestor for Unix {
    fn name(&self) -> &'static str {
        NAME
    }

    fn attest<'a>(&'a self, subject: &'a Subject<'a>) -> Finding<'a> {
        Box::pin(async move {
            let mut found = Found::default();
            if !matches!(subject.origin, Origin::Host { .. }) {
                return found;
            }
            let (users, groups) = (names(&self.users), names(&self.groups));
            found.add(NAME, "uid", subject.uid);
            found.add(NAME, "gid", subject.gid);
            if let Some(user) = users.get(&subject.uid) {
                found.add(NAME, "user", user);
            }
            if let Some(group) = groups.get(&subject.gid) {
                found.add(NAME, "group", group);
            }
            for id in subject.groups {
                found.add(NAME, "supplementary_gid", id);
                if let Some(group) = groups.get(id) {
                    found.add(NAME, "supplementary_group", group);
                }
            }
            match subject.host.open_program(subject.pid) {
                Ok((file, path)) => self.program(subject, file, &path, &mut found).await,
                Err(error) => {
                    found.fail(format!("cannot open the program of process {}: {error}", subject.pid), false)
                }
            }
            found
        })
    }
}

impl Unix {
    async fn program(&self, subject: &Subject<'_>, file: File, path: &Path, found: &mut Found) {
        let Ok(metadata) = file.metadata() else { return };
        let on_host = fs::metadata(subject.host.host_path(path));
        if let Some(text) = path.to_str()
            && on_host.is_ok_and(|on_host| FileId::of(&on_host) == FileId::of(&metadata))
        {
            found.add(NAME, "path", text);
        }
        if metadata.len() > self.largest {
            return;
        }
        match self.digests.of(file, metadata, self.largest).await {
            Ok(digest) => found.add(NAME, "sha256", digest),
            Err(error) => found.fail(format!("cannot read the program {}: {error}", path.display()), false),
        }
    }
}

/// Names by number of a file like /etc/passwd or /etc/group (passwd(5), group(5)); the first name of a number counts.
fn names(path: &Path) -> BTreeMap<u32, String> {
    names_of(&fs::read_to_string(path).unwrap_or_default())
}

pub(crate) fn names_of(text: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(Ok(number))) =
            (fields.next(), fields.next(), fields.next().map(str::parse))
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "root:x:0:0::/:/bin/sh\ntoor:x:0:0\nweb:x:1000\nbad:x:y\n\nshort:x\n").unwrap();
        let names = names(file.path());
        assert_eq!(names, BTreeMap::from([(0, "root".to_owned()), (1000, "web".to_owned())]));
    }
}
