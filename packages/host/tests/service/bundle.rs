//! Support bundles.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use lepton_host_api::v1 as api;

use crate::authority::Authority;
use crate::client::Client;
use crate::host::Host;
use crate::id;

#[tokio::test]
async fn a_bundle_has_everything_but_secrets() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let client = Client::connect(host.address, &host.hosts, Some(operators.client(&id("operator")))).await;
    let request = api::SupportBundleRequest { log_lines: 10 };
    let mut parts = client.host().support_bundle(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        assert!(part.data.len() <= 256 * 1024);
        bytes.extend(part.data);
    }
    let mut archive = tar::Archive::new(GzDecoder::new(&bytes[..]));
    let mut files = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (name, mut text) = (entry.path().unwrap().display().to_string(), String::new());
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let want = [
        "config/applied.toml",
        "config/effective.toml",
        "containers.json",
        "disks.json",
        "dmesg.log",
        "images.json",
        "logs/db.log",
        "logs/web.log",
        "mounts.json",
        "network.json",
        "pods.json",
        "processes.json",
        "status.json",
        "time.json",
    ];
    assert_eq!(names, want.map(|name| format!("support/{name}")));
    assert!(files["support/config/effective.toml"].contains("(secret)"));
    assert!(files.values().all(|text| !text.contains("hunter2")));
    assert_eq!(files["support/logs/web.log"], "[        0.001] one\n[        0.002] two\n");
    let status: serde_json::Value = serde_json::from_str(&files["support/status.json"]).unwrap();
    assert_eq!((&status["phase"], &status["services"][1]["state"]), (&"ready".into(), &"ready".into()));
    // What cannot be had says why.
    let images: serde_json::Value = serde_json::from_str(&files["support/images.json"]).unwrap();
    assert!(images["error"].as_str().unwrap().contains("cannot reach the container runtime"), "{images}");
    let processes: serde_json::Value = serde_json::from_str(&files["support/processes.json"]).unwrap();
    let pids = processes["processes"].as_array().unwrap();
    assert!(pids.iter().any(|it| it["pid"] == std::process::id()));
}
