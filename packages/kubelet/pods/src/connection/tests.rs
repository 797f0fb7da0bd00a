//! Connections through the runtime's own streaming server.

use std::sync::Arc;

use lepton_runtime_streaming::{
    AttachRequest, Backend, BackendError, ExecRequest, ExitCode, Limits, PortForwardRequest, Server, Streams,
    Urls,
};
use tokio::net::TcpListener;

use super::*;

/// More than pipes and windows hold.
const MUCH: usize = 3 << 20;

/// A pod whose ports are on loopback, and which has no programs.
#[derive(Debug)]
struct Loopback;

impl Backend for Loopback {
    type Connection = TcpStream;

    async fn exec(&self, _: ExecRequest, _: Streams) -> Result<ExitCode, BackendError> {
        Err(BackendError("no programs".to_owned()))
    }

    async fn attach(&self, _: AttachRequest, _: Streams) -> Result<(), BackendError> {
        Err(BackendError("no programs".to_owned()))
    }

    async fn port_forward(&self, _: &str, port: u16) -> Result<TcpStream, BackendError> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        stream.map_err(|_| BackendError("connection refused".to_owned()))
    }
}

async fn urls() -> Urls {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, Arc::new(Loopback), Limits::default()).await.unwrap();
    let urls = server.urls();
    tokio::spawn(server.run());
    urls
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A caller's connection, and what becomes of it.
async fn call(urls: &Urls, port: u16) -> (TcpStream, tokio::task::JoinHandle<Result<(), Failure>>) {
    let request = PortForwardRequest { pod_sandbox_id: "p".to_owned(), ports: vec![port] };
    let url = urls.port_forward(request).unwrap();
    let (listener, local) = listen().await;
    let caller = TcpStream::connect(("127.0.0.1", local)).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    (caller, tokio::spawn(async move { run(&url, stream).await }))
}

#[tokio::test]
async fn each_direction_ends_alone() {
    let urls = urls().await;
    let (listener, port) = listen().await;
    // It answers when it has read all.
    let pod = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        stream.read_to_end(&mut asked).await.unwrap();
        stream.write_all(&asked).await.unwrap();
    });
    let (mut caller, done) = call(&urls, port).await;
    let sent: Vec<u8> = (0..MUCH).map(|number| u8::try_from(number % 251).unwrap()).collect();
    caller.write_all(&sent).await.unwrap();
    caller.shutdown().await.unwrap();
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).await.unwrap();
    assert!(answer == sent, "{} bytes came back", answer.len());
    done.await.unwrap().unwrap();
    pod.await.unwrap();
}

#[tokio::test]
async fn a_pod_that_speaks_first_and_leaves() {
    let urls = urls().await;
    let (listener, port) = listen().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello").await.unwrap();
    });
    let (mut caller, done) = call(&urls, port).await;
    let mut answer = String::new();
    caller.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "hello");
    drop(caller);
    done.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_port_that_refuses_is_a_reset_and_a_sentence() {
    let urls = urls().await;
    let (listener, port) = listen().await;
    drop(listener);
    let (mut caller, done) = call(&urls, port).await;
    let error = done.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, format!("error forwarding port {port} to pod p: connection refused"));
    let read = caller.read(&mut [0]).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_caller_that_is_gone_ends_the_pods_connection() {
    let urls = urls().await;
    let (listener, port) = listen().await;
    let (caller, done) = call(&urls, port).await;
    let (mut pod, _) = listener.accept().await.unwrap();
    pod.write_all(b"unread").await.unwrap();
    caller.peek(&mut [0]).await.unwrap();
    // With something unread its end is a reset.
    drop(caller);
    done.await.unwrap().unwrap();
    while pod.read(&mut [0]).await.is_ok_and(|count| count > 0) {}
}
