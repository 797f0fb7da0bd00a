//! Whole sessions over real connections, by clients that write their bytes themselves.
//!
//! Kubernetes' own clients are in `images/boot-tests/go/streaming`; here are the answers and the cases that those never
//! send.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod in_process;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use in_process::{InProcess, start};
use lepton_runtime_streaming::spdy::headers::{HeaderWriter, Headers};
use lepton_runtime_streaming::{ExecRequest, Limits, PortForwardRequest, StreamSet, Urls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Real time on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(120);
const ALL: StreamSet = StreamSet { stdin: true, stdout: true, stderr: true, tty: false };

async fn server() -> (Urls, Arc<InProcess>) {
    start(Limits::default()).await
}

fn exec(urls: &Urls, command: &str, streams: StreamSet) -> String {
    let command = command.split(' ').map(str::to_owned).collect();
    urls.exec(ExecRequest { container_id: "c".to_owned(), command, streams }).unwrap()
}

fn forward(urls: &Urls, ports: &[u16]) -> String {
    urls.port_forward(PortForwardRequest { pod_sandbox_id: "p".to_owned(), ports: ports.to_vec() }).unwrap()
}

/// Connects to an address and sends a request for it with these headers; what comes up to the end of the head.
async fn request(url: &str, method: &str, headers: &str) -> (TcpStream, String) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let text = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(read(&mut stream, 1).await[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn websocket(url: &str, protocol: &str) -> TcpStream {
    let headers = format!(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n"
    );
    let (stream, head) = request(url, "GET", &headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// A client's frame with a mask of zeros, which changes nothing.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

async fn spdy(url: &str, protocol: &str) -> TcpStream {
    let headers =
        format!("Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {protocol}\r\n");
    let (stream, head) = request(url, "POST", &headers).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

fn syn_stream(writer: &mut HeaderWriter, stream: u8, flags: u8, headers: &[(&str, &str)]) -> Vec<u8> {
    let block = writer.write(&Headers::new(headers));
    let length = u8::try_from(block.len() + 10).unwrap();
    [&[0x80, 3, 0, 1, flags, 0, 0, length, 0, 0, 0, stream, 0, 0, 0, 0, 0, 0], &block[..]].concat()
}

fn data(stream: u8, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0, 0, 0, stream, flags, 0], &length[..], bytes].concat()
}

/// The server's next frame: its first word, flags and payload.
async fn frame(stream: &mut TcpStream) -> (u32, u8, Vec<u8>) {
    let head = read(stream, 8).await;
    let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    (first, head[4], read(stream, length).await)
}

/// The server's frames until it says goodbye, without window updates and replies: stream, flags and bytes of data, or
/// the stream's number with the reason of a reset.
async fn frames(stream: &mut TcpStream) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        match frame(stream).await {
            (0x8003_0002 | 0x8003_0009, _, _) => {}
            (0x8003_0003, _, payload) => all.push(format!("{} reset {}", payload[3], payload[7])),
            (0x8003_0007, _, payload) => {
                all.push(format!("goodbye {}", payload[7]));
                return all;
            }
            (id, flags, payload) => all.push(format!("{id} {flags} {}", String::from_utf8_lossy(&payload))),
        }
    }
}

#[tokio::test]
async fn what_is_no_streaming_request_gets_a_constant_answer() {
    let (urls, _) = server().await;
    let check = async |url: &str, method: &str, headers: &str| {
        let (_, head) = request(url, method, headers).await;
        head.lines().next().unwrap().to_owned()
    };
    let url = exec(&urls, "both", ALL);
    assert_eq!(check(&url, "GET", "").await, "HTTP/1.1 400 Bad Request");
    // The token was used up by that.
    assert_eq!(check(&url, "GET", "").await, "HTTP/1.1 404 Not Found");
    assert_eq!(check(&exec(&urls, "both", ALL), "PUT", "").await, "HTTP/1.1 405 Method Not Allowed");
    let elsewhere = exec(&urls, "both", ALL).replace("/exec/", "/attach/");
    assert_eq!(check(&elsewhere, "GET", "").await, "HTTP/1.1 404 Not Found");
    let spdy = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v9\r\n";
    assert_eq!(check(&exec(&urls, "both", ALL), "POST", spdy).await, "HTTP/1.1 403 Forbidden");
    let channels = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(check(&forward(&urls, &[]), "GET", channels).await, "HTTP/1.1 400 Bad Request");
    let long = format!("X-Long: {}\r\n", "x".repeat(100_000));
    assert!(check(&exec(&urls, "both", ALL), "GET", &long).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_websocket_session_byte_by_byte() {
    let (urls, _) = server().await;
    let streams = StreamSet { stderr: false, ..ALL };
    let mut stream = websocket(&exec(&urls, "cat", streams), "v5.channel.k8s.io").await;
    assert_eq!(read(&mut stream, 3).await, [0x82, 1, 1]);
    // A message in two parts, with a ping between them.
    stream.write_all(&masked(0x02, b"\0a")).await.unwrap();
    stream.write_all(&masked(0x89, b"hi")).await.unwrap();
    assert_eq!(read(&mut stream, 4 + 4).await, [&[0x82, 2, 1, b'a'][..], &[0x8a, 2, b'h', b'i']].concat());
    stream.write_all(&masked(0x80, b"b")).await.unwrap();
    assert_eq!(read(&mut stream, 4).await, [0x82, 2, 1, b'b']);
    stream.write_all(&masked(0x82, b"\xff\0")).await.unwrap();
    let status = b"\x03{\"status\":\"Success\"}";
    let expected = [&[0x82, 21][..], status, &[0x88, 2, 3, 0xe8]].concat();
    assert_eq!(read(&mut stream, expected.len()).await, expected);
    stream.write_all(&masked(0x88, &[3, 0xe8])).await.unwrap();
    drop(stream.shutdown().await);
    assert!(rest(&mut stream).await.is_empty());
}

#[tokio::test]
async fn a_base64_session() {
    let (urls, _) = server().await;
    let streams = StreamSet { stdin: false, ..ALL };
    let mut stream = websocket(&exec(&urls, "both", streams), "base64.channel.k8s.io").await;
    // Standard output and error are read in the order in which they were written; success is no text before v4.
    let expected =
        [&b"\x81\x011"[..], b"\x81\x091b3V0Cg==", b"\x81\x092ZXJyCg==", &[0x88, 2, 3, 0xe8]].concat();
    assert_eq!(read(&mut stream, expected.len()).await, expected);
}

#[tokio::test]
async fn clients_that_break_the_rules_of_websocket_are_told() {
    let (urls, _) = server().await;
    for (frame, code) in [
        (vec![0x82, 1, 0], 1002_u16),
        (masked(0xc2, b"\0"), 1002),
        (masked(0x80, b"\0"), 1002),
        (masked(0x83, b"\0"), 1002),
        (masked(0x81, b"\0"), 1003),
        (masked(0x82, b"\xff"), 1002),
        (masked(0x88, b"x"), 1002),
        (masked(0x88, &[3, 0xed]), 1002),
        (masked(0x88, &[3, 0xe8, 0xff]), 1007),
        (masked(0x88, &[3, 0xe9]), 1001),
        (masked(0x88, &[]), 1000),
        (vec![0x82, 0xff, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0], 1009),
    ] {
        let mut stream = websocket(&exec(&urls, "wait", ALL), "v5.channel.k8s.io").await;
        assert_eq!(read(&mut stream, 3).await, [0x82, 1, 1]);
        stream.write_all(&frame).await.unwrap();
        let [high, low] = code.to_be_bytes();
        assert_eq!(read(&mut stream, 4).await, [0x88, 2, high, low], "{frame:?}");
    }
}

#[tokio::test]
async fn a_websocket_client_without_subprotocol_and_one_that_leaves() {
    let (urls, backend) = server().await;
    let mut stream = websocket(&exec(&urls, "wait", ALL), "").await;
    assert_eq!(read(&mut stream, 3).await, [0x82, 1, 1]);
    drop(stream);
    let told = async {
        while backend.lost.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
}

#[tokio::test]
async fn ports_on_websocket_channels() {
    let (urls, _) = server().await;
    let mut stream = websocket(&forward(&urls, &[13, 9]), "v4.channel.k8s.io").await;
    let bytes = String::from_utf8_lossy(&rest_until_close(&mut stream).await).into_owned();
    for part in ["\u{3}\0\r\0", "\u{3}\u{1}\r\0", "\u{3}\u{2}\t\0", "\u{3}\u{3}\t\0", "\0hello\n"] {
        assert!(bytes.contains(part), "{part:?} in {bytes:?}");
    }
    assert!(bytes.contains("\u{3}error forwarding port 9 to pod p: connection refused"), "{bytes:?}");
}

/// All bytes before the server's close frame.
async fn rest_until_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(&[0x88, 2, 3, 0xe8]) {
        bytes.push(read(stream, 1).await[0]);
    }
    bytes
}

#[tokio::test]
async fn a_spdy_session_byte_by_byte() {
    let (urls, _) = server().await;
    let mut stream = spdy(&exec(&urls, "cat", StreamSet { stderr: false, ..ALL }), "v4.channel.k8s.io").await;
    let mut headers = HeaderWriter::new();
    let mut bytes = Vec::new();
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        bytes.extend(syn_stream(&mut headers, id, 0, &[("streamtype", kind)]));
    }
    bytes.extend([0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]);
    bytes.extend(data(3, 0, b"all "));
    bytes.extend(data(3, 1, b"of it"));
    stream.write_all(&bytes).await.unwrap();
    // The connection's window is 16 MiB from the start.
    assert_eq!(frame(&mut stream).await, (0x8003_0009, 0, vec![0, 0, 0, 0, 0, 0xff, 0, 0]));
    let mut all = frames(&mut stream).await;
    let ping = "2147680262 0 \0\0\0\u{1}".to_owned();
    assert!(all.contains(&ping), "{all:?}");
    all.retain(|frame| *frame != ping);
    let text: String = all.iter().filter_map(|frame| frame.strip_prefix("5 0 ")).collect();
    assert_eq!(text, "all of it");
    all.retain(|frame| !frame.starts_with("5 0 "));
    let expected = ["5 1 ", "1 0 {\"status\":\"Success\"}", "3 1 ", "1 1 ", "goodbye 0"];
    assert_eq!(
        {
            all.sort();
            all
        },
        {
            let mut all = expected.map(str::to_owned).to_vec();
            all.sort();
            all
        }
    );
}

#[tokio::test]
async fn a_forwarded_port_ends_in_each_direction_alone_in_v5() {
    let (urls, _) = server().await;
    // The echo says its last bytes after the client's end.
    let mut stream = websocket(&forward(&urls, &[7]), "v5.channel.k8s.io").await;
    assert_eq!(read(&mut stream, 5).await, [0x82, 3, 0, 7, 0]);
    assert_eq!(read(&mut stream, 5).await, [0x82, 3, 1, 7, 0]);
    stream.write_all(&masked(0x82, b"\0ping")).await.unwrap();
    assert_eq!(read(&mut stream, 7).await, *b"\x82\x05\0ping");
    stream.write_all(&masked(0x82, &[255, 0])).await.unwrap();
    assert_eq!(read(&mut stream, 4).await, [0x82, 2, 255, 0]);
    assert_eq!(read(&mut stream, 4).await, [0x88, 2, 0x03, 0xe8]);
    stream.write_all(&masked(0x88, &[0x03, 0xe8])).await.unwrap();
    assert_eq!(rest(&mut stream).await, b"");

    let mut stream = websocket(&forward(&urls, &[9]), "v5.channel.k8s.io").await;
    assert_eq!(read(&mut stream, 10).await, [0x82, 3, 0, 9, 0, 0x82, 3, 1, 9, 0]);
    let [_, length] = read(&mut stream, 2).await[..] else { unreachable!("two bytes") };
    let text = read(&mut stream, usize::from(length)).await;
    assert_eq!(text, b"\x01error forwarding port 9 to pod p: connection refused");
}

#[tokio::test]
async fn a_spdy_client_with_windows_is_never_sent_more_than_they_take() {
    let (urls, _) = server().await;
    let streams = StreamSet { stdout: true, ..StreamSet::default() };
    let mut stream = spdy(&exec(&urls, "bytes 100000", streams), "v4.channel.k8s.io").await;
    let mut headers = HeaderWriter::new();
    // A window of 1000 bytes for every stream.
    let mut bytes = vec![0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 3, 0xe8];
    for (id, kind) in [(1, "error"), (3, "stdout")] {
        bytes.extend(syn_stream(&mut headers, id, 0, &[("streamtype", kind)]));
    }
    stream.write_all(&bytes).await.unwrap();
    let mut received = 0;
    while received < 100_000 {
        let (first, _, payload) = frame(&mut stream).await;
        if first != 3 {
            continue;
        }
        assert!(payload.len() <= 1000, "{}", payload.len());
        received += payload.len();
        let count = u32::try_from(payload.len()).unwrap().to_be_bytes();
        for id in [0, 3] {
            stream.write_all(&[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, id]).await.unwrap();
            stream.write_all(&count).await.unwrap();
        }
    }
    assert_eq!(received, 100_000);
    assert_eq!(frames(&mut stream).await.last().unwrap(), "goodbye 0");
}

#[tokio::test]
async fn pairs_of_streams_for_ports() {
    let (urls, backend) = server().await;
    let mut stream = spdy(&forward(&urls, &[]), "portforward.k8s.io").await;
    let mut headers = HeaderWriter::new();
    let mut bytes = Vec::new();
    for (id, kind, port, request) in [
        (1, "error", "7", "0"),
        (3, "data", "7", "0"),
        (5, "error", "9", "1"),
        (7, "data", "9", "1"),
        (9, "data", "0", "2"),
        (11, "other", "7", "3"),
        (13, "error", "7", "4"),
        (15, "error", "7", "4"),
    ] {
        let fields = [("port", port), ("requestid", request), ("streamtype", kind)];
        bytes.extend(syn_stream(&mut headers, id, 0, &fields));
    }
    bytes.extend(data(3, 1, b"echo"));
    stream.write_all(&bytes).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let wanted = [
        "3 0 echo",
        "3 1 ",
        "1 1 ",
        "5 0 error forwarding port 9 to pod p: connection refused",
        "5 1 ",
        "reset 7 5",
        "reset 9 1",
        "reset 11 1",
        "reset 15 1",
    ];
    while !wanted.iter().all(|line| seen.contains(*line)) {
        match frame(&mut stream).await {
            (0x8003_0003, _, payload) => seen.insert(format!("reset {} {}", payload[3], payload[7])),
            (id, flags, payload) => {
                seen.insert(format!("{id} {flags} {}", String::from_utf8_lossy(&payload)))
            }
        };
    }
    assert!(!seen.iter().any(|line| line.starts_with("reset 13")), "{seen:?}");
    assert_eq!(backend.echoed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_port_that_sends_no_more_still_gets_every_byte() {
    let (urls, backend) = server().await;
    let mut stream = spdy(&forward(&urls, &[]), "portforward.k8s.io").await;
    let mut headers = HeaderWriter::new();
    let mut bytes = Vec::new();
    for (id, kind) in [(1, "error"), (3, "data")] {
        let fields = [("port", "17"), ("requestid", "0"), ("streamtype", kind)];
        bytes.extend(syn_stream(&mut headers, id, 0, &fields));
    }
    stream.write_all(&bytes).await.unwrap();
    // The port's end comes first.
    while !matches!(frame(&mut stream).await, (3, 1, _)) {}
    for _ in 0..100 {
        stream.write_all(&data(3, 0, &[7; 10_000])).await.unwrap();
    }
    stream.write_all(&data(3, 1, b"")).await.unwrap();
    while !matches!(frame(&mut stream).await, (1, 1, _)) {}
    let all = async {
        while backend.sunk.load(Ordering::SeqCst) < 1_000_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test]
async fn spdy_clients_that_break_the_rules_are_told() {
    let (urls, _) = server().await;
    for bytes in [
        vec![0x80, 2, 0, 1, 0, 0, 0, 0],
        vec![0x80, 3, 0, 1, 0, 1, 0, 0],
        vec![0x80, 3, 0, 1, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2],
        vec![0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut stream = spdy(&exec(&urls, "wait", ALL), "v4.channel.k8s.io").await;
        stream.write_all(&bytes).await.unwrap();
        assert_eq!(frames(&mut stream).await, ["goodbye 1"], "{bytes:?}");
    }
    // Streams that may not be opened, and data for one that never was.
    let mut stream = spdy(&exec(&urls, "wait", ALL), "v4.channel.k8s.io").await;
    let mut headers = HeaderWriter::new();
    let mut bytes = syn_stream(&mut headers, 2, 0, &[("streamtype", "error")]);
    bytes.extend(syn_stream(&mut headers, 1, 0, &[("streamtype", "error")]));
    bytes.extend(syn_stream(&mut headers, 5, 0, &[("streamtype", "unknown")]));
    bytes.extend(data(9, 0, b"x"));
    stream.write_all(&bytes).await.unwrap();
    let mut resets = Vec::new();
    while resets.len() < 4 {
        if let (0x8003_0003, _, payload) = frame(&mut stream).await {
            resets.push((payload[3], payload[7]));
        }
    }
    resets.sort_unstable();
    assert_eq!(resets, [(1, 1), (2, 1), (5, 1), (9, 2)]);
    // A window that does not grow.
    stream.write_all(&[0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(frames(&mut stream).await, ["goodbye 1"]);
}

#[tokio::test]
async fn a_client_that_opens_too_few_streams_is_let_go() {
    let limits = Limits { stream_creation: Duration::from_millis(50), ..Limits::default() };
    let (urls, _) = start(limits).await;
    let mut stream = spdy(&exec(&urls, "wait", ALL), "v4.channel.k8s.io").await;
    let mut headers = HeaderWriter::new();
    stream.write_all(&syn_stream(&mut headers, 1, 0, &[("streamtype", "error")])).await.unwrap();
    assert_eq!(frames(&mut stream).await, ["1 1 ", "goodbye 0"]);
}

#[tokio::test]
async fn an_idle_client_is_let_go() {
    let (urls, backend) = start(Limits { idle: Duration::from_millis(200), ..Limits::default() }).await;
    let mut stream = websocket(&exec(&urls, "wait", ALL), "v4.channel.k8s.io").await;
    assert_eq!(rest(&mut stream).await, [0x82, 1, 1]);
    let told = async {
        while backend.lost.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
}
