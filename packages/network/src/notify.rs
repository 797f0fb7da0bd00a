//! Tells PID 1 how the service is (sd_notify(3)): datagrams to the socket that `NOTIFY_SOCKET` names.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::Duration;

use crate::time::Instant;

/// The way to PID 1, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
    status: String,
    /// Half of the time after which PID 1 takes the service for dead.
    watchdog: Option<Duration>,
    alive_at: Instant,
}

impl Notify {
    /// `path` is the value of `NOTIFY_SOCKET`, `watchdog` half of `WATCHDOG_USEC`.
    pub fn new(path: Option<PathBuf>, watchdog: Option<Duration>) -> Self {
        let address = path.and_then(|path| match path.as_os_str().as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
            _ => SocketAddr::from_pathname(&path).ok(),
        });
        let socket = UnixDatagram::unbound().ok().zip(address);
        Self { socket, status: String::new(), watchdog, alive_at: Instant::ZERO }
    }

    /// The service does what it is for.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// It ends because it was told to.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// A sentence for people; the same again is not sent.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            self.send(&format!("STATUS={status}"));
            self.status = status;
        }
    }

    /// When `alive` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.watchdog.map(|watchdog| self.alive_at + watchdog)
    }

    /// Says that the main loop still turns, when that is due.
    pub fn alive(&mut self, now: Instant) {
        if self.deadline().is_some_and(|due| due <= now) {
            self.send("WATCHDOG=1");
            self.alive_at = now;
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // PID 1 that does not listen is no reason to stop networking.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }
}
