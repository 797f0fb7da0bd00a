//! Entrances for `examples/fuzz.rs` and the tests: bytes of anyone, and what must hold for them. Not a part of the
//! interface.

use lepton_cri::v1 as cri;
use lepton_spiffe::{JwtSvid, Secret, SpiffeId};
use prost::Message as _;

use crate::attest::k8s::cgroup::{Place, PodOf, pod_of};
use crate::attest::k8s::{of_pod, pods, runtime};
use crate::attest::{Found, unix};
use crate::host::{cgroup_of, start_of, user_of};
use crate::messages;
use crate::origin::{SERVICES, is_below, is_plain, service_of};

/// Files of /proc and names in them; whether the cgroup is a container's or a service's.
pub fn proc(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let _ = (start_of(&text), user_of(&text), unix::names_of(&text));
    let Some(path) = cgroup_of(&text) else { return false };
    assert!(!path.contains('\n'));
    let pod = pod_of(path);
    assert!(path.starts_with(pod), "{pod:?} does not begin {path:?}");
    let place = Place::of(path);
    if let Some(Place { pod: of, container }) = &place {
        assert_eq!(container.len(), 64);
        let id = match of {
            PodOf::Uid(id) => format!("pod{id}"),
            PodOf::Sandbox(id) => id.clone(),
        };
        assert!(is_below(path, &format!("{pod}/{container}")), "{path:?} is not below {pod:?}");
        assert!(pod.ends_with(&id) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
        assert!(is_below(path, "/kubepods") || is_below(path, "/pods"));
    }
    let service = service_of(path);
    if let Some(name) = service {
        assert!(!name.is_empty() && !name.contains('/') && is_below(path, &format!("{SERVICES}/{name}")));
        assert!(place.is_none(), "{path:?} is both");
    }
    (place.is_some() || service.is_some()) && is_plain(path)
}

/// Kubelet's list of pods; how many it has. Every selector is one of `k8s`.
pub fn pods(bytes: &[u8]) -> usize {
    let Ok(pods) = pods::read(bytes) else { return 0 };
    for pod in pods.values() {
        let mut found = Found::default();
        of_pod(pod, &mut found);
        assert!(
            found.selectors.iter().all(|selector| selector.kind() == "k8s" && !selector.value().is_empty())
        );
    }
    pods.len()
}

/// A container and a pod as the runtime may list them, in one list each; whether they are taken for a container of kubelet's.
/// `cgroup` is where its process is.
pub fn cri(cgroup: &str, containers: &[u8], sandboxes: &[u8]) -> bool {
    let Some(place) = Place::of(cgroup) else { return false };
    let (Ok(containers), Ok(sandboxes)) =
        (cri::ListContainersResponse::decode(containers), cri::ListPodSandboxResponse::decode(sandboxes))
    else {
        return false;
    };
    let (Some(container), Some(pod)) =
        (containers.containers.into_iter().next(), sandboxes.items.into_iter().next())
    else {
        return false;
    };
    let (id, sandbox) = (container.id.clone(), pod.id.clone());
    let Ok(known) = runtime::read(&place, container, pod) else { return false };
    assert_eq!(id, place.container);
    match &place.pod {
        PodOf::Uid(uid) => assert_eq!(*uid, known.pod_uid),
        PodOf::Sandbox(of) => assert_eq!(*of, sandbox),
    }
    assert!(!known.labels.keys().any(|key| key.starts_with("io.kubernetes.")));
    true
}

/// Claims of a token that was verified; how many are passed on.
pub fn claims(bytes: &[u8], id: &SpiffeId, is_own: bool) -> usize {
    let Ok(serde_json::Value::Object(claims)) = serde_json::from_slice(bytes) else { return 0 };
    let svid = JwtSvid {
        id: id.clone(),
        audience: vec!["a".to_owned()],
        issued_at: None,
        expires_at: 0,
        token: Secret::new(String::new()),
        hint: String::new(),
    };
    let Ok(other) = "other.example".parse() else { return 0 };
    let own = if is_own { id.trust_domain() } else { &other };
    let answer = messages::validated(&svid, claims, own);
    let bytes = answer.encode_to_vec();
    let again = lepton_spiffe_api::workload::ValidateJwtsvidResponse::decode(&*bytes);
    // Numbers that JSON has and doubles lack would differ; a message is read as it was written.
    assert!(again.is_ok(), "the answer cannot be read");
    let count = answer.claims.map_or(0, |claims| claims.fields.len());
    assert!(is_own || count <= 3);
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_are_taken() {
        let id = "0123456789abcdef".repeat(4);
        for (text, is) in [
            (format!("0::/kubepods/besteffort/poda-1/{id}/below\n"), true),
            (format!("4:memory:/\n0::/pods/{id}/{id}\n"), true),
            ("0::/lepton/web\n".to_owned(), true),
            ("0::/lepton/web (deleted)\n".to_owned(), false),
            ("0::/\n".to_owned(), false),
        ] {
            assert_eq!(proc(text.as_bytes()), is, "{text}");
        }
        assert_eq!(pods(br#"{"items":[{"metadata":{"uid":"a"}},{"metadata":{}},{}]}"#), 1);
        assert_eq!(pods(br#"{"items":null}"#), 0);
        let owner = "spiffe://example.org/web".parse().unwrap();
        let text = br#"{"sub":"spiffe://example.org/web","exp":1,"iat":1,"x":[{}]}"#;
        assert_eq!((claims(text, &owner, true), claims(text, &owner, false)), (5, 3));
        assert!(!cri(&format!("/pods/{id}/{id}"), b"", b""));
    }
}
