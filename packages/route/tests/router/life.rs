//! The router's own start and end, and its figures.

use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use crate::client::{self, Client, get, request};
use crate::host::{Host, pod};
use crate::instance::Instance;

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_end_at_a_stop() {
    let mut host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    let address = host.address;
    let mut idle = Client::connect(address).await.unwrap();
    idle.send(request("app.example", "/who")).await.unwrap();
    let mut silent = TcpStream::connect(address).await.unwrap();
    let slow = tokio::spawn(async move { get(address, "app.example", "/slower").await });
    while one.answered() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    host.terminate();
    let answer = slow.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "one"));
    assert!(host.ended().await.success(), "{}", host.log());
    assert!(start.elapsed() < Duration::from_secs(7), "it took {:?}", start.elapsed());
    assert!(idle.send(request("app.example", "/who")).await.is_err());
    assert_eq!(silent.read(&mut [0; 10]).await.unwrap_or(0), 0);
    // It starts again at the same address.
    host.start();
    loop {
        if client::try_get(address, "app.example", "/who").await.is_ok_and(|answer| answer.status == 200) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_end_is_cut() {
    let mut host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    let before = one.answered();
    let address = host.address;
    let endless = tokio::spawn(async move { client::try_get(address, "app.example", "/never").await });
    while one.answered() == before {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    host.terminate();
    assert!(host.ended().await.success());
    assert!(endless.await.unwrap().is_err());
    assert!(host.log().contains("connections that were left are cut"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn figures() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example, *.wild.example", one.address)]);
    host.wait_for("app.example", 200).await;
    for (name, path) in [("app.example", "/other"), ("a.wild.example", "/who"), ("nobody.example", "/")] {
        get(host.address, name, path).await;
    }
    // A client that goes away before there is an answer.
    let mut gone = TcpStream::connect(host.address).await.unwrap();
    gone.write_all(b"GET /never HTTP/1.1\r\nHost: a.wild.example\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(gone);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let text = {
        let mut socket = UnixStream::connect(host.metrics_path()).await.unwrap();
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    };
    for line in [
        "content-type: text/plain; version=0.0.4; charset=utf-8",
        "# TYPE lepton_route_request_seconds histogram",
        "lepton_route_requests_total{host=\"app.example\",code=\"200\"} 1",
        "lepton_route_requests_total{host=\"app.example\",code=\"418\"} 1",
        "lepton_route_requests_total{host=\"*.wild.example\",code=\"200\"} 1",
        "lepton_route_requests_total{host=\"*.wild.example\",code=\"499\"} 1",
        "lepton_route_request_seconds_bucket{host=\"app.example\",le=\"+Inf\"} 2",
        "lepton_route_request_seconds_count{host=\"app.example\"} 2",
        "lepton_route_endpoints{host=\"app.example\"} 1",
        "lepton_route_requests_under_way 0",
        "lepton_route_kubelet_up 1",
        "lepton_route_kubelet_failed_polls_total 0",
    ] {
        assert!(text.lines().any(|it| it == line), "no {line} in\n{text}");
    }
    assert!(text.contains("lepton_route_requests_total{host=\"\",code=\"404\"} "), "{text}");
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(host.metrics_path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
