//! The socket, its clients, and the end of the host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::calls::Login;
use crate::connection::Connection;
use crate::locks::{Inhibitor, Locks};

/// The most clients at a time; kubelet is one.
const CLIENTS: usize = 16;
/// Before the next try when the kernel gives no connection, because there are too many open files.
const RETRY: Duration = Duration::from_millis(200);

/// What became of those that wanted time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// These are done, or have ended.
    pub released: Vec<Inhibitor>,
    /// These still held their lock at the deadline.
    pub held: Vec<Inhibitor>,
}

/// A system bus with login1 on it; it is there until this is dropped.
#[derive(Debug)]
pub struct Bus {
    login: Arc<Login>,
    socket: PathBuf,
    clients: AbortHandle,
}

impl Bus {
    /// Where programs look for the system bus unless `DBUS_SYSTEM_BUS_ADDRESS` is set (they write `/var/run` for `/run`).
    pub const SOCKET: &'static str = "/run/dbus/system_bus_socket";

    /// Listens at `socket`, in a Tokio runtime with time and I/O. `delay` is how long a shutdown may be delayed: the
    /// `shutdownGracePeriod` of kubelet's configuration at least, else kubelet would write configuration files for
    /// logind and fail. `note` gets one line for each connection that had to be ended.
    pub fn listen(socket: &Path, delay: Duration, note: fn(&str)) -> io::Result<Self> {
        if let Some(folder) = socket.parent() {
            fs::create_dir_all(folder)?;
        }
        // One that was left behind.
        match fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let login = Arc::new(Login { locks: Locks::new(), delay_us });
        let clients = tokio::spawn(accept(listener, Arc::clone(&login), guid()?, note)).abort_handle();
        Ok(Self { login, socket: socket.to_owned(), clients })
    }

    /// The value of `DBUS_SYSTEM_BUS_ADDRESS` for clients.
    pub fn address(&self) -> String {
        use std::fmt::Write;
        use std::os::unix::ffi::OsStrExt;
        let mut address = "unix:path=".to_owned();
        for byte in self.socket.as_os_str().as_bytes() {
            // Others must be written in this way.
            let is_plain = byte.is_ascii_alphanumeric() || b"-_/.\\".contains(byte);
            let _ = match is_plain {
                true => write!(address, "{}", char::from(*byte)),
                false => write!(address, "%{byte:02x}"),
            };
        }
        address
    }

    /// Who would be waited for.
    pub fn inhibitors(&self) -> Vec<Inhibitor> {
        self.login.locks.subscribe().borrow().held.values().cloned().collect()
    }

    /// Tells clients that the host goes down (`PrepareForShutdown`), and returns when none of them holds a lock any more,
    /// or at the deadline. It cannot be taken back: from then on no lock is given, also not to a kubelet that was
    /// started again.
    pub async fn prepare(&self, deadline: Instant) -> Outcome {
        let mut state = self.login.locks.subscribe();
        let mut before = self.login.locks.prepare();
        // The sender lives as long as `self`, so there is no other error than the deadline's.
        let _ = timeout_at(deadline, state.wait_for(|state| state.held.is_empty())).await;
        let held = state.borrow().held.clone();
        before.retain(|number, _| !held.contains_key(number));
        Outcome { released: before.into_values().collect(), held: held.into_values().collect() }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.clients.abort();
        // It may be gone already; the next server removes one that is left.
        let _ = fs::remove_file(&self.socket);
    }
}

/// A number for this server, as the protocol wants one.
fn guid() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

async fn accept(listener: UnixListener, login: Arc<Login>, guid: String, note: fn(&str)) {
    // They end with this task.
    let mut clients = JoinSet::new();
    for number in 1_u64.. {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                note(&format!("the system bus takes no connection: {error}"));
                sleep(RETRY).await;
                continue;
            }
        };
        // Those that have ended give their places back.
        while clients.try_join_next().is_some() {}
        if clients.len() >= CLIENTS {
            note(&format!("the system bus has {CLIENTS} clients already, and closed a connection"));
            continue;
        }
        clients.spawn(serve(stream, number, Arc::clone(&login), guid.clone(), note));
    }
}

async fn serve(stream: UnixStream, number: u64, login: Arc<Login>, guid: String, note: fn(&str)) {
    let who = match stream.peer_cred() {
        Ok(who) => who,
        Err(error) => return note(&format!("the system bus cannot know who its client is: {error}")),
    };
    let of = who.pid().map_or_else(String::new, |pid| format!(" of process {pid}"));
    if who.uid() != rustix::process::geteuid().as_raw() {
        return note(&format!("the system bus closed the connection{of}, whose user is {}", who.uid()));
    }
    let connection = Connection::new(stream, format!(":1.{number}"), who.pid(), &login);
    if let Err(error) = connection.serve(who.uid(), &guid).await {
        note(&format!("the system bus closed the connection{of}: {error}"));
    }
}
