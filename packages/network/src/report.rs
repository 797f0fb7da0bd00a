//! `network.json`: the state of network and time for the command line and the console.

use serde::Serialize;

use crate::address::Net;

/// Everything.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Format of this file.
    pub version: u32,
    /// The host name from DHCP, when it is in use.
    pub hostname: Option<String>,
    /// DNS servers in use, best first.
    pub dns: Vec<String>,
    /// Domains to search.
    pub search: Vec<String>,
    /// Managed links and members of bonds and bridges.
    pub links: Vec<LinkReport>,
    /// NTP.
    pub time: TimeReport,
    /// What does not work, one sentence each.
    pub errors: Vec<String>,
}

/// One link.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LinkReport {
    /// Its name.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// `managed`, `member` or `parent`.
    pub role: &'static str,
    /// Whether a cable is plugged in.
    pub carrier: bool,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// State of DHCPv4.
    pub dhcp4: Option<&'static str>,
    /// State of DHCPv6.
    pub dhcp6: Option<&'static str>,
    /// Whether a router advertised itself.
    pub router: bool,
    /// Addresses, those of other programs too.
    pub addresses: Vec<AddressReport>,
    /// Routes that this program set.
    pub routes: Vec<RouteReport>,
}

/// An address.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AddressReport {
    /// Address and prefix length.
    pub address: Net,
    /// `static`, `dhcp`, `ra`, `link-local` or `other`.
    pub origin: &'static str,
    /// `tentative`, `duplicate` or nothing.
    pub state: Option<&'static str>,
    /// Seconds since the start of the machine when it ends; nothing: never.
    pub ends_at_s: Option<u64>,
}

/// A route.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RouteReport {
    /// Where to.
    pub destination: Net,
    /// Through which router.
    pub gateway: Option<String>,
    /// Lower is preferred.
    pub metric: u32,
}

/// NTP.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TimeReport {
    /// Servers that are asked.
    pub servers: usize,
    /// Of these, servers that answer.
    pub answering: usize,
    /// Smallest stratum of these.
    pub stratum: Option<u8>,
    /// The last offset that was agreed on, in microseconds.
    pub offset_us: Option<i64>,
    /// The clock was set or steered.
    pub synchronized: bool,
}

impl Report {
    /// One line for people: what is missing, else the addresses.
    pub fn status(&self) -> String {
        let mut parts = Vec::new();
        for link in self.links.iter().filter(|link| link.role == "managed") {
            let global = link.addresses.iter().filter(|address| address.origin != "link-local");
            let addresses: Vec<String> = global.map(|address| address.address.to_string()).collect();
            let state = match (addresses.is_empty(), link.carrier) {
                (false, _) => addresses.join(" "),
                (true, false) => "no carrier".to_owned(),
                (true, true) => link.dhcp4.or(link.dhcp6).unwrap_or("no address").to_owned(),
            };
            parts.push(format!("{}: {state}", link.name));
        }
        let parts = if parts.is_empty() { vec!["no link".to_owned()] } else { parts };
        let errors = self.errors.first().map(|error| format!("; {error}"));
        format!("{}{}", parts.join(", "), errors.unwrap_or_default())
    }
}
