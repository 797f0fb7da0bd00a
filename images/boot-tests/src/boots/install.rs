//! Installing on disks from CD and network, and what is refused. Every installed disk must boot alone and grow.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::state::{STATE_START, grow_on, scattered};
use crate::Context;
use crate::context::TestError;
use crate::judges::grown::{self, Superblock};
use crate::machine::{Bus, Disk, DiskFormat, Machine, Network, Writes};

/// Bytes of the disks that are installed on: a little more than the image.
const DISK: u64 = 1300 << 20;

pub(super) fn cd_virtio(cx: &Context) -> Result<(), TestError> {
    from_cd(cx, Bus::VirtioBlk, "/dev/vda2")
}

pub(super) fn cd_nvme(cx: &Context) -> Result<(), TestError> {
    from_cd(cx, Bus::Nvme, "/dev/nvme0n1p2")
}

pub(super) fn cd_ahci(cx: &Context) -> Result<(), TestError> {
    from_cd(cx, Bus::Ahci, "/dev/sda2")
}

fn from_cd(cx: &Context, bus: Bus, device: &str) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(dir.path(), DISK)?;
    let target = disk(&path, bus);
    // The disk comes second, after the CD.
    let machine = cd(cx)?.kernel_words("lepton.install=disk1").disk(target.clone());
    install(cx, &machine)?;
    grow_on(cx, &path, target.clone(), device)?;
    grown::state(cx, &path, 512)?;
    let first = Superblock::read(&path, STATE_START)?.uuid();
    // Once more over the installed disk: its state stays. Then again, and it does not.
    install(cx, &machine)?;
    grow_on(cx, &path, target.clone(), device)?;
    let kept = Superblock::read(&path, STATE_START)?.uuid();
    if kept != first {
        return Err(refused("the state was not kept"));
    }
    Ok(())
}

pub(super) fn cd_wipe(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = grown::on_larger_disk(cx, dir.path(), DISK)?;
    let target = disk(&path, Bus::VirtioBlk);
    grow_on(cx, &path, target.clone(), "/dev/vda2")?;
    let first = Superblock::read(&path, STATE_START)?.uuid();
    let words = "lepton.install=smallest lepton.install-wipe";
    install(cx, &cd(cx)?.kernel_words(words).disk(target.clone()))?;
    grow_on(cx, &path, target, "/dev/vda2")?;
    grown::state(cx, &path, 512)?;
    let second = Superblock::read(&path, STATE_START)?.uuid();
    if first == second { Err(refused("the state was kept")) } else { Ok(()) }
}

/// iPXE on PC firmware, then the installed disk alone under UEFI.
pub(super) fn pxe(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(dir.path(), DISK)?;
    let target = disk(&path, Bus::VirtioBlk);
    let network = Network::Tftp { dir: cx.artifact("pxe")?, file: "install.ipxe".to_owned() };
    install(cx, &cx.bios().network(network).disk(target.clone()))?;
    grow_on(cx, &path, target, "/dev/vda2")?;
    grown::state(cx, &path, 512)
}

/// Each with its reason in the ready line; the host stays up.
pub(super) fn refusals(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let small = blank(dir.path(), 100 << 20)?;
    for (wanted, said) in [
        ("/dev/vda", "install: vda has 100 MiB, and 1090 MiB are needed"),
        ("nothing", "install: no disk is \"nothing\"; disks: /dev/vda (100 MiB, serial disk1)"),
        ("smallest", "install: there is no disk of at least 1090 MiB that is free to use"),
    ] {
        let machine =
            cd(cx)?.kernel_words(&format!("lepton.install={wanted}")).disk(disk(&small, Bus::VirtioBlk));
        let mut guest = cx.start(&machine)?;
        let ready = guest.wait_ready()?;
        let is_said = ready.config.errors.iter().any(|error| error.starts_with(said));
        guest.require(is_said, || format!("{said}: {:?}", ready.config.errors))?;
        guest.power_off()?;
    }
    let bytes = std::fs::read(&small).map_err(TestError::file("read", &small))?;
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(refused("a refused disk was written to")) }
}

pub(super) fn two_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 0..2)
}

pub(super) fn many_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 2..27)
}

/// Cuts the power at a moment of the installation that `seed` chooses; the installer must run again to the end, over
/// an old system on every second disk.
fn power_cuts(cx: &Context, seeds: std::ops::Range<u64>) -> Result<(), TestError> {
    for seed in seeds {
        let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
        let path = match seed % 2 {
            0 => blank(dir.path(), DISK)?,
            _ => grown::on_larger_disk(cx, dir.path(), DISK)?,
        };
        let target = disk(&path, Bus::VirtioBlk);
        let machine = cd(cx)?.kernel_words("lepton.install=smallest").disk(target.clone());
        let mut guest = cx.start(&machine)?;
        guest.wait_line("the start of the installation", "lepton: installing on vda")?;
        std::thread::sleep(Duration::from_millis(scattered(seed) % 2500));
        drop(guest);
        // The kernel of this machine takes a moment to let go of the file.
        std::thread::sleep(Duration::from_secs(1));
        let cut = |error: TestError| refused(&format!("after power cut {seed}: {error}"));
        install(cx, &machine).map_err(cut)?;
        grow_on(cx, &path, target, "/dev/vda2").map_err(cut)?;
        grown::state(cx, &path, 512).map_err(cut)?;
    }
    Ok(())
}

/// Runs the installer until it restarts the machine.
fn install(cx: &Context, machine: &Machine) -> Result<(), TestError> {
    let mut guest = cx.start(machine)?;
    guest.wait_line("the end of the installation", "lepton: installed on ")?;
    Ok(guest.wait_restart()?)
}

fn cd(cx: &Context) -> Result<Machine, TestError> {
    Ok(cx.uefi().disk(cx.disk("iso", Bus::Cdrom)?))
}

fn blank(dir: &Path, len: u64) -> Result<PathBuf, TestError> {
    let path = dir.join("disk.raw");
    let made = File::create_new(&path).and_then(|file| file.set_len(len));
    made.map_err(TestError::file("make", &path)).map(|()| path)
}

fn disk(path: &Path, bus: Bus) -> Disk {
    Disk::new(path, DiskFormat::Raw, bus).writes(Writes::Keep)
}

fn refused(reason: &str) -> TestError {
    TestError::Refused { judge: "install", reason: reason.to_owned() }
}
