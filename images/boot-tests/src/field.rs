//! Networks of a test: tap devices in the network namespace of QEMU's sandbox, with real servers on them, and commands
//! that a test runs there while the guest runs.
//!
//! Commands go through a FIFO in the folder of the run, because only what was started inside is in that namespace.
//! All of it ends with QEMU.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Folder below that of the run.
const FOLDER: &str = "field";
/// How often a command is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// Programs beside the servers: a switch that knows VLANs and LACP, which the kernel of this machine may not, and one
/// that reads a guest's clock from outside.
const PROGRAMS: [(&str, &str); 2] =
    [("switch.py", include_str!("field/switch.py")), ("clock.py", include_str!("field/clock.py"))];

/// Makes the devices, runs the setup, serves commands, and becomes QEMU.
/// Arguments: number of cards, then the command.
pub(crate) const BOOT: &str = "\
cards=$1; shift
cd /run/lepton/field
ip link set lo up
card=0
while [ $card -lt $cards ]; do
  ip tuntap add dev net$card mode tap
  ip link set net$card up
  card=$((card + 1))
done
( . ./setup.sh ) >&2
mkfifo asked
( exec 3<>asked >/dev/null 2>&1
  while read -r name <&3; do
    code=0
    sh -e ./$name.sh >$name.out 2>&1 </dev/null 3<&- || code=$?
    echo $code >$name.part
    mv $name.part $name.code
  done ) &
cd /
exec \"$@\"";

/// Everything that helps to understand a failure.
pub(crate) const TELL: &str =
    "for log in *.log leases*; do echo \"== $log\"; tail -n 60 $log; done; ip addr; ip neigh";

/// A command that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Whether all of it succeeded.
    pub is_success: bool,
    /// What it printed, errors too.
    pub output: String,
}

/// Puts the setup and the programs into the folder of a run.
pub(crate) fn prepare(run: &Path, setup: &str) -> io::Result<()> {
    let dir = run.join(FOLDER);
    fs::create_dir(&dir)?;
    for (name, text) in PROGRAMS {
        fs::write(dir.join(name), text)?;
    }
    fs::write(dir.join("setup.sh"), setup)
}

/// Runs a script, whose working folder holds the programs and the servers' logs.
pub(crate) fn run(run: &Path, script: &str, deadline: Instant) -> io::Result<Ran> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let dir = run.join(FOLDER);
    let name = format!("command-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    fs::write(dir.join(format!("{name}.sh")), script)?;
    wait_for(&dir.join("asked"), deadline)?;
    // For reading too, so that it never waits for the other end.
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.join("asked"))?
        .write_all(format!("{name}\n").as_bytes())?;
    let code = dir.join(format!("{name}.code"));
    wait_for(&code, deadline)?;
    let is_success = fs::read_to_string(&code)?.trim() == "0";
    let output = fs::read(dir.join(format!("{name}.out")))?;
    Ok(Ran { is_success, output: String::from_utf8_lossy(&output).into_owned() })
}

fn wait_for(path: &Path, deadline: Instant) -> io::Result<()> {
    while !path.exists() {
        if Instant::now() > deadline {
            let text = format!("{} never came", path.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
