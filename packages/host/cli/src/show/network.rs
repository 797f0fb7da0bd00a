//! Network and time.

use lepton_host_api::v1 as api;

use super::{fact, list, maybe, size, text};
use crate::output::{Table, View};
use crate::span;

impl View for api::NetworkResponse {
    fn tables(&self, several: bool) -> Vec<Table> {
        let mut tables = vec![
            Table {
                head: &["LINK", "KIND", "STATE", "MTU", "MAC", "ADDRESSES", "RECEIVED", "SENT", "ERRORS"],
                rows: self.links.iter().map(link).collect(),
            },
            Table {
                head: &["DESTINATION", "GATEWAY", "LINK", "METRIC"],
                rows: self.routes.iter().map(route).collect(),
            },
            Table {
                head: &["PROTOCOL", "LISTENS", "PID", "PROCESS", "SERVICE"],
                rows: self.sockets.iter().map(socket).collect(),
            },
        ];
        let mut names = vec![fact("dns", list(&self.dns)), fact("search", list(&self.search))];
        names.extend(self.errors.iter().map(|error| fact("error", error.as_str())));
        let head: &[&str] = if several { &["FACT", "VALUE"] } else { &[] };
        tables.push(Table { head, rows: names });
        tables
    }
}

fn link(link: &api::Link) -> Vec<String> {
    let state = match (link.up, link.carrier) {
        (false, _) => "down",
        (true, false) => "no carrier",
        (true, true) => "up",
    };
    let addresses: Vec<String> = link.addresses.iter().map(address).collect();
    vec![
        link.name.clone(),
        text(&link.kind),
        state.to_owned(),
        link.mtu_bytes.to_string(),
        text(&link.mac),
        list(&addresses),
        size(link.received_bytes),
        size(link.sent_bytes),
        link.receive_errors.saturating_add(link.send_errors).to_string(),
    ]
}

/// `192.0.2.10/24(dhcp)`.
fn address(address: &api::Address) -> String {
    let notes: Vec<&str> = [&address.origin, &address.state]
        .into_iter()
        .map(String::as_str)
        .filter(|note| !note.is_empty())
        .collect();
    if notes.is_empty() {
        address.address.clone()
    } else {
        format!("{}({})", address.address, notes.join(","))
    }
}

fn route(route: &api::Route) -> Vec<String> {
    vec![text(&route.destination), text(&route.gateway), text(&route.link), route.metric.to_string()]
}

fn socket(socket: &api::Socket) -> Vec<String> {
    vec![
        socket.protocol.clone(),
        socket.address.clone(),
        maybe(socket.pid, |pid| pid.to_string()),
        text(&socket.process),
        text(&socket.service),
    ]
}

impl View for api::TimeResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let row = vec![
            span::rfc3339(self.time_unix_ms),
            span::short(self.uptime_ms),
            if self.synchronized { "yes" } else { "no" }.to_owned(),
            format!("{}/{}", self.answering, self.servers),
            maybe(self.stratum, |stratum| stratum.to_string()),
            maybe(self.offset_us, |offset| {
                format!(
                    "{}{}.{:03} ms",
                    if offset < 0 { "-" } else { "" },
                    offset.unsigned_abs() / 1000,
                    offset.unsigned_abs() % 1000
                )
            }),
        ];
        vec![Table { head: &["TIME", "UP", "SYNCHRONIZED", "SERVERS", "STRATUM", "OFFSET"], rows: vec![row] }]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    fn network() -> api::NetworkResponse {
        let address = |address: &str, origin: &str, state: &str| api::Address {
            address: address.into(),
            origin: origin.into(),
            state: state.into(),
        };
        api::NetworkResponse {
            hostname: "edge-1".into(),
            links: vec![
                api::Link {
                    index: 2,
                    name: "eth0".into(),
                    mac: "52:54:00:12:34:56".into(),
                    up: true,
                    carrier: true,
                    mtu_bytes: 1500,
                    addresses: vec![
                        address("192.0.2.10/24", "dhcp", ""),
                        address("fe80::1/64", "link-local", "tentative"),
                    ],
                    received_bytes: 2048,
                    sent_bytes: 1 << 20,
                    receive_errors: 1,
                    send_errors: 2,
                    ..Default::default()
                },
                api::Link {
                    index: 3,
                    name: "dummy0".into(),
                    kind: "dummy".into(),
                    mtu_bytes: 1500,
                    ..Default::default()
                },
            ],
            routes: vec![api::Route {
                destination: "0.0.0.0/0".into(),
                gateway: "192.0.2.1".into(),
                link: "eth0".into(),
                metric: 100,
            }],
            dns: vec!["192.0.2.53".into()],
            search: vec![],
            sockets: vec![api::Socket {
                protocol: "tcp".into(),
                address: "[::]:7443".into(),
                pid: Some(80),
                process: "lepton-host".into(),
                service: "host".into(),
            }],
            errors: vec!["eth1: no carrier".into()],
        }
    }

    #[test]
    fn a_network() {
        let text = printed(false, &["a"], |output| output.answers(&[("a", network())]));
        expect![[r#"
            LINK    KIND   STATE  MTU   MAC                ADDRESSES                                             RECEIVED  SENT     ERRORS
            eth0    -      up     1500  52:54:00:12:34:56  192.0.2.10/24(dhcp) fe80::1/64(link-local,tentative)  2 KiB     1.0 MiB  3
            dummy0  dummy  down   1500  -                  -                                                     0 B       0 B      0

            DESTINATION  GATEWAY    LINK  METRIC
            0.0.0.0/0    192.0.2.1  eth0  100

            PROTOCOL  LISTENS    PID  PROCESS      SERVICE
            tcp       [::]:7443  80   lepton-host  host

            dns     192.0.2.53
            search  -
            error   eth1: no carrier
        "#]]
        .assert_eq(&text);
        let two = printed(false, &["a", "b"], |output| output.answers(&[("a", network()), ("b", network())]));
        assert!(two.contains("HOST  FACT    VALUE\na     dns     192.0.2.53\n"), "{two}");
    }

    #[test]
    fn clocks() {
        let time = api::TimeResponse {
            time_unix_ms: 1000,
            uptime_ms: 61_000,
            synchronized: true,
            servers: 4,
            answering: 3,
            stratum: Some(2),
            offset_us: Some(-1250),
        };
        let unknown = api::TimeResponse { stratum: None, offset_us: None, synchronized: false, ..time };
        let text = printed(false, &["a", "b"], |output| output.answers(&[("a", time), ("b", unknown)]));
        expect![[r#"
            HOST  TIME                  UP    SYNCHRONIZED  SERVERS  STRATUM  OFFSET
            a     1970-01-01T00:00:01Z  1m1s  yes           3/4      2        -1.250 ms
            b     1970-01-01T00:00:01Z  1m1s  no            3/4      -        -
        "#]]
        .assert_eq(&text);
    }
}
