//! Pods and containers, as the runtime names them (CRI v1), with what their cgroups have used.

use std::collections::BTreeMap;

use lepton_cri::v1::{Container, ContainerState, PodSandbox, PodSandboxState};
use lepton_runtime_client::client::Client;

use crate::cgroups;
use crate::family::{Families, Kind};
use crate::kernel::seconds;
use crate::{Outcome, PATIENCE, Places};

/// States with their words.
const STATES: [(ContainerState, &str); 4] = [
    (ContainerState::ContainerCreated, "created"),
    (ContainerState::ContainerRunning, "running"),
    (ContainerState::ContainerExited, "exited"),
    (ContainerState::ContainerUnknown, "unknown"),
];

/// What the runtime says; a host without one has no such figures.
pub(crate) fn collect(places: &Places, families: &mut Families) -> Outcome {
    if !places.runtime.exists() {
        return Outcome::Absent;
    }
    let Some((pods, containers)) = ask(places) else { return Outcome::Failed };
    let count = families.add("lepton_pods", Kind::Gauge, "Pods by state.");
    for (state, word) in
        [(PodSandboxState::SandboxReady, "ready"), (PodSandboxState::SandboxNotready, "not-ready")]
    {
        let number = pods.iter().filter(|pod| pod.state() == state).count();
        count.number(&[("state", word)], number as u64);
    }
    let count = families.add("lepton_containers", Kind::Gauge, "Containers by state.");
    for (state, word) in STATES {
        let number = containers.iter().filter(|container| container.state() == state).count();
        count.number(&[("state", word)], number as u64);
    }
    let pods: BTreeMap<&str, &PodSandbox> = pods.iter().map(|pod| (pod.id.as_str(), pod)).collect();
    let containers: BTreeMap<&str, &Container> = containers.iter().map(|it| (it.id.as_str(), it)).collect();
    for (id, folder) in cgroups::containers(&places.sys.join("fs/cgroup")) {
        if let Some(container) = containers.get(id.as_str()) {
            let pod = pods.get(container.pod_sandbox_id.as_str()).copied();
            one(container, pod, cgroups::usage(&folder), families);
        }
    }
    Outcome::Read
}

fn ask(places: &Places) -> Option<(Vec<PodSandbox>, Vec<Container>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let client = Client::new(&places.runtime).ok()?;
        let asked = async { Some((client.pods(&[]).await.ok()?, client.containers(None).await.ok()?)) };
        tokio::time::timeout(PATIENCE, asked).await.ok()?
    })
}

fn one(container: &Container, pod: Option<&PodSandbox>, usage: cgroups::Usage, families: &mut Families) {
    let name = container.metadata.as_ref().map_or("", |metadata| metadata.name.as_str());
    let pod = pod.and_then(|pod| pod.metadata.as_ref());
    let labels = [
        ("namespace", pod.map_or("", |pod| pod.namespace.as_str())),
        ("pod", pod.map_or("", |pod| pod.name.as_str())),
        ("container", name),
        // Two attempts at one container may be there at a time.
        ("id", container.id.as_str()),
    ];
    let help = "How often a container was made anew in its pod.";
    let attempt = container.metadata.as_ref().map(|metadata| u64::from(metadata.attempt));
    families.add("lepton_container_restarts", Kind::Gauge, help).known(&labels, attempt);
    let help = "Time of processors that a container has used.";
    if let Some(micros) = usage.cpu_us {
        families.add("lepton_container_cpu_seconds", Kind::Counter, help).real(&labels, seconds(micros));
    }
    for (metric, help, value) in [
        ("lepton_container_memory_bytes", "Memory of a container.", usage.memory),
        ("lepton_container_memory_max_bytes", "Memory past which a container is killed.", usage.memory_max),
        (
            "lepton_container_memory_working_set_bytes",
            "Memory of a container without file contents that were not used lately.",
            usage.working_set,
        ),
        ("lepton_container_tasks", "Processes and threads of a container.", usage.tasks),
    ] {
        families.add(metric, Kind::Gauge, help).known(&labels, value);
    }
    for (metric, help, value) in [
        ("lepton_container_read_bytes", "Bytes that a container read from disks.", Some(usage.read)),
        ("lepton_container_written_bytes", "Bytes that a container wrote to disks.", Some(usage.written)),
        (
            "lepton_container_oom_kills",
            "Processes of a container that were killed because memory was short.",
            usage.oom_kills,
        ),
    ] {
        families.add(metric, Kind::Counter, help).known(&labels, value);
    }
}
