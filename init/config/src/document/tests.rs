//! Documents with and without mistakes: what applies, and what is said about the rest.

use expect_test::{Expect, expect};

use super::*;

mod broken;
mod registries;
mod whole;

/// The config that applies, then the problems.
fn check(text: &str, want: &Expect) {
    let parsed = parse("x.toml", text);
    let mut shown = parsed.config.to_toml();
    for problem in &parsed.problems {
        shown.push_str(&format!("! {problem}\n"));
    }
    want.assert_eq(&shown);
    // What applies is a document without mistakes that says the same.
    let again = parse("again", &parsed.config.to_toml());
    assert_eq!(again, Parsed { config: parsed.config, problems: vec![] });
}

#[test]
fn everything() {
    check(
        include_str!("../../tests/samples/everything.toml"),
        &expect![[r#"
            hostname = "edge-1"

            [network]
            dns = ["192.0.2.53", "2001:db8::53"]
            search = ["example.org"]

            [[network.links]]
            dhcp = "none"
            accept-ra = false
            addresses = ["192.0.2.10/24", "2001:db8::10/64"]
            gateways = ["192.0.2.1", "2001:db8::1"]
            dns = ["192.0.2.54"]
            search = ["lab.example.org"]
            mtu = 1400

            [network.links.match]
            mac = "52:54:00:12:34:56"

            [[network.links.routes]]
            to = "198.51.100.0/24"
            via = "192.0.2.254"
            metric = 50

            [[network.links]]
            dhcp = "v4"

            [network.links.match]
            name = "eth1"
            driver = "virtio_net"

            [[network.links]]
            name = "bond0"

            [network.links.bond]
            members = ["eth2", "52:54:00:12:34:57"]
            mode = "802.3ad"
            miimon-ms = 50
            lacp-rate = "fast"
            transmit-hash = "layer3+4"

            [[network.links]]
            name = "bond1"

            [network.links.bond]
            members = ["eth3", "eth4"]
            primary = "eth3"

            [[network.links]]
            name = "bond0.7"
            addresses = ["203.0.113.10/24"]

            [network.links.vlan]
            id = 7
            parent = "bond0"

            [[network.links]]
            name = "br0"

            [network.links.bridge]
            members = ["eth5"]
            stp = true

            [time]
            servers = ["192.0.2.123", "ntp.example.org"]

            [install]
            disk = "smallest"
            wipe = false

            [state]
            disk = "/dev/vdb"

            [[files]]
            path = "/etc/motd"
            content = "hello\n[not a table]\n"
            mode = "0600"

            [[services]]
            name = "agent"
            command = ["/usr/bin/agent", "--verbose"]
            kind = "daemon"
            needs = ["network"]
            restart = "on-failure"
            restart-s = 0.5
            start-timeout-s = 10
            stop-timeout-s = 10
            memory-max-mib = 64

            [services.give-up]
            starts = 3
            within-s = 60

            [services.environment]
            RUST_LOG = "info"

            [[containers]]
            name = "web"
            image = "registry.example/web:1"
            pull = "always"
            command = ["/bin/web"]
            args = ["--verbose"]
            ports = ["80:8080", "192.0.2.1:53:53/udp"]
            mounts = ["/var/web:/srv:ro"]
            memory-max-mib = 64
            kind = "daemon"
            restart = "on-failure"
            restart-s = 0.5
            stop-timeout-s = 2.5

            [containers.environment]
            LEVEL = "info"

            [containers.give-up]
            starts = 6
            within-s = 120

            [[pods]]
            manifest = "apiVersion: v1\nkind: Pod\n"
            route = "web.example"
            route-port = 8080

            [kubelet]
            server = "https://192.0.2.1:6443"
            token = "abcdef.0123456789abcdef"
            ca-hash = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            node-name = "edge-1"
            node-ips = ["192.0.2.10", "2001:db8::10"]
            taints = ["dedicated=gpu:NoSchedule"]
            zone = "a"
            region = "north"
            cluster-domain = "cluster.example"
            cluster-dns = ["10.96.0.10"]
            reserved-cpu-m = 100
            reserved-memory-mib = 300
            max-pods = 50
            pod-pids-max = 1000
            settings = "allowedUnsafeSysctls: [net.core.somaxconn]"

            [kubelet.labels]
            "example.org/rack" = "r1"

            [[registries]]
            host = "docker.io"
            only-endpoints = true

            [[registries.endpoints]]
            url = "http://192.0.2.5:5000/hub"
            pull-credentials = true

            [[registries.endpoints]]
            url = "https://mirror.example.org"
            ca-file = "/etc/mirror.pem"
            user = "robot"
            password = "secret"

            [proxy]
            http = "http://proxy.example.org:3128"
            https = "http://robot:s%20cret@proxy.example.org:3128"
            no-proxy = ["10.0.0.0/8", ".example.org", "192.0.2.5:5000"]

            [route]
            listen = ["[::]:80", "192.0.2.10:8080"]
            listen-tls = ["[::]:8443"]
            redirect-https = true
            trusted-proxies = ["192.0.2.1/32", "2001:db8::/32"]
            response-timeout-s = 300

            [[route.certificates]]
            hosts = ["app.example", "*.app.example"]
            chain = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
            key = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"

            [identity]
            trust-domain = "example.org"
            servers = ["192.0.2.1:8081", "spire.example:8081"]
            trust-bundle-url = "https://boot.example/bundle.pem"
            trust-bundle-sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
            join-token = "0c1f2b5e-6d3a-4f7e-8a9b-1c2d3e4f5a6b"
            site = "rack-7"

            [[identity.entries]]
            path = "/web"
            selectors = ["unix:uid:1000", "lepton:service:web"]
            dns-names = ["web.example"]
            x509-ttl-s = 3600
            jwt-ttl-s = 300

            [[identity.files]]
            spiffe-id = "spiffe://example.org/web"
            certificate = "/run/web/cert.pem"
            key = "/run/web/key.pem"
            bundle = "/run/web/bundle.pem"
            uid = 1000
            gid = 1000
            mode = "0400"

            [identity.files.reload]
            service = "web"
            signal = "SIGHUP"

            [host]
            listen = ["0.0.0.0:7443", "[2001:db8::10]:7443"]
            trust-domain = "operators.example.org"
            trust-bundle = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

            [logs]
            buffer-mib = 32
            rate-lines-per-s = 1000

            [[logs.destinations]]
            name = "central"
            url = "syslog+tls://logs.example.org:6514"
            identity = true
            sources = ["services", "kernel"]

            [[logs.destinations]]
            name = "otel"
            url = "otlp+http://192.0.2.5:4318/tenant"

            [sysctl]
            "kernel.core_pattern" = "core"
            "net.ipv4.ip_forward" = "1"

            [console]
            status = false

            [watchdog]
            timeout-s = 30
        "#]],
    );
}

#[test]
fn a_bad_key_voids_itself_only() {
    check(
        r#"hostnam = "x"
hostname = "edge 1"
[network]
dns = ["192.0.2.53", "192.0.2.530", "192.0.2.53"]
[[network.links]]
match = { mac = "52:54:00:12:34" }
addresses = ["192.0.2.9/24"]
[[network.links]]
match = { mac = "52:54:00:12:34:56" }
adresses = ["192.0.2.10/24"]
addresses = ["192.0.2.10/24", "192.0.2.11"]
mtu = 10
gateways = ["192.0.2.1", "2001:db8::1"]
accept-ra = false
dhcp = "on"
[[network.links]]
match = { mac = "52:54:00:12:34:56" }
[time]
servers = "192.0.2.123"
[kubelet]
server = "x"
"#,
        &expect![[r#"
            [network]
            dns = ["192.0.2.53"]

            [[network.links]]
            accept-ra = false
            addresses = ["192.0.2.10/24"]
            gateways = ["192.0.2.1"]

            [network.links.match]
            mac = "52:54:00:12:34:56"
            ! x.toml:1: hostnam: unknown key; did you mean "hostname"? (known here: hostname, network, time, install, state, files, services, containers, pods, kubelet, registries, proxy, route, identity, host, logs, sysctl, console, watchdog)
            ! x.toml:2: hostname: "edge 1" is not a host name: use letters, digits and hyphens, with dots between labels, at most 64 characters (RFC 1123)
            ! x.toml:4: network.dns[1]: "192.0.2.530" is not an IP address
            ! x.toml:4: network.dns[2]: 192.0.2.53 is given already in line 4; this one is left out
            ! x.toml:6: network.links[0].match.mac: "52:54:00:12:34" is not a hardware address such as 52:54:00:12:34:56
            ! x.toml:8: network.links[1]: the gateway 2001:db8::1 has no address of its family beside it
            ! x.toml:10: network.links[1].adresses: unknown key; did you mean "addresses"? (known here: match, name, dhcp, accept-ra, addresses, gateways, routes, dns, search, mtu, vlan, bond, bridge)
            ! x.toml:11: network.links[1].addresses[1]: "192.0.2.11" is not an address with a prefix length, such as 192.0.2.10/24 or 2001:db8::10/64
            ! x.toml:12: network.links[1].mtu: 10 is out of range: 68 to 65535
            ! x.toml:15: network.links[1].dhcp: unknown variant `on`, expected one of `v4`, `v6`, `both`, `none`
            ! x.toml:16: network.links[2]: the link with mac 52:54:00:12:34:56 is given already in line 8; this one is left out
            ! x.toml:19: time.servers: a list is needed: put the value in [ ]
            ! x.toml:21: kubelet.server: "x" is not of the form https://HOST[:PORT]
        "#]],
    );
}

#[test]
fn links_that_contradict_themselves() {
    check(
        r#"[[network.links]]
addresses = ["192.0.2.9/24"]
[[network.links]]
match = {}
[[network.links]]
bond = { members = ["eth0"] }
[[network.links]]
name = "bond0"
bond = { members = ["eth0", "eth1"], primary = "eth2", lacp-rate = "fast" }
[[network.links]]
name = "br0"
bridge = { members = ["eth1", "eth3"], stp = true }
[[network.links]]
name = "v"
vlan = { id = 4095, parent = "eth0" }
[[network.links]]
name = "v"
vlan = { id = 5 }
[[network.links]]
name = "v"
vlan = { id = 5, parent = "v" }
[[network.links]]
match = { name = "eth9" }
addresses = ["2001:db8::1/64"]
mtu = 1000
routes = [{ to = "default" }, { to = "198.51.100.1/24" }, { to = "198.51.100.0/24", via = "2001:db8::9" }, { to = "2001:db8:1::/48", via = "2001:db8::9", metric = 5 }]
"#,
        &expect![[r#"
            [[network.links]]
            name = "bond0"

            [network.links.bond]
            members = ["eth0", "eth1"]

            [[network.links]]
            name = "br0"

            [network.links.bridge]
            members = ["eth3"]
            stp = true

            [[network.links]]
            addresses = ["2001:db8::1/64"]

            [network.links.match]
            name = "eth9"

            [[network.links.routes]]
            to = "2001:db8:1::/48"
            via = "2001:db8::9"
            metric = 5
            ! x.toml:1: network.links[0]: say which link with match = { mac = "…" }, or what to make with vlan, bond or bridge
            ! x.toml:1: network: eth1 is a member of two links; the first one keeps it
            ! x.toml:4: network.links[1].match: name at least one of name, mac and driver
            ! x.toml:5: network.links[2]: a link that is made needs a name
            ! x.toml:9: network.links[3].bond: the primary eth2 is not among the members
            ! x.toml:9: network.links[3].bond: lacp-rate and transmit-hash have a meaning for mode = "802.3ad" only
            ! x.toml:15: network.links[5].vlan.id: 4095 is out of range: 1 to 4094
            ! x.toml:18: network.links[6].vlan: the key "parent" is missing
            ! x.toml:19: network.links[7]: a VLAN cannot be its own parent
            ! x.toml:22: network.links[8]: IPv6 needs an MTU of 1280 at least, not 1000
            ! x.toml:26: network.links[8].routes[0]: a default route needs via
            ! x.toml:26: network.links[8].routes[1].to: "198.51.100.1/24" has bits behind its prefix; the network is 198.51.100.0/24
            ! x.toml:26: network.links[8].routes[2]: 2001:db8::9 is of another family than 198.51.100.0/24
        "#]],
    );
}

#[test]
fn other_tables() {
    check(
        r#"[install]
disk = " "
[watchdog]
timeout-s = 1
[sysctl]
"net.ipv4.ip_forward" = 1
"net/ipv4/conf/eth0.5/forwarding" = "1"
"../../etc/passwd" = "x"
vm = 1
"kernel.x" = 1.5
[[files]]
path = "/etc/../usr/bin/x"
content = ""
[[services]]
name = "Agent"
command = ["agent"]
[[services]]
name = "agent"
command = ["/usr/bin/agent"]
comand = "x"
[[files]]
path = "/etc/motd"
content = 5
[[files]]
path = "/etc/motd"
content = "a"
mode = "9999"
[[files]]
path = "/etc/motd"
content = "b"
"#,
        &expect![[r#"
            [[files]]
            path = "/etc/motd"
            content = "a"

            [sysctl]
            "net.ipv4.ip_forward" = "1"
            "net/ipv4/conf/eth0.5/forwarding" = "1"
            ! x.toml:1: install: disk is empty: name a path, a serial number or "smallest"
            ! x.toml:4: watchdog.timeout-s: 1 is out of range: 5 to 3600
            ! x.toml:8: sysctl.../../etc/passwd: "../../etc/passwd" is not the name of a kernel setting
            ! x.toml:9: sysctl.vm: "vm" is not the name of a kernel setting
            ! x.toml:10: sysctl.kernel.x: invalid type: floating point `1.5`, expected a text or a whole number
            ! x.toml:12: files[0].path: "/etc/../usr/bin/x" is not a plain path: no empty part, no . and no ..
            ! x.toml:14: services[0].name: "Agent" is no service name: use lower-case letters, digits and hyphens, a letter first, at most 32
            ! x.toml:14: services[0].command: "agent" is no absolute path of a program
            ! x.toml:20: services[1]: unknown field `comand`; did you mean "command"?, expected one of `name`, `command`, `kind`, `needs`, `after`, `ready`, `restart`, `restart-s`, `start-timeout-s`, `stop-timeout-s`, `watchdog-s`, `required`, `enabled`, `wanted`, `user`, `groups`, `capabilities`, `no-new-privileges`, `seccomp`, `private-tmp`, `private-dev`, `read-only`, `hidden`, `writable`, `memory-max-mib`, `memory-high-mib`, `cpu-weight`, `cpu-max-percent`, `pids-max`, `open-files-max`, `oom-score-adj`, `working-dir`, `give-up`, `environment`
            ! x.toml:23: files[1].content: invalid type: integer `5`, expected a string
            ! x.toml:27: files[2].mode: "9999" is not a mode in octal such as "0644" (at most 0777)
            ! x.toml:28: files[3]: /etc/motd is given already in line 24; this one is left out
        "#]],
    );
}
