//! The host name from DHCP, when the config has none.

use std::io;

use lepton_control::{Client, Request};

/// Sets the host name.
pub trait HostName: std::fmt::Debug {
    /// Sets it; the name is a checked one (RFC 1123).
    fn set(&mut self, name: &str) -> io::Result<()>;
}

/// Asks PID 1, which shows the name and is the only one that may set it.
#[derive(Debug)]
pub struct Pid1;

impl HostName for Pid1 {
    fn set(&mut self, name: &str) -> io::Result<()> {
        let mut client = Client::connect().map_err(io::Error::other)?;
        client.ask(&Request::SetHostname { hostname: name.to_owned() }).map(drop).map_err(io::Error::other)
    }
}

/// The longest name that Linux takes.
const LONGEST: usize = 64;

/// The part of a name from DHCP that this host can use: all of it, or its first label when it is too long.
pub fn usable(name: &str) -> Option<&str> {
    let first = name.split('.').next().unwrap_or(name);
    let name = if name.len() <= LONGEST { name } else { first };
    // Underscores are for domains; `localhost` is every host's name.
    let is_usable = name.len() <= LONGEST && !name.contains('_') && first != "localhost";
    is_usable.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_dhcp() {
        let long = format!("edge-1.{}", "a".repeat(60));
        for (name, expected) in [
            ("edge-1", Some("edge-1")),
            ("edge-1.example.org", Some("edge-1.example.org")),
            (long.as_str(), Some("edge-1")),
            ("edge_1", None),
            ("localhost.localdomain", None),
        ] {
            assert_eq!(usable(name), expected, "{name}");
        }
    }
}
