//! Pods, containers and images, as kubelet and the container runtime know them.

use std::collections::BTreeMap;

use lepton_cri::v1 as cri;
use lepton_host_api::v1 as api;
use lepton_pods::{CONTAINER, Failure as PodFailure, Host, NAMESPACE, Name, POD};
use lepton_runtime_client::failure::{Failure, chain};
use tonic::{Code, Status};

use super::Methods;

/// Labels of the containers of the machine config.
const OWN_NAME: &str = "lepton.ctr/name";
/// Fewer characters of an ID are no ID.
const SHORTEST: usize = 4;

impl Methods {
    fn pod_host(&self) -> Result<Host, Status> {
        Ok(Host {
            client: self.runtime()?,
            kubelet: self.places.kubelet,
            credentials: self.places.credentials.clone(),
        })
    }

    pub(super) async fn all_pods(&self, namespace: &str) -> Result<api::PodsResponse, Status> {
        let list = lepton_pods::all(&self.pod_host()?).await.map_err(pod_failed)?;
        let wanted = list.pods.into_iter().filter(|pod| namespace.is_empty() || pod.namespace == namespace);
        Ok(api::PodsResponse { pods: wanted.map(pod).collect() })
    }

    pub(super) async fn all_containers(&self, all: bool) -> Result<api::ContainersResponse, Status> {
        let mut found = self.runtime()?.containers(None).await.map_err(|error| failed(&error))?;
        found.retain(|one| all || one.state() != cri::ContainerState::ContainerExited);
        found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
        Ok(api::ContainersResponse { containers: found.into_iter().map(container).collect() })
    }

    pub(super) async fn all_images(&self) -> Result<api::ImagesResponse, Status> {
        let found = self.runtime()?.images().await.map_err(|error| failed(&error))?;
        let mut images: Vec<api::Image> = found
            .into_iter()
            .map(|image| api::Image {
                id: image.id,
                tags: image.repo_tags,
                digests: image.repo_digests,
                size_bytes: image.size,
                pinned: image.pinned,
            })
            .collect();
        images.sort_by(|a, b| (&a.tags, &a.id).cmp(&(&b.tags, &b.id)));
        Ok(api::ImagesResponse { images })
    }

    /// Names of containers by their IDs.
    pub(super) async fn container_names(&self) -> BTreeMap<String, (String, String)> {
        // Without the runtime its containers are known by their IDs alone.
        let Ok(runtime) = self.runtime() else { return BTreeMap::new() };
        let found = runtime.containers(None).await.unwrap_or_default();
        found
            .iter()
            .map(|one| (one.id.clone(), (name(&one.labels, one.metadata.as_ref()), pod_name(&one.labels))))
            .collect()
    }

    /// The container that a caller means: of several that had the name, the last.
    pub(super) async fn find_container(
        &self,
        target: &api::ContainerTarget,
    ) -> Result<cri::Container, Status> {
        if target.pod.is_empty() {
            let found = self.runtime()?.containers(None).await.map_err(|error| failed(&error))?;
            return by_name(found, &target.container);
        }
        let host = self.pod_host()?;
        let list = lepton_pods::all(&host).await.map_err(pod_failed)?;
        let (namespace, pod) = match target.pod.split_once('/') {
            Some((namespace, pod)) => (Some(namespace), pod),
            None => (None, target.pod.as_str()),
        };
        let container = Some(target.container.clone()).filter(|name| !name.is_empty());
        let name = Name { pod: pod.to_owned(), container, is_no_service: false };
        let pod = lepton_pods::choose_pod(&list.pods, namespace, &name).map_err(pod_failed)?;
        let container = lepton_pods::choose_container(pod, &name).map_err(pod_failed)?;
        let known = lepton_pods::attempts(&host, pod, container).await.map_err(pod_failed)?;
        known.into_iter().next().ok_or_else(|| Status::not_found(format!("{container} was not made yet")))
    }
}

/// A container of the machine config by its name, or any by the beginning of its ID.
fn by_name(mut found: Vec<cri::Container>, word: &str) -> Result<cri::Container, Status> {
    if word.is_empty() {
        return Err(Status::invalid_argument("name a container"));
    }
    found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    if let Some(one) = found.iter().find(|one| one.labels.get(OWN_NAME).is_some_and(|name| name == word)) {
        return Ok(one.clone());
    }
    found.retain(|one| word.len() >= SHORTEST && one.id.starts_with(word));
    match found.len() {
        0 => Err(Status::not_found(format!("there is no container {word:?}"))),
        1 => Ok(found.remove(0)),
        _ => Err(Status::invalid_argument(format!("the IDs of several containers begin with {word:?}"))),
    }
}

fn name(labels: &BTreeMap<String, String>, metadata: Option<&cri::ContainerMetadata>) -> String {
    let named = labels.get(CONTAINER).or_else(|| labels.get(OWN_NAME)).cloned();
    named.or_else(|| metadata.map(|metadata| metadata.name.clone())).unwrap_or_default()
}

fn pod_name(labels: &BTreeMap<String, String>) -> String {
    match (labels.get(NAMESPACE), labels.get(POD)) {
        (Some(namespace), Some(pod)) => format!("{namespace}/{pod}"),
        _ => String::new(),
    }
}

fn container(of: cri::Container) -> api::Container {
    let state = match of.state() {
        cri::ContainerState::ContainerCreated => api::ContainerState::Created,
        cri::ContainerState::ContainerRunning => api::ContainerState::Running,
        cri::ContainerState::ContainerExited => api::ContainerState::Exited,
        cri::ContainerState::ContainerUnknown => api::ContainerState::Unspecified,
    };
    let image = of.image.unwrap_or_default();
    api::Container {
        name: name(&of.labels, of.metadata.as_ref()),
        pod: pod_name(&of.labels),
        id: of.id,
        image: if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image },
        state: state.into(),
        created_unix_ms: of.created_at / 1_000_000,
        attempt: of.metadata.map_or(0, |metadata| metadata.attempt),
    }
}

fn pod(of: lepton_pods::Pod) -> api::Pod {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    api::Pod {
        namespace: of.namespace,
        name: of.name,
        uid: of.uid,
        status: of.status,
        ready: of.ready.map(|(ready, _)| count(ready)),
        containers: count(of.ready.map_or(of.containers.len(), |(_, all)| all)),
        restarts: of.restarts,
        addresses: Some(of.address).filter(|address| !address.is_empty()).into_iter().collect(),
        created_unix_ms: of.since_ns.map(|ns| ns / 1_000_000),
        r#static: of.is_static,
    }
}

/// What the container runtime said.
pub(super) fn failed(failure: &Failure) -> Status {
    let text = chain(failure);
    match failure {
        Failure::Unreachable { .. } => Status::unavailable(text),
        // The runtime has no callers to tell apart: its own refusals are ours to explain.
        Failure::Refused {
            code: Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented,
            ..
        } => Status::internal(text),
        Failure::Refused { code, .. } => Status::new(*code, text),
        Failure::Removed(_) => Status::not_found(text),
        _ => Status::internal(text),
    }
}

fn pod_failed(failure: PodFailure) -> Status {
    match failure {
        PodFailure::Runtime(failure) => failed(&failure),
        PodFailure::NoPod { word, .. } => Status::not_found(format!("there is no pod {word:?}")),
        PodFailure::Ambiguous { word, pods } => Status::invalid_argument(format!(
            "{word:?} may be each of these pods: {}; give its namespace, too",
            pods.join(", ")
        )),
        PodFailure::NoContainer { .. } => Status::not_found(failure.to_string()),
        PodFailure::WhichContainer { pod, has } => Status::invalid_argument(format!(
            "the pod {pod} has several containers: name one of {}",
            has.join(", ")
        )),
        other => Status::failed_precondition(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_by_name_and_by_id() {
        let one = |id: &str, name: Option<&str>, created_at| cri::Container {
            id: id.to_owned(),
            labels: name.map(|name| (OWN_NAME.to_owned(), name.to_owned())).into_iter().collect(),
            created_at,
            ..Default::default()
        };
        let all = vec![one("abcd1", Some("web"), 1), one("abcd2", Some("web"), 2), one("ef012", None, 3)];
        let found = |word: &str| by_name(all.clone(), word).map(|one| one.id).map_err(|status| status.code());
        assert_eq!(found("web"), Ok("abcd2".to_owned()));
        assert_eq!(found("abcd1"), Ok("abcd1".to_owned()));
        assert_eq!(found("ef01"), Ok("ef012".to_owned()));
        assert_eq!(found("abcd"), Err(Code::InvalidArgument));
        assert_eq!(found("ef0"), Err(Code::NotFound));
        assert_eq!(found(""), Err(Code::InvalidArgument));
    }
}
