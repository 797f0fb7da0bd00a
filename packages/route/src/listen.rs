//! Listeners for clients: those that the settings name, opened and closed when the settings change.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::connection;
use crate::log::say;
use crate::peer::{Peer, Scheme};
use crate::router::Router;

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// Rest after the host had no descriptor or memory left.
const REST: Duration = Duration::from_millis(50);

/// The open listeners.
#[derive(Default)]
pub(crate) struct Listeners {
    open: BTreeMap<(SocketAddr, bool), JoinHandle<()>>,
    said: BTreeMap<SocketAddr, String>,
    /// Whether there was a route.
    is_needed: bool,
}

impl Listeners {
    /// Opens what the settings name and closes the rest. What cannot be opened is tried again with the next call.
    ///
    /// A host whose machine config says nothing of it listens from its first pod with a route on.
    pub(crate) fn follow(&mut self, router: &Arc<Router>) {
        let settings = router.settings();
        self.is_needed |= router.table().routes().next().is_some();
        if !self.is_needed && !settings.is_told_where {
            return self.close();
        }
        let plain = settings.listen.iter().map(|address| (*address, false));
        let wanted: Vec<(SocketAddr, bool)> =
            plain.chain(settings.listen_tls.iter().map(|address| (*address, true))).collect();
        self.open.retain(|key, task| {
            let is_kept = wanted.contains(key) && !task.is_finished();
            if !is_kept {
                task.abort();
            }
            is_kept
        });
        for key in wanted {
            if self.open.contains_key(&key) {
                continue;
            }
            match open(key.0) {
                Ok(listener) => {
                    self.said.remove(&key.0);
                    say(format_args!("listening on {}{}", key.0, if key.1 { " with TLS" } else { "" }));
                    let scheme = if key.1 { Scheme::Https } else { Scheme::Http };
                    self.open.insert(key, tokio::spawn(accept(Arc::clone(router), listener, scheme)));
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.said.get(&key.0) != Some(&error) {
                        say(format_args!("cannot listen on {}: {error}", key.0));
                        self.said.insert(key.0, error);
                    }
                }
            }
        }
    }

    /// Closes all.
    pub(crate) fn close(&mut self) {
        for task in std::mem::take(&mut self.open).into_values() {
            task.abort();
        }
    }
}

/// A listener; `[::]` takes IPv4, too, and is that alone on a host without IPv6.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let is_any = address.is_ipv6() && address.ip().is_unspecified();
    match listener(address) {
        Err(error) if is_any && error.raw_os_error() == Some(EAFNOSUPPORT) => {
            listener((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        result => result,
    }
}

/// `EAFNOSUPPORT` of Linux.
const EAFNOSUPPORT: i32 = 97;

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(router: Arc<Router>, listener: TcpListener, scheme: Scheme) {
    loop {
        let Ok(permit) = Arc::clone(&router.places).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            // The client has gone again, or there is nothing left to take it with.
            Err(_) => {
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Some(peer) = Peer::enter(&router, address.ip(), scheme, permit) else { continue };
        let _ = stream.set_nodelay(true);
        let router = Arc::clone(&router);
        match scheme {
            Scheme::Http => drop(tokio::spawn(connection::plain(router, peer, stream))),
            Scheme::Https => {
                let Some(tls) = router.settings().tls.clone() else { continue };
                tokio::spawn(connection::tls(router, peer, stream, TlsAcceptor::from(tls)));
            }
        }
    }
}
