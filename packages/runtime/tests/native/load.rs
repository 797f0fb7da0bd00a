//! The runtime is killed again and again while clients make, pull, run, exec and remove: nothing that it promised is
//! lost, nothing is started twice, and nothing is left in the end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use lepton_cri::v1::image_service_client::ImageServiceClient;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use crate::Scenario;
use crate::containers::{pod, remove, start, status};
use crate::content::{Content, layer};
use crate::host::{Client, Host, LIMIT, left_of, runtime_client, script};

pub(crate) const ALL: &[Scenario] = &[("killed_under_load", killed)];

/// Kills, unless `LEPTON_TEST_KILLS` says otherwise.
const KILLS: usize = 50;
/// Clients that work at the same time.
const CLIENTS: usize = 3;
/// Between two kills at most, in milliseconds.
const APART_MS: u64 = 700;

/// What clients and the killer share.
#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    rounds: AtomicUsize,
    pulls: AtomicUsize,
    /// Containers whose start was answered with OK and that nobody has asked to stop: the container, and its log.
    started: Mutex<BTreeMap<String, String>>,
}

/// What there is of this test on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Count {
    mounts: usize,
    cgroups: usize,
    links: usize,
    /// Of each shim, its open descriptors.
    shims: Vec<usize>,
    folders: Vec<(&'static str, usize)>,
}

impl Count {
    fn of(host: &Host) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folders = [
            "run/pods",
            "run/containers",
            "run/oci",
            "state/pods",
            "state/containers",
            "state/images/snapshots",
            "state/images/layers",
            "state/images/blobs",
            "ipam/load",
        ];
        Self {
            mounts: mounts.lines().filter(|line| line.contains(&host.path("").display().to_string())).count(),
            cgroups: cgroups(Path::new("/sys/fs/cgroup/pods"))
                + cgroups(Path::new("/sys/fs/cgroup/runtime-shims")),
            links: std::fs::read_dir("/sys/class/net").unwrap().count(),
            shims: shims(host),
            folders: folders
                .map(|folder| (folder, left_of(host, folder).iter().filter(|name| is_counted(name)).count()))
                .to_vec(),
        }
    }
}

impl Count {
    /// Whether there is as much as before. A shim may have fewer descriptors: a connection to it may have been closing then.
    fn is_as(&self, before: &Self) -> bool {
        let fewer = self.shims.iter().zip(&before.shims).all(|(now, before)| now <= before);
        let same = Self { shims: before.shims.clone(), ..self.clone() };
        fewer && self.shims.len() == before.shims.len() && same == *before
    }
}

/// The address plugin's own lock and the last address it gave stay for ever.
fn is_counted(name: &str) -> bool {
    name != "lock" && !name.starts_with("last_reserved_ip")
}

fn cgroups(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).map(|entry| 1 + cgroups(&entry.path())).sum()
}

fn shims(host: &Host) -> Vec<usize> {
    let own = host.path("run").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_shim = |process: &std::path::PathBuf| {
        let line = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        line.split('\0').next().is_some_and(|name| name.ends_with("runtime-shim")) && line.contains(&own)
    };
    processes
        .filter(is_shim)
        .map(|process| std::fs::read_dir(process.join("fd")).map_or(0, Iterator::count))
        .collect()
}

fn killed(tokio: &Runtime, host: &mut Host) {
    let kills = std::env::var("LEPTON_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let registry = registry().serve();
    let config = host.path("config.toml");
    let (name, url) = (registry.host(), registry.url());
    let text = format!(
        "[[registries]]\nhost = {name:?}\nonly-endpoints = true\nendpoints = [{{ url = {url:?} }}]\n"
    );
    std::fs::write(&config, text).unwrap();
    host.options = vec!["--machine-config".to_owned(), config.display().to_string()];
    host.kill();
    host.start();
    if host.plugins() {
        let list = serde_json::json!({"cniVersion": "1.0.0", "name": "load", "plugins": [
            {"type": "bridge", "bridge": "cni-load", "isGateway": true, "ipMasq": false,
             "ipam": {"type": "host-local", "dataDir": host.path("ipam"), "ranges": [[{"subnet": "10.78.0.0/24"}]]}}]});
        std::fs::write(host.path("cni/10-load.conflist"), list.to_string()).unwrap();
        // The bridge itself stays when the first pod is gone.
        tokio.block_on(async {
            let mut client = host.client().await;
            let id = run_pod(&mut client, networked(host.pod("first"))).await.unwrap();
            remove(&mut client, id).await;
        });
    }
    let (kept, pid) = tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "kept").await;
        let id = start(&mut client, &pod, script("kept", "echo started; while :; do sleep 1; done")).await;
        let pid = process(&mut client, &id).await;
        ((pod, id), pid)
    });
    let before = Count::of(host);
    let descriptors = host.descriptors();
    let shared = Arc::new(Shared::default());
    let connect = host.channel();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (shared, connect) = (Arc::clone(&shared), connect.clone());
            let config = host.pod(&format!("load-{number}"));
            let networked = host.plugins() && number == 0;
            std::thread::spawn(move || {
                let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                tokio.block_on(work(number, config, networked, &shared, &connect));
            })
        })
        .collect();
    let puller = {
        let (shared, connect) = (Arc::clone(&shared), connect.clone());
        let image = format!("{}/pulled/image:1", registry.host());
        std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(pull(image, &shared, &connect));
        })
    };
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(random() % APART_MS));
        host.kill();
        host.start();
        tokio.block_on(async {
            let mut client = host.client().await;
            assert_eq!(process(&mut client, &kept.1).await, pid, "after kill {kill}");
        });
    }
    shared.over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    puller.join().unwrap();
    let rounds = shared.rounds.load(Ordering::Relaxed);
    let pulls = shared.pulls.load(Ordering::Relaxed);
    println!("  {kills} kills, {rounds} pods and {pulls} pulled images came and went");
    assert!(pulls > 0, "nothing was pulled");
    assert!(rounds >= kills / 10, "the clients came to nothing");
    tokio.block_on(async {
        let mut client = host.client().await;
        let list = client.list_containers(cri::ListContainersRequest::default()).await.unwrap().into_inner();
        for (id, log) in shared.started.lock().unwrap().iter() {
            assert!(
                list.containers.iter().any(|container| container.id == *id),
                "container {id} ({log}) is lost"
            );
        }
        for log in left_of(host, "logs") {
            let text = std::fs::read_to_string(host.path("logs").join(&log)).unwrap_or_default();
            let starts = text.lines().filter(|line| line.ends_with(" started")).count();
            assert!(starts <= 1, "{log}: started {starts} times");
        }
        for log in shared.started.lock().unwrap().values() {
            let text = std::fs::read_to_string(host.path("logs").join(log)).unwrap();
            assert!(text.contains(" started"), "{log}: was started, and did not run");
        }
        // What was made while nobody could be told.
        let pods = client.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await.unwrap().into_inner();
        for other in pods.items.into_iter().filter(|other| other.id != kept.0) {
            remove(&mut client, other.id).await;
        }
    });
    host.kill();
    host.start();
    // The kernel takes network namespaces apart in the background.
    let begin = Instant::now();
    while !Count::of(host).is_as(&before) && begin.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    let after = Count::of(host);
    assert!(after.is_as(&before), "{after:?}, where {before:?} was");
    // A connection of this test may be closing still.
    while host.descriptors() > descriptors && begin.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(host.descriptors() <= descriptors, "file descriptors of the runtime");
    tokio.block_on(async {
        let mut client = host.client().await;
        assert_eq!(process(&mut client, &kept.1).await, pid);
        remove(&mut client, kept.0.clone()).await;
    });
    let _ = std::fs::remove_file(host.path("cni/10-load.conflist"));
}

/// A registry whose image has two layers of some megabytes.
fn registry() -> Content {
    let mut content = Content::default();
    let mut layers = Vec::new();
    for name in ["a", "b"] {
        let text: String = (0..100_000).map(|_| format!("{:016x}", random())).collect();
        layers.push(layer(&[(name, &text)]));
    }
    content.add_image("1", &layers);
    content
}

/// One client: an image comes and goes, until it is over; in the end it is gone.
async fn pull(image: String, shared: &Shared, connect: &impl AsyncFn() -> Option<Channel>) {
    let image = Some(cri::ImageSpec { image, ..cri::ImageSpec::default() });
    loop {
        let is_last = shared.over.load(Ordering::Relaxed);
        let Some(channel) = connect().await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut client = ImageServiceClient::new(channel);
        let request = cri::PullImageRequest { image: image.clone(), ..cri::PullImageRequest::default() };
        let pulled = client.pull_image(request).await;
        let removed = client.remove_image(cri::RemoveImageRequest { image: image.clone() }).await;
        if is_last {
            pulled.unwrap();
            removed.unwrap();
            return;
        }
        if pulled.is_ok() && removed.is_ok() {
            shared.pulls.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One client: pods come and go, until it is over.
async fn work(
    number: usize,
    config: cri::PodSandboxConfig,
    is_networked: bool,
    shared: &Shared,
    connect: &impl AsyncFn() -> Option<Channel>,
) {
    let mut round = 0;
    while !shared.over.load(Ordering::Relaxed) {
        round += 1;
        let Some(mut client) = connect().await.map(runtime_client) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let mut config = if is_networked { networked(config.clone()) } else { config.clone() };
        config.metadata.as_mut().unwrap().attempt = round;
        // A call that is cut off is no failure: the end of this test looks at what became of it.
        if turn(&mut client, config, &format!("load-{number}-{round}"), shared).await.is_ok() {
            shared.rounds.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn turn(
    client: &mut Client,
    config: cri::PodSandboxConfig,
    name: &str,
    shared: &Shared,
) -> Result<(), tonic::Status> {
    let pod = run_pod(client, config.clone()).await?;
    let mut container = script(name, "echo started; while :; do sleep 1; done");
    if let Some(options) = config.linux.unwrap().security_context.unwrap().namespace_options {
        container.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options =
            Some(options);
    }
    let log = container.log_path.clone();
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: pod.clone(),
        config: Some(container),
        sandbox_config: None,
    };
    let id = client.create_container(request).await?.into_inner().container_id;
    client.start_container(cri::StartContainerRequest { container_id: id.clone() }).await?;
    shared.started.lock().unwrap().insert(id.clone(), log);
    let order = cri::ExecSyncRequest {
        container_id: id.clone(),
        cmd: ["echo", "hello"].map(str::to_owned).to_vec(),
        timeout: 0,
    };
    let answer = client.exec_sync(order).await?.into_inner();
    assert_eq!((answer.exit_code, answer.stdout.as_slice()), (0, &b"hello\n"[..]));
    shared.started.lock().unwrap().remove(&id);
    client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: pod }).await?;
    Ok(())
}

async fn run_pod(client: &mut Client, config: cri::PodSandboxConfig) -> Result<String, tonic::Status> {
    let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
    Ok(client.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
}

/// With a network of its own.
fn networked(mut config: cri::PodSandboxConfig) -> cri::PodSandboxConfig {
    let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
    config
}

/// The first process of a container that runs.
async fn process(client: &mut Client, id: &str) -> i64 {
    assert_eq!(status(client, id).await.state(), cri::ContainerState::ContainerRunning);
    let request = cri::ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
    let info = client.container_status(request).await.unwrap().into_inner().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
    info["pid"].as_i64().filter(|pid| *pid > 0).unwrap()
}

/// Any number.
fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes)
}
