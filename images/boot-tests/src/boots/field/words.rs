//! Network by the kernel command line alone: a static address without any server on its cable, a VLAN, and a bond.

use super::{DNSMASQ, answers, leased, logged, machine, ready, start};
use crate::Context;
use crate::context::TestError;
use crate::qemu::mac;

const BEHIND: &str = "203.0.113.1";
const WORDS: &str = "ip=192.0.2.10::192.0.2.1:255.255.255.0:edge-9:eth0:off \
    vlan=eth1.7:eth1 ip=eth1.7:dhcp bond=bond0:eth2,eth3:mode=active-backup,miimon=100,primary=eth2 ip=bond0:dhcp";

pub(crate) fn on_the_command_line(cx: &Context) -> Result<(), TestError> {
    // Nobody answers DHCP on net0. The second cable is a port that wants VLAN 7, the last two go to one switch.
    let setup = format!(
        "ip addr add 192.0.2.1/24 dev net0\nip addr add {BEHIND}/32 dev lo\n\
         ip tuntap add dev lan7 mode tap\nip link set lan7 up\nip addr add 198.51.100.1/24 dev lan7\n\
         python3 switch.py lan7 net1 --tag 7 >switch.log 2>&1 &\n\
         ip link add sw0 type bridge\nip link set net2 master sw0\nip link set net3 master sw0\nip link set sw0 up\n\
         ip addr add 198.18.0.1/24 dev sw0\n\
         {DNSMASQ} --interface=lan7 --interface=sw0 --dhcp-host={},other \
         --dhcp-range=198.51.100.50,198.51.100.60,255.255.255.0,120 --dhcp-range=198.18.0.50,198.18.0.60,255.255.255.0,120",
        mac(2)
    );
    let mut guest = start(cx, &machine(cx, (4, setup), WORDS, "")?)?;
    let ready = ready(&mut guest)?;
    guest.require(ready.hostname == "edge-9", || "the host is named by its command line".to_owned())?;
    guest.require(ready.addresses.iter().any(|address| address == "192.0.2.10"), || {
        "static addresses are there when the host is ready".to_owned()
    })?;
    answers(&guest, "192.0.2.10", BEHIND)?;
    let tagged = leased(&guest, "198.51.100.")?;
    answers(&guest, &tagged, "198.51.100.1")?;
    let bonded = leased(&guest, "198.18.0.")?;
    answers(&guest, &bonded, "198.18.0.1")?;
    for pulled in [2, 3] {
        guest.set_link(pulled, false)?;
        answers(&guest, &bonded, "198.18.0.1")?;
        guest.set_link(pulled, true)?;
        // The preferred member takes over again, and the switch learns it.
        answers(&guest, &bonded, "198.18.0.1")?;
    }
    // The lease names the host, but its configuration does, too.
    logged(&guest, 1, &format!("DHCPACK(sw0) {bonded} {} other", mac(2)))?;
    guest.require(!guest.console().contains("the network names this host"), || {
        "a name from DHCP does not replace the configured one".to_owned()
    })?;
    Ok(guest.power_off()?)
}
