//! The CRI v1 container runtime of a Lepton host: a gRPC server on a Unix socket that only root may use.
//!
//! It can be killed at any moment: containers are kept by their pods' shims (crate `lepton-runtime-shim`), and what it
//! knows is on the disk.

mod cgroup;
mod cni;
mod container;
mod containers;
mod error;
mod exec;
mod files;
mod id;
mod metrics;
mod pods;
mod recover;
mod registries;
mod rootfs;
mod runtime;
mod sandbox;
mod service;
mod settings;
mod shim;
mod signals;
mod spec;
mod stats;
mod status;
mod streams;
mod sys;
mod terminal;
mod user;
mod user_namespace;
mod volumes;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::ExitCode;
use std::sync::Arc;

use lepton_runtime_images::Images;
use lepton_runtime_streaming as streaming;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;

use error::{Context as _, Result};
use runtime::Runtime;
use service::{Calls, Service};
use settings::{Settings, USAGE, make_private};
use streams::Doors;

/// Threads that run calls: most of them wait for the kernel or the network.
const WORKERS: usize = 2;

/// Serves until it is told to end; gives the exit code.
pub fn main() -> ExitCode {
    let Some(mut settings) = Settings::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let ways = registries::read(&settings.machine_config);
    for problem in ways.problems {
        eprintln!("{problem}");
    }
    // Of two entries for a registry the last one counts: that of the command line.
    settings.images.registries.splice(..0, ways.registries);
    settings.images.proxies = ways.proxies;
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    let done = tokio.or_cannot("start threads").and_then(|tokio| tokio.block_on(serve(settings)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<()> {
    for folder in [&settings.run, &settings.state, &settings.oci_state()] {
        make_private(folder).or_cannot(format!("make {}", folder.display()))?;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").or_cannot("tell which boot this is")?;
    let images = Images::open(settings.images.clone()).await?;
    for path in &settings.imports {
        images.import(path).await?;
    }
    let socket = settings.socket.clone();
    let streaming_address = settings.streaming;
    let runtime = Arc::new(Runtime::new(settings, images, boot.trim().to_owned()));
    runtime.recover().await?;

    let doors = Arc::new(Doors(Arc::clone(&runtime)));
    let server = streaming::Server::bind(streaming_address, doors, streaming::Limits::default()).await;
    let server = server.or_cannot("start the streaming server")?;
    let _ = runtime.urls.set(server.urls());
    tokio::spawn(server.run());

    // It appears under its name when it is listened to, and for root alone.
    let new = socket.with_extension("new");
    let _ = fs::remove_file(&new);
    let listener = UnixListener::bind(&new).or_cannot(format!("listen on {}", socket.display()))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).or_cannot("close the socket to others")?;
    fs::rename(&new, &socket).or_cannot(format!("name {}", socket.display()))?;

    let mut terminate = signal(SignalKind::terminate()).or_cannot("handle SIGTERM")?;
    let stop = async move {
        terminate.recv().await;
    };
    let calls = Calls::new(&Service(runtime));
    lepton_notify::ready();
    let serving =
        tonic::transport::Server::builder().serve_with_incoming(calls, UnixListenerStream::new(listener));
    // Calls in progress are cut off: whoever made them asks again, and nothing here is half written.
    tokio::select! {
        served = serving => served.or_cannot("serve"),
        () = stop => Ok(()),
    }
}
