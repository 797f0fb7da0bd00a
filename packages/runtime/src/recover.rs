//! What the runtime does when it starts: learns from the disk and from the shims what there is, and takes apart what
//! belongs to nothing. It must not end a container that runs.

use std::path::Path;
use std::sync::Arc;

use lepton_runtime_shim::protocol::Request;
use lepton_runtime_shim::time;

use crate::container::{self, Container, Life};
use crate::error::{Result, chain};
use crate::runtime::Runtime;
use crate::sandbox::{self, OWN_CGROUP, Sandbox};
use crate::{cgroup, cni, files, rootfs, volumes};

impl Runtime {
    /// Gets to know what there is.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<()> {
        self.read_pods().await;
        self.read_containers();
        for sandbox in self.sandboxes() {
            if let Err(error) = self.find_again(&sandbox).await {
                eprintln!("pod {}: {error}", sandbox.id());
            }
        }
        self.sweep().await?;
        self.look_at_networks().await;
        Ok(())
    }

    /// Asks the plugins about the networks of pods that go on, and tells them which these are. What they say is for
    /// people: a pod whose network was changed from outside is its owner's to replace.
    async fn look_at_networks(&self) {
        let mut pods = Vec::new();
        for sandbox in self.sandboxes() {
            let Some(attachment) = sandbox.record().network else { continue };
            let id = sandbox.id();
            if !sandbox.record().stopped {
                let pod = cni::Pod {
                    id: &id,
                    namespace: Some(self.namespace(&id, "net")),
                    config: &sandbox.config,
                };
                if let Err(error) = self.cni.check(&pod, &attachment).await {
                    eprintln!("the network of pod {id} is not as it was made: {}", chain(&error));
                }
            }
            pods.push(id);
        }
        if let Err(error) = self.cni.collect(&pods).await {
            eprintln!("what networks keep of pods that are gone is not given back: {}", chain(&error));
        }
    }

    async fn read_pods(self: &Arc<Self>) {
        let folder = self.settings.state.join("pods");
        for id in files::names(&folder) {
            let sandbox = match Sandbox::load(&folder.join(&id)) {
                Ok(sandbox) => Arc::new(sandbox),
                Err(error) => {
                    eprintln!("pod {id} is dropped: {error}");
                    let _ = files::remove_folder(&folder.join(&id));
                    continue;
                }
            };
            if !sandbox.record().complete {
                // Nobody was told of it.
                match self.take_apart(&id, &sandbox).await {
                    Ok(()) => continue,
                    Err(error) => {
                        eprintln!("pod {id}, half made: {error}");
                        self.keep_remains(&sandbox);
                    }
                }
            }
            if let Ok(name) = sandbox::name(&sandbox.metadata()) {
                let _ = self.reserve(&name, &id);
            }
            self.add_sandbox(sandbox);
        }
    }

    fn read_containers(&self) {
        let folder = self.settings.state.join("containers");
        for id in files::names(&folder) {
            match Container::load(&folder.join(&id)) {
                Ok(container) if self.sandbox(&container.record().sandbox).is_ok() => {
                    let name = container::name(&container.record().sandbox, &container.metadata());
                    let _ = self.reserve(&name, &id);
                    self.add_container(Arc::new(container));
                }
                Ok(_) => drop(files::remove_folder(&folder.join(&id))),
                Err(error) => {
                    eprintln!("container {id} is dropped: {error}");
                    let _ = files::remove_folder(&folder.join(&id));
                }
            }
        }
    }

    /// Compares what is written down of a pod with what its shim says.
    async fn find_again(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<()> {
        let record = sandbox.record();
        if record.stopped {
            self.lost(&record.id);
            return Ok(());
        }
        let known = match record.boot == self.boot {
            true => self.shim(&record.id).containers().await.ok(),
            false => None,
        };
        let Some(known) = known else {
            // A restart of the host, or a shim that was killed.
            self.lost(&record.id);
            return self.stop_pod(&record.id).await;
        };
        for container in self.containers_of(&record.id) {
            let id = container.id();
            let Some(state) = known.iter().find(|state| state.container == id) else {
                if container.life() == Life::Running {
                    self.ended(&id, None, Some("its shim does not know it".to_owned()));
                }
                continue;
            };
            match (&state.exit, state.started) {
                (Some(exit), true) => container.set_life(Life::Exited(Some(exit.clone()), None)),
                (None, true) => {
                    if container.record().started_at == 0 {
                        container.change(|record| record.started_at = time::now_ns());
                        container.save(&self.settings.container_state(&id))?;
                    }
                    container.set_life(Life::Running);
                }
                // The runtime was killed between making and starting it: the start is done again when it is asked for.
                (_, false) => self.unmake(&record.id, &container).await?,
            }
        }
        self.listen(&record.id).await
    }

    /// Takes a container that waits for its start back to where it was before.
    async fn unmake(&self, sandbox: &str, container: &Container) -> Result<()> {
        let record = container.record();
        let shim = self.shim(sandbox);
        shim.call(&Request::Kill { container: record.id.clone() }).await?;
        for _ in 0..1000 {
            let gone = shim.call(&Request::Remove { container: record.id.clone() }).await.is_ok();
            if gone {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cgroup::remove(&record.cgroup).await?;
        let state = self.settings.container_state(&record.id);
        let _ = std::fs::remove_file(state.join(container::EXIT));
        let _ = files::remove_folder(&self.settings.oci_state().join(&record.id));
        container.change(|record| record.started_at = 0);
        container.set_life(Life::Created);
        container.save(&state)
    }

    /// The end of these containers was seen by nobody.
    fn lost(&self, sandbox: &str) {
        for container in self.containers_of(sandbox) {
            if container.life() == Life::Running {
                self.ended(&container.id(), None, Some("it ended while nobody watched".to_owned()));
            }
        }
    }

    /// Takes apart what belongs to nothing that is known.
    async fn sweep(&self) -> Result<()> {
        for id in files::names(&self.settings.run.join("pods")) {
            if self.sandbox(&id).is_err() {
                let folder = self.settings.pod_run(&id);
                let _ = self.shim(&id).end().await;
                rootfs::unmount_below(&folder)?;
                let _ = files::remove_folder(&folder);
            }
        }
        let mut containers = files::names(&self.settings.run.join("containers"));
        containers.extend(self.images.snapshots().iter().map(|key| volumes::owner(key).to_owned()));
        containers.sort();
        containers.dedup();
        for id in containers {
            if self.container(&id).is_err() {
                self.clear(&id, &Path::new(OWN_CGROUP).join("none").join(&id)).await?;
            }
        }
        for id in files::names(&cgroup::folder(Path::new(OWN_CGROUP))) {
            let path = Path::new(OWN_CGROUP).join(&id);
            if cgroup::folder(&path).is_dir() && self.sandbox(&id).is_err() {
                cgroup::remove(&path).await?;
            }
        }
        Ok(())
    }
}
