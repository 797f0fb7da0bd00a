//! What one client can take from the others: nothing.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod support;

use std::time::Duration;

use lepton_spiffe_api::workload as api;
use lepton_workload_api::attest::{Attestors, unix::Unix};
use support::{Running, SOON};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Code;

fn own() -> String {
    format!("unix:uid:{}", rustix::process::getuid().as_raw())
}

fn start(connections: usize) -> Running {
    let running = Running::with_connections(Attestors::new().with(Unix::default()), connections);
    running.cache.register("/web", "", &[&own()]);
    running
}

async fn fetch(client: &mut support::Client) -> api::X509svidResponse {
    let mut stream = client.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    timeout(SOON, stream.message()).await.unwrap().unwrap().unwrap()
}

#[tokio::test]
async fn large_requests_are_refused() {
    let running = start(8);
    let mut client = running.client().await;
    for (size, code) in [(100 << 10, Code::InvalidArgument), (200 << 10, Code::OutOfRange)] {
        let request = api::ValidateJwtsvidRequest { audience: "a".to_owned(), svid: "a".repeat(size) };
        assert_eq!(client.validate_jwtsvid(request).await.unwrap_err().code(), code, "{size}");
    }
    assert_eq!(fetch(&mut client).await.svids.len(), 1);
}

#[tokio::test]
async fn one_user_never_has_all_connections() {
    let running = start(8);
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut client = running.client().await;
        fetch(&mut client).await;
        held.push(client);
    }
    let mut fifth = UnixStream::connect(running.socket()).await.unwrap();
    assert_eq!(timeout(SOON, fifth.read(&mut [0; 8])).await.unwrap().unwrap(), 0, "it is closed");
    assert_eq!(running.seen.count(&["TurnedAway", "too many connections"]), 1, "{}", running.seen.all());
    held.pop();
    // The server sees the end of the one that went at its own time.
    let again = async {
        while running.client().await.fetch_x509svid(api::X509svidRequest {}).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, again).await.unwrap();
}

#[tokio::test]
async fn calls_of_a_connection_have_a_limit() {
    let running = start(8);
    let client = running.client().await;
    let mut streams = Vec::new();
    for _ in 0..32 {
        let mut stream = client.clone().fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        streams.push(stream);
    }
    let mut more = client.clone();
    let waits = timeout(Duration::from_millis(300), more.fetch_x509svid(api::X509svidRequest {})).await;
    assert!(waits.is_err(), "a call too many is made");
    // Others have their own.
    fetch(&mut running.client().await).await;
    streams.pop();
    timeout(SOON, fetch(&mut client.clone())).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gets_fewer_messages_and_harms_nobody() {
    let running = start(8);
    let mut slow = support::small_client(&running.socket()).await;
    let mut slow = slow.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    let mut quick =
        running.client().await.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    quick.message().await.unwrap().unwrap();
    const ROTATIONS: usize = 400;
    for _ in 0..ROTATIONS {
        running.cache.rotate();
        timeout(SOON, quick.message()).await.unwrap().unwrap().unwrap();
    }
    // What fits into the windows of HTTP/2 and the socket is on its way, and no more is made.
    let served = running.seen.count(&["Served"]);
    assert!(served < ROTATIONS + 200, "{served}");
    running.cache.register("/last", "", &[&own()]);
    let mut count = 0;
    let last = async {
        loop {
            let message = slow.message().await.unwrap().unwrap();
            count += 1;
            if message.svids.len() == 2 {
                return;
            }
        }
    };
    timeout(SOON, last).await.unwrap();
    assert!(count < 200, "{count}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let running = start(8);
    let mut silent = UnixStream::connect(running.socket()).await.unwrap();
    let begin = tokio::time::Instant::now();
    let end = timeout(Duration::from_secs(60), silent.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "it is open still");
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
}
