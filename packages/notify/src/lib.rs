//! What a service tells the service manager of itself: the messages of sd_notify(3), to the socket that `NOTIFY_SOCKET`
//! names. Without a service manager nothing is told.
//!
//! Nothing here fails: a service manager that does not listen is no reason for a service to stop.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notify {
    socket: Option<(UnixDatagram, SocketAddr)>,
}

impl Notify {
    /// To the socket that `NOTIFY_SOCKET` names.
    #[expect(clippy::disallowed_methods, reason = "services are told the place of the socket so")]
    pub fn from_env() -> Self {
        std::env::var_os("NOTIFY_SOCKET").map(|path| Self::to(&path)).unwrap_or_default()
    }

    /// To the socket at `path`; one that begins with `@` is in the abstract namespace (unix(7)).
    pub fn to(path: &OsStr) -> Self {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(path),
        };
        Self { socket: UnixDatagram::unbound().ok().zip(address.ok()) }
    }

    /// The service does what it is for.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// It ends because it was told to.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Its main loop still turns.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// A sentence for people, shown beside the service.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", one_line(text)));
    }

    /// Both in one message: the service is ready, and what it says of itself.
    pub fn ready_with(&self, text: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(text)));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

/// A text of several lines would be several messages.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// [`Notify::ready`] to the socket of the environment.
pub fn ready() {
    Notify::from_env().ready();
}

/// [`Notify::stopping`] to the socket of the environment.
pub fn stopping() {
    Notify::from_env().stopping();
}

/// [`Notify::alive`] to the socket of the environment.
pub fn alive() {
    Notify::from_env().alive();
}

/// [`Notify::status`] to the socket of the environment.
pub fn status(text: &str) {
    Notify::from_env().status(text);
}

/// [`Notify::ready_with`] to the socket of the environment.
pub fn ready_with(text: &str) {
    Notify::from_env().ready_with(text);
}

/// How often the service should say that it is alive: half of `WATCHDOG_USEC`, as sd_watchdog_enabled(3) recommends. `None`
/// when nobody waits for that.
#[expect(clippy::disallowed_methods, reason = "services are told the time of their watchdog so")]
pub fn watchdog() -> Option<Duration> {
    std::env::var("WATCHDOG_USEC").ok().and_then(|text| half(&text))
}

fn half(micros: &str) -> Option<Duration> {
    micros.parse().ok().filter(|micros| *micros > 0).map(|micros: u64| Duration::from_micros(micros / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_arrive_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("lepton-notify-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, notify) in [
            (UnixDatagram::bind(&path).unwrap(), Notify::to(path.as_os_str())),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), Notify::to(OsStr::new(&format!("@{name}")))),
        ] {
            notify.ready();
            notify.status("a\nREADY=1\r\nb");
            notify.ready_with("up");
            notify.alive();
            notify.stopping();
            for message in
                ["READY=1", "STATUS=a READY=1  b", "READY=1\nSTATUS=up", "WATCHDOG=1", "STOPPING=1"]
            {
                assert_eq!(next(&socket), message);
            }
        }
    }

    #[test]
    fn nobody_listens() {
        Notify::default().ready();
        Notify::to(OsStr::new("/nonexistent/notify")).ready();
        Notify::to(OsStr::new(&"x".repeat(500))).status("a path that no address holds");
    }

    #[test]
    fn watchdogs() {
        assert_eq!(half("3000000"), Some(Duration::from_millis(1500)));
        for none in ["", "0", "-1", "1s"] {
            assert_eq!(half(none), None, "{none}");
        }
    }
}
