//! Clients and servers that are not ours: Go's, in `images/boot-tests/go/route`.

use std::process::Command;

use serde_json::json;

use crate::host::{Host, free_address, pod};

const CLIENT: &str = "LEPTON_TEST_ROUTE_CLIENT";

#[tokio::test(flavor = "multi_thread")]
async fn go_on_both_sides() {
    let Some(program) = std::env::var_os(CLIENT) else {
        eprintln!("left out: {CLIENT} is not set, so there is no client");
        return;
    };
    let certificate = include_str!("../certificates/app.pem");
    let host = Host::new(&format!(
        "[[route.certificates]]\nhosts = [\"app.example\"]\nchain = '''\n{certificate}'''\nkey = '''\n{certificate}'''\n"
    ))
    .await;
    let (plain, multiplexed) = (free_address(), free_address());
    let mut two = pod("two", "two.example", multiplexed);
    two["metadata"]["annotations"]["lepton.route/protocol"] = json!("h2c");
    host.kubelet.set([pod("one", "app.example", plain), two]);
    host.wait_for("two.example", 502).await;
    let ended = tokio::task::spawn_blocking(move || {
        Command::new(program)
            .args([&host.address, &host.tls_address, &plain, &multiplexed].map(ToString::to_string))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/root.pem"))
            .status()
            .unwrap()
    });
    assert!(ended.await.unwrap().success());
}
