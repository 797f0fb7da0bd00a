//! Metrics: under the names that monitoring looks for, with a value for each that this machine's kernel tells.

use std::collections::{BTreeMap, BTreeSet};

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::containers::{logged, pod, remove, start, status};
use crate::host::{Client, Host, script};

pub(crate) const ALL: &[Scenario] = &[("metrics", metrics)];

/// What is there on every kernel with cgroup v2.
const ALWAYS: [&str; 17] = [
    "container_cpu_system_seconds_total",
    "container_cpu_usage_seconds_total",
    "container_cpu_user_seconds_total",
    "container_file_descriptors",
    "container_fs_inodes_free",
    "container_fs_inodes_total",
    "container_fs_limit_bytes",
    "container_fs_usage_bytes",
    "container_last_seen",
    "container_processes",
    "container_sockets",
    "container_start_time_seconds",
    "container_threads",
    "container_ulimits_soft",
    "container_pressure_cpu_waiting_seconds_total",
    "container_pressure_memory_waiting_seconds_total",
    "container_pressure_io_waiting_seconds_total",
];
/// What a memory controller adds.
const MEMORY: [&str; 9] = [
    "container_memory_cache",
    "container_memory_failcnt",
    "container_memory_failures_total",
    "container_memory_kernel_usage",
    "container_memory_max_usage_bytes",
    "container_memory_usage_bytes",
    "container_memory_working_set_bytes",
    "container_oom_events_total",
    "container_spec_memory_limit_bytes",
];
/// What a network of its own adds.
const NETWORK: [&str; 8] = [
    "container_network_receive_bytes_total",
    "container_network_receive_errors_total",
    "container_network_receive_packets_dropped_total",
    "container_network_receive_packets_total",
    "container_network_transmit_bytes_total",
    "container_network_transmit_errors_total",
    "container_network_transmit_packets_dropped_total",
    "container_network_transmit_packets_total",
];

async fn list(client: &mut Client) -> Vec<cri::PodSandboxMetrics> {
    let request = cri::ListPodSandboxMetricsRequest {};
    client.list_pod_sandbox_metrics(request).await.unwrap().into_inner().pod_metrics
}

/// The label keys of every name.
async fn descriptors(client: &mut Client) -> BTreeMap<String, Vec<String>> {
    let request = cri::ListMetricDescriptorsRequest {};
    let all = client.list_metric_descriptors(request).await.unwrap().into_inner().descriptors;
    assert!(all.iter().all(|descriptor| !descriptor.help.is_empty()));
    all.into_iter().map(|descriptor| (descriptor.name, descriptor.label_keys)).collect()
}

/// Each is known, has a value for each label, and is there once.
fn check(metrics: &[cri::Metric], keys: &BTreeMap<String, Vec<String>>) {
    let mut seen = BTreeSet::new();
    for metric in metrics {
        let keys = keys.get(&metric.name).unwrap_or_else(|| panic!("{} has no descriptor", metric.name));
        assert_eq!(keys.len(), metric.label_values.len(), "{metric:?}");
        assert!(metric.value.is_some() && metric.timestamp == 0, "{metric:?}");
        assert!(seen.insert((&metric.name, &metric.label_values)), "{metric:?} is there twice");
    }
}

fn value(metrics: &[cri::Metric], name: &str) -> u64 {
    let found = metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"));
    found.value.as_ref().unwrap().value
}

fn label<'a>(metrics: &'a [cri::Metric], keys: &BTreeMap<String, Vec<String>>, key: &str) -> &'a str {
    let metric = metrics.iter().find(|metric| metric.name == "container_last_seen").unwrap();
    let place = keys[&metric.name].iter().position(|other| other == key).unwrap();
    &metric.label_values[place]
}

fn metrics(tokio: &Runtime, host: &mut Host) {
    let has_memory = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("memory");
    tokio.block_on(async {
        let mut client = host.client().await;
        let keys = descriptors(&mut client).await;
        for name in ALWAYS.iter().chain(&MEMORY).chain(&NETWORK) {
            assert!(keys.contains_key(*name), "{name}");
        }
        let text = "dd if=/dev/zero of=/tmp/file bs=65536 count=32 2>/dev/null; i=0; \
            while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 1000 & sleep 1000 & echo ready; wait";
        let own = pod(host, &mut client, "metrics").await;
        let id = start(&mut client, &own, script("counted", text)).await;
        logged(host, "counted.log", "ready").await;
        let started = status(&mut client, &id).await.started_at;
        let all = list(&mut client).await;
        let found = all.iter().find(|metrics| metrics.pod_sandbox_id == own).unwrap();
        check(&found.metrics, &keys);
        let [container] = &found.container_metrics[..] else { panic!("{found:?}") };
        let metrics = &container.metrics;
        check(metrics, &keys);
        assert_eq!(container.container_id, id);
        let memory: &[&str] = if has_memory { &MEMORY } else { &[] };
        for name in ALWAYS.iter().chain(memory) {
            value(metrics, name);
        }
        for name in NETWORK {
            // It has the host's, whose counters are not its own.
            assert!(!found.metrics.iter().any(|metric| metric.name == name), "{name}");
        }
        assert_eq!(
            value(metrics, "container_start_time_seconds"),
            u64::try_from(started).unwrap() / 1_000_000_000
        );
        let seen = value(metrics, "container_last_seen");
        assert!(seen - value(metrics, "container_start_time_seconds") < 600);
        assert!(value(metrics, "container_fs_usage_bytes") >= 2 << 20);
        assert!(value(metrics, "container_fs_limit_bytes") > value(metrics, "container_fs_usage_bytes"));
        // A shell and two that sleep, with three streams each.
        assert_eq!(value(metrics, "container_processes"), 3);
        assert_eq!(value(metrics, "container_threads"), 3);
        assert!(value(metrics, "container_file_descriptors") >= 9);
        for (key, wanted) in [
            ("container", "counted"),
            ("image", "test.example/busybox:1"),
            ("name", id.as_str()),
            ("namespace", "default"),
            ("pod", "metrics"),
        ] {
            assert_eq!(label(metrics, &keys, key), wanted);
        }
        assert!(label(metrics, &keys, "id").ends_with(&id));
        assert_eq!(label(&found.metrics, &keys, "container"), "");
        assert_eq!(label(&found.metrics, &keys, "name"), own);

        let request = cri::StreamPodSandboxMetricsRequest {};
        let mut stream = client.stream_pod_sandbox_metrics(request).await.unwrap().into_inner();
        let mut streamed = Vec::new();
        while let Some(part) = stream.message().await.unwrap() {
            streamed.extend(part.pod_sandbox_metrics.into_iter().map(|metrics| metrics.pod_sandbox_id));
        }
        assert_eq!(streamed, [own.as_str()]);
        client.stop_pod_sandbox(cri::StopPodSandboxRequest { pod_sandbox_id: own.clone() }).await.unwrap();
        assert!(list(&mut client).await.is_empty(), "of a pod that was stopped");
        remove(&mut client, own).await;
        if host.plugins() {
            networked(host, &mut client, &keys).await;
        } else {
            println!("  without CNI plugins, those of networks are not tried (LEPTON_TEST_CNI)");
        }
    });
}

async fn networked(host: &Host, client: &mut Client, keys: &BTreeMap<String, Vec<String>>) {
    crate::pods::write_network(host, "metrics", "10.82.0.0/24");
    let mut config = host.pod("metrics-network");
    let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    context.namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
    let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
    let id = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
    // No container is needed.
    let all = list(client).await;
    check(&all[0].metrics, keys);
    for name in NETWORK {
        let interfaces: Vec<&String> = all[0]
            .metrics
            .iter()
            .filter(|metric| metric.name == name)
            .filter_map(|metric| metric.label_values.last())
            .collect();
        assert_eq!(interfaces, ["eth0"], "{name}");
    }
    remove(client, id).await;
    std::fs::remove_file(host.path("cni/10-metrics.conflist")).unwrap();
}
