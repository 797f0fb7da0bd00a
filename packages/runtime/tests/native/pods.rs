//! Pods.

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::host::{Host, script};

pub(crate) const ALL: &[Scenario] =
    &[("a_pod_comes_and_goes", comes_and_goes), ("a_pod_with_a_network", network), ("pids_are_shared", pids)];

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
        let list = serde_json::json!({"cniVersion": "1.0.0", "name": "test", "plugins": [
            {"type": "bridge", "bridge": "cni-test", "isGateway": true, "ipMasq": false,
             "ipam": {"type": "host-local", "dataDir": host.path("ipam"), "ranges": [[{"subnet": "10.77.0.0/24"}],
                [{"subnet": "fd77::/64"}]]}}]});
        std::fs::write(host.path("cni/10-test.conflist"), list.to_string()).unwrap();
        let id = client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id;
        let status = cri::PodSandboxStatusRequest { pod_sandbox_id: id.clone(), verbose: false };
        let status = client.pod_sandbox_status(status).await.unwrap().into_inner().status.unwrap();
        let network = status.network.unwrap();
        assert!(network.ip.starts_with("10.77.0."), "{network:?}");
        assert!(network.additional_ips[0].ip.starts_with("fd77::"), "{network:?}");
        let mut config = script("a", "hostname; ip addr show dev eth0; cat /etc/hosts");
        config.linux.as_mut().unwrap().security_context.as_mut().unwrap().namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
        let (code, log) = crate::containers::run(host, &mut client, &id, config).await;
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("pod-host") && log.contains(&network.ip), "{log}");
        client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: id }).await.unwrap();
        std::fs::remove_file(host.path("cni/10-test.conflist")).unwrap();
        let leases = crate::host::left_of(host, "ipam/test");
        assert!(!leases.iter().any(|name| name.starts_with("10.")), "{leases:?}");
    });
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
