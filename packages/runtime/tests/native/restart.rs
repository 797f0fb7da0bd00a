//! The runtime is killed, and another one takes over.

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::containers::{pod, remove, start, status};
use crate::host::{Host, script};

pub(crate) const ALL: &[Scenario] =
    &[("containers_live_through_a_restart", lives), ("networks_are_looked_at_after_a_restart", networks)];

fn lives(tokio: &Runtime, host: &mut Host) {
    let (pod, long, short, unstarted) = tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "restart").await;
        let long = start(&mut client, &pod, script("long", "while :; do echo tick; sleep 0.1; done")).await;
        let short = start(&mut client, &pod, script("short", "sleep 1; exit 9")).await;
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(script("unstarted", "exit 4")),
            sandbox_config: None,
        };
        let unstarted = client.create_container(request).await.unwrap().into_inner().container_id;
        (pod, long, short, unstarted)
    });
    host.kill();
    // The short one ends while nobody listens.
    std::thread::sleep(std::time::Duration::from_secs(3));
    host.start();
    tokio.block_on(async {
        let mut client = host.client().await;
        assert_eq!(status(&mut client, &long).await.state(), cri::ContainerState::ContainerRunning);
        let ended = status(&mut client, &short).await;
        assert_eq!((ended.state(), ended.exit_code), (cri::ContainerState::ContainerExited, 9));
        assert_eq!(status(&mut client, &unstarted).await.state(), cri::ContainerState::ContainerCreated);
        client.start_container(cri::StartContainerRequest { container_id: unstarted }).await.unwrap();
        let order = cri::ExecSyncRequest {
            container_id: long.clone(),
            cmd: ["echo", "still here"].map(str::to_owned).to_vec(),
            timeout: 0,
        };
        assert_eq!(client.exec_sync(order).await.unwrap().into_inner().stdout, b"still here\n");
        client.stop_container(cri::StopContainerRequest { container_id: long, timeout: 0 }).await.unwrap();
        remove(&mut client, pod).await;
    });
}

fn networks(tokio: &Runtime, host: &mut Host) {
    if !host.plugins() {
        println!("  left out: there are no plugins (LEPTON_TEST_CNI)");
        return;
    }
    let list = serde_json::json!({"cniVersion": "1.1.0", "name": "look", "plugins": [
        {"type": "bridge", "bridge": "cni-look", "isGateway": true, "ipMasq": false,
         "ipam": {"type": "host-local", "dataDir": host.path("ipam"), "ranges": [[{"subnet": "10.80.0.0/24"}]]}}]});
    std::fs::write(host.path("cni/10-look.conflist"), list.to_string()).unwrap();
    let mut config = host.pod("look");
    let options = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
    options.namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
    let own = |mut container: cri::ContainerConfig| {
        let context = container.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.namespace_options.as_mut().unwrap().set_network(cri::NamespaceMode::Pod);
        context.capabilities =
            Some(cri::Capability { add_capabilities: vec!["NET_ADMIN".to_owned()], ..Default::default() });
        container
    };
    let pod = tokio.block_on(async {
        let mut client = host.client().await;
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id
    });
    host.kill();
    host.start();
    assert!(!host.log().contains("is not as it was made"), "{}", host.log());
    tokio.block_on(async {
        let mut client = host.client().await;
        let (code, log) =
            crate::containers::run(host, &mut client, &pod, own(script("cut", "ip addr flush dev eth0")))
                .await;
        assert_eq!(code, 0, "{log}");
    });
    host.kill();
    host.start();
    assert!(
        host.log().contains(&format!("the network of pod {pod} is not as it was made")),
        "{}",
        host.log()
    );
    tokio.block_on(async {
        let mut client = host.client().await;
        remove(&mut client, pod).await;
    });
    std::fs::remove_file(host.path("cni/10-look.conflist")).unwrap();
}
