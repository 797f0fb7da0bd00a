//! Links that the service makes: bridges, bonds and VLANs.

use crate::Scenario;
use crate::field::Field;

/// Every scenario of this file.
pub(crate) const ALL: &[Scenario] = &[
    ("bridge", bridge),
    ("vlan", vlan),
    ("bond_with_a_member_down", bond_with_a_member_down),
    ("bond_lacp", bond_lacp),
];

const RANGE: &str = "--dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,120";

fn bridge(field: &mut Field) {
    field.cable("eth0", "s0");
    field.ip("addr add 192.0.2.1/24 dev s0");
    field.dnsmasq("s0", &[RANGE]);
    field.start("[[network.links]]\nname = \"br0\"\nbridge = { members = [\"eth0\"] }\n");
    field.wait("a lease on the bridge", |field| field.addresses("br0", "dhcp").len() == 1);
    assert_eq!(field.addresses("eth0", "dhcp"), [""; 0], "a member has no address");
    assert!(field.ip_there("link show dev eth0").contains("master br0"));
}

fn vlan(field: &mut Field) {
    field.cable("eth0", "s0");
    if !field.has_kind("link s0 name s0.7 type vlan id 7") {
        return;
    }
    field.ip("link set s0.7 up");
    field.ip("addr add 192.0.2.1/24 dev s0.7");
    field.dnsmasq("s0.7", &[RANGE]);
    field.start("[[network.links]]\nname = \"eth0.7\"\nvlan = { id = 7, parent = \"eth0\" }\n");
    field.wait("a lease on the VLAN", |field| field.addresses("eth0.7", "dhcp").len() == 1);
    assert_eq!(field.addresses("eth0", "dhcp"), [""; 0], "the link below has no address");
}

fn bond_with_a_member_down(field: &mut Field) {
    if !field.has_kind("probe type bond") {
        return;
    }
    field.cable("eth0", "s0");
    field.cable("eth1", "s1");
    field.ip("link add sw0 type bridge");
    for port in ["s0", "s1"] {
        field.ip(&format!("link set {port} master sw0"));
    }
    field.ip("link set sw0 up");
    field.ip("addr add 192.0.2.1/24 dev sw0");
    field.dnsmasq("sw0", &[RANGE, "--dhcp-option=option:T1,3"]);
    field.ip("link set s0 down");
    field.start(
        "[[network.links]]\nname = \"bond0\"\n\
         bond = { members = [\"eth0\", \"eth1\"], mode = \"active-backup\", primary = \"eth0\" }\n",
    );
    field.wait("a lease over the second member", |field| field.addresses("bond0", "dhcp").len() == 1);
    let before = field.addresses("bond0", "dhcp");
    field.ip("link set s0 up");
    field.wait("the preferred member", |field| {
        field.ip_there("-d link show dev bond0").contains("active_slave eth0")
    });
    field.ip("link set s1 down");
    let lease = field.read("run/leases/bond0.json");
    field.wait("a renewal over the first member", |field| field.read("run/leases/bond0.json") != lease);
    assert_eq!(field.addresses("bond0", "dhcp"), before);
}

fn bond_lacp(field: &mut Field) {
    if !field.has_kind("lag0 type bond mode 802.3ad miimon 100 lacp_rate fast") {
        return;
    }
    for (name, peer) in [("eth0", "s0"), ("eth1", "s1")] {
        field.cable(name, peer);
        field.ip(&format!("link set {peer} down"));
        field.ip(&format!("link set {peer} master lag0"));
    }
    field.ip("link set lag0 up");
    // A VLAN on the bond, made in the same look.
    field.ip("link add link lag0 name lag0.7 type vlan id 7");
    field.ip("link set lag0.7 up");
    field.ip("addr add 192.0.2.1/24 dev lag0.7");
    field.dnsmasq("lag0.7", &[RANGE]);
    field.start(
        "[[network.links]]\nname = \"bond0.7\"\nvlan = { id = 7, parent = \"bond0\" }\n\
         [[network.links]]\nname = \"bond0\"\ndhcp = \"none\"\naccept-ra = false\n\
         bond = { members = [\"eth0\", \"eth1\"], mode = \"802.3ad\", lacp-rate = \"fast\" }\n",
    );
    field.wait("a lease on the VLAN of the bond", |field| field.addresses("bond0.7", "dhcp").len() == 1);
    // LACP joins the second member some time after the first carries traffic.
    field.wait("both members in one aggregator", |field| {
        let bond = field.ip_there("-d link show dev bond0");
        bond.contains("mode 802.3ad") && bond.contains("ad_num_ports 2")
    });
}
