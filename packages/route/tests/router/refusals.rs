//! Requests that an instance could understand in another way than the router, and clients that take too much.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{self, raw};
use crate::host::{Host, pod};
use crate::instance::Instance;

async fn ready() -> (Host, Instance) {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    (host, one)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_understood_in_two_ways() {
    let (host, one) = ready().await;
    let before = one.answered();
    let bad: [(&str, &str); 22] = [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: app.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.example, a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: user@app.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost : app.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.example\r\n folded\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.example\r\nX: a\0b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: app.example\rX: a\r\n\r\n", "400"),
        ("GET  / HTTP/1.1\r\nHost: app.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1 \r\nHost: app.example\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 1, 1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: +1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: 0x1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nContent-Length: -1\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400"),
        (
            "POST / HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "400",
        ),
        ("POST / HTTP/1.0\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("CONNECT app.example:80 HTTP/1.1\r\nHost: app.example\r\n\r\n", "405"),
    ];
    // Each with a second request behind it, which must not be taken for one.
    let behind = "GET /who HTTP/1.1\r\nHost: app.example\r\n\r\n";
    let mut asked = tokio::task::JoinSet::new();
    for (text, status) in bad {
        let address = host.address;
        asked.spawn(async move { (text, status, raw(address, format!("{text}{behind}").as_bytes()).await) });
    }
    for (text, status, answer) in asked.join_all().await {
        assert_eq!(answer.get(8..13), Some(&*format!(" {status} ")), "{text:?}: {answer:?}");
        let is_connect = text.starts_with("CONNECT");
        assert!(is_connect || answer.ends_with("<closed>"), "{text:?}: {answer:?}");
        assert!(is_connect || answer.matches("HTTP/1.").count() == 1, "{text:?}: {answer:?}");
    }
    assert!(one.answered() <= before + 1, "an instance was asked {} times", one.answered() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_means_nothing_and_ends_the_connection() {
    let (host, _one) = ready().await;
    // By its length the body would end with the request that is smuggled in it.
    for headers in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4"]
    {
        let text = format!(
            "POST /head HTTP/1.1\r\nHost: app.example\r\n{headers}\r\n\r\n0\r\n\r\nGET /who HTTP/1.1\r\nHost: app.example\r\n\r\n"
        );
        let answer = raw(host.address, text.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
        assert!(!answer.contains("content-length: 4\n"), "the instance gets one of both: {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer:?}");
        assert!(answer.ends_with("<closed>"), "{answer:?}");
    }
    // What is no chunk ends it, too.
    for chunk in [
        "5;\nx\r\nabcde\r\n0\r\n\r\n",
        "-1\r\n",
        "0x5\r\nabcde\r\n",
        "5\r\nabcdefg\r\n",
        "ffffffffffffffff1\r\n",
    ] {
        let text =
            format!("POST /count HTTP/1.1\r\nHost: app.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
        let answer =
            raw(host.address, format!("{text}GET /who HTTP/1.1\r\nHost: app.example\r\n\r\n").as_bytes())
                .await;
        assert!(!answer.contains("\r\n\r\none"), "{chunk:?}: {answer:?}");
        assert!(answer.ends_with("<closed>"), "{chunk:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large() {
    let (host, _one) = ready().await;
    let head = |filler: String| format!("GET /who HTTP/1.1\r\nHost: app.example\r\n{filler}\r\n\r\n");
    let fits = raw(host.address, head(format!("X: {}", "x".repeat(30 << 10))).as_bytes()).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{fits:?}");
    for large in [format!("X: {}", "x".repeat(40 << 10)), "X: x\r\n".repeat(101)] {
        let answer = raw(host.address, head(large).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer:?}");
        assert!(answer.ends_with("<closed>"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_their_time() {
    let (host, _one) = ready().await;
    let begun = [&b""[..], b"GET / HT", b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: app.example\r\nX: "];
    let start = Instant::now();
    let mut streams = Vec::new();
    for part in begun {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream.write_all(part).await.unwrap();
        streams.push(stream);
    }
    // One that begins a second head slowly.
    let mut second = TcpStream::connect(host.address).await.unwrap();
    second.write_all(b"GET /who HTTP/1.1\r\nHost: app.example\r\n\r\n").await.unwrap();
    client::read_until(&mut second, "one").await;
    second.write_all(b"GET /").await.unwrap();
    streams.push(second);
    for mut stream in streams {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(50), stream.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "it is still open");
        assert!(start.elapsed() > Duration::from_secs(9), "it was closed after {:?}", start.elapsed());
    }
}
