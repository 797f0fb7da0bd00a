//! Services that misbehave on purpose: an image of its own holds them, and a judge among them that says on the console
//! what PID 1 made of each.

use crate::Context;
use crate::context::TestError;
use crate::machine::{Kernel, Network};
use crate::runner::Peer;

/// What the judge looks at; see `packages/service-tests/src/judge.rs`.
const CASES: [&str; 10] =
    ["give-up", "missing", "sandbox", "stubborn", "forking", "watchdog", "kill", "flood", "eater", "orphans"];

pub(super) fn misbehave(cx: &Context) -> Result<(), TestError> {
    let dir = cx.peer(Peer::ServiceTests)?;
    let kernel = Kernel::new(&dir.join(cx.arch.direct_boot_kernel()), &dir.join("initrd"), &cx.cmdline);
    let mut guest = cx.start(&cx.bios().kernel(kernel).network(Network::None))?;
    guest.wait_for("the judge's last line", |line| line.contains("service-tests: end").then_some(()))?;
    for case in CASES {
        let is_good = guest.console().contains(&format!("service-tests: {case} ok"));
        guest.require(is_good, || format!("PID 1 stands the case {case}"))?;
    }
    // What needs a service stops before it.
    let console = guest.watch();
    guest.power_off()?;
    let text = console.text();
    let place = |service: &str| text.find(&format!("service-tests: stopped {service}"));
    match (place("stop-b"), place("stop-a")) {
        (Some(first), Some(second)) if first < second => Ok(()),
        _ => Err(TestError::Refused { judge: "the order of stops", reason: text }),
    }
}
