//! `port-forward`: passes connections to ports of this host on to those of a pod, until it is told to end.

use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};

use lepton_cri::v1 as cri;
use lepton_runtime_client::client::Client;
use lepton_runtime_client::failure::chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::connection;
use crate::failure::Failure;
use crate::from_runtime::{NAMESPACE, POD};
use crate::list::{self, Host};
use crate::options::{Name, Ports};
use crate::{choose, pod::Pod};

/// Connections that wait to be passed on.
const WAITING: usize = 16;

/// Passes connections on until SIGINT or SIGTERM.
pub(crate) async fn run(
    host: &Host,
    namespace: Option<&str>,
    name: &Name,
    ports: &[Ports],
    addresses: &[IpAddr],
) -> Result<(), Failure> {
    let handle = |kind| signal(kind).map_err(|error| Failure::io("handle signals", error));
    let (mut interrupt, mut terminate) = (handle(SignalKind::interrupt())?, handle(SignalKind::terminate())?);
    let list = list::all(host).await?;
    let pod = choose::pod(&list.pods, namespace, name)?;
    sandbox(&host.client, pod).await?;
    let (send, mut accepted) = mpsc::channel(WAITING);
    for ports in ports {
        let remote = choose::port(pod, &ports.remote)?;
        for listener in listen(addresses, ports.local.unwrap_or(remote)).await? {
            let local = listener.local_addr().map_err(|error| Failure::io("listen", error))?;
            let mut output = io::stdout().lock();
            let said = writeln!(output, "{local} -> {}:{remote}", pod.name).and_then(|()| output.flush());
            said.map_err(Failure::output)?;
            tokio::spawn(accept(listener, remote, send.clone()));
        }
    }
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            Some((stream, remote)) = accepted.recv() => {
                let (client, pod) = (host.client.clone(), pod.clone());
                tokio::spawn(async move {
                    if let Err(error) = pass_on(&client, &pod, remote, stream).await {
                        eprintln!("lepton-pods: {}", chain(&error));
                    }
                });
            }
        }
    }
}

/// Listens on each address; one that this host does not have is passed over when another works.
async fn listen(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    let (mut port, mut failed) = (port, None);
    for address in addresses {
        match TcpListener::bind((*address, port)).await {
            Ok(listener) => {
                // A free one is the same on every address, as far as that is free, too.
                port = listener.local_addr().map_or(port, |local| local.port());
                listeners.push(listener);
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                failed = Some((*address, error));
            }
            Err(error) => {
                return Err(Failure::io(format!("listen on {}", SocketAddr::new(*address, port)), error));
            }
        }
    }
    match failed {
        Some((address, error)) if listeners.is_empty() => {
            Err(Failure::io(format!("listen on {}", SocketAddr::new(address, port)), error))
        }
        _ => Ok(listeners),
    }
}

async fn accept(listener: TcpListener, remote: u16, send: mpsc::Sender<(TcpStream, u16)>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if send.send((stream, remote)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                eprintln!("lepton-pods: cannot accept a connection: {error}");
                // Too many open files: some of them end.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

/// One connection, to the pod as it is now: it may have been made anew.
async fn pass_on(client: &Client, pod: &Pod, port: u16, stream: TcpStream) -> Result<(), Failure> {
    let url = client.port_forward(&sandbox(client, pod).await?, port).await?;
    Ok(connection::run(&url, stream).await?)
}

/// The pod in the runtime.
async fn sandbox(client: &Client, pod: &Pod) -> Result<String, Failure> {
    let mut found = client.pods(&[(POD, &pod.name), (NAMESPACE, &pod.namespace)]).await?;
    found.retain(|one| one.state() == cri::PodSandboxState::SandboxReady);
    let newest = found.into_iter().max_by_key(|one| one.created_at);
    newest.map(|one| one.id).ok_or_else(|| Failure::Ended(pod.name.clone()))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[tokio::test]
    async fn one_address_is_enough() {
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        // For documentation (RFC 3849): nobody has it.
        let nowhere = IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        let listeners = listen(&[here, nowhere], 0).await.unwrap();
        assert_eq!(listeners.len(), 1);
        let port = listeners[0].local_addr().unwrap().port();
        let taken = listen(&[here], port).await.unwrap_err().chain();
        assert!(taken.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{taken}");
        assert!(listen(&[nowhere], 0).await.unwrap_err().chain().contains("[2001:db8::1]:0"));
    }
}
