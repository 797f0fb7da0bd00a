//! What of a host can be reached from outside: nothing until the machine config says so, and then what it says.
//!
//! Every port is asked from a neighbour, over IPv4 and IPv6, and the host's own table of sockets is looked at.

use super::host::Person;
use super::{ADDRESS, PATIENCE, Shell, machine_with};
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::runner::Peer;

/// The neighbour's side of a scan: TCP ports that take a connection, in order.
const SCAN: &str = r#"
import asyncio, sys

async def ask(address, port, gate, found):
    async with gate:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 20)
        except ConnectionRefusedError:
            return
        found.append(str(port))
        writer.close()

async def main():
    gate, found = asyncio.Semaphore(200), []
    await asyncio.gather(*(ask(sys.argv[1], port, gate, found) for port in range(1, 65536)))
    print("open:", *sorted(found, key=int))

asyncio.run(main())
"#;
/// The host's global IPv6 address.
const ADDRESS6: &str = "2001:db8::10";
/// Sockets of the host that others can reach, of the tables of TCP that listen (state 0A) and of UDP: their ports in hexadecimal.
const REACHABLE: &str = "{ cat /proc/net/tcp /proc/net/tcp6 | grep ' 0A '; cat /proc/net/udp /proc/net/udp6; } | \
    sed 's/^ *//' | cut -d' ' -f2 | grep ':' | grep -v -e '^0100007F:' -e '^0\\{24\\}01000000:' | sed 's/.*://' | sort -u | xargs";

pub(in crate::boots) fn ports(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let person = Person::new(cx.peer(Peer::CommandLine)?, dir.path());
    let fragment = person.trust_domain("lab")?;
    let config = format!(
        "hostname = \"edge-1\"\n[[network.links]]\nmatch = {{ name = \"eth0\" }}\naddresses = [\"{ADDRESS}/24\", \"{ADDRESS6}/64\"]\n\
         accept-ra = false\n[[files]]\npath = \"/etc/host.toml\"\ncontent = '''\n{fragment}'''\n"
    );
    let mut guest = Guest::start(&machine_with(cx, &config)?, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    guest.there("ip addr add 2001:db8::1/64 dev net0 nodad")?;

    // Without a root of trust nothing of a host listens to others.
    reachable(&mut guest, "", "")?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.run("lepton config apply /etc/host.toml")?;
    shell.until("the API listens", "cat /proc/net/tcp6 | grep ':1D13 .* 0A '")?;
    reachable(&mut guest, " 7443", "1D13")?;
    Ok(guest.power_off()?)
}

/// Requires that these ports answer, and that no others are there.
fn reachable(guest: &mut Guest, open: &str, table: &str) -> Result<(), TestError> {
    for address in [ADDRESS, ADDRESS6] {
        let ran = guest.there(&format!("python3 - {address} <<'EOF'\n{SCAN}\nEOF"))?;
        let wanted = format!("open:{open}\n");
        guest.require(ran.is_success && ran.output == wanted, || {
            format!("{wanted:?} at {address}, not\n{}", ran.output)
        })?;
    }
    let mut shell = Shell { guest, count: 100 };
    Ok(shell.run(&format!("now=$({REACHABLE}); echo \"reachable: $now\"; test \"$now\" = '{table}'"))?)
}
