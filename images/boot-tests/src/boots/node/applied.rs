//! Machine configs that are applied on a running host: programs that are killed meanwhile, power that fails meanwhile, and
//! what a restart makes of them.
//!
//! Each config says the same number in two files, so that a mixture of two configs is seen.

use std::path::Path;

use super::{PATIENCE, Shell, machine_of};
use crate::Context;
use crate::boots::state;
use crate::context::TestError;
use crate::guest::Guest;
use crate::machine::Machine;
use crate::power_cut::Record;
use crate::runner::Peer;

/// Bytes of the state disk.
const DISK: u64 = 300 << 20;
/// What the kernel command line says about it.
const ON_DISK: &str = " lepton.state-disk=/dev/vda lepton.state-wait=30";
/// How often something is killed while a config is applied, and the power cut.
const KILLS: u32 = 50;
const CUTS: u64 = 4;
/// The number of the first config that is applied while writes are recorded, and of the last.
const RECORDED: std::ops::RangeInclusive<u32> = 101..=106;

/// The machine config that nothing of the tests is in: what it says has more weight than what is applied.
const CONFIG: &str = "hostname = \"edge-1\"\n";
/// What the tests do in the guest.
const SCRIPT: &str = r#"
# Config number $1, in a file.
config() {
  printf '[[files]]\npath = "/etc/%s"\ncontent = "%s"\n' one $1 two $1 > /run/new.toml
}
# What the host has: one number, or "absent", unless it is a mixture.
has() {
  for file in /etc/one /etc/two; do
    cat $file 2> /dev/null && echo || echo absent
  done > /run/has
  sed -n 's/^content = "\(.*\)"$/\1/p' /var/lib/lepton/config/applied.toml > /run/kept 2> /dev/null
  test -s /run/kept || echo absent > /run/kept
  sort -u /run/has /run/kept | xargs
}
hundredths() {
  sed 's/ .*//; s/[.]//' /proc/uptime
}
answers() {
  n=0
  until lepton config get > /dev/null 2>&1; do n=$((n + 1)); test $n -lt 450 || return 1; sleep 0.1; done
}
# Applies $1 configs, and kills who asks or who is asked at any moment from before to after the change.
kills() {
  answers && config 0 || return 1
  start=$(hundredths)
  lepton config apply /run/new.toml || return 1
  takes=$(($(hundredths) - start))
  test "$(has)" = 0 || return 1
  old=0 new=0 before=0 i=1
  while [ $i -le $1 ]; do
    config $i
    lepton config apply /run/new.toml > /run/said 2>&1 &
    usleep $(( ($RANDOM % (150 * takes + 100)) * 100 ))
    case $((i % 2)) in
    0) kill -9 $! ;;
    1) kill -9 $(pidof lepton-host) ;;
    esac 2> /dev/null
    wait $!
    # It is in its back-off, which grows.
    lepton start host > /dev/null 2>&1
    answers || { echo "kill $i: the host does not answer"; return 1; }
    now=$(has)
    case "$now" in
    "$before") old=$((old + 1)) ;;
    $i) new=$((new + 1)); before=$i ;;
    *) echo "kill $i: $now, where $before or $i should be"; return 1 ;;
    esac
    i=$((i + 1))
  done
  echo "an apply takes $takes hundredths; after $1 kills the old config $old times, the new one $new times"
  test $old -gt 0 -a $new -gt 0
}
# Applies configs from $1 to $2.
numbers() {
  i=$1
  while [ $i -le $2 ]; do
    config $i
    lepton config apply /run/new.toml || return 1
    test "$(has)" = $i || return 1
    i=$((i + 1))
  done
}
"#;
/// Where it lies in the guest, and its end.
const PLACE: &str = "/run/applied.sh";
const END: &str = "the-end";

pub(in crate::boots) fn applied(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(&dir.path().join("state.raw"))?;

    on(cx, &path, "", |shell| {
        shell.run(&format!("kills {KILLS}"))?;
        shell.run("config kept; lepton config apply /run/new.toml")?;
        shell.run("config tried; lepton config apply --try 600s /run/new.toml")?;
        shell.run("test \"$(cat /etc/one /etc/two)\" = triedtried")
    })?;
    // Nobody confirmed the trial.
    on(cx, &path, "", |shell| {
        shell.run("test \"$(has)\" = kept")?;
        shell.run("lepton config get | grep '^# sources .*applied'")
    })?;
    on(cx, &path, " lepton.applied=ignore", |shell| {
        shell.run("test ! -e /etc/one -a ! -e /etc/two")?;
        shell.run("! lepton config get | grep '^# sources .*applied'")
    })?;
    // What is ignored once is there still.
    on(cx, &path, "", |shell| {
        shell.run("test \"$(has)\" = kept")?;
        // An empty config takes it away.
        shell.run("> /run/new.toml; lepton config apply /run/new.toml; test \"$(has)\" = absent")
    })?;
    on(cx, &path, "", |shell| shell.run("test \"$(has)\" = absent"))
}

/// Without a state partition a config is in effect, and said to be lost at the next start.
pub(in crate::boots) fn applied_in_memory(cx: &Context) -> Result<(), TestError> {
    with(cx, &machine_of(cx, Peer::NodeTests, CONFIG)?, |shell| {
        shell.run("answers && config 1 && lepton config apply /run/new.toml")?;
        shell.run("test \"$(cat /etc/one /etc/two)\" = 11")?;
        shell.run("lepton config get | grep '^# no state partition'")
    })
}

/// Cuts the power while configs are applied: the host has one of them afterwards, whole.
pub(in crate::boots) fn applied_cuts(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(&dir.path().join("state.raw"))?;
    on(cx, &path, "", |shell| shell.run("answers && numbers 100 100"))?;
    let before = dir.path().join("before.raw");
    std::fs::copy(&path, &before).map_err(TestError::file("copy", &path))?;

    let writes = dir.path().join("writes");
    let machine = machine(cx, "")?.disk(state::disk(&path, 512).log(&writes));
    with(cx, &machine, |shell| {
        shell.run(&format!("answers && numbers {} {}", RECORDED.start(), RECORDED.end()))
    })?;
    let record = Record::open(&writes).map_err(TestError::file("read", &writes))?;
    for seed in 0..CUTS {
        std::fs::copy(&before, &path).map_err(TestError::file("copy", &before))?;
        let moment = record.moment(seed);
        record.cut_file(moment, seed, &path).map_err(TestError::file("write", &path))?;
        let is_one = format!(
            "now=$(has); echo \"has $now\"; test \"$now\" -ge 100 -a \"$now\" -le {}",
            RECORDED.end()
        );
        on(cx, &path, "", |shell| shell.run(&is_one)).map_err(|error| TestError::Refused {
            judge: "applied config",
            reason: format!("after power cut {seed} at request {moment}: {error}"),
        })?;
    }
    Ok(())
}

fn blank(path: &Path) -> Result<std::path::PathBuf, TestError> {
    state::blank(path, DISK)?;
    Ok(path.to_owned())
}

/// The machine, with these words on its kernel command line besides those about its disk.
fn machine(cx: &Context, words: &str) -> Result<Machine, TestError> {
    let mut on_disk = cx.clone();
    on_disk.cmdline.push_str(ON_DISK);
    on_disk.cmdline.push_str(words);
    machine_of(&on_disk, Peer::NodeTests, CONFIG)
}

/// Starts the host with this disk, does something on its console, and switches it off.
fn on(
    cx: &Context,
    disk: &Path,
    words: &str,
    act: impl FnOnce(&mut Shell<'_>) -> Result<(), crate::guest::GuestError>,
) -> Result<(), TestError> {
    with(cx, &machine(cx, words)?.disk(state::disk(disk, 512)), act)
}

fn with(
    cx: &Context,
    machine: &Machine,
    act: impl FnOnce(&mut Shell<'_>) -> Result<(), crate::guest::GuestError>,
) -> Result<(), TestError> {
    let mut guest = Guest::start(machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.guest.type_line(&format!("cat > {PLACE} <<'{END}'"))?;
    for line in SCRIPT.lines() {
        shell.guest.type_line(line)?;
    }
    shell.guest.type_line(END)?;
    shell.run(&format!(". {PLACE}"))?;
    act(&mut shell)?;
    Ok(guest.power_off()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_one() {
        lepton_builder::process::Process::new("sh").args(["-n", "-c", SCRIPT]).output().unwrap();
    }
}
