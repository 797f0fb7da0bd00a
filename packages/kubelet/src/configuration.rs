//! kubelet's configuration and command line. Pure.
//!
//! Defaults of kubelet that are safe stay unsaid; what is said has its reason beside it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use lepton_config::Kubelet;
use lepton_pod_manifest::Settings;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::host::Host;
use crate::places::Places;
use crate::role::Role;

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";
const MAX_PODS: u32 = 250;
/// A fork bomb in one pod leaves the host's other pods theirs.
const POD_PIDS: u32 = 4096;
/// What TLS 1.2 may still use: forward secrecy and authenticated encryption alone. TLS 1.3 has no other.
const CIPHERS: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
];

/// What the configuration is made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) kubelet: &'a Kubelet,
    pub(crate) role: &'a Role,
    pub(crate) host: Host,
    pub(crate) places: &'a Places,
    pub(crate) node_name: &'a str,
}

/// What kubelet is told, and what of it counts for this program, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration {
    /// The file.
    pub(crate) document: Map<String, Value>,
    /// How long its pods may take to end when the host goes down.
    pub(crate) shutdown: Duration,
}

/// The configuration.
pub(crate) fn make(inputs: &Inputs<'_>) -> Result<Configuration, Failure> {
    let Inputs { kubelet, role, host, places, .. } = inputs;
    let is_alone = role.is_alone();
    let reserved = reserved(kubelet, *host);
    let mut document = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "containerRuntimeEndpoint": format!("unix://{}", places.runtime.display()),
        "staticPodPath": places.manifests(),
        // Plugins that people bring go to the one place that can be written and stays.
        "volumePluginDir": places.state.join("volume-plugins"),
        "resolvConf": "/etc/resolv.conf",
        "port": 10250,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": !is_alone },
            "x509": { "clientCAFile": places.client_ca() },
        },
        "tlsMinVersion": "VersionTLS12",
        "tlsCipherSuites": CIPHERS,
        "seccompDefault": true,
        // Else kubelet sets the kernel as it likes; the host has set it already.
        "protectKernelDefaults": host.has_kernel_defaults,
        "maxPods": kubelet.max_pods.map_or(MAX_PODS, lepton_config::MaxPods::get),
        "podPidsLimit": kubelet.pod_pids_max.map_or(POD_PIDS, lepton_config::PodPids::get),
        "kubeReserved": reserved.kube,
        "systemReserved": reserved.system,
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {
            "memory.available": eviction_memory(*host),
            "nodefs.available": "10%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "15%",
            "imagefs.inodesFree": "5%",
            "pid.available": "5%",
        },
        "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80,
        "containerLogMaxSize": "10Mi",
        "containerLogMaxFiles": 5,
        // Clients that stay for good hold what they watch; an hour is kube-bench's bound, too.
        "streamingConnectionIdleTimeout": "1h",
        "eventRecordQPS": 50,
        // Profiles, and flags that change while it runs: nothing here asks for them.
        "enableProfilingHandler": false,
        "enableDebugFlagsHandler": false,
        // kubelet would serve /var/log, and ask journalctl, which is not here.
        "enableSystemLogHandler": false,
        "logging": { "format": "text" },
        "clusterDomain": kubelet.cluster_domain.as_ref().map_or("cluster.local", |domain| domain.as_str()),
        "clusterDNS": kubelet.cluster_dns,
        "registerWithTaints": kubelet.taints.iter().map(taint).collect::<Vec<_>>(),
    });
    let mut map = std::mem::take(document.as_object_mut().expect("it is written above"));
    map.append(&mut if is_alone { alone(places) } else { joined(*host, role) });
    let settings = Settings::parse(kubelet.settings.as_deref());
    let settings =
        settings.map_err(|source| Failure::Config { key: "settings", message: source.to_string() })?;
    let shutdown = settings.shutdown();
    merge(&mut map, settings.into_fields());
    Ok(Configuration { document: map, shutdown })
}

/// Nobody but programs of this host reaches kubelet, and only those with its certificate are heard.
fn alone(places: &Places) -> Map<String, Value> {
    let fields = json!({
        "address": "127.0.0.1",
        // There is no API server that could be asked; the certificate is the permission.
        "authorization": { "mode": "AlwaysAllow" },
        "tlsCertFile": places.run.join("server.pem"),
        "tlsPrivateKeyFile": places.run.join("server.key"),
    });
    fields.as_object().cloned().unwrap_or_default()
}

fn joined(host: Host, role: &Role) -> Map<String, Value> {
    let fields = json!({
        "address": if host.has_ipv6 { "::" } else { "0.0.0.0" },
        "authorization": { "mode": "Webhook" },
        // With it kubelet would show nothing but a certificate, and none of its kubeconfig's credentials.
        "rotateCertificates": role.has_certificate(),
        "serverTLSBootstrap": true,
    });
    fields.as_object().cloned().unwrap_or_default()
}

/// What pods cannot reserve.
struct Reserved {
    kube: Value,
    system: Value,
}

fn reserved(kubelet: &Kubelet, host: Host) -> Reserved {
    // Of the first processor 6 %, of the second 1 %, of the next two half a percent, of others a quarter: what large
    // installations have found kubelet and a runtime to need.
    let default_cpu = 60
        + if host.cpus > 1 { 10 } else { 0 }
        + 5 * host.cpus.saturating_sub(2).min(2)
        + host.cpus.saturating_sub(4) * 5 / 2;
    let cpu = kubelet.reserved_cpu_m.map_or(default_cpu, lepton_config::ReservedCpu::get);
    // Both together use less than 128 MiB with a few pods; more pods come with more memory.
    let default_memory = 128 + (host.memory_mib / 64).min(1024);
    let memory = kubelet.reserved_memory_mib.map_or(default_memory, |given| given.get().into());
    // A figure of the machine config is the whole of it.
    let (system_cpu, system_memory) =
        (kubelet.reserved_cpu_m.map_or("50m", |_| "0"), kubelet.reserved_memory_mib.map_or("64Mi", |_| "0"));
    Reserved {
        kube: json!({ "cpu": format!("{cpu}m"), "memory": format!("{memory}Mi"), "pid": "1000" }),
        system: json!({ "cpu": system_cpu, "memory": system_memory }),
    }
}

/// 100 MiB as kubelet itself has it, less on a host that is smaller than a GiB.
fn eviction_memory(host: Host) -> String {
    format!("{}Mi", (host.memory_mib / 10).clamp(32, 100))
}

fn taint(taint: &lepton_config::Taint) -> Value {
    let parts = taint.parts();
    json!({ "key": parts.key, "value": parts.value, "effect": parts.effect })
}

/// Mappings are merged key by key, anything else is replaced.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// kubelet's arguments: what its file has no field for.
pub(crate) fn arguments(inputs: &Inputs<'_>) -> Vec<OsString> {
    let Inputs { kubelet, role, places, .. } = inputs;
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        arguments.push(argument);
    };
    add("config", places.configuration().into());
    add("root-dir", places.state.clone().into());
    add("cert-dir", places.certificates().into());
    add("hostname-override", inputs.node_name.into());
    if !role.is_alone() {
        add("kubeconfig", places.kubeconfig().into());
        if matches!(role, Role::Token { .. }) {
            add("bootstrap-kubeconfig", places.bootstrap().into());
        }
        let labels = labels(kubelet);
        if !labels.is_empty() {
            let list: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            add("node-labels", list.join(",").into());
        }
        if !kubelet.node_ips.is_empty() {
            let list: Vec<String> = kubelet.node_ips.iter().map(ToString::to_string).collect();
            add("node-ip", list.join(",").into());
        }
    }
    arguments
}

fn labels(kubelet: &Kubelet) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> =
        kubelet.labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    for (name, value) in [("zone", &kubelet.zone), ("region", &kubelet.region)] {
        if let Some(value) = value {
            labels.insert(format!("topology.kubernetes.io/{name}"), value.to_string());
        }
    }
    labels
}

#[cfg(test)]
mod tests;
