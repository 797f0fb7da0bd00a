//! DHCP, router advertisements and static addresses.

use crate::Scenario;
use crate::field::Field;

/// Every scenario of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("dhcp4_without_config", dhcp4_without_config),
    ("dhcp4_server_gone_and_back", dhcp4_server_gone_and_back),
    ("dhcp4_over_a_restart_and_a_pulled_cable", dhcp4_over_a_restart_and_a_pulled_cable),
    ("ipv6_only_by_router", ipv6_only_by_router),
    ("ipv6_renumbered", ipv6_renumbered),
    ("dhcp6_with_addresses", dhcp6_with_addresses),
    ("dhcp6_without_addresses", dhcp6_without_addresses),
    ("static_without_servers", static_without_servers),
    ("what_others_set_stays", what_others_set_stays),
];

const V4: [&str; 2] = ["--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,120", "--dhcp-authoritative"];

/// An address of the network that the server leases.
fn leased(field: &Field) -> Vec<String> {
    field.addresses("eth0", "dhcp").into_iter().filter(|address| address.starts_with("192.0.2.")).collect()
}

fn dhcp4_without_config(field: &mut Field) {
    field.cable("eth0", "s0");
    field.ip("addr add 192.0.2.1/24 dev s0");
    let options = [
        // Renewal after 3 s instead of half of two minutes.
        "--dhcp-option=option:T1,3",
        "--dhcp-option=option:dns-server,192.0.2.53,192.0.2.54",
        "--dhcp-option=option:domain-search,example.org,lab.example.org",
        "--dhcp-option=option:ntp-server,192.0.2.123",
        "--dhcp-option=option:mtu,1400",
        "--dhcp-option=option:classless-static-route,198.51.100.0/24,192.0.2.9,0.0.0.0/0,192.0.2.1",
        "--dhcp-host=*:*:*:*:*:*,edge-7",
    ];
    field.dnsmasq("s0", &[&V4[..], &options].concat());
    field.start("");
    let time = field.wait("a lease", |field| leased(field).len() == 1);
    eprintln!("a lease after {} ms", time.as_millis());
    field.wait("resolv.conf", |field| field.read("resolv.conf").contains("192.0.2.53"));
    let resolv = "# Written by the service network.\nnameserver 192.0.2.53\nnameserver 192.0.2.54\n\
                  search example.org lab.example.org\n";
    assert_eq!(field.read("resolv.conf"), resolv);
    assert_eq!(field.read("run/resolv.conf"), resolv);
    let routes = field.ip_there("route show proto dhcp");
    assert!(routes.contains("default via 192.0.2.1 dev eth0"), "{routes}");
    assert!(routes.contains("198.51.100.0/24 via 192.0.2.9 dev eth0"), "{routes}");
    let link = field.ip_there("addr show dev eth0");
    assert!(link.contains("mtu 1400") && link.contains("proto 0x10"), "{link}");
    field.wait("the NTP server of the lease", |field| field.report()["time"]["servers"] == 1);
    let first = field.read("run/leases/eth0.json");
    assert!(first.contains(r#""hostname":"edge-7""#), "{first}");
    field.wait("a renewal", |field| field.read("run/leases/eth0.json") != first);
    let log = field.read("dnsmasq.log");
    assert_eq!(log.matches("DHCPDISCOVER(s0)").count(), 1, "a renewal asks no one else: {log}");
    // Built for tests, with glibc; the program of the image needs far less.
    let kib = field.resident_kib();
    eprintln!("resident memory: {kib} KiB");
    assert!(kib < 12 * 1024, "{kib} KiB");
}

fn dhcp4_server_gone_and_back(field: &mut Field) {
    field.cable("eth0", "s0");
    field.ip("addr add 192.0.2.1/24 dev s0");
    field.start("");
    field.wait("the state without a server", |field| {
        field.report()["links"][0]["dhcp4"] == "waiting for DHCP"
    });
    field.dnsmasq("s0", &[&V4[..], &["--dhcp-option=option:T1,2", "--dhcp-option=option:T2,4"]].concat());
    field.wait("a lease from a server that starts late", |field| leased(field).len() == 1);
    let before = leased(field);
    field.stop_servers();
    field.wait("a renewal without a server", |field| field.report()["links"][0]["dhcp4"] == "rebinding");
    assert_eq!(leased(field), before, "the address stays while the lease lasts");
    // Another server, which knows nothing of the lease and leases other addresses: it refuses, and gives a new one.
    std::fs::remove_file(field.path("leases")).expect("the leases of the first server");
    let range = "--dhcp-range=192.0.2.90,192.0.2.99,255.255.255.0,120";
    field.ip("link set s0 down");
    field.ip("link set s0 up");
    field.dnsmasq("s0", &[range, "--dhcp-authoritative"]);
    field.wait("an address of the new server, alone", |field| {
        let now = leased(field);
        now.len() == 1 && now != before
    });
    let link = field.ip_there("addr show dev eth0");
    assert!(!link.contains(&before[0]), "the old address is stale: {link}");
}

fn dhcp4_over_a_restart_and_a_pulled_cable(field: &mut Field) {
    field.cable("eth0", "s0");
    field.ip("addr add 192.0.2.1/24 dev s0");
    field.dnsmasq("s0", &V4);
    field.start("");
    field.wait("a lease", |field| leased(field).len() == 1);
    let before = leased(field);
    field.stop();
    let link = field.ip_there("addr show dev eth0");
    assert!(link.contains(&before[0]), "the address stays without the service: {link}");
    field.start("");
    field.wait("a confirmed lease", |field| field.read("dnsmasq.log").matches("DHCPACK(s0)").count() == 2);
    field.ip("link set s0 down");
    field.wait("no carrier", |field| field.report()["links"][0]["carrier"] == false);
    assert_eq!(leased(field), before, "a pulled cable takes no address");
    field.ip("link set s0 up");
    field.wait("a lease that is confirmed again", |field| {
        field.read("dnsmasq.log").matches("DHCPACK(s0)").count() == 3
    });
    assert_eq!(leased(field), before);
    let log = field.read("dnsmasq.log");
    assert_eq!(log.matches("DHCPDISCOVER(s0)").count(), 1, "leases are confirmed, not asked for anew: {log}");
}

fn router(field: &Field, prefix: &str) {
    field.ip(&format!("addr add {prefix}::1/64 dev s0 nodad"));
}

/// Whether the only global addresses by router advertisement are of this prefix.
fn announced(field: &Field, prefix: &str) -> bool {
    let addresses = field.addresses("eth0", "ra");
    !addresses.is_empty() && addresses.iter().all(|address| address.starts_with(prefix))
}

fn ipv6_only_by_router(field: &mut Field) {
    field.cable("eth0", "s0");
    router(field, "2001:db8:1");
    let options = [
        "--enable-ra",
        "--dhcp-range=2001:db8:1::,ra-only",
        "--dhcp-option=option6:dns-server,[2001:db8:1::53]",
        "--dhcp-option=option6:domain-search,example.org",
    ];
    field.dnsmasq("s0", &options);
    field.start("");
    field.wait("an address", |field| announced(field, "2001:db8:1:"));
    field.wait("resolv.conf", |field| field.read("resolv.conf").contains("search example.org"));
    assert!(field.read("resolv.conf").contains("nameserver 2001:db8:1::53\n"));
    let routes = field.ip_there("-6 route show default");
    assert!(routes.contains("proto ra"), "{routes}");
    assert_eq!(
        field.report()["links"][0]["dhcp6"],
        serde_json::Value::Null,
        "the router does not want DHCPv6"
    );
    field.stop();
    std::fs::remove_file(field.path("resolv.conf")).expect("a file of this test");
    field.start("");
    field.wait("resolv.conf after a restart", |field| field.read("resolv.conf").contains("2001:db8:1::53"));
}

fn ipv6_renumbered(field: &mut Field) {
    field.cable("eth0", "s0");
    router(field, "2001:db8:1");
    field.dnsmasq("s0", &["--enable-ra", "--dhcp-range=2001:db8:1::,ra-only"]);
    field.start("");
    field.wait("an address", |field| announced(field, "2001:db8:1:"));
    // The cable now leads to another network, whose router has never heard of the first one.
    field.stop_servers();
    field.ip("link set s0 down");
    field.wait("no carrier", |field| field.report()["links"][0]["carrier"] == false);
    field.ip("addr flush dev s0");
    field.ip("link set s0 up");
    router(field, "2001:db8:9");
    field.dnsmasq("s0", &["--enable-ra", "--dhcp-range=2001:db8:9::,ra-only"]);
    field.wait("the new prefix alone", |field| announced(field, "2001:db8:9:"));
}

fn dhcp6_with_addresses(field: &mut Field) {
    field.cable("eth0", "s0");
    router(field, "2001:db8:2");
    let options = [
        "--enable-ra",
        "--dhcp-range=2001:db8:2::100,2001:db8:2::1ff,64,120",
        "--dhcp-option=option6:dns-server,[2001:db8:2::53]",
        "--dhcp-option=option6:ntp-server,[2001:db8:2::123]",
    ];
    field.dnsmasq("s0", &options);
    field.start("");
    let is_leased = |field: &Field| {
        let addresses = field.addresses("eth0", "dhcp");
        addresses.len() == 1 && addresses[0].starts_with("2001:db8:2::1") && addresses[0].ends_with("/128")
    };
    field.wait("a lease", is_leased);
    field.wait("resolv.conf", |field| field.read("resolv.conf").contains("nameserver 2001:db8:2::53\n"));
    field.wait("the NTP server", |field| field.report()["time"]["servers"] == 1);
    field.ip("link set s0 down");
    field.wait("no carrier", |field| field.report()["links"][0]["carrier"] == false);
    field.ip("link set s0 up");
    // An address of a link that goes down is lost in Linux: the router speaks with its new link-local address.
    router(field, "2001:db8:2");
    field.wait("a lease that is confirmed", |field| field.read("dnsmasq.log").contains("DHCPCONFIRM"));
    assert!(is_leased(field));
}

fn dhcp6_without_addresses(field: &mut Field) {
    field.cable("eth0", "s0");
    router(field, "2001:db8:3");
    let options = [
        "--enable-ra",
        "--dhcp-range=2001:db8:3::,ra-stateless",
        "--dhcp-option=option6:dns-server,[2001:db8:3::53]",
        "--dhcp-option=option6:ntp-server,[2001:db8:3::123]",
    ];
    field.dnsmasq("s0", &options);
    field.start("");
    field.wait("an address by router", |field| announced(field, "2001:db8:3:"));
    field.wait("configuration", |field| field.report()["links"][0]["dhcp6"] == "bound");
    assert_eq!(field.addresses("eth0", "dhcp"), [""; 0]);
    field.wait("the NTP server", |field| field.report()["time"]["servers"] == 1);
}

fn static_without_servers(field: &mut Field) {
    field.cable("eth0", "s0");
    field.ip("addr add 2001:db8:4::13/64 dev s0 nodad");
    let config = r#"
        [network]
        dns = ["192.0.2.53"]
        search = ["example.org"]
        [[network.links]]
        match = { name = "eth0" }
        addresses = ["192.0.2.10/24", "2001:db8:4::10/64", "2001:db8:4::13/64"]
        gateways = ["192.0.2.1", "2001:db8:4::1"]
        routes = [{ to = "198.51.100.0/24", via = "192.0.2.9" }]
        mtu = 1400
    "#;
    field.start(config);
    let time = field.wait("addresses", |field| field.addresses("eth0", "static").len() == 3);
    eprintln!("static addresses after {} ms", time.as_millis());
    let routes = field.ip_there("route show proto static") + &field.ip_there("-6 route show proto static");
    for words in [
        "default via 192.0.2.1 dev eth0",
        "198.51.100.0/24 via 192.0.2.9 dev eth0",
        "default via 2001:db8:4::1 dev eth0",
    ] {
        assert!(routes.contains(words), "{words:?} is missing in\n{routes}");
    }
    assert!(field.ip_there("link show dev eth0").contains("mtu 1400"));
    assert!(field.read("resolv.conf").ends_with("nameserver 192.0.2.53\nsearch example.org\n"));
    assert_eq!(field.report()["links"][0]["dhcp4"], serde_json::Value::Null);
    field.wait("the duplicate", |field| field.read("run/network.json").contains("\"duplicate\""));
    field.ip("link set s0 down");
    field.wait("no carrier", |field| field.report()["links"][0]["carrier"] == false);
    assert_eq!(field.addresses("eth0", "static").len(), 3, "addresses stay without carrier");
    // Another config, as after a restart of the service with a new one.
    field.stop();
    field.start("[[network.links]]\nmatch = { name = \"eth0\" }\naddresses = [\"192.0.2.11/24\"]\n");
    field.wait("the new address alone", |field| field.addresses("eth0", "static") == ["192.0.2.11/24"]);
    let routes = field.ip_there("route show proto static") + &field.ip_there("-6 route show proto static");
    assert_eq!(routes, "", "the old routes are gone");
}

fn what_others_set_stays(field: &mut Field) {
    field.cable("eth0", "s0");
    field.cable("eth1", "s1");
    // As a container network would be set up.
    field.ip_there("link add cni0 type bridge");
    field.ip_there("addr add 10.244.0.1/24 dev cni0");
    field.ip_there("link set cni0 up");
    field.ip_there("link add veth7 type veth peer name peer7");
    field.ip_there("link set veth7 master cni0");
    field.ip_there("addr add 203.0.113.5/24 dev eth0");
    field.ip_there("link set eth0 up");
    field.ip_there("route add 203.0.113.128/25 via 203.0.113.6 dev eth0");
    let config = "[[network.links]]\nmatch = { name = \"eth0\" }\naddresses = [\"192.0.2.11/24\"]\n";
    field.start(config);
    field.wait("the address", |field| field.addresses("eth0", "static") == ["192.0.2.11/24"]);
    field.stop();
    field.start("[[network.links]]\nmatch = { name = \"eth0\" }\naddresses = [\"192.0.2.12/24\"]\n");
    field.wait("the new address", |field| field.addresses("eth0", "static") == ["192.0.2.12/24"]);
    let (addresses, routes) = (field.ip_there("addr"), field.ip_there("route"));
    assert!(
        addresses.contains("inet 10.244.0.1/24") && addresses.contains("inet 203.0.113.5/24"),
        "{addresses}"
    );
    assert!(routes.contains("203.0.113.128/25 via 203.0.113.6"), "{routes}");
    for name in ["veth7", "peer7"] {
        let link = field.ip_there(&format!("link show dev {name}"));
        assert!(link.contains("state DOWN"), "{name} is not ours: {link}");
    }
}
