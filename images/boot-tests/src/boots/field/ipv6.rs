//! A network with nothing but router advertisements.

use super::{DNSMASQ, answers, is_silent, logged, machine, ready, start};
use crate::Context;
use crate::context::TestError;

/// An address behind the router.
const BEHIND: &str = "2001:db8:ffff::1";
/// The second half of what the first card's hardware address becomes (RFC 4291 appendix A).
const INTERFACE: &str = "5054:ff:fe12:3456";

/// A router that announces this prefix and itself as DNS server.
fn router(prefix: &str) -> String {
    format!(
        "ip addr add {prefix}::1/64 dev net0 nodad\n\
         {DNSMASQ} --interface=net0 --enable-ra --dhcp-range={prefix}::,ra-only \
         --dhcp-option=option6:dns-server,[{prefix}::1] --host-record=time.example.org,{prefix}::1"
    )
}

pub(crate) fn by_router(cx: &Context) -> Result<(), TestError> {
    let setup = format!("ip addr add {BEHIND}/128 dev lo nodad\n{}", router("2001:db8:1"));
    let config = "[time]\nservers = [\"time.example.org\"]\n";
    let mut guest = start(cx, &machine(cx, (1, setup), "", config)?)?;
    ready(&mut guest)?;
    let first = format!("2001:db8:1:0:{INTERFACE}");
    answers(&guest, &first, BEHIND)?;
    logged(&guest, 1, &format!("query.AAAA. time.example.org from {first}"))?;
    // The cable leads to another network, whose router has never heard of the first one.
    guest.set_link(0, false)?;
    let other = format!(
        "kill $(cat dnsmasq.pid)\nwhile kill -0 $(cat dnsmasq.pid); do sleep 0.1; done 2>/dev/null\n\
         ip -6 addr flush dev net0 scope global\n{}",
        router("2001:db8:9")
    );
    let ran = guest.there(&other)?;
    guest.require(ran.is_success, || format!("another router starts: {}", ran.output))?;
    guest.set_link(0, true)?;
    answers(&guest, &format!("2001:db8:9:0:{INTERFACE}"), BEHIND)?;
    let ran = guest.there("ip addr add 2001:db8:1::1/64 dev net0 nodad")?;
    guest.require(ran.is_success, || ran.output)?;
    is_silent(&guest, &first)?;
    Ok(guest.power_off()?)
}
