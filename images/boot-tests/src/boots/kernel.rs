//! Kernel and initrd without a boot loader: the quickest boots, and the ones whose time can be compared.

use super::no_state;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Clock, Machine, Network};
use crate::ready::Ready;

/// The machine that loads the kernel itself, with no EFI firmware.
pub(super) fn machine(cx: &Context) -> Result<Machine, TestError> {
    Ok(cx.bios().kernel(cx.kernel()?))
}

pub(super) fn direct(cx: &Context) -> Result<(), TestError> {
    cx.boot(&machine(cx)?.cpus(2), &no_state)
}

pub(super) fn ctrl_alt_del(cx: &Context) -> Result<(), TestError> {
    let mut guest = cx.start(&machine(cx)?)?;
    guest.wait_ready()?;
    Ok(guest.restart()?)
}

/// Boots kernel and initrd with a clock that counts instructions, so that the times are the same on every machine.
///
/// There is no network, because its packets come at the pace of the host.
pub fn measure(cx: &Context) -> Result<Ready, TestError> {
    let machine = machine(cx)?.memory_mib(512).network(Network::None).clock(Clock::Counted);
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    guest.power_off()?;
    Ok(ready)
}

pub(super) fn budgets(cx: &Context) -> Result<(), TestError> {
    let ready = measure(cx)?;
    let checks = [
        ("ready_ms", Some(ready.ready_ms), cx.budgets.ready_ms),
        ("mem_used_kb", ready.mem_used_kb, cx.budgets.mem_used_kb),
    ];
    match checks.into_iter().find(|(_, value, budget)| value.is_none_or(|value| value > *budget)) {
        Some((what, value, budget)) => Err(TestError::OverBudget { what, value, budget }),
        None => Ok(()),
    }
}
