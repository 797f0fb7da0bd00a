//! Tells PID 1 that the runtime is ready (sd_notify(3)). Without a service manager nothing is told.

use std::os::unix::net::UnixDatagram;

/// Sends a state.
pub(crate) fn send(state: &str) {
    #[expect(clippy::disallowed_methods, reason = "the protocol of sd_notify(3) is an environment variable")]
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), path));
    if let Err(error) = sent {
        eprintln!("cannot tell the service manager that {state}: {error}");
    }
}
