//! The Workload API with many workloads: `bench [COUNT]`, where COUNT clients in another process hold a connection and a
//! stream each. Built with `--release` it tells how much memory they cost, how soon all have a rotation, and how many calls
//! one client makes in a second.

#[expect(clippy::unwrap_used, reason = "it is of the tests")]
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader, Error, Result, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lepton_spiffe_api::workload as api;
use lepton_workload_api::attest::{Attestors, unix::Unix};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Running, client};

const CLIENTS: &str = "clients";
/// How long calls are counted.
const COUNTED: Duration = Duration::from_secs(3);

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    match &arguments[..] {
        [what, socket, count] if what == CLIENTS => {
            runtime.block_on(clients(Path::new(socket), count.parse().map_err(Error::other)?))
        }
        [] => runtime.block_on(serve(1000)),
        [count] => runtime.block_on(serve(count.parse().map_err(Error::other)?)),
        _ => Err(Error::other("usage: bench [COUNT]")),
    }
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Resident memory in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::other("the kernel does not say how much memory there is"))
}

async fn serve(count: usize) -> Result<()> {
    // Twice as many places: one user never has more than half.
    let running = Running::with_connections(Attestors::new().with(Unix::default()), 2 * count + 64);
    running.cache.register("/web", "", &[&format!("unix:uid:{}", rustix::process::getuid().as_raw())]);
    let idle = resident()?;
    #[expect(clippy::disallowed_methods, reason = "clients cost memory, too, and not here")]
    let mut process = Command::new(std::env::current_exe()?)
        .args([CLIENTS, &running.socket().display().to_string(), &count.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
        return Err(Error::other("the clients have no output"));
    };
    // Its lines are read by a thread, as the server runs in this one.
    let (lines, mut said) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    let mut next = async || said.recv().await.ok_or_else(|| Error::other("the clients have failed"));
    say(&format!("{count} workloads: {}", next().await?))?;
    say(&format!("memory: {idle} KiB without them, {} KiB with them", resident()?))?;
    running.cache.rotate();
    say(&format!("rotation: {}", next().await?))?;
    say(&next().await?)?;
    say(&next().await?)?;
    drop(stdin);
    process.wait().map(drop)
}

async fn clients(socket: &Path, count: usize) -> Result<()> {
    let begin = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream =
            client(socket).await.fetch_x509svid(api::X509svidRequest {}).await.map_err(Error::other)?;
        let mut stream = stream.into_inner();
        stream.message().await.map_err(Error::other)?;
        streams.push(stream);
    }
    say(&format!("connected and served after {} ms", begin.elapsed().as_millis()))?;
    let mut first = None;
    for stream in &mut streams {
        stream.message().await.map_err(Error::other)?;
        first.get_or_insert_with(Instant::now);
    }
    let spread = first.map(|first| first.elapsed().as_millis()).unwrap_or_default();
    say(&format!("the last had it {spread} ms after the first"))?;
    let mut client = client(socket).await;
    let (begin, mut calls) = (Instant::now(), 0_u32);
    while begin.elapsed() < COUNTED {
        let stream = client.fetch_x509svid(api::X509svidRequest {}).await.map_err(Error::other)?;
        stream.into_inner().message().await.map_err(Error::other)?;
        calls += 1;
    }
    say(&format!(
        "FetchX509SVID: {:.0} calls in a second",
        f64::from(calls) / begin.elapsed().as_secs_f64()
    ))?;
    let (begin, mut calls) = (Instant::now(), 0_u32);
    while begin.elapsed() < COUNTED {
        client.fetch_x509_bundles(api::X509BundlesRequest {}).await.map_err(Error::other)?;
        calls += 1;
    }
    say(&format!(
        "FetchX509Bundles: {:.0} calls in a second",
        f64::from(calls) / begin.elapsed().as_secs_f64()
    ))
}
