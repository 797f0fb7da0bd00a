//! A bond with IEEE 802.1AX (802.3ad), with a VLAN on it, from the machine config.

use super::{DNSMASQ, answers, leased, machine, ready, start};
use crate::Context;
use crate::context::TestError;

const CONFIG: &str = r#"
[[network.links]]
name = "bond0"
dhcp = "none"
accept-ra = false
bond = { members = ["eth0", "eth1"], mode = "802.3ad", lacp-rate = "fast" }
[[network.links]]
name = "storage"
vlan = { id = 7, parent = "bond0" }
"#;

pub(crate) fn lacp(cx: &Context) -> Result<(), TestError> {
    let setup = format!(
        "ip tuntap add dev lan0 mode tap\nip link set lan0 up\nip addr add 192.0.2.1/24 dev lan0\n\
         python3 switch.py lan0 net0 net1 --lacp --tag 7 >switch.log 2>&1 &\n\
         {DNSMASQ} --interface=lan0 --dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,120"
    );
    let mut guest = start(cx, &machine(cx, (2, setup), "", CONFIG)?)?;
    ready(&mut guest)?;
    let address = leased(&guest, "192.0.2.")?;
    answers(&guest, &address, "192.0.2.1")?;
    let both = "grep -q 'net0: peer .* collects' switch.log && grep -q 'net1: peer .* collects' switch.log";
    guest.until("both members carry frames", both)?;
    for (pulled, port) in [(0, "net0"), (1, "net1")] {
        guest.set_link(pulled, false)?;
        guest.until(
            "LACP ends on the pulled cable",
            &format!("grep {port} switch.log | tail -n 1 | grep -q silent"),
        )?;
        answers(&guest, &address, "192.0.2.1")?;
        guest.set_link(pulled, true)?;
        guest
            .until("LACP begins again", &format!("grep {port} switch.log | tail -n 1 | grep -q collects"))?;
    }
    Ok(guest.power_off()?)
}
