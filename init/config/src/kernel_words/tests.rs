//! Words of a command line and the tables they become.

use expect_test::expect;

use super::*;

fn check(words: &[(&str, &str)], want: &expect_test::Expect) {
    let (config, problems) = parse(words.iter().copied());
    let mut text = config.to_toml();
    for problem in problems {
        text.push_str(&format!("! {problem}\n"));
    }
    want.assert_eq(&text);
}

#[test]
fn addresses_of_both_families() {
    check(
        &[
            ("ip", "192.0.2.10::192.0.2.1:255.255.255.0:edge-1:eth0:off:192.0.2.53"),
            ("ip", "[2001:db8::10/64]::[2001:db8::1]:::eth0:off:[2001:db8::53]::ntp.example"),
            ("console", "ttyS0"),
        ],
        &expect![[r#"
            hostname = "edge-1"

            [network]
            dns = ["192.0.2.53", "2001:db8::53"]

            [[network.links]]
            dhcp = "none"
            addresses = ["192.0.2.10/24", "2001:db8::10/64"]
            gateways = ["192.0.2.1", "2001:db8::1"]

            [network.links.match]
            name = "eth0"

            [time]
            servers = ["ntp.example"]
        "#]],
    );
}

#[test]
fn links_by_method_and_hardware_address() {
    check(
        &[("ip", "dhcp"), ("ip", "eth1:dhcp6"), ("ip", "[52:54:00:12:34:56]:dhcp:9000")],
        &expect![[r#"
            [[network.links]]
            dhcp = "v6"

            [network.links.match]
            name = "eth1"

            [[network.links]]
            dhcp = "both"
            mtu = 9000

            [network.links.match]
            mac = "52:54:00:12:34:56"
        "#]],
    );
}

#[test]
fn made_links_in_any_order() {
    check(
        &[
            ("ip", "192.0.2.10/24::192.0.2.1:::bond0.7:none"),
            ("bond", "bond0:eth0,eth1:mode=802.3ad,miimon=50,lacp_rate=fast,xmit_hash_policy=layer3+4:9000"),
            ("vlan", "bond0.7:bond0"),
        ],
        &expect![[r#"
            [[network.links]]
            name = "bond0"
            mtu = 9000

            [network.links.bond]
            members = ["eth0", "eth1"]
            mode = "802.3ad"
            miimon-ms = 50
            lacp-rate = "fast"
            transmit-hash = "layer3+4"

            [[network.links]]
            name = "bond0.7"
            dhcp = "none"
            addresses = ["192.0.2.10/24"]
            gateways = ["192.0.2.1"]

            [network.links.vlan]
            id = 7
            parent = "bond0"
        "#]],
    );
}

#[test]
fn mistakes() {
    check(
        &[
            ("ip", ""),
            ("ip", "192.0.2.10"),
            ("ip", "192.0.2.10:::255.0.255.0::eth0:off"),
            ("ip", "[2001:db8::1"),
            ("ip", "eth0:magic"),
            ("ip", "dhcp4"),
            ("vlan", "eth0"),
            ("vlan", "eth0.9999:eth0"),
            ("bond", "bond0"),
            ("bond", "bond0:eth0:mode=balance-rr"),
            ("bond", "bond0:eth0:primary=eth9"),
            ("ip", "192.0.2.10/24::2001"),
        ],
        &expect![[r#"
            ! kernel command line: ip=: it says nothing; write ip=dhcp or an address
            ! kernel command line: ip=192.0.2.10: 192.0.2.10 needs a netmask: write 192.0.2.10/24 or fill the netmask field
            ! kernel command line: ip=192.0.2.10:::255.0.255.0::eth0:off: "255.0.255.0" is not a netmask
            ! kernel command line: ip=[2001:db8::1: a bracket is not closed
            ! kernel command line: ip=eth0:magic: client "eth0" is not an address
            ! kernel command line: ip=dhcp4: name the link: ip=eth0:dhcp4
            ! kernel command line: vlan=eth0: write vlan=NAME:PARENT, such as vlan=eth0.5:eth0
            ! kernel command line: vlan=eth0.9999:eth0: "9999" is not a valid VLAN number at the end of the name
            ! kernel command line: bond=bond0: write bond=NAME:MEMBERS[:OPTIONS[:MTU]], such as bond=bond0:eth0,eth1:mode=802.3ad
            ! kernel command line: bond=bond0:eth0:mode=balance-rr: unknown mode "balance-rr" (known: active-backup, 802.3ad)
            ! kernel command line: bond=bond0:eth0:primary=eth9: the primary eth9 is not among the members
            ! kernel command line: ip=192.0.2.10/24::2001: gateway "2001" is not an address
        "#]],
    );
}
