//! Installing on disks from CD and network, and what is refused. Every installed disk must boot alone and grow.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use lepton_builder::arch::Arch;

use super::network::STALLED;
use super::state::{STATE_START, grow_on, wait_grown};
use super::state_on;
use crate::Context;
use crate::context::{TestError, need_device};
use crate::judges::grown::{self, Superblock};
use crate::judges::plant;
use crate::machine::{Bus, Disk, DiskFormat, Machine, Network, Order, Writes};
use crate::power_cut::Record;
use crate::ready::Ready;

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
pub(super) fn ipxe(cx: &Context) -> Result<(), TestError> {
    let network = Network::Tftp { dir: cx.artifact("pxe")?, file: "install.ipxe".to_owned() };
    from_network(cx, &cx.bios().network(network), Bus::VirtioBlk, "/dev/vda2")
}

/// UEFI firmware loads the one file over TFTP.
pub(super) fn pxe(cx: &Context) -> Result<(), TestError> {
    let network = Network::Tftp { dir: cx.artifact("pxe")?, file: "install.efi".to_owned() };
    from_network(cx, &cx.uefi().network(network), Bus::Nvme, "/dev/nvme0n1p2")
}

/// And over HTTP.
pub(super) fn http(cx: &Context) -> Result<(), TestError> {
    need_device(Path::new("/dev/net/tun"))?;
    let network = Network::Http { dir: cx.artifact("pxe")?, file: "install.efi".to_owned() };
    let machine = cx.uefi().network(network);
    let (bus, device) = match cx.arch {
        Arch::X86_64 => (Bus::Ahci, "/dev/sda2"),
        Arch::Aarch64 => (Bus::VirtioBlk, "/dev/vda2"),
    };
    match from_network(cx, &machine, bus, device) {
        Err(error) if error.to_string().contains(STALLED) => from_network(cx, &machine, bus, device),
        result => result,
    }
}

fn from_network(cx: &Context, machine: &Machine, bus: Bus, device: &str) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(dir.path(), DISK)?;
    let target = disk(&path, bus);
    install(cx, &machine.clone().disk(target.clone()))?;
    grow_on(cx, &path, target, device)?;
    grown::state(cx, &path, 512)
}

/// By the command line of the host, which a service of the machine config calls as an operator would.
pub(super) fn by_command(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(dir.path(), DISK)?;
    let target = disk(&path, Bus::VirtioBlk);
    let config = r#"
        [[services]]
        name = "installer"
        command = ["/usr/bin/lepton", "install", "disk1"]
        kind = "oneshot"
        capabilities = ["CAP_DAC_OVERRIDE", "CAP_LINUX_IMMUTABLE", "CAP_SYS_ADMIN"]
        start-timeout-s = 0
    "#;
    install(cx, &cd(cx)?.fw_cfg("opt/lepton/config", config).disk(target.clone()))?;
    grow_on(cx, &path, target, "/dev/vda2")?;
    grown::state(cx, &path, 512)
}

/// The CD stays in and the words stay on the command line: the boot entry makes firmware start the disk all the same,
/// and nothing is installed again. A second installation renews the entry instead of adding one.
pub(super) fn boot_entry(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let path = blank(dir.path(), DISK)?;
    let variables = dir.path().join("variables.fd");
    let machine = |words: &str| {
        let machine = cd(cx)?.kernel_words(words).disk(disk(&path, Bus::VirtioBlk));
        Ok::<_, TestError>(machine.variables(&variables))
    };
    let from_variables = machine("lepton.install=smallest")?.order(Order::Variables);
    let first = install_with_entry(cx, &from_variables)?;
    cx.boot(&from_variables, &|ready| state_on(ready, "/dev/vda2"))?;
    let again = install_with_entry(cx, &machine("lepton.install=smallest lepton.install-wipe")?)?;
    if again != first {
        return Err(refused(&format!("the entry was {first} and is {again}")));
    }
    cx.boot(&from_variables, &|ready| state_on(ready, "/dev/vda2"))
}

/// Installs, and gives the name of the boot entry that the installer tells of.
fn install_with_entry(cx: &Context, machine: &Machine) -> Result<String, TestError> {
    let mut guest = cx.start(machine)?;
    let entry = guest.wait_for("the boot entry", |line| {
        let (_, name) = line.split_once("first, as Boot")?;
        Some(name.trim().to_owned())
    })?;
    guest.wait_line("the end of the installation", "lepton: installed on ")?;
    guest.wait_restart()?;
    Ok(entry)
}

/// Each with its reason in the ready line; the host stays up.
pub(super) fn refusals(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let small = blank(dir.path(), 100 << 20)?;
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    for path in [&one, &two] {
        let made = File::create_new(path).and_then(|file| file.set_len(DISK));
        made.map_err(TestError::file("make", path))?;
    }
    let equal = format!("install: several disks of {} MiB are the smallest: vda, vdb", DISK >> 20);
    for (wanted, disks, said) in [
        ("/dev/vda", vec![&small], "install: vda has 100 MiB, and 1090 MiB are needed"),
        ("nothing", vec![&small], "install: no disk is \"nothing\"; disks: /dev/vda (100 MiB, serial disk1)"),
        ("smallest", vec![&small], "install: there is no disk of at least 1090 MiB that is free to use"),
        ("smallest", vec![&one, &two], &equal),
    ] {
        let machine = cd(cx)?.kernel_words(&format!("lepton.install={wanted}"));
        let machine = disks.iter().fold(machine, |machine, path| machine.disk(disk(path, Bus::VirtioBlk)));
        let mut guest = cx.start(&machine)?;
        let ready = guest.wait_ready()?;
        let is_said = ready.config.errors.iter().any(|error| error.starts_with(said));
        guest.require(is_said, || format!("{said}: {:?}", ready.config.errors))?;
        guest.power_off()?;
    }
    for path in [&small, &one, &two] {
        if !is_blank(path).map_err(TestError::file("read", path))? {
            return Err(refused("a refused disk was written to"));
        }
    }
    Ok(())
}

fn is_blank(path: &Path) -> std::io::Result<bool> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(true),
            count if block[..count].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// The ISO as a stick names the stick itself: it is what the system was started from.
pub(super) fn own_stick(cx: &Context) -> Result<(), TestError> {
    let machine = cx.uefi().disk(cx.disk("iso", Bus::Usb)?).kernel_words("lepton.install=/dev/sda");
    let mut guest = cx.start(&machine)?;
    let ready = guest.wait_ready()?;
    let is_said = ready.config.errors.iter().any(|error| error.starts_with("install: sda cannot be used: "));
    guest.require(is_said, || format!("the stick is refused: {:?}", ready.config.errors))?;
    Ok(guest.power_off()?)
}

pub(super) fn two_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 0..2)
}

pub(super) fn many_power_cuts(cx: &Context) -> Result<(), TestError> {
    power_cuts(cx, 2..27)
}

/// What is on a disk before its installation is cut off, and what the installer does with it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Blank,
    Kept,
    Wiped,
}

/// Records a whole installation on a blank disk, over an installed system, and over one whose state is given up; for each
/// seed, starts a machine whose disk lost power at a moment of one of them, the disk first and the CD after it. The old
/// system starts, or the new one, or the installer does and then the new one; state that is kept survives each cut.
fn power_cuts(cx: &Context, seeds: std::ops::Range<u64>) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(TestError::file("make", "a folder"))?;
    let file = |name: &str| dir.path().join(name);
    let blank = blank(dir.path(), DISK)?;
    std::fs::create_dir(file("installed")).map_err(TestError::file("make", dir.path()))?;
    let installed = grown::on_larger_disk(cx, &file("installed"), DISK)?;
    grow_on(cx, &installed, disk(&installed, Bus::VirtioBlk), "/dev/vda2")?;
    let all = [
        (Before::Blank, &blank, "lepton.install=smallest", "blank"),
        (Before::Kept, &installed, "lepton.install=smallest", "kept"),
        (Before::Wiped, &installed, "lepton.install=smallest lepton.install-wipe", "wiped"),
    ];
    let mut records = BTreeMap::new();
    for (number, (before, from, words, name)) in (0..).zip(all) {
        if !seeds.clone().any(|seed| seed % 3 == number) {
            continue;
        }
        let (path, writes) = (file(name), file(&format!("{name}.writes")));
        plant::Copy::make(from, &path).map_err(TestError::file("copy", from))?;
        install(cx, &cd(cx)?.kernel_words(words).disk(disk(&path, Bus::VirtioBlk).log(&writes)))?;
        let record = Record::open(&writes).map_err(TestError::file("read", &writes))?;
        std::fs::remove_file(&path).map_err(TestError::file("remove", &path))?;
        records.insert(number, (before, from, words, record));
    }
    for seed in seeds {
        let (before, from, words, record) = &records[&(seed % 3)];
        let (path, moment) = (file("cut"), record.moment(seed));
        plant::Copy::make(from, &path).map_err(TestError::file("copy", *from))?;
        record.cut_file(moment, seed, &path).map_err(TestError::file("write", &path))?;
        let cut = |error: TestError| refused(&format!("after power cut {seed} at request {moment}: {error}"));
        resume(cx, &path, words).map_err(cut)?;
        grown::state(cx, &path, 512).map_err(cut)?;
        let uuid = |path: &Path| Ok::<_, TestError>(Superblock::read(path, STATE_START)?.uuid());
        if *before == Before::Kept && uuid(&path)? != uuid(from)? {
            return Err(cut(refused("the state was not kept")));
        }
        std::fs::remove_file(&path).map_err(TestError::file("remove", &path))?;
    }
    Ok(())
}

/// Starts a machine with a disk and the CD until the disk starts: at once, or after one installation.
fn resume(cx: &Context, path: &Path, words: &str) -> Result<(), TestError> {
    let machine =
        cx.uefi().disk(disk(path, Bus::VirtioBlk)).disk(cx.disk("iso", Bus::Cdrom)?).kernel_words(words);
    for _ in 0..2 {
        let mut guest = cx.start(&machine)?;
        let is_up = guest.wait_for("a system on the disk, or its installation", |line| {
            let is_up = |ready: Ready| ready.state.device.as_deref() == Some("/dev/vda2");
            let ready = Ready::parse(line).and_then(Result::ok).is_some_and(is_up);
            (ready || line.contains("lepton: installed on ")).then_some(ready)
        })?;
        if is_up {
            wait_grown(path)?;
            return Ok(guest.power_off()?);
        }
        guest.wait_restart()?;
    }
    Err(refused("the disk does not start after an installation"))
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
