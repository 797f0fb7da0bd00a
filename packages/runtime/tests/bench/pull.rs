//! A pull of 200 MB from this machine, beside unpacking and hashing the same bytes.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use lepton_cri::v1::image_service_client::ImageServiceClient;
use tokio::runtime::Runtime;

use crate::content::{Content, MANIFEST, architecture, descriptor};
use crate::host::Host;
use crate::memory::kilobytes;
use crate::others::Others;
use crate::report;

/// Files of the image, and how large each is.
const FILES: usize = 200;
const SIZE: usize = 1_000_000;
/// Kinds of it.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Measures both.
pub(crate) fn compare(tokio: &Runtime, host: &mut Host, programs: &Others) {
    let archive = archive();
    let layer = zstd::encode_all(archive.as_slice(), 3).unwrap();
    report("image, unpacked", archive.len(), "bytes");
    report("image, as it is transferred", layer.len(), "bytes");
    let mut content = Content::default();
    let diff_id = lepton_runtime_images::Digest::of(&archive);
    let config = serde_json::json!({"architecture": architecture(), "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [diff_id.to_string()]}});
    let config = config.to_string().into_bytes();
    content.add_blob(&config);
    content.add_blob(&layer);
    let manifest = serde_json::json!({"schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &config), "layers": [descriptor(LAYER, &layer)]});
    content.add_manifest("1", MANIFEST, manifest.to_string().as_bytes());
    let registry = content.serve();
    host.options = vec!["--registry".to_owned(), format!("{}={}", registry.host(), registry.url())];
    host.kill();
    host.start();
    let image =
        Some(cri::ImageSpec { image: format!("{}/big/image:1", registry.host()), ..Default::default() });
    let mut ours = Vec::new();
    tokio.block_on(async {
        let mut client = ImageServiceClient::new(host.channel()().await.unwrap());
        for _ in 0..3 {
            let request = cri::PullImageRequest { image: image.clone(), ..Default::default() };
            let begin = Instant::now();
            client.pull_image(request).await.unwrap();
            ours.push(begin.elapsed());
            client.remove_image(cri::RemoveImageRequest { image: image.clone() }).await.unwrap();
        }
    });
    report("pull", fastest(&ours), "ms");
    report("runtime while it pulls, highest RSS", kilobytes(host.process(), "VmHWM"), "KiB");
    let file = host.path("layer.zst");
    std::fs::File::create(&file).unwrap().write_all(&layer).unwrap();
    let times: Vec<Duration> = (0..3).map(|_| unpack_and_hash(programs, &file)).collect();
    report("zstd -d | sha256sum of the same bytes", fastest(&times), "ms");
}

fn fastest(times: &[Duration]) -> u128 {
    times.iter().min().unwrap().as_millis()
}

fn unpack_and_hash(programs: &Others, file: &std::path::Path) -> Duration {
    let begin = Instant::now();
    let mut zstd = programs.spawn("zstd", |command| {
        command.arg("-dc").arg(file).stdout(Stdio::piped());
    });
    let input = zstd.stdout.take().unwrap();
    let mut hash = programs.spawn("sha256sum", |command| {
        command.stdin(input).stdout(Stdio::null());
    });
    assert!(zstd.wait().unwrap().success() && hash.wait().unwrap().success());
    begin.elapsed()
}

/// An archive whose content compresses to about half, as programs do.
fn archive() -> Vec<u8> {
    let mut state = 1_u64;
    let mut writer = tar::Builder::new(Vec::with_capacity(FILES * (SIZE + 1024)));
    for number in 0..FILES {
        let mut bytes = Vec::with_capacity(SIZE);
        while bytes.len() < SIZE {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
            bytes.extend_from_slice(b"the same");
        }
        bytes.truncate(SIZE);
        let mut header = tar::Header::new_gnu();
        header.set_size(SIZE as u64);
        header.set_mode(0o644);
        writer.append_data(&mut header, format!("file-{number}"), bytes.as_slice()).unwrap();
    }
    writer.into_inner().unwrap()
}
