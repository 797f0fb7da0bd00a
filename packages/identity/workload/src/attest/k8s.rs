//! Attestor `k8s`: the pod and the container that a process belongs to, with SPIRE's names: `k8s:ns:…`, `k8s:sa:…`,
//! `k8s:pod-name:…`, `k8s:pod-uid:…`, `k8s:pod-label:KEY:VALUE`, `k8s:pod-owner:KIND:NAME`, `k8s:pod-owner-uid:KIND:UID`,
//! `k8s:node-name:…`, `k8s:pod-image:…`, `k8s:pod-image-count:…`, `k8s:pod-init-image:…`, `k8s:pod-init-image-count:…`,
//! `k8s:container-name:…`, `k8s:container-image:…`; and one more, `k8s:container-image-digest:sha256:…`.
//!
//! The kernel says which cgroup the process is in, the runtime which container that is and to which pod it belongs, and
//! kubelet what the API server says of the pod. All three must agree; what only kubelet knows is left out while it is away.

pub(crate) mod cgroup;
pub(crate) mod pods;
pub(crate) mod runtime;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lepton_kubelet_client::Kubelet;

use super::{Attestor, Finding, Found, Subject};
use crate::origin::Origin;
use cgroup::Place;
use pods::{Pod, Pods};
use runtime::{Container, Runtime, RuntimeError};

pub(crate) const NAME: &str = "k8s";

/// The attestor.
#[derive(Debug)]
pub struct K8s {
    runtime: Runtime,
    pods: Option<Pods>,
}

/// Where kubelet is, and what it knows us by.
#[derive(Clone, Debug)]
pub struct KubeletAt {
    /// Where it listens.
    pub address: SocketAddr,
    /// The folder with `client.pem` and `ca.pem`.
    pub credentials: PathBuf,
}

impl K8s {
    /// The attestor that asks the runtime at this socket, and kubelet if there is one.
    pub fn new(runtime: &Path, kubelet: Option<KubeletAt>) -> Self {
        let pods = kubelet.map(|it| Pods::new(Kubelet::new(it.address, &it.credentials)));
        Self { runtime: Runtime::new(runtime), pods }
    }
}

impl Attestor for K8s {
    fn name(&self) -> &'static str {
        NAME
    }

    fn attest<'a>(&'a self, subject: &'a Subject<'a>) -> Finding<'a> {
        Box::pin(async move {
            let Origin::Container { cgroup } = subject.origin else { return Found::default() };
            let Some(place) = Place::of(cgroup) else { return Found::default() };
            let container = match self.runtime.container(&place).await {
                Ok(container) => container,
                Err(error) => {
                    let mut found = Found::default();
                    let may_pass = matches!(error, RuntimeError::Call(_));
                    found.fail(
                        format!("cannot learn whose container {} is: {error}", place.container),
                        may_pass,
                    );
                    return found;
                }
            };
            let mut found = of_container(&container);
            match &self.pods {
                Some(pods) => match pods.get(&container.pod_uid).await {
                    // A pod that has this uid and other names would be a lie of one of both.
                    Ok(Some(pod)) if pod.is(&container.namespace, &container.pod_name) => {
                        of_pod(&pod, &mut found)
                    }
                    Ok(Some(_)) => {
                        return Found::later("kubelet and the runtime disagree about the pod's name");
                    }
                    Ok(None) => {
                        labels(&container.labels, &mut found);
                        found.fail(format!("kubelet has no pod {}", container.pod_uid), true);
                    }
                    Err(error) => {
                        labels(&container.labels, &mut found);
                        found.fail(format!("cannot ask kubelet for its pods: {error}"), true);
                    }
                },
                None => labels(&container.labels, &mut found),
            }
            found
        })
    }
}

/// What the runtime knows.
fn of_container(container: &Container) -> Found {
    let mut found = Found::default();
    found.add(NAME, "ns", &container.namespace);
    found.add(NAME, "pod-name", &container.pod_name);
    found.add(NAME, "pod-uid", &container.pod_uid);
    found.add(NAME, "container-name", &container.name);
    for image in &container.images {
        found.add(NAME, "container-image", image);
        if let Some((_, digest)) = image.split_once('@') {
            found.add(NAME, "container-image-digest", digest);
        }
    }
    found
}

/// What kubelet knows besides.
pub(crate) fn of_pod(pod: &Pod, found: &mut Found) {
    found.add(NAME, "sa", &pod.spec.service_account_name);
    found.add(NAME, "node-name", &pod.spec.node_name);
    labels(&pod.metadata.labels, found);
    for owner in &pod.metadata.owner_references {
        found.add(NAME, &format!("pod-owner:{}", owner.kind), &owner.name);
        found.add(NAME, &format!("pod-owner-uid:{}", owner.kind), &owner.uid);
    }
    let statuses = [
        ("pod-image", &pod.status.container_statuses),
        ("pod-init-image", &pod.status.init_container_statuses),
    ];
    for (name, statuses) in statuses {
        found.add(NAME, &format!("{name}-count"), statuses.len());
        for status in statuses {
            found.add(NAME, name, &status.image);
            found.add(NAME, name, &status.image_id);
        }
    }
}

fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>, found: &mut Found) {
    for (key, value) in labels {
        // A label may be empty, and SPIRE says so: `k8s:pod-label:KEY:`.
        found.add(NAME, "pod-label", format_args!("{key}:{value}"));
    }
}
