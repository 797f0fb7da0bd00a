//! Containers, and programs that are run in them.

use std::time::Instant;

use lepton_cri::v1 as cri;
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::host::{Client, Host, LIMIT, script};

pub(crate) const ALL: &[Scenario] = &[
    ("a_container_runs_and_logs", runs),
    ("programs_run_in_containers", exec),
    ("containers_are_confined", confined),
    ("users_and_groups", users),
    ("a_container_is_stopped", stopped),
    ("errors_say_what_is_wrong", errors),
    ("a_foreign_client_is_content", foreign),
];

/// Starts a container.
pub(crate) async fn start(client: &mut Client, pod: &str, config: cri::ContainerConfig) -> String {
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: pod.to_owned(),
        config: Some(config),
        sandbox_config: None,
    };
    let id = client.create_container(request).await.unwrap().into_inner().container_id;
    client.start_container(cri::StartContainerRequest { container_id: id.clone() }).await.unwrap();
    id
}

/// Its status.
pub(crate) async fn status(client: &mut Client, id: &str) -> cri::ContainerStatus {
    let request = cri::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
    client.container_status(request).await.unwrap().into_inner().status.unwrap()
}

/// Runs a container to its end; gives its exit code and its log.
pub(crate) async fn run(
    host: &Host,
    client: &mut Client,
    pod: &str,
    config: cri::ContainerConfig,
) -> (i32, String) {
    let log = host.path("logs").join(&config.log_path);
    let id = start(client, pod, config).await;
    let begin = Instant::now();
    loop {
        let status = status(client, &id).await;
        if status.state() == cri::ContainerState::ContainerExited {
            client.remove_container(cri::RemoveContainerRequest { container_id: id }).await.unwrap();
            return (status.exit_code, std::fs::read_to_string(log).unwrap());
        }
        assert!(begin.elapsed() < LIMIT, "the container does not end");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A pod.
pub(crate) async fn pod(host: &Host, client: &mut Client, name: &str) -> String {
    let request = cri::RunPodSandboxRequest { config: Some(host.pod(name)), ..Default::default() };
    client.run_pod_sandbox(request).await.unwrap().into_inner().pod_sandbox_id
}

/// Removes a pod and what is in it.
pub(crate) async fn remove(client: &mut Client, pod: String) {
    client.remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id: pod }).await.unwrap();
}

/// Waits until a log has a word.
pub(crate) async fn logged(host: &Host, log: &str, word: &str) {
    let begin = Instant::now();
    let log = host.path("logs").join(log);
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains(word)) {
        assert!(begin.elapsed() < LIMIT, "no {word:?} in {}", log.display());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn runs(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "runs").await;
        let mut config = script("a", "echo $FROM_IMAGE $MINE; pwd; echo bad >&2; exit 7");
        config.envs.push(cri::KeyValue { key: "MINE".to_owned(), value: b"2".to_vec() });
        let (code, log) = run(host, &mut client, &pod, config).await;
        assert_eq!(code, 7, "{log}");
        let lines: Vec<&str> =
            log.lines().filter_map(|line| line.split_once(' ')).map(|(_, rest)| rest).collect();
        assert!(lines.contains(&"stdout F 1 2") && lines.contains(&"stdout F /tmp"), "{log}");
        assert!(lines.contains(&"stderr F bad"), "{log}");
        remove(&mut client, pod).await;
        for folder in ["run/containers", "run/oci", "state/containers", "state/images/snapshots"] {
            assert!(crate::host::left_of(host, folder).is_empty(), "{folder}");
        }
    });
}

fn exec(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "exec").await;
        let id = start(&mut client, &pod, script("a", "sleep 1000")).await;
        let order = |script: &str, timeout| cri::ExecSyncRequest {
            container_id: id.clone(),
            cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout,
        };
        let answer = client.exec_sync(order("echo out; echo err >&2; exit 3", 0)).await.unwrap().into_inner();
        assert_eq!((answer.stdout.as_slice(), answer.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        assert_eq!(answer.exit_code, 3);
        let late = client.exec_sync(order("sleep 1000", 1)).await.unwrap_err();
        assert_eq!(late.code(), tonic::Code::DeadlineExceeded);
        let mut wrong = order("", 0);
        wrong.cmd = vec!["no-such-program".to_owned()];
        let wrong = client.exec_sync(wrong).await.unwrap_err();
        assert!(wrong.message().contains("not found"), "{wrong}");
        let flood = "dd if=/dev/zero bs=1048576 count=18 2>/dev/null; dd if=/dev/zero bs=1048576 count=18 >&2 2>/dev/null";
        let much = client.exec_sync(order(flood, 0)).await.unwrap().into_inner();
        assert_eq!(much.stdout.len() + much.stderr.len(), (16 << 20) - 4096);
        remove(&mut client, pod).await;
    });
}

fn confined(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "confined").await;
        let text = "cat /proc/self/status; mount -t tmpfs x /tmp || echo no mount; \
            mknod /tmp/disk b 259 0 && dd if=/tmp/disk of=/dev/null count=1 2>/dev/null || echo no disk; \
            echo x > /proc/sys/kernel/domainname || echo no sysctl; echo hello > /dev/null && echo null works";
        let (_, log) = run(host, &mut client, &pod, script("a", text)).await;
        for expected in ["Seccomp:\t2", "CapBnd:\t00000000a80425fb", "no mount", "no disk", "no sysctl", "null works"] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
        let mut config = script("b", "cat /proc/self/status; echo x > /file || echo read-only");
        let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.no_new_privs = true;
        context.readonly_rootfs = true;
        context.capabilities =
            Some(cri::Capability { drop_capabilities: vec!["ALL".to_owned()], ..Default::default() });
        let (_, log) = run(host, &mut client, &pod, config).await;
        for expected in ["NoNewPrivs:\t1", "CapBnd:\t0000000000000000", "Seccomp:\t2", "read-only"] {
            assert!(log.contains(expected), "{expected}: {log}");
        }
        remove(&mut client, pod).await;
    });
}

fn users(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "users").await;
        let mut config = script("a", "id; cat /proc/self/status");
        let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.run_as_username = "web".to_owned();
        context.supplemental_groups = vec![4000];
        let (_, log) = run(host, &mut client, &pod, config.clone()).await;
        assert!(log.contains("uid=1000(web) gid=1001(web)"), "{log}");
        assert!(log.contains("1002(extra)") && log.contains("4000"), "{log}");
        assert!(log.contains("CapEff:\t0000000000000000"), "{log}");
        let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        context.set_supplemental_groups_policy(cri::SupplementalGroupsPolicy::Strict);
        config.log_path = "strict.log".to_owned();
        let (_, log) = run(host, &mut client, &pod, config).await;
        assert!(!log.contains("extra") && log.contains("4000"), "{log}");
        remove(&mut client, pod).await;
    });
}

fn stopped(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "stopped").await;
        let polite = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done";
        let polite = start(&mut client, &pod, script("a", polite)).await;
        // A signal that an init does not handle yet is lost (pid_namespaces(7)).
        logged(host, "a.log", "ready").await;
        client
            .stop_container(cri::StopContainerRequest { container_id: polite.clone(), timeout: 60 })
            .await
            .unwrap();
        assert_eq!(status(&mut client, &polite).await.exit_code, 5);
        let deaf = start(&mut client, &pod, script("b", "trap '' TERM; while :; do sleep 0.1; done")).await;
        client
            .stop_container(cri::StopContainerRequest { container_id: deaf.clone(), timeout: 1 })
            .await
            .unwrap();
        let status = status(&mut client, &deaf).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"));
        remove(&mut client, pod).await;
    });
}

fn errors(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "errors").await;
        let create = |config| cri::CreateContainerRequest {
            pod_sandbox_id: pod.clone(),
            config: Some(config),
            sandbox_config: None,
        };
        let mut config = script("a", "");
        config.command = vec!["no-such-program".to_owned()];
        let id = client.create_container(create(config)).await.unwrap().into_inner().container_id;
        let refused =
            client.start_container(cri::StartContainerRequest { container_id: id }).await.unwrap_err();
        assert!(refused.message().contains("executable file not found in $PATH"), "{refused}");
        let mut config = script("b", "");
        config.image.as_mut().unwrap().image = "no.such/image:1".to_owned();
        let refused = client.create_container(create(config)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        let checkpoint = cri::CheckpointContainerRequest::default();
        assert_eq!(
            client.checkpoint_container(checkpoint).await.unwrap_err().code(),
            tonic::Code::Unimplemented
        );
        remove(&mut client, pod).await;
    });
}

/// k8s.io/cri-client, the library of kubelet and crictl, in a program of ours (images/boot-tests/go/cri).
fn foreign(_: &Runtime, host: &mut Host) {
    let Some(client) = std::env::var_os("LEPTON_TEST_CRI_CLIENT") else {
        println!("  left out: LEPTON_TEST_CRI_CLIENT does not name the client");
        return;
    };
    let words = [host.path("cri.sock"), crate::image::NAME.into(), host.path("logs/foreign")];
    let status = std::process::Command::new(client).args(words).status().unwrap();
    assert!(status.success(), "{status}");
}
