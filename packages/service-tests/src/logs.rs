//! A judge of the logs: the kernel's is followed, the files on the state partition have a bound and outlive a boot, and
//! a reset empties them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{Client, LogName, Request};

use crate::say;

/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the flood goes on.
const FLOOD: Duration = Duration::from_secs(6);
/// What one log may take on the disk (docs/services.md).
const BOUND: u64 = 4 * 512 * 1024;
const FILES: &str = "/var/log/lepton/services";

/// Judges the logs of this boot, and those of boots before it; in the second boot it asks for a reset.
pub(crate) fn judge() -> io::Result<ExitCode> {
    // In this service's own log.
    eprintln!("a line of the judge");
    match all() {
        Ok(boots) => say(&format!("logs ok boots={boots}"))?,
        Err(error) => say(&format!("logs FAILED {error}"))?,
    }
    say("end")?;
    Ok(ExitCode::SUCCESS)
}

fn all() -> Result<usize, String> {
    followed()?;
    let own = until("services/judge.log", "a line of the judge")?;
    until("kernel.log", "Linux version")?;
    flood()?;
    let boots: BTreeSet<&str> = own.lines().filter_map(|line| line.strip_prefix("=== boot ")).collect();
    if boots.len() > 1 {
        ask(&Request::ResetState)?;
    }
    Ok(boots.len())
}

/// A record that comes while the log is followed is seen, and only as many old ones as were asked for.
fn followed() -> Result<(), String> {
    let (mut count, mut was_last_old) = (0, false);
    let client = Client::connect().map_err(|error| error.to_string())?;
    let each = |line: lepton_control::LogLine| {
        count += 1;
        if count == 3 {
            // A client that was given its three old lines waits now.
            was_last_old = !line.text.contains("followed");
            return fs::write("/dev/kmsg", "<13>service-tests: followed\n").is_ok();
        }
        !line.text.contains("service-tests: followed")
    };
    client.logs(LogName::Kernel, true, Some(3), each).map_err(|error| error.to_string())?;
    if was_last_old && count > 3 { Ok(()) } else { Err(format!("{count} lines, then none that was awaited")) }
}

/// Waits until the file of a log holds a text of this boot; gives all of the file.
fn until(name: &str, wanted: &str) -> Result<String, String> {
    let start = Instant::now();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|error| error.to_string())?;
    loop {
        let text = fs::read_to_string(format!("/var/log/lepton/{name}")).unwrap_or_default();
        let ours = text.rsplit_once(&format!("=== boot {}", boot.trim()));
        if ours.is_some_and(|(_, ours)| ours.contains(wanted)) {
            return Ok(text);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{name} does not hold {wanted:?}: {text:?}"));
        }
        sleep(Duration::from_millis(100));
    }
}

/// A service that prints as fast as it can does not fill the disk.
fn flood() -> Result<(), String> {
    ask(&Request::Start { name: "flood".to_owned() })?;
    sleep(FLOOD);
    ask(&Request::Stop { name: "flood".to_owned() })?;
    let text = until("services/flood.log", "flood")?;
    let len = |number: u32| fs::metadata(format!("{FILES}/flood.log.{number}")).map_or(0, |meta| meta.len());
    let bytes = text.len() as u64 + (1..=9).map(len).sum::<u64>();
    if (1..=BOUND).contains(&bytes) {
        Ok(())
    } else {
        Err(format!("the flood has {bytes} bytes on the disk"))
    }
}

fn ask(request: &Request) -> Result<(), String> {
    let mut client = Client::connect().map_err(|error| error.to_string())?;
    client.ask(request).map(drop).map_err(|error| error.to_string())
}
