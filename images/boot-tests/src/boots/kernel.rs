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
/// Its network card is on a cable on which nobody answers: answers would come at the pace of the host, and no image may
/// be slower where there is no DHCP server.
pub fn measure(cx: &Context) -> Result<Ready, TestError> {
    let machine = machine(cx)?.memory_mib(512).network(Network::Silent).clock(Clock::Counted);
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    guest.power_off()?;
    Ok(ready)
}

pub(super) fn budgets(cx: &Context) -> Result<(), TestError> {
    let ready = measure(cx)?;
    let mut checks = vec![
        ("ready_ms", Some(ready.ready_ms), cx.budgets.ready_ms),
        ("mem_used_kb", ready.mem_used_kb, cx.budgets.mem_used_kb),
    ];
    if let Some(budget) = cx.budgets.ready_percent_of_start {
        // Rounded up, so that a budget is never passed unseen.
        let percent = (ready.ready_ms * 100).div_ceil(ready.kernel_ms.max(1));
        checks.push(("ready_ms in percent of kernel_ms", Some(percent), budget));
    }
    match checks.into_iter().find(|(_, value, budget)| value.is_none_or(|value| value > *budget)) {
        Some((what, value, budget)) => Err(TestError::OverBudget { what, value, budget }),
        None => Ok(()),
    }
}
