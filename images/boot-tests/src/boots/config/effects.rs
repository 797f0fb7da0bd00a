//! What a machine config changes on a host: its state disk, its services, its installation.

use super::{check, kernel_words};
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::{Bus, Disk, DiskFormat, Writes};
use crate::ready::Ready;

/// Sources that this machine does not have. Each says so in the log.
const SKIPPED: [&str; 5] = ["guestinfo", "ovf-env", "cidata", "config-2", "esp"];

/// `lepton` is a program of the image that runs as long as there is something to say, and one that ends.
const CONFIG: &str = r#"
hostname = "edge-effects"
[state]
disk = "disk0"
[install]
disk = "nothing"
[[services]]
name = "watcher"
command = ["/usr/bin/lepton", "logs", "-f", "asker"]
[[services]]
name = "asker"
kind = "oneshot"
command = ["/usr/bin/lepton", "status"]
[[services]]
name = "absent"
command = ["/usr/bin/no-such-program"]
restart = "never"
"#;

/// `[state]` makes a state partition, `[[services]]` run, and what is not there is said.
pub(in super::super) fn effects(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("blank.raw");
    crate::boots::state::blank(&path, 300 << 20)?;
    let disk = Disk::new(&path, DiskFormat::Raw, Bus::VirtioBlk).writes(Writes::Keep);
    // Reasons of skipped sources are for people who look for them.
    let config = CONFIG.replace("[install]\ndisk = \"nothing\"\n", "");
    let machine = kernel_words(cx, "loglevel=8")?.disk(disk.clone()).fw_cfg("opt/lepton/config", &config);
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    check(&guest, &ready, "effects", &["fw_cfg"], &[])?;
    let device = ready.state.device.as_deref();
    guest.require(device == Some("/dev/vda1"), || format!("state is on /dev/vda1, not {device:?}"))?;
    services(&guest, &ready, &[("watcher", "ready"), ("asker", "done"), ("absent", "failed: ")])?;
    let console = guest.console();
    for name in SKIPPED {
        let line = format!("config: skipped {name}: ");
        guest.require(console.contains(&line), || format!("the log tells why {name} is skipped"))?;
    }
    guest.power_off()?;
    // The same host again, with an installation that cannot be: it says so and runs, with state in memory.
    let mut guest = cx.start(&kernel_words(cx, "")?.disk(disk).fw_cfg("opt/lepton/config", CONFIG))?;
    let ready = guest.wait_ready()?;
    check(&guest, &ready, "effects", &["fw_cfg"], &["install: "])?;
    services(&guest, &ready, &[("watcher", "ready"), ("asker", "done")])?;
    Ok(guest.power_off()?)
}

/// Requires what became of services; an end in a blank stands for any reason.
pub(super) fn services(guest: &Guest, ready: &Ready, wanted: &[(&str, &str)]) -> Result<(), TestError> {
    for (name, state) in wanted {
        let said = ready.services.get(*name).and_then(|state| state.as_str()).unwrap_or("not there");
        let holds = if state.ends_with(' ') { said.starts_with(state) } else { said == *state };
        guest.require(holds, || format!("the service {name} is {state}, not {said}"))?;
    }
    Ok(())
}
