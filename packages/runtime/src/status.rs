//! Pods and containers as CRI shows them. It must not change anything.

use std::collections::BTreeMap;

use lepton_cri::v1::{
    Container as ShownContainer, ContainerFilter, ContainerResources, ContainerStatus, ContainerUser,
    ImageSpec, LinuxContainerResources, LinuxPodSandboxStatus, Namespace, PodIp, PodSandbox,
    PodSandboxFilter, PodSandboxNetworkStatus, PodSandboxStatus,
};

use crate::container::{Container, Life};
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::signals;

/// The exit code of a container whose end nobody saw.
const UNKNOWN: i32 = 255;

/// The whole status of a pod.
pub(crate) fn of_sandbox(sandbox: &Sandbox) -> PodSandboxStatus {
    let record = sandbox.record();
    let mut addresses = record.addresses.into_iter();
    PodSandboxStatus {
        id: record.id,
        metadata: Some(sandbox.metadata()),
        state: sandbox.state().into(),
        created_at: record.created_at,
        network: Some(PodSandboxNetworkStatus {
            ip: addresses.next().unwrap_or_default(),
            additional_ips: addresses.map(|ip| PodIp { ip }).collect(),
        }),
        linux: Some(LinuxPodSandboxStatus {
            namespaces: Some(Namespace { options: Some(sandbox.namespaces()) }),
        }),
        labels: sandbox.labels(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: record.handler,
    }
}

/// Resources in the words of CRI, for people; what is not limited is left out.
pub(crate) fn resources(resources: &LinuxContainerResources) -> serde_json::Value {
    let numbers = [
        ("cpu_period", resources.cpu_period),
        ("cpu_quota", resources.cpu_quota),
        ("cpu_shares", resources.cpu_shares),
        ("memory_limit_in_bytes", resources.memory_limit_in_bytes),
        ("memory_swap_limit_in_bytes", resources.memory_swap_limit_in_bytes),
        ("oom_score_adj", resources.oom_score_adj),
    ];
    let numbers = numbers.into_iter().filter(|(_, number)| *number != 0);
    let words = [("cpuset_cpus", &resources.cpuset_cpus), ("cpuset_mems", &resources.cpuset_mems)];
    let words = words.into_iter().filter(|(_, word)| !word.is_empty());
    let mut shown: serde_json::Map<String, serde_json::Value> =
        numbers.map(|(name, number)| (name.to_owned(), number.into())).collect();
    shown.extend(words.map(|(name, word)| (name.to_owned(), word.as_str().into())));
    let pages = resources.hugepage_limits.iter().map(|page| (page.page_size.clone(), page.limit));
    for (name, more) in [
        ("hugepage_limits", serde_json::json!(pages.collect::<BTreeMap<_, _>>())),
        ("unified", serde_json::json!(resources.unified)),
    ] {
        if more.as_object().is_some_and(|more| !more.is_empty()) {
            shown.insert(name.to_owned(), more);
        }
    }
    shown.into()
}

/// A pod in a list.
pub(crate) fn short_sandbox(sandbox: &Sandbox) -> PodSandbox {
    let record = sandbox.record();
    PodSandbox {
        id: record.id,
        metadata: Some(sandbox.metadata()),
        state: sandbox.state().into(),
        created_at: record.created_at,
        labels: sandbox.labels(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: record.handler,
    }
}

/// The whole status of a container.
pub(crate) fn of_container(runtime: &Runtime, container: &Container) -> ContainerStatus {
    let record = container.record();
    let config = container.config();
    let life = container.life();
    let (finished_at, exit_code, reason, message) = match &life {
        Life::Created | Life::Running => (0, 0, "", String::new()),
        Life::Exited(Some(exit), message) => {
            let reason = match exit.code {
                _ if exit.oom && exit.code != 0 => "OOMKilled",
                0 => "Completed",
                _ => "Error",
            };
            (exit.at_ns, exit.code, reason, message.clone().unwrap_or_default())
        }
        Life::Exited(None, message) => {
            (record.created_at, UNKNOWN, "Unknown", message.clone().unwrap_or_default())
        }
    };
    let resources = config.linux.as_ref().and_then(|linux| linux.resources.clone());
    ContainerStatus {
        id: record.id.clone(),
        metadata: Some(container.metadata()),
        state: life.state().into(),
        created_at: record.created_at,
        started_at: record.started_at,
        finished_at,
        exit_code,
        image: Some(image(runtime, container)),
        image_ref: record.image_ref.clone(),
        image_id: record.image.clone(),
        reason: reason.to_owned(),
        message,
        labels: config.labels,
        annotations: config.annotations,
        mounts: config.mounts,
        log_path: record.log.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        resources: resources.map(|linux| ContainerResources { linux: Some(linux), windows: None }),
        user: Some(ContainerUser { linux: Some(record.user.shown()) }),
        stop_signal: signals::to_cri(record.stop_signal).into(),
    }
}

/// A container in a list.
pub(crate) fn short_container(runtime: &Runtime, container: &Container) -> ShownContainer {
    let record = container.record();
    let config = container.config();
    ShownContainer {
        id: record.id.clone(),
        pod_sandbox_id: record.sandbox.clone(),
        metadata: Some(container.metadata()),
        image: Some(image(runtime, container)),
        image_ref: record.image_ref.clone(),
        image_id: record.image.clone(),
        state: container.life().state().into(),
        created_at: record.created_at,
        labels: config.labels,
        annotations: config.annotations,
    }
}

/// The image by a name that people know, as long as it has one.
pub(crate) fn image(runtime: &Runtime, container: &Container) -> ImageSpec {
    let wanted = container.config().image.unwrap_or_default();
    let known = runtime.images.get(&container.record().image).ok();
    let name = known.and_then(|image| image.repo_tags.first().cloned());
    ImageSpec { image: name.unwrap_or_else(|| wanted.image.clone()), ..wanted }
}

/// Whether all wanted labels are there.
pub(crate) fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a pod is one of those that are asked for.
pub(crate) fn fits_sandbox(sandbox: &Sandbox, filter: Option<&PodSandboxFilter>) -> bool {
    filter.is_none_or(|filter| {
        sandbox.id().starts_with(&filter.id)
            && filter.state.as_ref().is_none_or(|state| state.state() == sandbox.state())
            && has_labels(&sandbox.labels(), &filter.label_selector)
    })
}

/// Whether a container is one of those that are asked for.
pub(crate) fn fits_container(container: &Container, filter: Option<&ContainerFilter>) -> bool {
    filter.is_none_or(|filter| {
        let record = container.record();
        record.id.starts_with(&filter.id)
            && record.sandbox.starts_with(&filter.pod_sandbox_id)
            && filter.state.as_ref().is_none_or(|state| state.state() == container.life().state())
            && has_labels(&container.config().labels, &filter.label_selector)
    })
}
