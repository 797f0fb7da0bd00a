//! The metrics of pods and containers that kubelet's `/metrics/cadvisor` is made from, under the names, units, types and
//! labels of cAdvisor. Every value is read when it is asked for; what the kernel does not tell is left out, and never
//! guessed.

mod cgroup;
mod network;
mod processes;
mod series;
mod table;

use std::path::{Path, PathBuf};

use lepton_cri::v1::{ContainerMetrics, LinuxContainerResources, MetricDescriptor, PodSandboxMetrics};
use lepton_runtime_images::Usage;
use lepton_runtime_shim::time;

use crate::cgroup::folder;
use crate::container::{Container, Life};
use crate::runtime::Runtime;
use crate::sandbox::{Sandbox, has_host_network};
use crate::status;
use series::Series;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// What a pod's metrics are read from.
struct PodSource {
    id: String,
    labels: Vec<String>,
    cgroup: PathBuf,
    created_at: i64,
    /// None for a pod in the host's network: the host's counters are not the pod's.
    network: Option<PathBuf>,
    /// The folder that the snapshots are in.
    disk: PathBuf,
    containers: Vec<ContainerSource>,
}

/// What a container's metrics are read from.
struct ContainerSource {
    id: String,
    labels: Vec<String>,
    cgroup: PathBuf,
    started_at: i64,
    resources: LinuxContainerResources,
    written: Option<Usage>,
    /// Its first process.
    process: Option<u32>,
}

/// All that there can be.
pub(crate) fn descriptors() -> Vec<MetricDescriptor> {
    table::ALL.iter().map(table::Family::descriptor).collect()
}

impl Runtime {
    /// The metrics of all pods that were not stopped.
    pub(crate) async fn all_metrics(&self) -> Vec<PodSandboxMetrics> {
        let mut sources = Vec::new();
        for sandbox in self.sandboxes() {
            if !sandbox.record().stopped {
                sources.push(self.pod_source(&sandbox).await);
            }
        }
        let read = move || sources.iter().map(PodSource::read).collect();
        tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| {
            eprintln!("metrics cannot be read: {error}");
            Vec::new()
        })
    }

    async fn pod_source(&self, sandbox: &Sandbox) -> PodSource {
        let record = sandbox.record();
        let cgroup = sandbox.cgroup();
        let known = self.shim(&record.id).containers().await.unwrap_or_default();
        let mut containers = Vec::new();
        for container in self.containers_of(&record.id) {
            if container.life() == Life::Running {
                let id = container.id();
                let process = known.iter().find(|one| one.container == id && one.exit.is_none());
                let process = process.and_then(|one| u32::try_from(one.pid).ok());
                containers.push(self.container_source(sandbox, &container, process).await);
            }
        }
        PodSource {
            labels: labels(sandbox, &cgroup, "", "", &record.id),
            cgroup: folder(&cgroup),
            created_at: record.created_at,
            network: (!has_host_network(&sandbox.config)).then(|| self.namespace(&record.id, "net")),
            disk: self.settings.images.root.clone(),
            containers,
            id: record.id,
        }
    }

    async fn container_source(
        &self,
        sandbox: &Sandbox,
        container: &Container,
        process: Option<u32>,
    ) -> ContainerSource {
        let record = container.record();
        let resources = container.config().linux.and_then(|linux| linux.resources);
        let image = status::image(self, container).image;
        ContainerSource {
            labels: labels(sandbox, &record.cgroup, &container.metadata().name, &image, &record.id),
            cgroup: folder(&record.cgroup),
            started_at: record.started_at,
            resources: resources.unwrap_or_default(),
            written: self.images.usage(&record.id).await.ok(),
            process,
            id: record.id,
        }
    }
}

/// The values of the labels that every metric has, in the order of `table::LABELS`.
fn labels(sandbox: &Sandbox, cgroup: &Path, container: &str, image: &str, name: &str) -> Vec<String> {
    let pod = sandbox.metadata();
    let cgroup = cgroup.display().to_string();
    vec![container.to_owned(), cgroup, image.to_owned(), name.to_owned(), pod.namespace, pod.name]
}

impl PodSource {
    fn read(&self) -> PodSandboxMetrics {
        let mut series = Series::new(self.labels.clone());
        seen(&mut series, self.created_at);
        cgroup::usage(&mut series, &self.cgroup);
        if let Some(counters) = self.network.as_deref().and_then(network::counters) {
            network::add(&mut series, &counters);
        }
        let disk = cgroup::Disk::of(&self.disk);
        PodSandboxMetrics {
            pod_sandbox_id: self.id.clone(),
            metrics: series.done(),
            container_metrics: self.containers.iter().map(|one| one.read(disk.as_ref())).collect(),
        }
    }
}

impl ContainerSource {
    fn read(&self, disk: Option<&cgroup::Disk>) -> ContainerMetrics {
        let mut series = Series::new(self.labels.clone());
        seen(&mut series, self.started_at);
        cgroup::usage(&mut series, &self.cgroup);
        cgroup::limits(&mut series, &self.cgroup, self.resources.cpu_shares);
        if let Some(disk) = disk {
            disk.add(&mut series, self.written);
        }
        processes::add(&mut series, &self.cgroup, self.process);
        ContainerMetrics { container_id: self.id.clone(), metrics: series.done() }
    }
}

/// When it was made or started, in nanoseconds since 1970, and that it is there now.
fn seen(series: &mut Series, since: i64) {
    series.add(&table::LAST_SEEN, u64::try_from(time::now_ns() / SECOND).ok());
    series.add(&table::START_TIME, u64::try_from(since / SECOND).ok().filter(|since| *since > 0));
}
