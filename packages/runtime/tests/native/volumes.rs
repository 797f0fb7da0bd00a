//! Images that are mounted as volumes.

use lepton_cri::v1 as cri;
use rustix::mount::{MountFlags, mount};
use tokio::runtime::Runtime;

use crate::Scenario;
use crate::containers::{pod, remove, run, start, status};
use crate::host::{Client, Host, left_of, script};
use crate::image::{NAME, VOLUME};

pub(crate) const ALL: &[Scenario] = &[
    ("images_are_mounted", mounted),
    ("mounts_of_images_are_refused", refused),
    ("mounts_of_images_live_through_a_restart", lives),
];

/// An image as a volume.
pub(crate) fn volume(image: &str, target: &str, path: &str) -> cri::Mount {
    cri::Mount {
        container_path: target.to_owned(),
        readonly: true,
        image: Some(cri::ImageSpec { image: image.to_owned(), ..Default::default() }),
        image_sub_path: path.to_owned(),
        ..Default::default()
    }
}

fn with(name: &str, text: &str, mounts: Vec<cri::Mount>) -> cri::ContainerConfig {
    cri::ContainerConfig { mounts, ..script(name, text) }
}

async fn id_of(host: &Host, image: &str) -> String {
    let image = Some(cri::ImageSpec { image: image.to_owned(), ..Default::default() });
    let request = cri::ImageStatusRequest { image, verbose: false };
    host.images().await.image_status(request).await.unwrap().into_inner().image.unwrap().id
}

async fn output(client: &mut Client, container: &str, text: &str) -> String {
    let order = cri::ExecSyncRequest {
        container_id: container.to_owned(),
        cmd: ["sh", "-c", text].map(str::to_owned).to_vec(),
        timeout: 0,
    };
    String::from_utf8(client.exec_sync(order).await.unwrap().into_inner().stdout).unwrap()
}

/// Nothing of a container is left.
fn assert_gone(host: &Host) {
    for folder in ["run/containers", "run/oci", "state/containers", "state/images/snapshots"] {
        assert!(left_of(host, folder).is_empty(), "{folder}: {:?}", left_of(host, folder));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = host.path("run/containers").display().to_string();
    assert!(!mounts.contains(&own), "{mounts}");
}

fn mounted(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pods = [pod(host, &mut client, "volumes").await, pod(host, &mut client, "more").await];
        let id = id_of(host, VOLUME).await;
        let mounts = vec![
            volume(&id, "/mnt/whole", ""),
            volume(VOLUME, "/mnt/data", "data"),
            volume(VOLUME, "/mnt/absolute", "absolute"),
            volume(VOLUME, "/mnt/upwards", "data/upwards/../../../../etc/"),
            cri::Mount { recursive_read_only: true, ..volume(NAME, "/mnt/tools", "/bin") },
        ];
        let text = "cd /mnt; cat data/old; echo; cat whole/data/old; echo; ls whole/data; cat absolute/here; echo; \
            cat upwards/here; echo; ls absolute; ls upwards; tools/busybox echo a program; \
            for place in whole data tools; do mkdir $place/new || echo read-only; done";
        let (code, log) = run(host, &mut client, &pods[0], with("looks-at-images", text, mounts.clone())).await;
        let lines: Vec<&str> = log.lines().filter_map(|line| line.split_once(" stdout F ")).map(|(_, text)| text).collect();
        let expected = [
            "above", "above", "old", "upwards", "of the image", "of the image", "here", "here", "a program",
            "read-only", "read-only", "read-only",
        ];
        assert_eq!(lines, expected, "{code}: {log}");
        assert_gone(host);

        // Several containers have it at the same time, and keep it when the image is removed.
        let mut sharing = Vec::new();
        for (name, pod) in [("one", &pods[0]), ("two", &pods[0]), ("three", &pods[1])] {
            sharing.push(start(&mut client, pod, with(name, "sleep 1000", mounts.clone())).await);
        }
        let shown = status(&mut client, &sharing[0]).await.mounts;
        let references: Vec<&str> =
            shown.iter().map(|mount| mount.image.as_ref().unwrap().image_ref.as_str()).collect();
        let tools = id_of(host, NAME).await;
        assert_eq!(references, [&id, &id, &id, &id, &tools]);
        assert!(shown.iter().all(|mount| mount.host_path.is_empty()), "{shown:?}");
        assert_eq!(shown[1].image_sub_path, "data");
        let image = Some(cri::ImageSpec { image: id.clone(), ..Default::default() });
        host.images().await.remove_image(cri::RemoveImageRequest { image }).await.unwrap();
        client.remove_container(cri::RemoveContainerRequest { container_id: sharing[0].clone() }).await.unwrap();
        for container in &sharing[1..] {
            assert_eq!(output(&mut client, container, "cat /mnt/data/old").await, "above");
        }
        for pod in pods {
            remove(&mut client, pod).await;
        }
        assert_gone(host);
    });
    // The image is imported again.
    host.kill();
    host.start();
}

fn refused(tokio: &Runtime, host: &mut Host) {
    tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "refused").await;
        let writable = cri::Mount { readonly: false, ..volume(VOLUME, "/mnt", "") };
        let both = cri::Mount { host_path: "/tmp".to_owned(), ..volume(VOLUME, "/mnt", "") };
        let propagation = cri::MountPropagation::PropagationHostToContainer.into();
        let shared = cri::Mount { propagation, ..volume(VOLUME, "/mnt", "") };
        for (mount, code, word) in [
            (volume(VOLUME, "/mnt", "not-there"), tonic::Code::NotFound, "not-there"),
            (volume(VOLUME, "/mnt", "data/gone"), tonic::Code::NotFound, "data/gone"),
            (volume(VOLUME, "/mnt", "data/old"), tonic::Code::InvalidArgument, "no folder"),
            (volume("no.such/image:1", "/mnt", ""), tonic::Code::NotFound, "no.such/image:1"),
            (writable, tonic::Code::InvalidArgument, "read-only"),
            (both, tonic::Code::InvalidArgument, "path of the host"),
            (shared, tonic::Code::InvalidArgument, "propagate"),
        ] {
            let request = cri::CreateContainerRequest {
                pod_sandbox_id: pod.clone(),
                config: Some(with("refused", "", vec![volume(VOLUME, "/other", ""), mount])),
                sandbox_config: None,
            };
            let error = client.create_container(request).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            let message = error.message();
            assert!(message.starts_with("ImageVolumeMountFailed: ") && message.contains(word), "{message}");
            assert_gone(host);
        }
        remove(&mut client, pod).await;
    });
}

fn lives(tokio: &Runtime, host: &mut Host) {
    let (pod, container) = tokio.block_on(async {
        let mut client = host.client().await;
        let pod = pod(host, &mut client, "volume-restart").await;
        let mounts = vec![volume(VOLUME, "/mnt", "data")];
        let container = start(&mut client, &pod, with("reads", "sleep 1000", mounts)).await;
        (pod, container)
    });
    host.kill();
    // A container that was being made has left this.
    let half = host.path("run/containers/half/volumes/0");
    std::fs::create_dir_all(&half).unwrap();
    mount("half", &half, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
    for key in ["half", "half.0"] {
        std::fs::create_dir_all(host.path("state/images/snapshots").join(key)).unwrap();
    }
    host.start();
    tokio.block_on(async {
        let mut client = host.client().await;
        assert_eq!(left_of(host, "run/containers"), [container.as_str()]);
        let mut kept = left_of(host, "state/images/snapshots");
        kept.sort();
        assert_eq!(kept, [container.clone(), format!("{container}.0")]);
        assert_eq!(output(&mut client, &container, "cat /mnt/old").await, "above");
        remove(&mut client, pod).await;
        assert_gone(host);
    });
}
