//! The container runtime on a host of ours: an image of its own holds it, and a CRI client that says on the console what
//! it saw of pods, containers and a runtime that is killed.

use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Kernel, Network};
use crate::runner::Peer;

/// What the client looks at; see `packages/runtime-tests/src/judge.rs`.
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

pub(super) fn judged(cx: &Context) -> Result<(), TestError> {
    let dir = cx.peer(Peer::RuntimeTests)?;
    let kernel = Kernel::new(&dir.join(cx.arch.direct_boot_kernel()), &dir.join("initrd"), &cx.cmdline);
    let machine = cx.bios().kernel(kernel).network(Network::None).memory_mib(MEMORY_MIB);
    // Network plugins are large programs, and an emulated machine starts dozens of them.
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * 3)?;
    guest.wait_line("the client's last line", &format!("runtime-tests: end cases={} ", CASES.len()))?;
    for case in CASES {
        let is_good = guest.console().contains(&format!("runtime-tests: {case} ok"));
        guest.require(is_good, || format!("the runtime stands the case {case}"))?;
    }
    Ok(guest.power_off()?)
}
