//! What must hold of images, pods and containers, and of a runtime that goes away. Networks are in `network`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::host::{self, PATIENCE, Taken};
use crate::judge::{Case, holds};
use crate::network;
use crate::pods::{Client, IMAGE, PodConfig, refused};

pub(crate) const CASES: [(&str, Case); 11] = [
    ("version", version),
    ("image", preloaded),
    ("host-network", host_network),
    ("exec", exec),
    ("stats", stats),
    ("metrics", metrics),
    ("pod-network", network::pod),
    ("host-port", network::host_port),
    ("restarted", restarted),
    ("killed", killed),
    ("nothing-left", nothing_left),
];

/// Metrics that are there for devices which a container used.
const OF_DEVICES: [&str; 5] = [
    "container_blkio_device_usage_total",
    "container_fs_reads_bytes_total",
    "container_fs_reads_total",
    "container_fs_writes_bytes_total",
    "container_fs_writes_total",
];
/// The container has none.
const QUOTA: &str = "container_spec_cpu_quota";

fn version(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let version =
            client.runtime.version(cri::VersionRequest::default()).await.map_err(refused)?.into_inner();
        holds(version.runtime_api_version == "v1", || format!("{version:?}"))?;
        let status =
            client.runtime.status(cri::StatusRequest::default()).await.map_err(refused)?.into_inner();
        let conditions = status.status.map(|status| status.conditions).unwrap_or_default();
        let is_ready = conditions.len() >= 2 && conditions.iter().all(|condition| condition.status);
        holds(is_ready, || format!("{conditions:?}"))?;
        Ok(format!("{} {} {}", version.runtime_name, version.runtime_version, host::memory()))
    })
}

/// The image that the operating system brings is there, and no collector takes it.
fn preloaded(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let images = client.images.list_images(cri::ListImagesRequest::default());
        let images = images.await.map_err(refused)?.into_inner().images;
        let [image] = &images[..] else { return Err(format!("{images:?}")) };
        let is_known = image.repo_tags.iter().any(|tag| tag == IMAGE);
        holds(is_known && image.pinned && image.size > 0, || format!("{image:?}"))?;
        Ok(format!("bytes={}", image.size))
    })
}

fn host_network(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let before = Taken::now()?;
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::host("host-network")).await?;
        let script = "echo \"process $$ says hello\"; echo and complains >&2; exit 7";
        let container = client.start(&pod, "print", script).await?;
        let (code, log) = client.end(&container).await?;
        // It is the first process of its namespace.
        let is_logged =
            log.contains(" stdout F process 1 says hello\n") && log.contains(" stderr F and complains\n");
        holds(code == 7 && is_logged, || format!("code {code}, log {log:?}"))?;
        client.remove(pod).await?;
        let after = Taken::settled(|taken| taken == before)?;
        holds(before == after, || format!("before: {before}; after: {after}"))?;
        Ok(after.to_string())
    })
}

fn exec(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::host("exec")).await?;
        let container = client.start(&pod, "exec", "sleep 1000000").await?;
        let start = Instant::now();
        let answer = client.exec(&container, "echo hello; echo trouble >&2; exit 3", 0).await?;
        let ms = start.elapsed().as_millis();
        let is_whole = answer.stdout == b"hello\n" && answer.stderr == b"trouble\n" && answer.exit_code == 3;
        holds(is_whole, || format!("{answer:?}"))?;
        let late = client.exec(&container, "sleep 1000000", 1).await;
        holds(late.as_ref().is_err_and(|error| error.starts_with("DeadlineExceeded")), || {
            format!("{late:?}")
        })?;
        // The first process of a PID namespace that does not handle SIGTERM never gets it.
        client.stop(&container, 1).await?;
        let (code, _) = client.end(&container).await?;
        holds(code == 137, || format!("code {code}"))?;
        client.remove(pod).await?;
        Ok(format!("exec-ms={ms}"))
    })
}

/// What a container uses is read from its cgroup and its snapshot.
fn stats(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::host("stats")).await?;
        let script = "dd if=/dev/zero of=/file bs=64k count=16; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; \
                      touch /done; sleep 1000000";
        let container = client.start(&pod, "stats", script).await?;
        let start = Instant::now();
        while client.exec(&container, "test -e /done", 0).await?.exit_code != 0 {
            holds(start.elapsed() < PATIENCE, || "the container does not get its work done".to_owned())?;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let request = cri::ContainerStatsRequest { container_id: container.clone() };
        let stats = client.runtime.container_stats(request).await.map_err(refused)?.into_inner().stats;
        let stats = stats.ok_or("there are no stats")?;
        let of = |value: Option<&cri::UInt64Value>| value.map_or(0, |value| value.value);
        let cpu = of(stats.cpu.as_ref().and_then(|cpu| cpu.usage_core_nano_seconds.as_ref()));
        let memory = of(stats.memory.as_ref().and_then(|memory| memory.working_set_bytes.as_ref()));
        let disk = of(stats.writable_layer.as_ref().and_then(|disk| disk.used_bytes.as_ref()));
        let is_likely = cpu > 1_000_000 && memory > 16 << 10 && (1 << 20..2 << 20).contains(&disk);
        holds(is_likely, || format!("{stats:?}"))?;
        let request = cri::PodSandboxStatsRequest { pod_sandbox_id: pod.id.clone() };
        let answer = client.runtime.pod_sandbox_stats(request).await.map_err(refused)?.into_inner();
        let linux = answer.stats.and_then(|stats| stats.linux).unwrap_or_default();
        let processes = of(linux.process.as_ref().and_then(|process| process.process_count.as_ref()));
        holds(linux.containers.len() == 1 && processes >= 1, || format!("{linux:?}"))?;
        client.stop(&container, 0).await?;
        client.remove(pod).await?;
        Ok(format!("cpu-ms={} memory-kib={} disk-kib={}", cpu / 1_000_000, memory >> 10, disk >> 10))
    })
}

/// Every metric has a value, but for those that need a device to have been read from or written to.
fn metrics(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::own_network("metrics")).await?;
        let container = client.start(&pod, "metrics", "sleep 1000000").await?;
        let request = cri::ListMetricDescriptorsRequest {};
        let known = client.runtime.list_metric_descriptors(request).await.map_err(refused)?.into_inner();
        let request = cri::ListPodSandboxMetricsRequest {};
        let answer = client.runtime.list_pod_sandbox_metrics(request).await.map_err(refused)?.into_inner();
        let [found] = &answer.pod_metrics[..] else { return Err(format!("{:?}", answer.pod_metrics)) };
        let of_containers = found.container_metrics.iter().flat_map(|one| &one.metrics);
        let there: BTreeSet<&str> =
            found.metrics.iter().chain(of_containers).map(|metric| metric.name.as_str()).collect();
        let mut missing: Vec<&str> = known.descriptors.iter().map(|one| one.name.as_str()).collect();
        missing.retain(|name| !there.contains(name) && !OF_DEVICES.contains(name) && *name != QUOTA);
        holds(missing.is_empty() && !there.is_empty(), || format!("without a value: {missing:?}"))?;
        client.stop(&container, 0).await?;
        client.remove(pod).await?;
        Ok(format!("names={}", there.len()))
    })
}

/// A container goes on while PID 1 gives the runtime another process.
fn restarted(tokio: &Runtime) -> Result<String, String> {
    outlives(tokio, "restarted", host::restart)
}

/// The same with a process that gets no chance to put anything in order.
fn killed(tokio: &Runtime) -> Result<String, String> {
    outlives(tokio, "killed", host::kill)
}

fn outlives(tokio: &Runtime, name: &str, end: fn(u32) -> Result<(), String>) -> Result<String, String> {
    let (pod, container, started) = tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pod = client.pod(&PodConfig::own_network(name)).await?;
        // It writes to its log while nobody but the shim is there.
        let script = "while sleep 0.2; do echo tick; done";
        let container = client.start(&pod, name, script).await?;
        let started = client.status(&container).await?.started_at;
        Ok::<_, String>((pod, container, started))
    })?;
    let memory = host::memory();
    let taken = host::replaced(end)?;
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let status = client.status(&container).await?;
        let is_same = status.state() == cri::ContainerState::ContainerRunning && status.started_at == started;
        holds(is_same, || format!("{status:?}"))?;
        let answer = client.exec(&container, "echo still here", 0).await?;
        holds(answer.exit_code == 0 && answer.stdout == b"still here\n", || format!("{answer:?}"))?;
        client.stop(&container, 0).await?;
        let (code, log) = client.end(&container).await?;
        holds(code == 137 && log.contains(" stdout F tick\n"), || format!("code {code}, log {log:?}"))?;
        client.remove(pod).await?;
        Ok(format!("back-ms={} {memory}", taken.as_millis()))
    })
}

/// After all pods are gone, so is what they took.
fn nothing_left(tokio: &Runtime) -> Result<String, String> {
    tokio.block_on(async {
        let mut client = Client::connect().await?;
        let pods = client.runtime.list_pod_sandbox(cri::ListPodSandboxRequest::default());
        let pods = pods.await.map_err(refused)?.into_inner().items;
        let containers = client.runtime.list_containers(cri::ListContainersRequest::default());
        let containers = containers.await.map_err(refused)?.into_inner().containers;
        holds(pods.is_empty() && containers.is_empty(), || format!("{pods:?} {containers:?}"))?;
        let taken = Taken::settled(Taken::is_idle)?;
        holds(taken.is_idle(), || taken.to_string())?;
        Ok(taken.to_string())
    })
}

/// What the runtime printed, when a case has failed.
pub(crate) fn logs() -> Vec<String> {
    let lines = host::log("runtime").unwrap_or_else(|error| vec![error]);
    lines.into_iter().map(|line| format!("the runtime printed: {line}")).collect()
}
