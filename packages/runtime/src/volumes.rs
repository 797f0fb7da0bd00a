//! Mounts of a container that are made beside its root file system, from where the container binds them: images (CRI's
//! `Mount.image`) and folders whose owners are mapped. Each container has mounts of its own, of layers that the host has
//! once. It must not change an image, nor follow a path of one out of it.

use std::path::Path;

use lepton_cri::v1::{Mount, MountPropagation};
use rustix::io::Errno;

use crate::error::{Context as _, Failure, Result};
use crate::rootfs;
use crate::runtime::Runtime;
use crate::settings::make_private;
use crate::user_namespace::UserNamespace;

/// The folder of a container's bundle that they are in, by the place of the mount in CRI's list.
const FOLDER: &str = "volumes";
/// The word that kubelet knows failures with images by.
const FAILED: &str = "ImageVolumeMountFailed";

impl Runtime {
    /// Makes them, and writes down which images they are of. Gives all mounts with the paths of the host that they are
    /// bound from.
    pub(crate) async fn volumes(
        &self,
        container: &str,
        mounts: &mut [Mount],
        user: Option<&UserNamespace>,
    ) -> Result<Vec<Mount>> {
        let folder = self.settings.container_run(container).join(FOLDER);
        let mut all = mounts.to_vec();
        for (place, (mount, bound)) in mounts.iter_mut().zip(&mut all).enumerate() {
            check(mount)?;
            let user = mapping(mount, user)?;
            let is_image = image_of(mount).is_some();
            if !is_image && user.is_none() {
                continue;
            }
            make_private(&folder).or_cannot(format!("make {}", folder.display()))?;
            let target = folder.join(place.to_string());
            match user {
                Some(user) if !is_image => user.bind(Path::new(&mount.host_path), &target)?,
                _ => {
                    let key = key(container, place);
                    let image = self.mount_image(mount, &key, &target, user).await;
                    let image = image.map_err(|error| error.within(FAILED))?;
                    mount.image.get_or_insert_default().image_ref = image;
                }
            }
            bound.host_path = target.display().to_string();
            bound.uid_mappings.clear();
            bound.gid_mappings.clear();
        }
        Ok(all)
    }

    /// Mounts an image, or the folder of it that is asked for; gives its id.
    async fn mount_image(
        &self,
        mount: &Mount,
        key: &str,
        target: &Path,
        user: Option<&UserNamespace>,
    ) -> Result<String> {
        let name = image_of(mount).unwrap_or_default();
        let id = self.images.get(name)?.id.to_string();
        let snapshot = self.images.prepare(&id, key).await?;
        rootfs::mount_image(&snapshot, target, user)?;
        let path = &mount.image_sub_path;
        if !path.is_empty() {
            rootfs::narrow(target, Path::new(path)).map_err(|error| unusable(error, path, name))?;
        }
        Ok(id)
    }
}

/// The image that is to be mounted.
fn image_of(mount: &Mount) -> Option<&str> {
    mount.image.as_ref().map(|image| image.image.as_str()).filter(|image| !image.is_empty())
}

/// The user namespace that a mount is to be mapped for: that of its pod, or none.
fn mapping<'a>(mount: &Mount, user: Option<&'a UserNamespace>) -> Result<Option<&'a UserNamespace>> {
    if mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty() {
        return Ok(None);
    }
    let target = &mount.container_path;
    let Some(user) = user.filter(|user| user.is(&mount.uid_mappings, &mount.gid_mappings)) else {
        return Err(Failure::invalid(format!("{target}: its mappings are not those of the pod")));
    };
    if mount.propagation() != MountPropagation::PropagationPrivate {
        return Err(Failure::invalid(format!("{target}: a mount with mappings cannot propagate")));
    }
    Ok(Some(user))
}

/// What CRI says of every mount of an image.
fn check(mount: &Mount) -> Result<()> {
    let target = &mount.container_path;
    let wrong = |what: &str| Err(Failure::invalid(format!("{FAILED}: {target}: {what}")));
    if image_of(mount).is_none() {
        return match mount.image_sub_path.is_empty() {
            true => Ok(()),
            false => wrong("there is a path within an image, and no image"),
        };
    }
    if !mount.host_path.is_empty() {
        return wrong("it is either an image or a path of the host");
    }
    if !mount.readonly {
        return wrong("images are mounted read-only alone");
    }
    if mount.propagation() != MountPropagation::PropagationPrivate {
        return wrong("mounts of images do not propagate");
    }
    Ok(())
}

fn unusable(error: Errno, path: &str, image: &str) -> Failure {
    match error {
        Errno::NOENT => Failure::not_found(format!("there is no {path:?} in image {image}")),
        Errno::NOTDIR => Failure::invalid(format!("{path:?} in image {image} is no folder")),
        Errno::LOOP | Errno::NAMETOOLONG | Errno::INVAL => {
            Failure::invalid(format!("{path:?} in image {image} cannot be followed: {error}"))
        }
        _ => Failure::internal(format!("cannot mount {path:?} of image {image}: {error}")),
    }
}

/// The snapshot of a container's image volume.
fn key(container: &str, place: usize) -> String {
    format!("{container}.{place}")
}

/// The container that a snapshot is of: its root file system has the container's id for a key.
pub(crate) fn owner(key: &str) -> &str {
    key.split_once('.').map_or(key, |(container, _)| container)
}

#[cfg(test)]
mod tests {
    use lepton_cri::v1::ImageSpec;

    use super::*;

    #[test]
    fn snapshots_belong_to_containers() {
        assert_eq!(owner("0a1b"), "0a1b");
        assert_eq!(owner(&key("0a1b", 12)), "0a1b");
    }

    #[test]
    fn what_images_cannot_be() {
        let image = ImageSpec { image: "some/image:1".to_owned(), ..ImageSpec::default() };
        let good = Mount { image: Some(image), readonly: true, ..Mount::default() };
        assert!(check(&good).is_ok());
        assert!(check(&Mount::default()).is_ok());
        let shared = MountPropagation::PropagationBidirectional.into();
        for (bad, word) in [
            (Mount { readonly: false, ..good.clone() }, "read-only"),
            (Mount { host_path: "/etc".to_owned(), ..good.clone() }, "path of the host"),
            (Mount { propagation: shared, ..good.clone() }, "propagate"),
            (Mount { image: None, image_sub_path: "etc".to_owned(), ..good }, "no image"),
        ] {
            let error = check(&bad).unwrap_err().to_string();
            assert!(error.starts_with(FAILED) && error.contains(word), "{error}");
        }
    }
}
