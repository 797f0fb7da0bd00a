//! Listeners: those that the machine config names, opened and closed when it changes, and the local socket.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use crate::audit;
use crate::connection;
use crate::log::say;
use crate::server::Server;

/// Connections that wait to be taken.
const BACKLOG: i32 = 128;
/// Rest after the host had no descriptor or memory left.
const REST: Duration = Duration::from_millis(50);
/// After that long without a byte, the other side is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The open listeners on the network.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: BTreeMap<SocketAddr, JoinHandle<()>>,
    said: BTreeMap<SocketAddr, String>,
}

impl Listeners {
    /// Opens these and closes all others; connections that were made stay. What cannot be opened is tried again with the
    /// next call.
    pub(crate) fn follow(&mut self, server: &Arc<Server>, wanted: &[SocketAddr]) {
        self.open.retain(|address, task| {
            let is_kept = wanted.contains(address) && !task.is_finished();
            if !is_kept {
                task.abort();
                say(format_args!("no longer listening on {address}"));
            }
            is_kept
        });
        for &address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match open(address) {
                Ok(listener) => {
                    self.said.remove(&address);
                    say(format_args!("listening on {}", listener.local_addr().unwrap_or(address)));
                    self.open.insert(address, tokio::spawn(accept(Arc::clone(server), listener)));
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.said.get(&address) != Some(&error) {
                        say(format_args!("cannot listen on {address}: {error}"));
                        self.said.insert(address, error);
                    }
                }
            }
        }
    }
}

/// A listener; `[::]` takes IPv4, too, unless that has its own, and is that alone on a host without IPv6.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    let v6_only = Errno::AFNOSUPPORT.raw_os_error();
    match listener(address, !is_any) {
        Err(error) if is_any && error.raw_os_error() == Some(v6_only) => {
            listener((Ipv4Addr::UNSPECIFIED, address.port()).into(), true)
        }
        Err(error) if is_any && error.kind() == io::ErrorKind::AddrInUse => listener(address, true),
        result => result,
    }
}

fn listener(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // Connections inherit it.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(server: Arc<Server>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => match server.handshakes.begin(address.ip()) {
                Ok(place) => {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(connection::remote(Arc::clone(&server), stream, address, place));
                }
                // It is closed. Those who wait in the kernel would wait behind others of their kind.
                Err(refused) => audit::handshake(&address.to_string(), refused.reason()),
            },
            // The client has gone again, or there is nothing left to take it with.
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// Listens at a path, for root alone. The folder is made if it is missing. The socket appears under its name when it is
/// listened to, in place of one that was left.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o600))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Takes connections of the local socket, for good.
pub(crate) async fn accept_local(server: Arc<Server>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection::local(Arc::clone(&server), stream))),
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}
