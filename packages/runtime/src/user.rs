//! Who a container's program is: from CRI's request, the image, and the image's own `/etc/passwd` and `/etc/group`.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use lepton_cri::v1::{LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use lepton_runtime_images::Users;

use crate::container::User;
use crate::error::{Context as _, Failure, Result, chain};

/// Looks a program's user up in the mounted root file system.
pub(crate) fn find(root: &Path, context: &LinuxContainerSecurityContext, image_user: &str) -> Result<User> {
    let folder = File::open(root).or_cannot(format!("open {}", root.display()))?;
    let users = Users::read(folder.as_fd()).or_cannot("read the users of the image")?;
    let text = match (&context.run_as_user, context.run_as_username.as_str()) {
        (Some(user), _) => number(user.value, "user")?.to_string(),
        (None, "") if context.run_as_group.is_some() => {
            return Err(Failure::invalid("a group to run as needs a user to run as"));
        }
        (None, "") => image_user.to_owned(),
        (None, name) => name.to_owned(),
    };
    let identity = users.identity(&text).map_err(|error| Failure::invalid(chain(&error)))?;
    let gid = match &context.run_as_group {
        Some(group) => number(group.value, "group")?,
        None => identity.gid,
    };
    let mut groups = vec![gid];
    if context.supplemental_groups_policy() == SupplementalGroupsPolicy::Merge {
        groups.extend(&identity.groups);
    }
    for group in &context.supplemental_groups {
        groups.push(number(*group, "group")?);
    }
    let mut seen = Vec::new();
    for group in groups {
        if !seen.contains(&group) {
            seen.push(group);
        }
    }
    Ok(User { uid: identity.uid, gid, groups: seen })
}

fn number(value: i64, what: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| Failure::invalid(format!("{value} is no {what}")))
}
