//! Requests that go through.

use http::Method;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::client::{self, Client, get, request};
use crate::host::{Host, pod, unready};
use crate::instance::Instance;

#[tokio::test(flavor = "multi_thread")]
async fn in_turn_to_those_that_are_ready() {
    let host = Host::new("").await;
    let (one, two, three) =
        (Instance::new("one").await, Instance::new("two").await, Instance::new("three").await);
    let deep = Instance::new("deep").await;
    host.wait_for("app.example", 404).await;
    host.kubelet.set([unready(pod("one", "app.example", one.address))]);
    host.wait_for("app.example", 503).await;
    host.kubelet.set([
        pod("one", "app.example", one.address),
        pod("two", "app.example, other.example", two.address),
        unready(pod("three", "app.example", three.address)),
        pod("deep", "*.deep.example", deep.address),
    ]);
    host.wait_for("app.example", 200).await;
    let mut client = Client::connect(host.address).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(client.send(request("App.Example:80", "/who")).await.unwrap().text().to_owned());
    }
    assert!(
        names == ["one", "two", "one", "two", "one", "two"]
            || names == ["two", "one", "two", "one", "two", "one"],
        "{names:?}"
    );
    assert_eq!(three.answered(), 0);
    assert_eq!(get(host.address, "other.example", "/who").await.text(), "two");
    assert_eq!(get(host.address, "a.b.deep.example", "/who").await.text(), "deep");
    let missing = get(host.address, "missing.example", "/").await;
    assert_eq!((missing.status, missing.text()), (404, "404 nobody answers for this host name\n"));
    assert_eq!(get(host.address, "app.example", "/other").await.status, 418, "its status is passed on");
    // Gone without a trace in the list: known for a while, then nobody's.
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("other.example", 503).await;
    host.wait_for_log("default/").await;
    let log = host.log();
    assert!(log.contains("127.0.0.1 GET app.example/who 200 3B "), "{log}");
    assert!(log.contains(" default/two"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    let mut asked = request("app.example:8080", "/head?a=b%20c");
    for (name, value) in
        [("x-forwarded-for", "203.0.113.9"), ("connection", "x-hop"), ("x-hop", "1"), ("accept", "a/b")]
    {
        asked.headers_mut().insert(name, value.parse().unwrap());
    }
    let answer = Client::connect(host.address).await.unwrap().send(asked).await.unwrap();
    let mut lines: Vec<&str> = answer.text().lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "GET /head?a=b%20c HTTP/1.1",
            "accept: a/b",
            "forwarded: for=127.0.0.1;host=\"app.example:8080\";proto=http",
            "host: app.example:8080",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: app.example:8080",
            "x-forwarded-proto: http",
        ]
    );
    for gone in ["connection", "x-secret", "keep-alive"] {
        assert!(!answer.headers.contains_key(gone), "{:?}", answer.headers);
    }
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    let mut head = request("app.example", "/who");
    *head.method_mut() = Method::HEAD;
    let answer = Client::connect(host.address).await.unwrap().send(head).await.unwrap();
    assert_eq!(
        (answer.status, answer.headers["content-length"].to_str().unwrap(), answer.body.len()),
        (200, "3", 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_as_they_come() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    // The first part comes back before the second is sent; trailers come behind the last.
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: x-sum\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let answer = client::read_until(&mut stream, "first").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stream.write_all(b"6\r\nsecond\r\n0\r\nx-sum: 42\r\n\r\n").await.unwrap();
    let rest = client::read_until(&mut stream, "\r\n\r\n").await;
    assert!(rest.contains("second") && rest.contains("x-sum: 42"), "{rest:?}");
    // The connection is used again.
    stream.write_all(b"GET /who HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
    client::read_until(&mut stream, "one").await;

    // A client that waits for leave to send its body gets it.
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let head =
        "POST /count HTTP/1.1\r\nHost: app.example\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    client::read_until(&mut stream, "100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.unwrap();
    assert!(client::read_until(&mut stream, "\r\n\r\n4").await.starts_with("HTTP/1.1 200"));

    let mut big = request("app.example", "/count").map(|_| client::Body::from(vec![7; 8 << 20]));
    *big.method_mut() = Method::PUT;
    let mut client = Client::connect(host.address).await.unwrap();
    assert_eq!(client.send(big).await.unwrap().text(), (8 << 20).to_string());
    let answer = client.send(request("app.example", "/big")).await.unwrap();
    assert_eq!(answer.body.len(), 8 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_fail() {
    let host = Host::new("response-timeout-s = 1\n").await;
    let one = Instance::new("one").await;
    // Takes connections and requests, and closes.
    let breaking = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = breaking.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = breaking.accept().await.unwrap();
            tokio::spawn(async move { client::read_until(&mut stream, "\r\n\r\n").await });
        }
    });
    let nobody = crate::host::free_address();
    host.kubelet.set([
        pod("one", "app.example, never.example", one.address),
        pod("gone", "app.example, gone.example", nobody),
        pod("breaking", "breaking.example, app.example", address),
    ]);
    host.wait_for("never.example", 200).await;
    let answer = get(host.address, "never.example", "/never").await;
    assert_eq!((answer.status, answer.text()), (504, "504 the instance did not answer in time\n"));
    assert_eq!(get(host.address, "gone.example", "/who").await.status, 502);
    assert_eq!(get(host.address, "breaking.example", "/who").await.status, 502);
    // What can be repeated is; nobody notices the one that is gone and the one that breaks.
    for _ in 0..12 {
        let answer = get(host.address, "app.example", "/who").await;
        assert_eq!((answer.status, answer.text()), (200, "one"));
    }
    // What cannot be repeated goes to others only when it was not sent.
    let mut post = request("gone.example", "/count").map(|_| client::Body::from("x"));
    *post.method_mut() = Method::POST;
    assert_eq!(Client::connect(host.address).await.unwrap().send(post).await.unwrap().status, 502);
    let mut broken = 0;
    for _ in 0..6 {
        let mut post = request("app.example", "/count").map(|_| client::Body::from("x"));
        *post.method_mut() = Method::POST;
        let answer = Client::connect(host.address).await.unwrap().send(post).await.unwrap();
        broken += usize::from(answer.status == 502);
        assert!(answer.status == 200 || answer.status == 502, "{answer:?}");
    }
    assert!((1..=4).contains(&broken), "a third, or more while the one that is gone is left alone: {broken}");
}
