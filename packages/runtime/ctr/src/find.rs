//! Containers by the words of people: a name, or the beginning of an id.

use lepton_cri::v1 as cri;

use crate::client::Client;
use crate::failure::Failure;
use crate::table;
use crate::wanted::{KIND, NAME, SERVICE};

/// A pod that was made here, with its container if it got that far; or a container of another pod.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) pod: cri::PodSandbox,
    pub(crate) container: Option<cri::Container>,
}

impl Entry {
    /// Whether it was made by this program.
    pub(crate) fn is_ours(&self) -> bool {
        self.pod.labels.contains_key(NAME)
    }

    /// Whether PID 1 keeps it.
    pub(crate) fn is_service(&self) -> bool {
        self.pod.labels.get(KIND).is_some_and(|kind| kind == SERVICE)
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        let container = self.container.as_ref().and_then(|container| container.metadata.as_ref());
        let name = container.map_or("", |metadata| metadata.name.as_str());
        self.pod.labels.get(NAME).map_or(name, String::as_str)
    }

    /// The container's id, or the pod's while there is no container.
    pub(crate) fn id(&self) -> &str {
        self.container.as_ref().map_or(&self.pod.id, |container| &container.id)
    }

    /// `NAMESPACE/NAME` of a pod that was not made here.
    pub(crate) fn foreign_pod(&self) -> Option<String> {
        let metadata = self.pod.metadata.clone().unwrap_or_default();
        (!self.is_ours()).then(|| format!("{}/{}", metadata.namespace, metadata.name))
    }

    /// Whether its program runs.
    pub(crate) fn runs(&self) -> bool {
        let state = self.container.as_ref().map(cri::Container::state);
        state == Some(cri::ContainerState::ContainerRunning)
    }

    /// It, unless this program must not change it; `word` is what it was called.
    pub(crate) fn for_change(self, word: &str) -> Result<Self, Failure> {
        match self.foreign_pod() {
            Some(pod) => Err(Failure::Foreign { word: word.to_owned(), pod }),
            None => Ok(self),
        }
    }

    /// Its container, which must be there.
    pub(crate) fn container(&self) -> Result<&cri::Container, Failure> {
        self.container.as_ref().ok_or_else(|| Failure::Ended(self.name().to_owned()))
    }
}

/// Everything on this host, the newest first.
pub(crate) async fn all(client: &Client) -> Result<Vec<Entry>, Failure> {
    let (pods, containers) = (client.pods(&[]).await?, client.containers(None).await?);
    Ok(join(pods, &containers))
}

fn join(pods: Vec<cri::PodSandbox>, containers: &[cri::Container]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for pod in pods {
        let mine = containers.iter().filter(|container| container.pod_sandbox_id == pod.id);
        let before = entries.len();
        entries.extend(mine.map(|container| Entry { pod: pod.clone(), container: Some(container.clone()) }));
        if entries.len() == before && pod.labels.contains_key(NAME) {
            entries.push(Entry { pod, container: None });
        }
    }
    let made = |entry: &Entry| entry.container.as_ref().map_or(entry.pod.created_at, |one| one.created_at);
    entries.sort_by_key(|entry| std::cmp::Reverse(made(entry)));
    entries
}

/// The one that a word means.
pub(crate) async fn one(client: &Client, word: &str) -> Result<Entry, Failure> {
    choose(all(client).await?, word)
}

fn choose(entries: Vec<Entry>, word: &str) -> Result<Entry, Failure> {
    // Names of this program are unique; those in pods of others are not.
    if let Some(entry) = entries.iter().find(|entry| entry.is_ours() && entry.name() == word) {
        return Ok(entry.clone());
    }
    let by_id = |entry: &&Entry| !word.is_empty() && entry.id().starts_with(word);
    let mut found: Vec<&Entry> = entries.iter().filter(by_id).collect();
    if found.is_empty() {
        found = entries.iter().filter(|entry| entry.name() == word).collect();
    }
    match found[..] {
        [] => Err(Failure::NoContainer(word.to_owned())),
        [entry] => Ok(entry.clone()),
        _ => {
            let ids = found.iter().map(|entry| table::short(entry.id())).collect();
            Err(Failure::Ambiguous { word: word.to_owned(), ids })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(id: &str, name: Option<&str>) -> cri::PodSandbox {
        let labels = name.map(|name| (NAME.to_owned(), name.to_owned())).into_iter().collect();
        cri::PodSandbox { id: id.to_owned(), labels, ..cri::PodSandbox::default() }
    }

    fn container(id: &str, pod: &str, name: &str) -> cri::Container {
        let metadata = Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 });
        let (id, pod_sandbox_id) = (id.to_owned(), pod.to_owned());
        cri::Container { id, pod_sandbox_id, metadata, ..cri::Container::default() }
    }

    #[test]
    fn names_and_beginnings() {
        let pods = vec![pod("p1", Some("web")), pod("p2", None), pod("p3", Some("half")), pod("p4", None)];
        let containers =
            [container("abc1", "p1", "web"), container("abd2", "p2", "web"), container("abe3", "p2", "x")];
        let entries = join(pods, &containers);
        assert_eq!(entries.len(), 4, "a foreign pod without containers is none");
        let id = |word: &str| choose(entries.clone(), word).map(|entry| entry.id().to_owned());
        assert_eq!(id("web").unwrap(), "abc1");
        assert_eq!(id("abd").unwrap(), "abd2");
        assert_eq!(id("x").unwrap(), "abe3");
        assert_eq!(id("half").unwrap(), "p3");
        assert!(matches!(id("ab"), Err(Failure::Ambiguous { ids, .. }) if ids.len() == 3));
        assert!(matches!(id(""), Err(Failure::NoContainer(_))));
        let foreign = choose(entries.clone(), "abd2").unwrap().for_change("abd2");
        assert!(matches!(foreign, Err(Failure::Foreign { .. })));
    }
}
