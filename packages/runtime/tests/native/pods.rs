//! Pods.

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::host::{Host, script};

pub(crate) const ALL: &[Scenario] = &[
    ("a_pod_comes_and_goes", comes_and_goes),
    ("a_pod_with_a_network", network),
    ("pids_are_shared", pids),
    ("users_of_a_pod_are_mapped", users),
    ("resources_of_a_pod_change", resources),
];

fn comes_and_goes(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let request = cri::RunPodSandboxRequest { config: Some(host.pod("one")), ..Default::default() };
        let id = client.run_pod_sandbox(request.clone()).await.unwrap().into_inner().pod_sandbox_id;
        let again = client.run_pod_sandbox(request).await.unwrap_err();
        assert_eq!(again.code(), tonic::Code::AlreadyExists);
        let status = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true };
        let status = client.pod_sandbox_status(status).await.unwrap().into_inner();
        assert_eq!(status.status.unwrap().state(), cri::PodSandboxState::SandboxReady);
        assert!(status.info.contains_key("info"));
        for _ in 0..2 {
            client.stop_pod_sandbox(cri::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await.unwrap();
        }
        let list = client.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await.unwrap().into_inner();
        assert_eq!(list.items[0].state(), cri::PodSandboxState::SandboxNotready);
        for _ in 0..2 {
            client
                .remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: id.clone() })
                .await
                .unwrap();
        }
        let list = client.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await.unwrap().into_inner();
        assert!(list.items.is_empty());
        assert!(!host.path("run/pods").join(&id).exists());
        assert!(!host.path("state/pods").join(&id).exists());
    });
}

fn network(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let mut config = host.pod("net");
        let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
        config.hostname = "pod-host".to_owned();
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let refused = client.run_pod_sandbox(request.clone()).await.unwrap_err();
        assert!(refused.message().contains("no network configuration"), "{refused}");
        let status = client.status(cri::StatusRequest::default()).await.unwrap().into_inner().status.unwrap();
        assert!(!status.conditions[1].status);
        assert_eq!(status.conditions[1].reason, "NetworkPluginNotReady");
        assert!(crate::host::left_of(host, "run/pods").is_empty());
        if !host.plugins() {
            println!("  without CNI plugins, only their absence is tried (LEPTON_TEST_CNI)");
            return;
        }
        write_network(host, "test", "10.77.0.0/24");
        let id = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let status = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false };
        let status = client.pod_sandbox_status(status).await.unwrap().into_inner().status.unwrap();
        let network = status.network.unwrap();
        assert!(network.ip.starts_with("10.77.0."), "{network:?}");
        assert!(network.additional_ips[0].ip.starts_with("fd77::"), "{network:?}");
        let mut config = script("a", "hostname; ip addr show dev eth0; cat /etc/hosts");
        config
            .linux
            .as_mut()
            .unwrap()
            .security_context
            .as_mut()
            .unwrap()
            .namespace_options
            .as_mut()
            .unwrap()
            .set_network(cri::NamespaceMode::Pod);
        let (code, log) = crate::containers::run(host, &mut client, &id, config).await;
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("pod-host") && log.contains(&network.ip), "{log}");
        client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: id }).await.unwrap();
        std::fs::remove_file(host.path("cni/10-test.conflist")).unwrap();
        let leases = crate::host::left_of(host, "ipam/test");
        assert!(!leases.iter().any(|name| name.starts_with("10.")), "{leases:?}");
    });
}

/// A bridge with addresses of both families.
pub(crate) fn write_network(host: &Host, name: &str, subnet: &str) {
    let list = serde_json::json!({"cniVersion": "1.0.0", "name": name, "plugins": [
        {"type": "bridge", "bridge": format!("cni-{name}"), "isGateway": true, "ipMasq": false,
         "ipam": {"type": "host-local", "dataDir": host.path("ipam"), "ranges": [[{"subnet": subnet}],
            [{"subnet": "fd77::/64"}]]}}]});
    std::fs::write(host.path(&format!("cni/10-{name}.conflist")), list.to_string()).unwrap();
}

fn users(tokio: &Runtime, host: &mut Host) {
    if !host.plugins() {
        println!(
            "  left out: a user namespace takes a network of its own, and there are no plugins (LEPTON_TEST_CNI)"
        );
        return;
    }
    write_network(host, "users", "10.79.0.0/24");
    let volume = host.path("volume");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("of-root"), "").unwrap();
    let map = cri::IdMapping { host_id: 200_000, container_id: 0, length: 65_536 };
    let mut user = cri::UserNamespace { uids: vec![map], gids: vec![map], ..Default::default() };
    user.set_mode(cri::NamespaceMode::Pod);
    let options = cri::NamespaceOption {
        network: cri::NamespaceMode::Pod.into(),
        pid: cri::NamespaceMode::Container.into(),
        userns_options: Some(user),
        ..Default::default()
    };
    let mut config = host.pod("users");
    config.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options =
        Some(options.clone());
    tokio.block_on(async {
        let mut client = host.client().await;
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let pod = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let text = "cat /proc/self/uid_map; id -u; echo x > /new && stat -c 'new %u' /new; stat -c 'old %u' /bin/busybox; \
            stat -c 'volume %u' /volume/of-root; echo y > /volume/made; stat -c 'shm %u' /dev/shm; \
            stat -c 'hosts %u' /etc/hosts; stat -c 'image %u' /image/old; hostname inside && hostname; mount -t tmpfs x /tmp && echo mounted; \
            echo 1 > /proc/sys/vm/drop_caches || echo no host";
        let mut container = script("a", text);
        container.working_dir = "/made/for/it".to_owned();
        let image = crate::volumes::volume(crate::image::VOLUME, "/image", "data");
        let host_path = volume.display().to_string();
        let folder = cri::Mount { container_path: "/volume".to_owned(), host_path, ..Default::default() };
        container.mounts = vec![folder, image];
        for mount in &mut container.mounts {
            (mount.uid_mappings, mount.gid_mappings) = (vec![map], vec![map]);
        }
        let context = container.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.namespace_options = Some(options);
        context.capabilities = Some(cri::Capability {
            add_capabilities: vec!["SYS_ADMIN".to_owned()],
            ..Default::default()
        });
        context.seccomp.as_mut().unwrap().set_profile_type(cri::security_profile::ProfileType::Unconfined);
        let (code, log) = crate::containers::run(host, &mut client, &pod, container).await;
        assert_eq!(code, 0, "{log}");
        let words: Vec<&str> = log.split_whitespace().collect();
        assert!(words.windows(3).any(|three| three == ["0", "200000", "65536"]), "{log}");
        for expected in ["new 0", "old 0", "volume 0", "shm 0", "hosts 0", "image 0", "inside", "mounted", "no host"] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
        crate::containers::remove(&mut client, pod).await;
    });
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(volume.join("made")).unwrap().uid(), 0, "the volume has the host's owners");
    std::fs::remove_file(host.path("cni/10-users.conflist")).unwrap();
    assert!(crate::host::left_of(host, "run/containers").is_empty());
}

fn pids(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let mut config = host.pod("pids");
        let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.namespace_options.as_mut().unwrap().set_pid(cri::NamespaceMode::Pod);
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let id = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let shared = |name: &str, text: &str| {
            let mut config = script(name, text);
            let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
            context.namespace_options.as_mut().unwrap().set_pid(cri::NamespaceMode::Pod);
            config
        };
        let sleeping = crate::containers::start(&mut client, &id, shared("sleeps", "sleep 4321")).await;
        let (code, log) = crate::containers::run(
            host,
            &mut client,
            &id,
            shared("looks", "cat /proc/*/cmdline; echo; echo $$"),
        )
        .await;
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("4321"), "{log}");
        client
            .stop_container(cri::StopContainerRequest { container_id: sleeping, timeout: 0 })
            .await
            .unwrap();
        client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: id }).await.unwrap();
    });
}

fn resources(tokio: &Runtime, host: &mut Host) {
    let of = |cpu_shares| {
        Some(cri::LinuxContainerResources {
            cpu_shares,
            unified: [("memory.high".to_owned(), "9".to_owned())].into(),
            ..Default::default()
        })
    };
    let id = tokio.block_on(async {
        let mut client = host.client().await;
        let mut config = host.pod("resources");
        config.linux.as_mut().unwrap().overhead = of(2);
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let id = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let update = cri::UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: id.clone(),
            overhead: None,
            resources: of(512),
        };
        client.update_pod_sandbox_resources(update).await.unwrap();
        let missing =
            cri::UpdatePodSandboxResourcesRequest { pod_sandbox_id: "none".to_owned(), ..Default::default() };
        let refused = client.update_pod_sandbox_resources(missing).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        id
    });
    // It is written down.
    host.kill();
    host.start();
    tokio.block_on(async {
        let mut client = host.client().await;
        let status = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: true };
        let info = client.pod_sandbox_status(status).await.unwrap().into_inner().info;
        let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
        let shown = |shares: i64| serde_json::json!({"cpu_shares": shares, "unified": {"memory.high": "9"}});
        assert_eq!((&info["overhead"], &info["resources"]), (&shown(2), &shown(512)));
        crate::containers::remove(&mut client, id).await;
    });
}
