//! The network service of a whole host, against real servers (dnsmasq, chrony) in networks of the test.
//!
//! The image has no shell, so everything is seen from outside: by what the servers log, by echo requests, by timestamps
//! of the guest's clock, and in PID 1's own lines.

mod dhcp;
mod ipv6;
mod links;
mod words;

pub(super) use dhcp::{clock, dhcp};
pub(super) use ipv6::by_router;
pub(super) use links::lacp;
pub(super) use words::on_the_command_line;

use std::path::Path;

use crate::Context;
use crate::context::{TestError, need_device};
use crate::guest::{Guest, GuestError};
use crate::machine::{Machine, Network};
use crate::ready::Ready;

/// dnsmasq with what it leases in `leases`; names are answered, and who asks is logged.
const DNSMASQ: &str = "dnsmasq --conf-file=/dev/null --user= --group= --pid-file=$PWD/dnsmasq.pid --log-facility=$PWD/dnsmasq.log \
    --dhcp-leasefile=$PWD/leases --dhcp-authoritative --no-ping --log-dhcp --log-queries --local=/example.org/ --no-hosts --no-resolv --bind-dynamic";

/// chronyd, which serves the time of this machine and does not touch it. It looks for a user's name, and removes its
/// own file in the end: both are its own.
const CHRONYD: &str = "\
printf 'local stratum 3\\nallow all\\ncmdport 0\\nbindcmdaddress /\\npidfile %s/chronyd.pid\\n' $PWD >chrony.conf
busybox unshare -m sh -c 'mount -t tmpfs none /etc && echo root:x:0:0::/:/bin/sh >/etc/passwd && echo root:x:0: >/etc/group && \
exec chronyd -d -x -U -u root -f '$PWD/chrony.conf >chronyd.log 2>&1 &
";

/// Starts the image's kernel with these words and this machine config, on networks that `setup` makes.
fn machine(
    cx: &Context,
    (cards, setup): (usize, String),
    words: &str,
    config: &str,
) -> Result<Machine, TestError> {
    need_device(Path::new("/dev/net/tun"))?;
    // PID 1's notices are shown, too: they name the host.
    let kernel = cx.kernel()?.cmdline(&format!("{} loglevel=6 {words}", cx.cmdline));
    let machine = super::kernel::machine(cx)?.kernel(kernel).network(Network::Field { cards, setup });
    Ok(if config.is_empty() { machine } else { machine.fw_cfg("opt/lepton/config", config) })
}

/// Starts it. What is waited for here takes its time on any machine, such as a renewal: it may last twice as long as
/// other boots.
pub(super) fn start(cx: &Context, machine: &Machine) -> Result<Guest, TestError> {
    Ok(Guest::start(machine, &cx.tools, cx.limit * 2)?)
}

/// Waits until it is ready, with its network service, and without mistakes in its config.
fn ready(guest: &mut Guest) -> Result<Ready, TestError> {
    let ready = guest.wait_ready()?;
    guest.require(ready.config.errors.is_empty(), || "the machine config has no errors".to_owned())?;
    let state = ready.services.get("network").and_then(|state| state.as_str());
    guest.require(state == Some("ready"), || format!("the network service is ready, not {state:?}"))?;
    Ok(ready)
}

/// Waits for a lease with this beginning and gives the address.
fn leased(guest: &Guest, beginning: &str) -> Result<String, GuestError> {
    let script = format!("cut -d' ' -f3 leases | grep -F '{beginning}'");
    Ok(guest.until(&format!("a lease of {beginning}*"), &script)?.trim().to_owned())
}

/// Waits until it answers; `from` is an address of the servers.
fn answers(guest: &Guest, address: &str, from: &str) -> Result<(), GuestError> {
    let family = if address.contains(':') { "-6" } else { "-4" };
    let script = format!("busybox ping {family} -c 1 -W 2 -I {from} {address}");
    guest.until(&format!("{address} answers {from}"), &script).map(drop)
}

/// Waits until it does not answer.
fn is_silent(guest: &Guest, address: &str) -> Result<(), GuestError> {
    let family = if address.contains(':') { "-6" } else { "-4" };
    let script = format!("! busybox ping {family} -c 1 -W 1 {address}");
    guest.until(&format!("{address} answers no more"), &script).map(drop)
}

/// Waits until the log of dnsmasq has at least `count` lines with a pattern of grep.
fn logged(guest: &Guest, count: usize, pattern: &str) -> Result<(), GuestError> {
    let script = format!("test $(grep -c '{pattern}' dnsmasq.log) -ge {count}");
    guest.until(&format!("dnsmasq logs {pattern} {count} times"), &script).map(drop)
}
