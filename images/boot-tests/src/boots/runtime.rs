//! The container runtime on a host of ours: an image of its own holds it, and a CRI client that says on the console what
//! it saw of pods, containers and a runtime that is killed.

mod containers;
mod registry;

use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Kernel, Machine, Network};
use crate::runner::Peer;
pub(super) use containers::containers;

/// What the client looks at; see `packages/runtime-tests/src/cases.rs`.
const CASES: [&str; 11] = [
    "version",
    "image",
    "host-network",
    "exec",
    "stats",
    "metrics",
    "pod-network",
    "host-port",
    "restarted",
    "killed",
    "nothing-left",
];
/// Images are unpacked to memory here.
const MEMORY_MIB: u32 = 1024;

/// Pods and containers over CRI.
pub(super) fn judged(cx: &Context) -> Result<(), TestError> {
    let guest = finished(cx, &machine(cx)?.network(Network::None), "", &CASES)?;
    Ok(guest.power_off()?)
}

/// The machine of the image.
fn machine(cx: &Context) -> Result<Machine, TestError> {
    let dir = cx.peer(Peer::RuntimeTests)?;
    let kernel = Kernel::new(&dir.join(cx.arch.direct_boot_kernel()), &dir.join("initrd"), &cx.cmdline);
    Ok(cx.bios().kernel(kernel).memory_mib(MEMORY_MIB))
}

/// Starts it with a machine config, and waits until its client has found all cases good.
fn finished(cx: &Context, machine: &Machine, config: &str, cases: &[&str]) -> Result<Guest, TestError> {
    let machine =
        if config.is_empty() { machine.clone() } else { machine.clone().fw_cfg("opt/lepton/config", config) };
    // Network plugins are large programs, and an emulated machine starts dozens of them.
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * 3)?;
    guest.wait_line("the client's last line", &format!("runtime-tests: end cases={} ", cases.len()))?;
    for case in cases {
        let is_good = guest.console().contains(&format!("runtime-tests: {case} ok"));
        guest.require(is_good, || format!("the runtime stands the case {case}"))?;
    }
    Ok(guest)
}
