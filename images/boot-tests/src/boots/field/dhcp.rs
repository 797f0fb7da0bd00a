//! A host with two cards: DHCP on the first, with everything a lease gives, and a static address on the second.

use std::time::{Duration, Instant};

use super::{CHRONYD, DNSMASQ, answers, is_silent, leased, logged, machine, ready, start};
use crate::Context;
use crate::context::TestError;
use crate::guest::{Guest, GuestError};
use crate::qemu::mac;

/// An address behind the router, so that an answer to it takes the default route.
const BEHIND: &str = "203.0.113.1";
const STATIC: &str = "198.51.100.10";
/// A date at which the clock of the machine is years behind.
const LONG_AGO: &str = "2020-01-01T00:00:00";
/// Larger errors are stepped; the rest is what an emulated machine adds.
const NEAR_MS: i64 = 800;

/// Both networks; renewal after 5 s instead of half of two minutes.
fn setup(options: &str) -> String {
    format!(
        "ip addr add 192.0.2.1/24 dev net0\nip addr add 198.51.100.1/24 dev net1\nip addr add {BEHIND}/32 dev lo\n\
         {DNSMASQ} --interface=net0 --dhcp-range=192.0.2.50,192.0.2.60,255.255.255.0,120 --dhcp-option=option:T1,5 \
         --dhcp-host={},edge-7 --host-record=time.example.org,192.0.2.1 {options}\n{CHRONYD}",
        mac(0)
    )
}

pub(crate) fn dhcp(cx: &Context) -> Result<(), TestError> {
    let config = format!(
        "[[network.links]]\nmatch = {{ mac = \"{}\" }}\n\
         [[network.links]]\nmatch = {{ mac = \"{}\" }}\naddresses = [\"{STATIC}/24\"]\n\
         [time]\nservers = [\"time.example.org\"]\n",
        mac(0),
        mac(1)
    );
    let mut guest = start(cx, &machine(cx, (2, setup("")), "", &config)?.date(LONG_AGO))?;
    let ready = ready(&mut guest)?;
    guest.require(ready.addresses.iter().any(|address| address == STATIC), || {
        "static addresses are there when the host is ready".to_owned()
    })?;
    let address = leased(&guest, "192.0.2.")?;
    answers(&guest, &address, BEHIND)?;
    answers(&guest, STATIC, "198.51.100.1")?;
    guest.wait_line("the host name of the lease", "the network names this host edge-7")?;
    // Its DNS server is that of the lease.
    logged(&guest, 1, &format!("query.A. time.example.org from {address}"))?;
    is_right(&guest, &address)?;
    // Renewed, and by the server that gave it.
    logged(&guest, 2, &format!("DHCPACK(net0) {address}"))?;
    flaps(&guest, &address)?;
    is_renumbered(&guest, &address)?;
    answers(&guest, STATIC, "198.51.100.1")?;
    Ok(guest.power_off()?)
}

/// The cable is pulled and plugged in again: the lease is confirmed, not asked for anew.
fn flaps(guest: &Guest, address: &str) -> Result<(), GuestError> {
    guest.set_link(0, false)?;
    is_silent(guest, address)?;
    let script = format!("grep -c 'DHCPACK(net0) {address}' dnsmasq.log");
    let before: usize = guest.until("a count", &script)?.trim().parse().unwrap_or_default();
    guest.set_link(0, true)?;
    logged(guest, before + 1, &format!("DHCPACK(net0) {address}"))?;
    answers(guest, address, BEHIND)?;
    let asked = guest.there("grep -c DHCPDISCOVER dnsmasq.log")?;
    guest.require(asked.output.trim() == "1", || format!("it asked anew {} times", asked.output.trim()))
}

/// The cable leads to another network, whose server knows nothing of the lease.
fn is_renumbered(guest: &Guest, before: &str) -> Result<(), GuestError> {
    guest.set_link(0, false)?;
    let other = format!(
        "kill $(cat dnsmasq.pid)\nwhile kill -0 $(cat dnsmasq.pid); do sleep 0.1; done 2>/dev/null\nrm leases\n\
         ip addr flush dev net0\nip addr add 198.18.0.1/24 dev net0\n\
         {DNSMASQ} --interface=net0 --dhcp-range=198.18.0.50,198.18.0.60,255.255.255.0,120"
    );
    let ran = guest.there(&other)?;
    guest.require(ran.is_success, || format!("another server starts: {}", ran.output))?;
    guest.set_link(0, true)?;
    let address = leased(guest, "198.18.0.")?;
    answers(guest, &address, BEHIND)?;
    guest
        .until("the old address is gone", &format!("! busybox arping -q -c 2 -w 3 -I net0 {before}"))
        .map(drop)
}

/// Milliseconds that the guest's clock is ahead of this machine's.
fn ahead(guest: &Guest, address: &str) -> Result<i64, GuestError> {
    let text = guest.until("the guest tells its time", &format!("python3 clock.py {address}"))?;
    Ok(text.trim().parse().unwrap_or(i64::MAX))
}

/// Waits until the clock has been stepped to about the right time.
fn is_right(guest: &Guest, address: &str) -> Result<(), GuestError> {
    let script =
        format!("ahead=$(python3 clock.py {address}); echo $ahead ms; test ${{ahead#-}} -lt {NEAR_MS}");
    guest.until("the clock is right", &script).map(drop)
}

/// The server of the lease is asked; the first error is stepped, a later one steered.
pub(crate) fn clock(cx: &Context) -> Result<(), TestError> {
    let options = "--dhcp-option=option:ntp-server,192.0.2.1";
    let mut guest = start(cx, &machine(cx, (2, setup(options)), "", "")?.date(LONG_AGO))?;
    ready(&mut guest)?;
    let address = leased(&guest, "192.0.2.")?;
    is_right(&guest, &address)?;
    // A machine that is held loses time. What it lost is less than what is stepped.
    let before = ahead(&guest, &address)?;
    guest.pause(Duration::from_millis(300))?;
    let lost = ahead(&guest, &address)?;
    guest.require((-400..-200).contains(&(lost - before)), || format!("it lost {} ms", before - lost))?;
    let began = Instant::now();
    let mut last = lost;
    // The next question is asked after 64 s, and a second is steered by half a millisecond.
    while last - lost < 20 {
        guest.require(began.elapsed() < Duration::from_secs(150), || {
            format!("steered from {lost} to {last} ms")
        })?;
        std::thread::sleep(Duration::from_secs(3));
        let now = ahead(&guest, &address)?;
        guest.require(now - last < 30, || format!("steered, not stepped from {last} to {now} ms"))?;
        last = now;
    }
    Ok(guest.power_off()?)
}
