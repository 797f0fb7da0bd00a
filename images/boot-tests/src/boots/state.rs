//! The state partition: grown to its disk, made on a blank disk, repaired, emptied, and robust against power cuts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::state_on;
use crate::Context;
use crate::context::TestError;
use crate::judges::grown::{self, Superblock};
use crate::machine::{Bus, Disk, DiskFormat, Machine, Writes};
use crate::power_cut::Record;

/// Where the state partition of our disks starts.
pub(super) const STATE_START: u64 = 1025 << 20;
/// The same on a disk that holds nothing else.
const ALONE_START: u64 = 1 << 20;
/// How long a guest may take to grow its file system once it is ready; the superblock on the disk may lag behind.
const GROWTH: Duration = Duration::from_secs(60);
/// The same for terabytes, whose block groups are many for an emulated processor.
const HUGE_GROWTH: Duration = Duration::from_secs(180);
/// What counts as terabytes.
const HUGE: u64 = 1 << 40;

pub(super) fn grows(cx: &Context) -> Result<(), TestError> {
    grows_to(cx, 3 << 30, 512)
}

pub(super) fn grows_4k(cx: &Context) -> Result<(), TestError> {
    grows_to(cx, 5 << 30, 4096)
}

/// Beyond what the reserved descriptors are for: the kernel changes the layout on the way.
pub(super) fn grows_huge(cx: &Context) -> Result<(), TestError> {
    grows_to(cx, 9 << 38, 512)
}

fn grows_to(cx: &Context, len: u64, sector: u32) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = grown::on_larger_disk(cx, dir.path(), len)?;
    let image = Superblock::read(&path, STATE_START)?;
    grow_once(cx, &path, sector)?;
    let first = Superblock::read(&path, STATE_START)?.uuid();
    grown::state(cx, &path, sector.into())?;
    if first == image.uuid() {
        return Err(refused("the file system has the UUID of the image"));
    }
    // The second boot finds nothing to do.
    boot(cx, &cx.uefi().disk(disk(&path, sector)), "/dev/vda2")?;
    grown::state(cx, &path, sector.into())?;
    let second = Superblock::read(&path, STATE_START)?.uuid();
    if first == second { Ok(()) } else { Err(refused("the UUID changed at the second boot")) }
}

/// Boots the disk, waits until its file system has grown, and powers off.
fn grow_once(cx: &Context, path: &Path, sector: u32) -> Result<(), TestError> {
    grow_on(cx, path, disk(path, sector), "/dev/vda2")
}

/// The same for a disk on any bus.
pub(super) fn grow_on(cx: &Context, path: &Path, disk: Disk, device: &str) -> Result<(), TestError> {
    grow_machine(cx, path, &cx.uefi().disk(disk), device)
}

/// The same for a machine that has the disk `path`.
fn grow_machine(cx: &Context, path: &Path, machine: &Machine, device: &str) -> Result<(), TestError> {
    let mut guest = cx.start(machine)?;
    let ready = guest.wait_ready()?;
    for (fact, holds) in state_on(&ready, device) {
        guest.require(holds, || fact)?;
    }
    wait_grown(path)?;
    Ok(guest.power_off()?)
}

/// Waits until the file system on a disk that is running has its size, and not for ever: what is judged comes later.
pub(super) fn wait_grown(path: &Path) -> Result<(), TestError> {
    let len = std::fs::metadata(path).map_err(TestError::file("read", path))?.len();
    let wanted = (len - STATE_START - (2 << 20)) / 4096;
    let deadline = Instant::now() + if len > HUGE { HUGE_GROWTH } else { GROWTH };
    while Superblock::read(path, STATE_START)?.blocks() < wanted && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A state partition on a blank disk that is named; used again at the next boot, emptied when that is asked for.
pub(super) fn made_on_a_blank_disk(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("blank.raw");
    blank(&path, 300 << 20)?;
    let with = |words: &str| {
        let cmdline = format!("{} {words}", cx.cmdline);
        Ok::<_, TestError>(
            super::kernel::machine(cx)?.kernel(cx.kernel()?.cmdline(&cmdline)).disk(disk(&path, 512)),
        )
    };
    boot(cx, &with("lepton.state-disk=disk0")?, "/dev/vda1")?;
    grown::state(cx, &path, 512)?;
    let first = Superblock::read(&path, ALONE_START)?.uuid();
    // It is not blank any more, and needs no name to be found.
    boot(cx, &with("lepton.state=required lepton.state-wait=5")?, "/dev/vda1")?;
    let second = Superblock::read(&path, ALONE_START)?.uuid();
    boot(cx, &with("lepton.reset=state lepton.state-wait=5")?, "/dev/vda1")?;
    grown::state(cx, &path, 512)?;
    let third = Superblock::read(&path, ALONE_START)?.uuid();
    if first == second && second != third {
        Ok(())
    } else {
        Err(refused("the file system is the same after a boot and another after a reset"))
    }
}

/// A CD beside an installed system: its state is left alone, and used when that is asked for.
pub(super) fn left_alone_by_a_cd(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = grown::on_larger_disk(cx, dir.path(), 3 << 30)?;
    // With its room, the disk would be grown, and with its mount, the file system written.
    let looks = || {
        let start = read_start(&path, STATE_START + (1 << 20));
        start.map_err(TestError::file("read", &path))
    };
    let before = looks()?;
    let machine = cx.uefi().disk(cx.disk("iso", Bus::Cdrom)?).disk(disk(&path, 512));
    cx.boot(&machine, &super::no_state)?;
    if looks()? != before {
        return Err(refused("the CD wrote to the installed disk"));
    }
    let asked = machine.kernel_words("lepton.state=required lepton.state-wait=30");
    cx.boot(&asked, &|ready| state_on(ready, "/dev/vda2"))?;
    if looks()? == before { Err(refused("the state was not used")) } else { Ok(()) }
}

/// What lies at the start of a disk, without its long zeroes: the table, the boot sectors, the first block group.
fn read_start(path: &Path, len: u64) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(path)?;
    let mut found = Vec::new();
    let mut block = vec![0; 1 << 20];
    for at in (0..len).step_by(1 << 20) {
        file.read_exact_at(&mut block, at)?;
        if block.iter().any(|byte| *byte != 0) {
            found.extend(at.to_le_bytes());
            found.extend_from_slice(&block);
        }
    }
    Ok(found)
}

/// A disk with anything on it is refused in one sentence, and nothing of it changes.
pub(super) fn refuses_used_disks(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = dir.path().join("used.raw");
    let mut bytes = vec![0; 300 << 20];
    bytes[4096] = b'x';
    std::fs::write(&path, &bytes).map_err(TestError::file("write", &path))?;
    let cmdline = format!("{} lepton.state-disk=/dev/vda", cx.cmdline);
    let machine = super::kernel::machine(cx)?.kernel(cx.kernel()?.cmdline(&cmdline)).disk(disk(&path, 512));
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    let said = "state disk /dev/vda: vda is not blank: there are bytes at 4096";
    guest.require(ready.state.device.is_none(), || "state is in memory".to_owned())?;
    guest.require(ready.config.errors.iter().any(|error| error.starts_with(said)), || said.to_owned())?;
    guest.power_off()?;
    let after = std::fs::read(&path).map_err(TestError::file("read", &path))?;
    if after == bytes { Ok(()) } else { Err(refused("a refused disk was written to")) }
}

/// A file system that the kernel marked as damaged is checked before it is mounted.
pub(super) fn repairs(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = grown::on_larger_disk(cx, dir.path(), 3 << 30)?;
    grow_once(cx, &path, 512)?;
    grown::plant_error(cx, &path)?;
    boot(cx, &cx.uefi().disk(disk(&path, 512)), "/dev/vda2")?;
    grown::state(cx, &path, 512)
}

pub(super) fn two_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 0..2)
}

pub(super) fn many_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 2..27)
}

/// Bytes of a disk whose first growth is cut off.
const CUT: u64 = 3 << 30;

/// Records a whole first boot, and for each seed boots a disk that lost power at a moment of it; that boot must be ready
/// and end with everything grown.
fn power_cuts(cx: &Context, seeds: std::ops::Range<u64>) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let (path, writes) = (grown::on_larger_disk(cx, dir.path(), CUT)?, dir.path().join("writes"));
    grow_on(cx, &path, disk(&path, 512).log(&writes), "/dev/vda2")?;
    let record = Record::open(&writes).map_err(TestError::file("read", &writes))?;
    for seed in seeds {
        let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
        let path = grown::on_larger_disk(cx, dir.path(), CUT)?;
        let moment = record.moment(seed);
        record.cut_file(moment, seed, &path).map_err(TestError::file("write", &path))?;
        // Firmware has a say in what a torn table means; most cuts do without its time.
        let machine = match seed % 5 {
            0 => cx.uefi(),
            _ => {
                let words = format!("{} lepton.state=required lepton.state-wait=30", cx.cmdline);
                super::kernel::machine(cx)?.kernel(cx.kernel()?.cmdline(&words))
            }
        };
        let cut = |error: TestError| refused(&format!("after power cut {seed} at request {moment}: {error}"));
        grow_machine(cx, &path, &machine.disk(disk(&path, 512)), "/dev/vda2").map_err(cut)?;
        grown::state(cx, &path, 512).map_err(cut)?;
    }
    Ok(())
}

/// Makes a disk of so many bytes with nothing on it.
pub(super) fn blank(path: &Path, bytes: u64) -> Result<(), TestError> {
    let made = std::fs::File::create_new(path).and_then(|file| file.set_len(bytes));
    made.map_err(TestError::file("make", path))
}

pub(super) fn disk(path: &Path, sector: u32) -> Disk {
    Disk::new(&PathBuf::from(path), DiskFormat::Raw, Bus::VirtioBlk).sector_bytes(sector).writes(Writes::Keep)
}

/// Boots with state on `device`, gives what runs after the boot some time, and powers off.
fn boot(cx: &Context, machine: &Machine, device: &str) -> Result<(), TestError> {
    let mut guest = cx.start(machine)?;
    let ready = guest.wait_ready()?;
    for (fact, holds) in state_on(&ready, device) {
        guest.require(holds, || fact)?;
    }
    std::thread::sleep(Duration::from_secs(4));
    Ok(guest.power_off()?)
}

fn refused(reason: &str) -> TestError {
    TestError::Refused { judge: "state", reason: reason.to_owned() }
}
