//! Services that misbehave on purpose: an image of its own holds them, and a judge among them that says on the console
//! what PID 1 made of each.

mod killed;

use lepton_builder::arch::Arch;

use super::state;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Kernel, Machine, Network};
use crate::runner::Peer;
pub(super) use killed::killed;

/// What the judge looks at; see `packages/service-tests/src/judge.rs`.
const CASES: [&str; 13] = [
    "give-up", "missing", "sandbox", "stubborn", "forking", "watchdog", "alone", "changes", "numbers",
    "kill", "flood", "eater", "orphans",
];

pub(super) fn misbehave(cx: &Context) -> Result<(), TestError> {
    let mut guest = cx.start(&machine(cx, Peer::ServiceTests, "")?)?;
    guest.wait_for("the judge's last line", |line| line.contains("service-tests: end").then_some(()))?;
    for case in CASES {
        let is_good = guest.console().contains(&format!("service-tests: {case} ok"));
        guest.require(is_good, || format!("PID 1 stands the case {case}"))?;
    }
    let alone = guest.console().contains("service-tests: stopped stop-b, host: stays");
    guest.require(alone, || "a service knows that it is stopped alone".to_owned())?;
    // What needs a service stops before it.
    let console = guest.watch();
    guest.power_off()?;
    let text = console.text();
    // Each knows that it is the host that stops.
    let place = |service: &str| text.find(&format!("service-tests: stopped {service}, host: poweroff"));
    match (place("stop-b"), place("stop-a")) {
        (Some(first), Some(second)) if first < second => Ok(()),
        _ => Err(TestError::Refused { judge: "the order of stops", reason: text }),
    }
}

/// The machine of another image, with more words on the kernel command line.
fn machine(cx: &Context, image: Peer, words: &str) -> Result<Machine, TestError> {
    let dir = cx.peer(image)?;
    let cmdline = format!("{} {words}", cx.cmdline);
    let kernel = Kernel::new(&dir.join(cx.arch.direct_boot_kernel()), &dir.join("initrd"), &cmdline);
    Ok(cx.bios().kernel(kernel).network(Network::None))
}

/// The word that makes the judge another one, after `config`; without blanks and quotes, which the kernel takes for its own.
fn judged_by(role: &str, config: &str) -> String {
    let escaped =
        judge(role, config).replace('%', "%25").replace('\n', "%0A").replace(' ', "%20").replace('"', "%22");
    format!("lepton.config={escaped}")
}

/// The machine config that makes the judge another one, after `config`.
fn judge(role: &str, config: &str) -> String {
    format!(
        "{config}[[services]]\nname='judge'\ncommand=['/usr/bin/service-tests','{role}']\nrestart='never'\nwanted=false\n\
         capabilities=['CAP_DAC_OVERRIDE','CAP_SYS_PTRACE','CAP_KILL']\n"
    )
}

/// Logs are followed, kept in files with a bound, there after a restart, and gone after a reset.
pub(super) fn logs(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("state.raw");
    state::blank(&path, 300 << 20)?;
    let words = format!("{} lepton.state-disk=/dev/vda lepton.state-wait=5", judged_by("logs", ""));
    let machine = machine(cx, Peer::ServiceTests, &words)?.disk(state::disk(&path, 512));
    // The second boot asks for the reset, which the third one finds done.
    for boots in [1, 2, 1] {
        let mut guest = cx.start(&machine)?;
        guest.wait_line("the judge's last line", "service-tests: end")?;
        let wanted = format!("service-tests: logs ok boots={boots}\n");
        guest.require(guest.console().contains(&wanted), || format!("the log files hold {boots} boots"))?;
        guest.power_off()?;
    }
    Ok(())
}

/// A host whose PID 1 hangs is restarted by the watchdog device, and one that is alive is not.
///
/// QEMU's x86_64 machine has Intel's device; on aarch64 it has none that the kernel knows, so there it is the kernel's own.
pub(super) fn watchdog(cx: &Context) -> Result<(), TestError> {
    let machine = machine(cx, Peer::ServiceTests, &judged_by("freeze", "watchdog.timeout-s=5\n"))?;
    let machine = if cx.arch == Arch::X86_64 { machine.watchdog("i6300esb") } else { machine };
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    guest.require(ready.config.errors.is_empty(), || "the watchdog device is there".to_owned())?;
    guest.wait_line("the time after which an unfed host is dead", "service-tests: alive")?;
    guest.wait_line("the last line before PID 1 hangs", "service-tests: freezing")?;
    Ok(guest.wait_reset().map(drop)?)
}

/// The status is on the screen and on the serial console after the ready line, and on none when it is off.
pub(super) fn screen(cx: &Context) -> Result<(), TestError> {
    let config = "hostname='edge-screen'\nnonsense=1\n";
    let mut guest = cx.start(&machine(cx, Peer::ServiceTests, &judged_by("screen", config))?)?;
    guest.wait_ready()?;
    let expected = ["host       edge-screen, ready", "state      memory (tmpfs)", "service    steady ready"];
    for row in expected {
        guest.wait_line("the status on the serial console", &format!("lepton: status {row}"))?;
    }
    guest.wait_line("the mistake on the serial console", "lepton: status error      ")?;
    guest.wait_line("the judge's last line", "service-tests: end")?;
    for row in expected {
        let seen = guest.console().contains(&format!("service-tests: screen {row}"));
        guest.require(seen, || format!("the screen shows {row:?}"))?;
    }
    let text = guest.console();
    let place = |text: &str, what: &str| text.find(what);
    let is_after = place(&text, "lepton: ready {") < place(&text, "lepton: status ");
    guest.require(is_after, || "the status comes after the ready line".to_owned())?;
    guest.power_off()?;

    let mut guest =
        cx.start(&machine(cx, Peer::ServiceTests, &judged_by("screen", "console.status=false\n"))?)?;
    guest.wait_ready()?;
    // The judge looks for a minute.
    guest.wait_line("the judge's last line", "service-tests: end")?;
    let text = guest.console();
    let is_off = !text.contains("lepton: status ") && !text.contains("screen host  ");
    guest.require(is_off, || "there is no status when it is off".to_owned())?;
    Ok(guest.power_off()?)
}

/// The image with a shell: a command that is typed is answered.
pub(super) fn debug_shell(cx: &Context) -> Result<(), TestError> {
    let mut guest = cx.start(&machine(cx, Peer::Debug, "")?)?;
    guest.wait_ready()?;
    // The shell may still be on its way to the console, and then the line waits for it. The answer is no part of it.
    guest.type_line("echo answer=$((6*7)) user=$(id -u) && lepton status")?;
    guest.wait_line("the answer of the shell", "answer=42 user=0")?;
    guest.wait_line("the answer of PID 1", "image      debug ")?;
    Ok(guest.power_off()?)
}
