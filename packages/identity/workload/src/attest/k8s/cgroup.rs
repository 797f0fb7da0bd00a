//! Which container a cgroup is: the layout of kubelet (cgroup driver `cgroupfs`) and of our runtime.
//!
//! `/kubepods[/burstable|/besteffort]/pod<UID>/<container>` for kubelet's pods, `/pods/<sandbox>/<container>` for those that
//! name no parent. A container may have cgroups of its own below; they belong to it.

/// Ids are 32 bytes in hexadecimal.
const ID: usize = 64;
/// A pod's uid is a UUID, or a digest of a static pod's manifest.
const LONGEST_UID: usize = 64;

/// Where a container's cgroup is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The pod.
    pub(crate) pod: PodOf,
    /// The container's id.
    pub(crate) container: String,
}

/// What the cgroup says of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodOf {
    /// Its uid in Kubernetes.
    Uid(String),
    /// The id of its sandbox.
    Sandbox(String),
}

impl Place {
    /// The container whose cgroup, or one below it, that is.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let pod = match parts.next()? {
            "kubepods" => {
                let next = parts.next()?;
                let pod = if matches!(next, "burstable" | "besteffort") { parts.next()? } else { next };
                PodOf::Uid(pod.strip_prefix("pod").filter(|uid| is_uid(uid))?.to_owned())
            }
            "pods" => PodOf::Sandbox(parts.next().filter(|id| is_id(id))?.to_owned()),
            _ => return None,
        };
        let container = parts.next().filter(|id| is_id(id))?.to_owned();
        Some(Self { pod, container })
    }
}

/// The part of a container's cgroup that is its pod's; all of it when it is of another shape.
pub(crate) fn pod_of(path: &str) -> &str {
    let depth = match path.split('/').nth(1) {
        Some("kubepods") if matches!(path.split('/').nth(2), Some("burstable" | "besteffort")) => 3,
        Some("kubepods" | "pods") => 2,
        _ => return path,
    };
    path.match_indices('/').nth(depth).map_or(path, |(end, _)| path.get(..end).unwrap_or(path))
}

fn is_id(text: &str) -> bool {
    text.len() == ID && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

fn is_uid(text: &str) -> bool {
    (1..=LONGEST_UID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let id = "0123456789abcdef".repeat(4);
        let uid = "c7e4c2a1-6d26-44f2-9a0c-3c5a4c0f9b3d";
        let of_uid = Some(Place { pod: PodOf::Uid(uid.to_owned()), container: id.clone() });
        let sandbox = "f".repeat(64);
        let of_sandbox = Some(Place { pod: PodOf::Sandbox(sandbox.clone()), container: id.clone() });
        for (path, place) in [
            (format!("/kubepods/pod{uid}/{id}"), &of_uid),
            (format!("/kubepods/burstable/pod{uid}/{id}"), &of_uid),
            (format!("/kubepods/besteffort/pod{uid}/{id}/init.scope/a"), &of_uid),
            (format!("/pods/{sandbox}/{id}"), &of_sandbox),
            (format!("/pods/{sandbox}/{id}/below"), &of_sandbox),
            (format!("/pods/{sandbox}"), &None),
            (format!("/kubepods/besteffort/pod{uid}"), &None),
            (format!("/kubepods/other/pod{uid}/{id}"), &None),
            (format!("/kubepods/pod{uid}/{}", &id[1..]), &None),
            (format!("/kubepods/pod{uid}/{}", id.to_uppercase()), &None),
            (format!("/kubepods/pod/{id}"), &None),
            (format!("/kubepods/pod../{id}"), &None),
            (format!("/a/kubepods/pod{uid}/{id}"), &None),
            (format!("kubepods/pod{uid}/{id}"), &None),
            ("/".to_owned(), &None),
            (String::new(), &None),
        ] {
            assert_eq!(&Place::of(&path), place, "{path}");
        }
    }

    #[test]
    fn pods() {
        for (path, pod) in [
            ("/kubepods/poda/b/c", "/kubepods/poda"),
            ("/kubepods/burstable/poda/b", "/kubepods/burstable/poda"),
            ("/kubepods/besteffort/poda", "/kubepods/besteffort/poda"),
            ("/pods/a/b/c/d", "/pods/a"),
            ("/pods", "/pods"),
            ("/other/a/b/c/d", "/other/a/b/c/d"),
        ] {
            assert_eq!(pod_of(path), pod, "{path}");
        }
    }
}
