//! Tells PID 1 how the service is (sd_notify(3)).

use std::os::unix::net::UnixDatagram;

/// Sends lines to the socket that `NOTIFY_SOCKET` names, if it does.
pub fn send(text: &str) {
    #[expect(clippy::disallowed_methods, reason = "services are told the place of the socket so")]
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // PID 1 that does not listen is no reason to stop.
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(text.as_bytes(), path));
}
