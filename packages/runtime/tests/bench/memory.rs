//! Memory of processes.

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::host::{Host, script};
use crate::report;

/// What runtime and shim use while nothing happens.
pub(crate) fn idle(tokio: &Runtime, host: &Host) {
    let process = host.process();
    report("runtime, idle, RSS", kilobytes(process, "VmRSS"), "KiB");
    tokio.block_on(async {
        let mut client = host.client().await;
        let request = cri::RunPodSandboxRequest { config: Some(host.pod("idle")), ..Default::default() };
        let pod = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(script("idle", "sleep 1000")),
            sandbox_config: None,
        };
        let container_id = client.create_container(request).await.unwrap().into_inner().container_id;
        client.start_container(cri::StartContainerRequest { container_id }).await.unwrap();
        let shim = shim(host, &pod);
        report("shim of a pod with a container, RSS", kilobytes(shim, "VmRSS"), "KiB");
        report("shim of a pod with a container, private", private(shim), "KiB");
        report("runtime with a pod, RSS", kilobytes(process, "VmRSS"), "KiB");
        client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: pod }).await.unwrap();
    });
}

/// The process of a pod's shim.
fn shim(host: &Host, pod: &str) -> u32 {
    let folder = host.path("run/pods").join(pod).display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_shim = |process: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
        line.contains("runtime-shim\0serve\0") && line.contains(&folder)
    };
    numbers.find(is_shim).unwrap()
}

/// A figure of `/proc/PID/status`.
pub(crate) fn kilobytes(process: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Memory that no other process shares.
fn private(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
    let figures = text.lines().filter(|line| line.starts_with("Private_"));
    figures.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}
