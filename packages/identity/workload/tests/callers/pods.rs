//! Pods: cgroups, a runtime and a kubelet that answer as the real ones do.

use lepton_cri::v1::ContainerState;
use lepton_workload_api::attest::{Attestors, k8s::K8s, unix::Unix};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::children::{Process, command};
use super::cri::{Cri, DIGEST, IMAGE, Names};
use super::kubelet::Kubelet;
use super::processes::{own_uid, program};
use super::services::Cgroup;
use crate::Outcome;
use crate::support::Running;

const UID: &str = "c7e4c2a1-6d26-44f2-9a0c-3c5a4c0f9b3d";
const OTHER_UID: &str = "00000000-6d26-44f2-9a0c-3c5a4c0f9b3d";
const WEB: &str = "ids spiffe://example.org/web";
const DENIED: &str = "refused PermissionDenied: no identity issued";
const LATER: &str = "refused Unavailable: no identity issued: not all could be found out about the caller";

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// The pod in kubelet's list.
fn listed() -> Value {
    json!({
        "kind": "PodList",
        "items": [{
            "metadata": {
                "name": "web-5d9c7b-x2x4z", "namespace": "shop", "uid": UID, "labels": { "app": "web", "version": "2" },
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c7b", "uid": "rs-1" }]
            },
            "spec": { "serviceAccountName": "web", "nodeName": "edge-1" },
            "status": {
                "containerStatuses": [
                    { "name": "web", "image": IMAGE, "imageID": format!("registry.example/web@{DIGEST}") },
                    { "name": "log", "image": "registry.example/log:3", "imageID": "sha256:1234" }
                ],
                "initContainerStatuses": null
            }
        }]
    })
}

struct Host {
    running: Running,
    cri: Cri,
    kubelet: Kubelet,
    _folder: tempfile::TempDir,
}

impl Host {
    fn start(runtime: &Runtime) -> Self {
        let _entered = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let cri = Cri::default();
        cri.serve(&folder.path().join("cri.sock"));
        let kubelet = Kubelet::start(folder.path(), &listed().to_string());
        let k8s = K8s::new(&folder.path().join("cri.sock"), Some(kubelet.at()));
        let running = Running::new(Attestors::new().with(Unix::default()).with(k8s));
        running.cache.register("/web", "", &["k8s:ns:shop", "k8s:sa:web", "k8s:container-name:web"]);
        // What a process of the host with this user would have.
        running.cache.register("/host", "", &[&format!("unix:uid:{}", own_uid())]);
        Self { running, cri, kubelet, _folder: folder }
    }

    fn add(&self, container: &str, sandbox: &str) {
        let names = Names {
            id: container,
            name: "web",
            sandbox,
            uid: UID,
            pod: "web-5d9c7b-x2x4z",
            namespace: "shop",
        };
        self.cri.add(&names);
    }

    fn call(&self, cgroup: &Cgroup) -> String {
        let mut child = Process::start(&mut command(&program(), "call", &self.running.socket()));
        cgroup.take(&child);
        child.answer()
    }

    fn has_no_host_selectors(&self) {
        let found = self.running.cache.last();
        assert!(found.iter().all(|selector| selector.starts_with("k8s:")), "{found:?}");
    }
}

pub(crate) fn pod(runtime: &Runtime) -> Outcome {
    let (container, sandbox) = (id('a'), id('b'));
    let cgroup = Cgroup::make(&format!("/kubepods/besteffort/pod{UID}/{container}"))?;
    let below = Cgroup::make(&format!("/kubepods/besteffort/pod{UID}/{container}/below"))?;
    let host = Host::start(runtime);
    host.add(&container, &sandbox);
    assert_eq!(host.call(&cgroup), WEB);
    let mut expected = vec![
        "k8s:container-image-digest:".to_owned() + DIGEST,
        format!("k8s:container-image:{IMAGE}"),
        format!("k8s:container-image:registry.example/web@{DIGEST}"),
        "k8s:container-name:web".to_owned(),
        "k8s:node-name:edge-1".to_owned(),
        "k8s:ns:shop".to_owned(),
        format!("k8s:pod-image:{IMAGE}"),
        "k8s:pod-image:registry.example/log:3".to_owned(),
        format!("k8s:pod-image:registry.example/web@{DIGEST}"),
        "k8s:pod-image:sha256:1234".to_owned(),
        "k8s:pod-image-count:2".to_owned(),
        "k8s:pod-init-image-count:0".to_owned(),
        "k8s:pod-label:app:web".to_owned(),
        "k8s:pod-label:version:2".to_owned(),
        "k8s:pod-name:web-5d9c7b-x2x4z".to_owned(),
        "k8s:pod-owner:ReplicaSet:web-5d9c7b".to_owned(),
        "k8s:pod-owner-uid:ReplicaSet:rs-1".to_owned(),
        format!("k8s:pod-uid:{UID}"),
        "k8s:sa:web".to_owned(),
    ];
    let mut found = host.running.cache.last();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(host.call(&below), WEB);

    // Labels change, and are asked for anew when the list is old.
    let mut list = listed();
    list["items"][0]["metadata"]["labels"]["version"] = json!("3");
    host.kubelet.set(&list.to_string());
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(host.call(&cgroup), WEB);
    assert!(host.running.cache.last().contains(&"k8s:pod-label:version:3".to_owned()));
    assert!(*host.kubelet.asked.lock().unwrap() <= 3);

    // While kubelet is away its part is missing, and nobody is refused for good.
    host.kubelet.stop();
    std::thread::sleep(std::time::Duration::from_millis(2100));
    assert_eq!(host.call(&cgroup), LATER);
    let found = host.running.cache.last();
    for selector in ["k8s:ns:shop", "k8s:pod-label:app:web", "k8s:pod-label:tier:", "k8s:container-name:web"]
    {
        assert!(found.iter().any(|it| it == selector), "{selector} is not in {found:?}");
    }
    host.has_no_host_selectors();
    Ok(())
}

pub(crate) fn unknown(runtime: &Runtime) -> Outcome {
    let (container, sandbox) = (id('c'), id('d'));
    let cgroup = Cgroup::make(&format!("/kubepods/burstable/pod{UID}/{container}"))?;
    let other_pod = Cgroup::make(&format!("/kubepods/pod{OTHER_UID}/{container}"))?;
    let no_container = Cgroup::make(&format!("/kubepods/pod{UID}"))?;
    let own_pod = Cgroup::make(&format!("/pods/{sandbox}/{container}"))?;
    let shims = Cgroup::make("/runtime-shims")?;
    let host = Host::start(runtime);
    // The runtime has no such container; one whose id is longer is another one.
    assert_eq!(host.call(&cgroup), DENIED);
    host.add(&format!("{container}0"), &sandbox);
    assert_eq!(host.call(&cgroup), DENIED);
    host.cri.change(|it, _| it.id.clone_from(&container));
    assert_eq!(host.call(&cgroup), WEB);
    // Its cgroup is that of another pod, or of none.
    for cgroup in [&other_pod, &no_container, &shims] {
        assert_eq!(host.call(cgroup), DENIED);
        assert_eq!(host.running.cache.last(), [""; 0]);
    }
    // It does not run, or is not one of kubelet's.
    host.cri.change(|it, _| it.state = ContainerState::ContainerExited.into());
    assert_eq!(host.call(&cgroup), DENIED);
    host.cri.change(|it, pod| {
        it.state = ContainerState::ContainerRunning.into();
        pod.labels.remove("io.kubernetes.pod.uid");
    });
    assert_eq!(host.call(&cgroup), DENIED);
    assert_eq!(host.call(&own_pod), DENIED);
    // Kubelet calls the pod something else.
    host.cri.change(|_, pod| {
        pod.labels.insert("io.kubernetes.pod.uid".to_owned(), UID.to_owned());
        pod.metadata.as_mut().unwrap().namespace = "other".to_owned();
    });
    assert_eq!(host.call(&cgroup), LATER);
    assert_eq!(host.running.cache.last(), [""; 0]);
    drop(host);
    // The runtime does not answer.
    let running = {
        let _entered = runtime.enter();
        let nowhere = std::path::Path::new("/nowhere/cri.sock");
        Running::new(Attestors::new().with(Unix::default()).with(K8s::new(nowhere, None)))
    };
    running.cache.register("/host", "", &[&format!("unix:uid:{}", own_uid())]);
    let mut child = Process::start(&mut command(&program(), "call", &running.socket()));
    cgroup.take(&child);
    assert_eq!(child.answer(), LATER);
    assert_eq!(running.cache.last(), [""; 0]);
    Ok(())
}
