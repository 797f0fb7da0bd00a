//! Everything that the runtime knows of pods and containers, and the events that come of it. What a call does is in
//! `pods`, `containers` and `exec`; here nothing waits for anything but a shim's reports.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use lepton_cri::v1::{ContainerEventResponse, ContainerEventType};
use lepton_runtime_images::Images;
use lepton_runtime_shim::protocol::{Exit, Reply, Request};
use lepton_runtime_shim::time;
use lepton_runtime_streaming::Urls;
use tokio::sync::broadcast;

use crate::cni::Cni;
use crate::container::{Container, Life};
use crate::error::{Failure, Result};
use crate::sandbox::Sandbox;
use crate::settings::Settings;
use crate::shim::{Conversation, Shim};
use crate::stats::Samples;
use crate::status;

/// Events that a slow listener may be behind; older ones are lost to it, and kubelet lists everything then.
const EVENTS: usize = 1024;

/// What is known, by id.
#[derive(Debug, Default)]
struct Known {
    sandboxes: BTreeMap<String, Arc<Sandbox>>,
    containers: BTreeMap<String, Arc<Container>>,
    /// Names that are taken, and by whom.
    names: BTreeMap<String, String>,
}

/// The runtime.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) settings: Settings,
    pub(crate) images: Images,
    pub(crate) cni: Cni,
    /// This boot of the host.
    pub(crate) boot: String,
    pub(crate) urls: OnceLock<Urls>,
    pub(crate) events: broadcast::Sender<ContainerEventResponse>,
    pub(crate) samples: Samples,
    known: Mutex<Known>,
}

impl Runtime {
    /// One that knows nothing yet.
    pub(crate) fn new(settings: Settings, images: Images, boot: String) -> Self {
        let cni = Cni::new(
            settings.cni_config.clone(),
            settings.cni_plugins.clone(),
            settings.cni_template.clone(),
        );
        Self {
            settings,
            images,
            cni,
            boot,
            urls: OnceLock::new(),
            events: broadcast::Sender::new(EVENTS),
            samples: Samples::default(),
            known: Mutex::default(),
        }
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().expect("no holder panics"))
    }

    /// Takes a name for an id.
    pub(crate) fn reserve(&self, name: &str, id: &str) -> Result<()> {
        self.known(|known| match known.names.get(name) {
            Some(owner) if owner != id => {
                Err(Failure::exists(format!("name {name:?} is reserved for {owner}")))
            }
            _ => {
                known.names.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        })
    }

    /// Gives up the names of an id.
    pub(crate) fn release(&self, id: &str) {
        self.known(|known| known.names.retain(|_, owner| owner != id));
    }

    /// All pods.
    pub(crate) fn sandboxes(&self) -> Vec<Arc<Sandbox>> {
        self.known(|known| known.sandboxes.values().cloned().collect())
    }

    /// All containers.
    pub(crate) fn containers(&self) -> Vec<Arc<Container>> {
        self.known(|known| known.containers.values().cloned().collect())
    }

    /// The containers of a pod.
    pub(crate) fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        let mut containers = self.containers();
        containers.retain(|container| container.record().sandbox == sandbox);
        containers
    }

    /// A pod by its id, or by the beginning of it.
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        self.known(|known| find(&known.sandboxes, id, "pod sandbox"))
    }

    /// A container by its id, or by the beginning of it.
    pub(crate) fn container(&self, id: &str) -> Result<Arc<Container>> {
        self.known(|known| find(&known.containers, id, "container"))
    }

    /// Knows a pod from now on.
    pub(crate) fn add_sandbox(&self, sandbox: Arc<Sandbox>) {
        self.known(|known| known.sandboxes.insert(sandbox.id(), sandbox));
    }

    /// Knows a container from now on.
    pub(crate) fn add_container(&self, container: Arc<Container>) {
        self.known(|known| known.containers.insert(container.id(), container));
    }

    /// Forgets a pod and its name.
    pub(crate) fn forget_sandbox(&self, id: &str) {
        self.known(|known| known.sandboxes.remove(id));
        self.release(id);
    }

    /// Forgets a container and its name.
    pub(crate) fn forget_container(&self, id: &str) {
        self.known(|known| known.containers.remove(id));
        self.samples.forget(id);
        self.release(id);
    }

    /// The shim of a pod.
    pub(crate) fn shim(&self, sandbox: &str) -> Shim {
        Shim::of(&self.settings.pod_run(sandbox))
    }

    /// A pinned namespace of a pod.
    pub(crate) fn namespace(&self, sandbox: &str, kind: &str) -> PathBuf {
        lepton_runtime_shim::pod::namespace(&self.settings.pod_run(sandbox), kind)
    }

    /// Tells who listens that a container or a pod got further.
    pub(crate) fn tell(&self, id: &str, kind: ContainerEventType, sandbox: &Sandbox) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let statuses = self.containers_of(&sandbox.id());
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: time::now_ns(),
            pod_sandbox_status: Some(status::of_sandbox(sandbox)),
            containers_statuses: statuses
                .iter()
                .map(|container| status::of_container(self, container))
                .collect(),
        };
        // Nobody may listen any more.
        let _ = self.events.send(event);
    }

    /// A container has ended.
    pub(crate) fn ended(&self, id: &str, exit: Option<Exit>, message: Option<String>) {
        let Ok(container) = self.container(id) else { return };
        if matches!(container.life(), Life::Exited(..)) {
            return;
        }
        container.set_life(Life::Exited(exit, message));
        if let Ok(sandbox) = self.sandbox(&container.record().sandbox) {
            self.tell(id, ContainerEventType::ContainerStoppedEvent, &sandbox);
        }
    }

    /// Listens to the shim of a pod until that ends.
    pub(crate) async fn listen(self: &Arc<Self>, sandbox: &str) -> Result<()> {
        let mut conversation = self.shim(sandbox).open(&Request::Events, &[]).await?;
        conversation.reply().await?;
        tokio::spawn(Arc::clone(self).hear(sandbox.to_owned(), conversation));
        Ok(())
    }

    async fn hear(self: Arc<Self>, sandbox: String, mut conversation: Conversation) {
        while let Ok(Some(reply)) = conversation.next().await {
            if let Reply::Ended { container, exit } = reply {
                self.ended(&container, Some(exit), None);
            }
        }
        let Ok(known) = self.sandbox(&sandbox) else { return };
        if known.record().stopped {
            return;
        }
        // Nobody holds the pod any more: what runs in it cannot be followed, so it is taken down.
        eprintln!("the shim of pod {sandbox} is gone; the pod is stopped");
        if let Err(error) = self.stop_pod(&sandbox).await {
            eprintln!("cannot stop pod {sandbox}: {error}");
        }
    }
}

/// By id or the beginning of one, as crictl gives them.
fn find<T>(known: &BTreeMap<String, Arc<T>>, id: &str, what: &str) -> Result<Arc<T>> {
    if let Some(found) = known.get(id) {
        return Ok(Arc::clone(found));
    }
    let missing = || Failure::not_found(format!("no {what} {id:?}"));
    if id.is_empty() {
        return Err(Failure::invalid(format!("no id of a {what} was given")));
    }
    let mut matching = known.range(id.to_owned()..).take_while(|(key, _)| key.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, found)), None) => Ok(Arc::clone(found)),
        (Some(_), Some(_)) => Err(Failure::invalid(format!("{id:?} is the beginning of several ids"))),
        _ => Err(missing()),
    }
}
