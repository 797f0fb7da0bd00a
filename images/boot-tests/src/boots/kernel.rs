//! Kernel and initrd without a boot loader: the quickest boots, and the ones whose time can be compared.

use lepton_builder::arch::Arch;

use super::no_state;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Clock, Machine, Network};

/// The machine that loads the kernel itself. On aarch64 that is firmware, because QEMU cannot unpack EFI zboot.
fn machine(cx: &Context) -> Result<Machine, TestError> {
    let machine = match cx.arch {
        Arch::X86_64 => cx.bios(),
        Arch::Aarch64 => cx.uefi(),
    };
    Ok(machine.kernel(cx.kernel()?))
}

pub(super) fn direct(cx: &Context) -> Result<(), TestError> {
    cx.boot(&machine(cx)?.cpus(2), &no_state)
}

pub(super) fn ctrl_alt_del(cx: &Context) -> Result<(), TestError> {
    let mut guest = cx.start(&machine(cx)?)?;
    guest.wait_ready()?;
    Ok(guest.restart()?)
}

/// Without a network, whose packets come at the pace of the host.
pub(super) fn budgets(cx: &Context) -> Result<(), TestError> {
    let machine = machine(cx)?.memory_mib(512).network(Network::None).clock(Clock::Counted);
    let limits = cx.budgets;
    cx.boot(&machine, &|ready| {
        let (time, memory) = (ready.ready_ms, ready.mem_used_kb);
        vec![
            (format!("ready after {} ms, not {time}", limits.ready_ms), time <= limits.ready_ms),
            (format!("{} KiB are enough, not {memory}", limits.mem_used_kb), memory <= limits.mem_used_kb),
        ]
    })
}
