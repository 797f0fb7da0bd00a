//! Links, addresses and routes from the kernel (rtnetlink(7)), what the service `network` reports, sockets that listen, and
//! the clock.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use lepton_host_api::v1 as api;
use lepton_network::kernel::{Link, Netlink, RouteKey, Snapshot};
use serde_json::Value;
use tonic::Status;

use super::processes::pids;
use super::{Methods, blocking};
use crate::places::Places;
use crate::{clock, procfs};

/// States of sockets in proc_net(5): `TCP_LISTEN`; UDP has none that is connected to nobody but this.
const TCP_LISTEN: &str = "0A";
const UDP_OPEN: &str = "07";

impl Methods {
    pub(super) async fn whole_network(&self) -> Result<api::NetworkResponse, Status> {
        let places = self.places.clone();
        blocking(move || {
            let read = || -> io::Result<(Snapshot, Vec<RouteKey>)> {
                let mut netlink = Netlink::open()?;
                Ok((Snapshot::read(&mut netlink)?, Snapshot::routes(&mut netlink)?))
            };
            let (snapshot, routes) = read()
                .map_err(|error| Status::internal(format!("the kernel's network cannot be read: {error}")))?;
            Ok(network(&places, &snapshot, &routes))
        })
        .await
    }

    pub(super) async fn clock(&self) -> Result<api::TimeResponse, Status> {
        let places = self.places.clone();
        blocking(move || {
            let report = report(&places.network);
            let time = &report["time"];
            let number = |key: &str| time[key].as_u64().and_then(|number| u32::try_from(number).ok());
            Ok(api::TimeResponse {
                time_unix_ms: clock::millis(),
                uptime_ms: clock::uptime_ms(),
                synchronized: time["synchronized"] == true,
                servers: number("servers").unwrap_or(0),
                answering: number("answering").unwrap_or(0),
                stratum: number("stratum"),
                offset_us: time["offset-us"].as_i64(),
            })
        })
        .await
    }
}

/// What the service `network` says; null where it does not run.
fn report(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

fn network(places: &Places, snapshot: &Snapshot, routes: &[RouteKey]) -> api::NetworkResponse {
    let report = report(&places.network);
    let name =
        |index: u32| snapshot.links.iter().find(|link| link.index == index).map(|link| link.name.clone());
    api::NetworkResponse {
        hostname: fs::read_to_string(places.proc.join("sys/kernel/hostname"))
            .unwrap_or_default()
            .trim()
            .to_owned(),
        links: snapshot.links.iter().map(|it| link(places, snapshot, it, &report)).collect(),
        routes: routes
            .iter()
            .map(|route| api::Route {
                destination: route.destination.to_string(),
                gateway: route.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
                link: name(route.link).unwrap_or_default(),
                metric: route.metric,
            })
            .collect(),
        dns: strings(&report["dns"]),
        search: strings(&report["search"]),
        sockets: sockets(&places.proc),
        errors: strings(&report["errors"]),
    }
}

fn link(places: &Places, snapshot: &Snapshot, link: &Link, report: &Value) -> api::Link {
    let folder = places.sys.join("class/net").join(&link.name).join("statistics");
    let count = |name: &str| -> u64 {
        fs::read_to_string(folder.join(name)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    let told = report["links"].as_array().into_iter().flatten().find(|it| it["name"] == link.name.as_str());
    let origin = |address: &str| {
        let addresses = told.and_then(|link| link["addresses"].as_array()).into_iter().flatten();
        let found = addresses.into_iter().find(|it| it["address"] == address);
        found.and_then(|it| it["origin"].as_str()).unwrap_or_default().to_owned()
    };
    let mac = link.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
    api::Link {
        index: link.index,
        name: link.name.clone(),
        mac: mac.unwrap_or_default(),
        kind: link.kind.clone().unwrap_or_default(),
        up: link.is_up,
        carrier: link.has_carrier,
        mtu_bytes: link.mtu,
        addresses: snapshot
            .addresses_of(link.index)
            .map(|address| api::Address {
                address: address.net.to_string(),
                origin: origin(&address.net.to_string()),
                state: match (address.is_tentative, address.is_duplicate) {
                    (_, true) => "duplicate",
                    (true, false) => "tentative",
                    _ => "",
                }
                .to_owned(),
            })
            .collect(),
        received_bytes: count("rx_bytes"),
        sent_bytes: count("tx_bytes"),
        receive_errors: count("rx_errors").saturating_add(count("rx_dropped")),
        send_errors: count("tx_errors").saturating_add(count("tx_dropped")),
    }
}

/// Sockets that listen, in PID 1's network namespace, with a process that has each.
fn sockets(proc: &Path) -> Vec<api::Socket> {
    let mut found = Vec::new();
    for (file, protocol, state) in [
        ("tcp", "tcp", TCP_LISTEN),
        ("tcp6", "tcp", TCP_LISTEN),
        ("udp", "udp", UDP_OPEN),
        ("udp6", "udp", UDP_OPEN),
    ] {
        let text = fs::read_to_string(proc.join("1/net").join(file)).unwrap_or_default();
        found.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| socket(line, state))
                .map(|(at, inode)| (protocol, at, inode)),
        );
    }
    found.sort();
    found.dedup();
    let owners = owners(proc);
    found
        .into_iter()
        .map(|(protocol, address, inode)| {
            let pid = owners.get(&inode).copied();
            let text = |name: &str| {
                let read = pid.and_then(|pid| fs::read_to_string(proc.join(pid.to_string()).join(name)).ok());
                read.unwrap_or_default()
            };
            api::Socket {
                protocol: protocol.to_owned(),
                address: address.to_string(),
                pid,
                process: text("comm").trim_end().to_owned(),
                service: procfs::cgroup(&text("cgroup"))
                    .and_then(procfs::service)
                    .unwrap_or_default()
                    .to_owned(),
            }
        })
        .collect()
}

/// The address and the inode of a socket in that state.
fn socket(line: &str, state: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != state {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    if !matches!(address.len(), 8 | 32) {
        return None;
    }
    // Each group of 32 bits is written as a number of the machine's own byte order.
    let mut bytes = Vec::new();
    for group in address.as_bytes().chunks(8) {
        bytes.extend(u32::from_str_radix(std::str::from_utf8(group).ok()?, 16).ok()?.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some((SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?), fields.get(9)?.parse().ok()?))
}

/// The first process that has each socket, by inode.
fn owners(proc: &Path) -> BTreeMap<u64, u32> {
    let mut owners = BTreeMap::new();
    for pid in pids(proc) {
        let folder = proc.join(pid.to_string()).join("fd");
        let found =
            walkdir::WalkDir::new(folder).min_depth(1).max_depth(1).into_iter().filter_map(Result::ok);
        for target in found.filter_map(|entry| fs::read_link(entry.path()).ok()) {
            let inode = target
                .to_str()
                .and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                owners.entry(inode).or_insert(pid);
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sockets() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100";
        assert_eq!(socket(line, TCP_LISTEN), Some(("127.0.0.1:8080".parse().unwrap(), 12345)));
        assert_eq!(socket(line, UDP_OPEN), None);
        let line = "  1: 00000000000000000000000001000000:1CD3 0:0 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(socket(line, TCP_LISTEN), Some(("[::1]:7379".parse().unwrap(), 7)));
        for bad in
            ["", "0: x:1 0:0 0A 0 0 0 0 0 1", "0: 0100007F:1F90 0:0 0A", "0: 0100:1 0:0 0A 0 0 0 0 0 1"]
        {
            assert_eq!(socket(bad, TCP_LISTEN), None, "{bad}");
        }
    }

    #[test]
    fn a_listener_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = |owner: &(&u64, &u32)| *owner.1 == std::process::id();
        let owners = owners(Path::new("/proc"));
        assert!(owners.iter().any(|owner| inode(&owner)), "{listener:?}");
    }
}
