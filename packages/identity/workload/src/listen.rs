//! The socket, and who gets a connection.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Sleep, sleep};
use tonic::codegen::tokio_stream::Stream;

use crate::attest::k8s::cgroup::pod_of;
use crate::connection::Connection;
use crate::host::Host;
use crate::observer::{Event, Observer};
use crate::origin::{Origin, SERVICES, service_of};
use crate::peer::Peer;
use crate::slots::{Owner, Slots};

/// After a failure that is the host's, such as no free descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens at a path, for every user: who somebody is decides what they get. The folder is made if it is missing. The
/// socket appears under its name when it is listened to, in place of one that was left.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
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
    fs::set_permissions(&new, Permissions::from_mode(0o666))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Connections that have a place, for good.
pub(crate) struct Incoming {
    listener: UnixListener,
    host: Host,
    slots: Arc<Slots>,
    observer: Arc<dyn Observer>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    pub(crate) fn new(
        listener: UnixListener,
        host: Host,
        slots: Arc<Slots>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { listener, host, slots, observer, pause: None }
    }

    fn admit(&self, stream: UnixStream) -> Option<Connection> {
        let uid = stream.peer_cred().ok().map(|it| it.uid());
        let turned_away = |why: &str| self.observer.saw(&Event::TurnedAway { uid, why });
        let peer = match Peer::of(&stream, &self.host) {
            Ok(peer) => peer,
            Err(error) => {
                turned_away(&error.to_string());
                return None;
            }
        };
        let Some(slot) = self.slots.take(owner(&self.host, &peer)) else {
            turned_away("it has too many connections");
            return None;
        };
        Some(Connection::new(stream, peer, slot))
    }
}

/// Whose connections are counted together.
fn owner(host: &Host, peer: &Peer) -> Owner {
    match Origin::of(host, peer.pid) {
        Ok(Origin::Container { cgroup }) => Owner::Cgroup(pod_of(&cgroup).to_owned()),
        Ok(Origin::Host { cgroup }) => match service_of(&cgroup) {
            Some(name) => Owner::Cgroup(format!("{SERVICES}/{name}")),
            None => Owner::User(peer.uid),
        },
        Err(_) => Owner::User(peer.uid),
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(Future::poll(pause.as_mut(), cx));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(cx)) {
                Ok((stream, _)) => {
                    if let Some(connection) = self.admit(stream) {
                        return Poll::Ready(Some(Ok(connection)));
                    }
                }
                Err(error) => {
                    self.observer
                        .saw(&Event::TurnedAway { uid: None, why: &format!("cannot accept: {error}") });
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}
