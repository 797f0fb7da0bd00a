//! Create, start and delete: through CRI, and by crun and runc of the same bundle without CRI.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::host::{Client, Host, script};
use crate::others::Others;
use crate::{median, report};

/// Rounds of each; they take turns, so that a busy host is equally busy for all.
const ROUNDS: usize = 51;

/// Measures them all.
pub(crate) fn compare(tokio: &Runtime, host: &Host, programs: &Others) {
    let others = ["crun", "runc"];
    tokio.block_on(async {
        let mut client = host.client().await;
        let request = cri::RunPodSandboxRequest { config: Some(host.pod("bench")), ..Default::default() };
        let pod = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let bundle = bundle(host, &mut client, &pod).await;
        let mut ours = Vec::new();
        let mut steps = [Vec::new(), Vec::new(), Vec::new()];
        let mut theirs: Vec<Vec<Duration>> = others.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            let times = through_cri(&mut client, &pod, round).await;
            ours.push(times.iter().sum());
            for (step, time) in steps.iter_mut().zip(times) {
                step.push(time);
            }
            for (name, times) in others.iter().zip(&mut theirs) {
                times.push(directly(host, programs, name, &bundle, round));
            }
        }
        client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: pod }).await.unwrap();
        report("create, start, delete: lepton, through CRI", median(ours), "µs");
        for (name, step) in ["CreateContainer", "StartContainer", "RemoveContainer"].into_iter().zip(steps) {
            report(&format!("  {name}"), median(step), "µs");
        }
        for (name, times) in others.iter().zip(theirs) {
            report(&format!("create, start, delete: {name}, without CRI"), median(times), "µs");
        }
    });
}

async fn through_cri(client: &mut Client, pod: &str, round: usize) -> [Duration; 3] {
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(script(&format!("bench-{round}"), "sleep 1000")),
        sandbox_config: None,
    };
    let begin = Instant::now();
    let container_id = client.create_container(request).await.unwrap().into_inner().container_id;
    let created = begin.elapsed();
    client.start_container(cri::StartContainerRequest { container_id: container_id.clone() }).await.unwrap();
    let started = begin.elapsed();
    client.remove_container(cri::RemoveContainerRequest { container_id }).await.unwrap();
    [created, started - created, begin.elapsed() - started]
}

/// The same container as a bundle for others: the configuration that the runtime made, with a root of its own.
async fn bundle(host: &Host, client: &mut Client, pod: &str) -> PathBuf {
    let bundle = host.path("bundle");
    std::fs::create_dir_all(&bundle).unwrap();
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(script("bundle", "sleep 1000")),
        sandbox_config: None,
    };
    let container_id = client.create_container(request).await.unwrap().into_inner().container_id;
    let request = cri::ContainerStatusRequest { container_id: container_id.clone(), verbose: true };
    let info = client.container_status(request).await.unwrap().into_inner().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
    let mut spec = info["runtimeSpec"].clone();
    // They control devices by a BPF program with a raised limit of locked memory, which not every host lets them do.
    spec["linux"]["resources"] = serde_json::json!({});
    // Older programs refuse newer numbers of the specification.
    spec["ociVersion"] = "1.0.2".into();
    let root = bundle.join("rootfs");
    copy(Path::new(spec["root"]["path"].as_str().unwrap()), &root);
    spec["root"]["path"] = root.display().to_string().into();
    std::fs::write(bundle.join("config.json"), spec.to_string()).unwrap();
    client.remove_container(cri::RemoveContainerRequest { container_id }).await.unwrap();
    bundle
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (kind, target) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
    let mode = std::fs::metadata(from).unwrap().permissions().mode();
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn directly(host: &Host, programs: &Others, name: &str, bundle: &Path, round: usize) -> Duration {
    let root = host.path("run").join(name);
    let id = format!("bench-{round}");
    let log = host.path("run/other.log");
    let run = |words: &[&str]| {
        let errors = std::fs::File::create(&log).unwrap();
        // The container keeps these open: nobody reads them, as with a shim's pipes that stay empty.
        let mut child = programs.spawn(name, |command| {
            command.arg("--root").arg(&root).args(words).arg(&id);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        });
        let status = child.wait().unwrap();
        assert!(status.success(), "{name} {words:?}: {}", std::fs::read_to_string(&log).unwrap());
    };
    let begin = Instant::now();
    run(&["create", "--bundle", bundle.to_str().unwrap()]);
    run(&["start"]);
    run(&["delete", "--force"]);
    begin.elapsed()
}
