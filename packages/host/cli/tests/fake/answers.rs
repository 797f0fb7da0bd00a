//! What the hosts answer: the same for all of them but for their names.

use lepton_host_api::roles::Role;
use lepton_host_api::v1 as api;

use super::{Caller, now};

/// 2026-11-30T08:00:00Z.
const MORNING: i64 = 1_796_025_600_000;

fn last(name: &str) -> &str {
    name.rsplit('-').next().unwrap_or_default()
}

pub(crate) fn version(name: &str, caller: &Caller) -> api::VersionResponse {
    let role = match caller.role {
        Some(Role::Reader) => api::Role::Reader,
        Some(Role::Operator) => api::Role::Operator,
        Some(Role::Admin) => api::Role::Admin,
        None => api::Role::Unspecified,
    };
    api::VersionResponse {
        image: "node".into(),
        image_version: "0.1.0".into(),
        arch: "x86_64".into(),
        kernel: "6.18.1".into(),
        service_version: "0.1.0".into(),
        hostname: name.into(),
        host_id: format!("spiffe://lab.example.org/host/{name}"),
        caller: caller.id.clone(),
        role: role.into(),
    }
}

pub(crate) fn status(name: &str) -> api::StatusResponse {
    api::StatusResponse {
        image: "node".into(),
        image_version: "0.1.0".into(),
        arch: "x86_64".into(),
        kernel: "6.18.1".into(),
        phase: api::Phase::Ready.into(),
        uptime_ms: 3_725_000,
        ready_ms: Some(1085),
        hostname: name.into(),
        addresses: vec![format!("192.0.2.1{}", last(name))],
        state: Some(api::StateStorage { device: Some("/dev/vda2".into()), filesystem: "ext4".into() }),
        config_sources: vec!["image".into(), "applied".into()],
        config_errors: Vec::new(),
        memory: Some(api::Memory { total_bytes: 2 << 30, used_bytes: 127 << 20 }),
        services: services(),
        boot_id: "7e8c0d5e-3f0c-4b7e-9d52-6c1f3a8b9e10".into(),
    }
}

pub(crate) fn services() -> Vec<api::Service> {
    let service = |name: &str, text: &str, pid: u32, mib: u64| api::Service {
        name: name.into(),
        state: api::ServiceState::Ready.into(),
        text: Some(text.into()).filter(|text: &String| !text.is_empty()),
        pid: Some(pid),
        starts: 1,
        for_ms: 3_720_000,
        memory_bytes: Some(mib << 20),
        tasks: Some(1),
        ..Default::default()
    };
    vec![
        service("network", "eth0: 192.0.2.10/24 by DHCP", 71, 3),
        service("runtime", "2 containers", 75, 21),
        service("host", "", 80, 6),
    ]
}

pub(crate) fn events() -> Vec<api::EventsResponse> {
    let runtime = |state: api::ServiceState| {
        services().into_iter().find(|service| service.name == "runtime").map(|service| api::Service {
            state: state.into(),
            text: None,
            ..service
        })
    };
    let change = |time, before: api::ServiceState, now| api::EventsResponse {
        time_unix_ms: time,
        changes: vec![api::ServiceChange { before: before.into(), service: runtime(now) }],
        lost: 0,
    };
    vec![
        change(MORNING, api::ServiceState::Unspecified, api::ServiceState::Ready),
        change(MORNING + 2000, api::ServiceState::Ready, api::ServiceState::Stopping),
        api::EventsResponse {
            lost: 5,
            ..change(MORNING + 9000, api::ServiceState::Unspecified, api::ServiceState::Ready)
        },
    ]
}

pub(crate) fn logs(
    whose: &str,
    tail: Option<u32>,
    since_unix_ms: Option<i64>,
    after: Option<u64>,
) -> Vec<api::LogsResponse> {
    let line = |number: i64| api::LogLine {
        time_unix_ms: MORNING + number * 1000,
        text: format!("{whose}: line {number}\u{1b}[31m"),
        stream: 0,
        number: u64::try_from(number).ok(),
    };
    // Another one has come when somebody asks again.
    let all: Vec<_> = (1..=after.map_or(3, |_| 4))
        .map(line)
        .filter(|line| after.is_none_or(|after| line.number > Some(after)))
        .filter(|line| since_unix_ms.is_none_or(|since| line.time_unix_ms >= since))
        .collect();
    let skip = tail.map_or(0, |tail| all.len().saturating_sub(usize::try_from(tail).unwrap()));
    vec![api::LogsResponse { lines: all[skip..].to_vec(), boot_id: "b-1".into() }]
}

pub(crate) fn dmesg() -> Vec<api::DmesgResponse> {
    let message = |uptime_ms: u64, text: &str| api::KernelMessage {
        time_unix_ms: MORNING,
        uptime_ms,
        text: text.into(),
        number: uptime_ms,
    };
    vec![api::DmesgResponse {
        messages: vec![message(0, "Linux version 6.18.1"), message(1085, "lepton: ready")],
        boot_id: "b-1".into(),
    }]
}

pub(crate) fn top() -> api::TopResponse {
    api::TopResponse {
        time_unix_ms: MORNING,
        host: Some(api::HostFigures {
            processors: 2,
            cpu_permille: 314,
            load_centi: vec![5, 120, 0],
            memory_total_bytes: 2 << 30,
            memory_used_bytes: 127 << 20,
            read_bytes_per_s: 0,
            write_bytes_per_s: 4096,
            tasks: 90,
        }),
        units: vec![api::UnitFigures {
            kind: api::UnitKind::Container.into(),
            name: "app".into(),
            pod: "default/web".into(),
            id: "3f2a".into(),
            cpu_permille: 250,
            cpu_ms: 61_000,
            memory_bytes: Some(5 << 20),
            memory_max_bytes: Some(64 << 20),
            tasks: Some(3),
            ..Default::default()
        }],
    }
}

pub(crate) fn processes() -> api::ProcessesResponse {
    let process = api::Process {
        pid: 80,
        parent: 1,
        state: "S".into(),
        threads: 1,
        memory_bytes: 6 << 20,
        cpu_ms: 1200,
        start_unix_ms: MORNING,
        name: "lepton-host".into(),
        command: "/usr/bin/lepton-host".into(),
        service: "host".into(),
        ..Default::default()
    };
    api::ProcessesResponse { processes: vec![process] }
}

pub(crate) fn network(name: &str) -> api::NetworkResponse {
    api::NetworkResponse {
        hostname: name.into(),
        links: vec![api::Link {
            index: 2,
            name: "eth0".into(),
            mac: "52:54:00:12:34:56".into(),
            up: true,
            carrier: true,
            mtu_bytes: 1500,
            addresses: vec![api::Address {
                address: format!("192.0.2.1{}/24", last(name)),
                origin: "dhcp".into(),
                state: String::new(),
            }],
            received_bytes: 3 << 20,
            sent_bytes: 1 << 20,
            ..Default::default()
        }],
        routes: vec![api::Route {
            destination: "0.0.0.0/0".into(),
            gateway: "192.0.2.1".into(),
            link: "eth0".into(),
            metric: 100,
        }],
        dns: vec!["192.0.2.53".into()],
        search: Vec::new(),
        sockets: vec![api::Socket {
            protocol: "tcp".into(),
            address: "[::]:7443".into(),
            pid: Some(80),
            process: "lepton-host".into(),
            service: "host".into(),
        }],
        errors: Vec::new(),
    }
}

pub(crate) fn time() -> api::TimeResponse {
    api::TimeResponse {
        time_unix_ms: MORNING,
        uptime_ms: 3_725_000,
        synchronized: true,
        servers: 4,
        answering: 4,
        stratum: Some(2),
        offset_us: Some(-1250),
    }
}

pub(crate) fn disks() -> api::DisksResponse {
    let partition = |number: u32, label: &str, gib: u64| api::Partition {
        number,
        device: format!("/dev/vda{number}"),
        label: label.into(),
        size_bytes: gib << 30,
    };
    let disk = api::Disk {
        name: "vda".into(),
        device: "/dev/vda".into(),
        size_bytes: 8 << 30,
        sector_bytes: 512,
        serial: "disk1".into(),
        partitions: vec![partition(1, "ESP", 1), partition(2, "state", 7)],
        ..Default::default()
    };
    api::DisksResponse { disks: vec![disk] }
}

pub(crate) fn mounts() -> api::MountsResponse {
    let mount = api::Mount {
        target: "/var".into(),
        source: "/dev/vda2".into(),
        filesystem: "ext4".into(),
        options: vec!["rw".into(), "nosuid".into(), "nodev".into()],
        size_bytes: Some(7 << 30),
        used_bytes: Some(1 << 30),
        available_bytes: Some(6 << 30),
        available_files: None,
    };
    api::MountsResponse { mounts: vec![mount] }
}

pub(crate) fn config(
    name: &str,
    revision: String,
    trial: Option<api::ConfigTrial>,
) -> api::GetConfigResponse {
    api::GetConfigResponse {
        effective: format!("hostname = \"{name}\"\n"),
        revision,
        sources: vec!["image".into(), "applied".into()],
        applied: Some(format!("hostname = \"{name}\"\n")),
        trial,
        errors: Vec::new(),
        persistent: true,
    }
}

pub(crate) fn differences(name: &str, text: &str) -> Vec<api::ConfigDifference> {
    let new = text.trim().strip_prefix("hostname = ").map(str::to_owned);
    let hostname = api::ConfigDifference {
        key: "hostname".into(),
        old: Some(format!("\"{name}\"")),
        new,
        effect: api::ConfigEffect::Live.into(),
        ..Default::default()
    };
    vec![hostname]
}

pub(crate) fn problems(text: &str) -> Vec<api::ConfigProblem> {
    let is_wrong = text.contains("hostnam =");
    let problem = api::ConfigProblem {
        line: 1,
        key: "hostnam".into(),
        message: "there is no key hostnam; did you mean hostname?".into(),
    };
    if is_wrong { vec![problem] } else { Vec::new() }
}

pub(crate) fn pods(name: &str, namespace: &str) -> api::PodsResponse {
    let pod = api::Pod {
        namespace: "default".into(),
        name: format!("web-{name}"),
        uid: "1".into(),
        status: "Running".into(),
        ready: Some(1),
        containers: 1,
        restarts: 0,
        addresses: vec!["10.85.0.4".into()],
        created_unix_ms: Some((now() - 7210) * 1000),
        r#static: true,
    };
    let is_there = namespace.is_empty() || namespace == "default";
    api::PodsResponse { pods: if is_there { vec![pod] } else { Vec::new() } }
}

pub(crate) fn containers(all: bool) -> api::ContainersResponse {
    let container = |id: &str, name: &str, state: api::ContainerState| api::Container {
        id: id.into(),
        name: name.into(),
        pod: "default/web-edge-1".into(),
        image: "registry.example/web:1".into(),
        state: state.into(),
        created_unix_ms: (now() - 7210) * 1000,
        attempt: 0,
    };
    let mut containers = vec![container("3f2a91c0d4e5f6a7", "app", api::ContainerState::Running)];
    if all {
        containers.push(container("77c1020304050607", "init", api::ContainerState::Exited));
    }
    api::ContainersResponse { containers }
}

pub(crate) fn images() -> api::ImagesResponse {
    let image = api::Image {
        id: "sha256:9c7a54a9a43c5b2e".into(),
        tags: vec!["registry.example/web:1".into()],
        digests: Vec::new(),
        size_bytes: 21 << 20,
        pinned: false,
    };
    api::ImagesResponse { images: vec![image] }
}
