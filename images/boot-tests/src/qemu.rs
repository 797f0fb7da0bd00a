//! A machine as a QEMU command in the sandbox of the tool tree.
//!
//! The arguments are a pure function of the machine: files have fixed places inside the sandbox, so
//! no path of the host appears in them.

use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::sandbox::{self, Sandbox};

use crate::field;
use crate::machine::{Bus, Clock, Disk, DiskFormat, Firmware, Forward, Machine, Network, Nic, Order, Writes};

/// Folder of the run inside the sandbox: sockets, firmware variables, overlays.
const RUN: &str = "/run/lepton";
/// Name of the control socket in that folder.
pub(crate) const QMP_SOCKET: &str = "qmp";
/// Name of the firmware's variable store in that folder.
const VARIABLES: &str = "variables.fd";
/// Where a variable store that is kept lies inside the sandbox.
const KEPT_VARIABLES: &str = "/firmware/variables.fd";
/// Folder inside the sandbox that a network boot serves.
const SERVED: &str = "/srv/boot";
/// Locally administered address in QEMU's range, the same in every run; further cards have the next ones.
const MAC: u64 = 0x5254_0012_3456;
/// Address of the sandbox on the network of an HTTP boot (TEST-NET-1, RFC 5737).
const HTTP_SERVER: &str = "192.0.2.1";

/// Tap devices are there before QEMU starts, so that it needs no scripts of its own.
const NO_SCRIPTS: &str = "script=no,downscript=no";

/// Where the guest's serial console goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serial {
    /// To QEMU's standard output.
    Output,
    /// To the caller's terminal, with QEMU's monitor behind Ctrl-A C.
    Terminal,
}

/// QEMU's program for `arch`.
fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "qemu-system-x86_64",
        Arch::Aarch64 => "qemu-system-aarch64",
    }
}

/// The firmware's code and its empty variable store inside the tool tree.
fn firmware_files(arch: Arch) -> [&'static str; 2] {
    match arch {
        Arch::X86_64 => ["usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"],
        Arch::Aarch64 => ["usr/share/AAVMF/AAVMF_CODE.fd", "usr/share/AAVMF/AAVMF_VARS.fd"],
    }
}

/// The sandboxed QEMU process of `machine`; `run` is a writable folder of this run alone.
pub(crate) fn sandbox(
    machine: &Machine,
    tools: &Path,
    run: &Path,
    serial: Serial,
) -> std::io::Result<Sandbox> {
    if machine.firmware == Firmware::Uefi {
        let [_, variables] = firmware_files(machine.arch);
        let run_variables = run.join(VARIABLES);
        let place = machine.variables.as_ref().unwrap_or(&run_variables);
        if !place.exists() {
            std::fs::copy(tools.join(variables), place)?;
        }
    }
    let mut sandbox = match &machine.network {
        Network::Http { file, .. } => {
            // The servers live and die with QEMU: all are in one PID namespace, of which QEMU is process 1.
            Sandbox::new(tools, "sh").device("/dev/net/tun").args(["-ec", HTTP_BOOT, "http-boot"]).args([
                HTTP_SERVER,
                SERVED,
                file.as_str(),
                program(machine.arch),
            ])
        }
        Network::Served { .. } => {
            Sandbox::new(tools, "sh").args(["-ec", SERVE, "served", program(machine.arch)])
        }
        Network::Field { cards, setup } => {
            field::prepare(run, setup)?;
            let words = ["-ec", field::BOOT, "field"].map(str::to_owned);
            let sandbox = Sandbox::new(tools, "sh").device("/dev/net/tun").args(words);
            sandbox.args([cards.to_string(), program(machine.arch).to_owned()])
        }
        _ => Sandbox::new(tools, program(machine.arch)),
    };
    // Overlays of discarded writes grow in the run's folder, not in the memory behind /tmp.
    sandbox = sandbox.args(arguments(machine, serial)).env("TMPDIR", RUN).writable(run, RUN);
    if let Some(kernel) = &machine.kernel {
        sandbox = sandbox.read_only(&kernel.image, "/boot/kernel");
        if let Some(initrd) = &kernel.initrd {
            sandbox = sandbox.read_only(initrd, "/boot/initrd");
        }
    }
    for (index, disk) in machine.disks.iter().enumerate() {
        let place = disk_place(index);
        sandbox = match disk.writes {
            Writes::Discard => sandbox.read_only(&disk.path, &place),
            Writes::Keep => sandbox.writable(&disk.path, &place),
        };
        if let Some(log) = &disk.log {
            std::fs::File::create(log)?;
            sandbox = sandbox.writable(log, &log_place(index));
        }
    }
    if let Some(variables) = &machine.variables {
        sandbox = sandbox.writable(variables, KEPT_VARIABLES);
    }
    Ok(match &machine.network {
        Network::Host(_) | Network::Forwarded(_) => sandbox.network(sandbox::Network::Host),
        Network::Tftp { dir, .. } | Network::Http { dir, .. } | Network::Served { dir } => {
            sandbox.read_only(dir, SERVED)
        }
        Network::Shared { pid, .. } => sandbox.device("/dev/net/tun").network(sandbox::Network::Of(*pid)),
        Network::None | Network::Silent | Network::Isolated | Network::Field { .. } => sandbox,
    })
}

/// QEMU speaks to a server that it starts over the loopback interface.
const SERVE: &str = "ip link set lo up; exec \"$@\"";

/// A network with a DHCP server that names a boot URI (UEFI specification section 24.7) and a web server.
/// Arguments: server address, served folder, file name, then the command.
const HTTP_BOOT: &str = "\
address=$1 dir=$2 file=$3; shift 3
ip link set lo up
ip tuntap add dev boot0 mode tap
ip address add $address/24 dev boot0
ip link set boot0 up
dnsmasq --conf-file=/dev/null --user= --group= --pid-file= --leasefile-ro --port=0 --interface=boot0 \
  --dhcp-range=192.0.2.100,192.0.2.199 --dhcp-vendorclass=set:http,HTTPClient \
  --dhcp-option-force=tag:http,60,HTTPClient --dhcp-boot=tag:http,http://$address/$file
busybox httpd -p $address:80 -h $dir
exec \"$@\"";

/// The arguments of QEMU for `machine`.
pub(crate) fn arguments(machine: &Machine, serial: Serial) -> Vec<String> {
    let mut args = Args::default();
    base(machine, &mut args);
    match serial {
        Serial::Output => {
            args.add("-chardev", "stdio,id=serial,signal=off");
            args.add("-chardev", format!("socket,id=qmp,path={RUN}/{QMP_SOCKET},server=on,wait=off"));
            args.add("-mon", "chardev=qmp,mode=control");
        }
        Serial::Terminal => {
            args.add("-chardev", "stdio,id=serial,mux=on,signal=off");
            args.add("-mon", "chardev=serial,mode=readline");
        }
    }
    args.add("-serial", "chardev:serial");
    if machine.firmware == Firmware::Uefi {
        let [code, _] = firmware_files(machine.arch);
        args.add("-drive", format!("if=pflash,format=raw,unit=0,readonly=on,file=/{code}"));
        let variables = match machine.variables {
            Some(_) => KEPT_VARIABLES.to_owned(),
            None => format!("{RUN}/{VARIABLES}"),
        };
        args.add("-drive", format!("if=pflash,format=raw,unit=1,file={variables}"));
    }
    if let Some(kernel) = &machine.kernel {
        args.add("-kernel", "/boot/kernel");
        if kernel.initrd.is_some() {
            args.add("-initrd", "/boot/initrd");
        }
        if let Some(cmdline) = &kernel.cmdline {
            args.add("-append", cmdline.as_str());
        }
    }
    network(machine, &mut args);
    // The first place belongs to the network's card, or to the kernel, which QEMU offers to firmware as a boot ROM.
    let first = usize::from(machine.network.is_boot_source() || machine.kernel.is_some());
    for (index, disk) in machine.disks.iter().enumerate() {
        let boot = (machine.order == Order::Devices).then_some(first + index);
        disk_arguments(machine.arch, index, disk, boot, &mut args);
    }
    if let Some(model) = machine.watchdog {
        args.add("-device", model);
        args.add("-action", "watchdog=reset");
    }
    for (name, text) in &machine.fw_cfg {
        args.add("-fw_cfg", format!("name={},string={}", escape(name), escape(text)));
    }
    for text in &machine.oem_strings {
        args.add("-smbios", format!("type=11,value={}", escape(text)));
    }
    args.0
}

fn base(machine: &Machine, args: &mut Args) {
    let (board, cpu) = match machine.arch {
        Arch::X86_64 => ("q35", "max"),
        // The architected pointer authentication cipher costs a third of the time when emulated.
        Arch::Aarch64 => ("virt,gic-version=3", "max,pauth-impdef=on"),
    };
    args.add("-machine", board);
    args.add("-accel", "tcg");
    args.add("-cpu", cpu);
    args.add("-m", machine.memory_mib.to_string());
    args.add("-smp", machine.cpus.to_string());
    args.0.extend(["-nodefaults".to_owned(), "-no-reboot".to_owned()]);
    args.add("-display", "none");
    if machine.order == Order::Devices {
        // Only what has a boot index is tried, so a test cannot pass by booting something else.
        args.add("-boot", "strict=on");
    }
    if machine.clock == Clock::Counted {
        args.add("-seed", "1");
        args.add("-rtc", "base=2026-01-01T00:00:00,clock=vm");
        args.add("-icount", "shift=0,sleep=off");
    } else if let Some(date) = &machine.date {
        args.add("-rtc", format!("base={date}"));
    }
}

/// QEMU's own network, to which ports of the machine's loopback address lead.
fn forwarded(network: &str, forwards: &[Forward]) -> String {
    forwards.iter().fold(network.to_owned(), |text, forward| {
        format!("{text},hostfwd=tcp:127.0.0.1:{}-:{}", forward.host, forward.guest)
    })
}

fn network(machine: &Machine, args: &mut Args) {
    let backend = match &machine.network {
        Network::None => {
            args.add("-nic", "none");
            return;
        }
        // A hub with no other port.
        Network::Silent => "hubport,id=net,hubid=0".to_owned(),
        Network::Isolated => "user,id=net".to_owned(),
        Network::Host(forwards) => forwarded("user,id=net", forwards),
        Network::Forwarded(forwards) => forwarded("user,id=net,restrict=on", forwards),
        // A server process for each connection, as inetd starts them.
        Network::Served { .. } => {
            format!("user,id=net,guestfwd=tcp:10.0.2.100:80-cmd:busybox httpd -i -h {SERVED}")
        }
        Network::Tftp { file, .. } => format!("user,id=net,tftp={SERVED},bootfile={}", escape(file)),
        Network::Http { .. } => {
            // Of the four ways an OVMF card boots only HTTP over IPv4 has a server here; the others would time out first.
            for way in ["IPv4PXESupport", "IPv6PXESupport", "IPv6Support"] {
                args.add("-fw_cfg", format!("name=opt/org.tianocore/{way},string=no"));
            }
            format!("tap,id=net,ifname=boot0,{NO_SCRIPTS}")
        }
        Network::Shared { tap, card, .. } => {
            args.add("-netdev", format!("tap,id=net,ifname={tap},{NO_SCRIPTS}"));
            args.add("-device", format!("{},romfile=", nic(machine.nic, "net", *card)));
            return;
        }
        Network::Field { cards, .. } => {
            for card in 0..*cards {
                // Checksums are whole on the cable, for programs that look at frames.
                args.add("-netdev", format!("tap,id=net{card},ifname=net{card},vnet_hdr=off,{NO_SCRIPTS}"));
                let device = nic(machine.nic, &format!("net{card}"), card);
                // LACP joins no link of which it does not know the speed, and virtio cards have none by themselves.
                let speed = if machine.nic == Nic::Virtio { ",speed=1000,duplex=full" } else { "" };
                args.add("-device", format!("{device}{speed},romfile="));
            }
            return;
        }
    };
    args.add("-netdev", backend);
    let mut device = nic(machine.nic, "net", 0);
    // The option ROM is iPXE. UEFI has drivers of its own, and a BIOS boot from disk would only wait for it.
    let is_ipxe = machine.firmware == Firmware::Bios && machine.network.is_boot_source();
    if !is_ipxe {
        device.push_str(",romfile=");
    }
    if machine.network.is_boot_source() {
        device.push_str(",bootindex=0");
    }
    args.add("-device", device);
}

/// The device of card `index` on the cable `netdev`.
fn nic(model: Nic, netdev: &str, index: usize) -> String {
    let model = match model {
        Nic::Virtio => "virtio-net-pci",
        Nic::Vmxnet3 => "vmxnet3",
        Nic::E1000e => "e1000e",
    };
    format!("{model},netdev={netdev},mac={}", mac(index))
}

/// Hardware address of card `index`.
pub(crate) fn mac(index: usize) -> String {
    let bytes = (MAC + index as u64).to_be_bytes();
    bytes[2..].iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn disk_arguments(arch: Arch, index: usize, disk: &Disk, boot: Option<usize>, args: &mut Args) {
    let format = match disk.format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vmdk => "vmdk",
    };
    let mode = match (disk.bus, disk.writes) {
        (Bus::Cdrom, _) => "media=cdrom,readonly=on",
        (_, Writes::Discard) => "snapshot=on,discard=unmap",
        (_, Writes::Keep) => "discard=unmap",
    };
    let place = disk_place(index);
    let source = match disk.log {
        Some(_) => format!(
            "driver=blklogwrites,file.driver={format},file.file.driver=file,file.file.filename={place},\
             log.driver=raw,log.file.driver=file,log.file.filename={}",
            log_place(index)
        ),
        None => format!("file={place},format={format}"),
    };
    args.add("-drive", format!("if=none,id=disk{index},{source},{mode}"));
    let (controller, device) = match disk.bus {
        Bus::VirtioBlk => (None, "virtio-blk-pci".to_owned()),
        Bus::Nvme => (None, "nvme".to_owned()),
        Bus::Ahci => ahci(arch, "ide-hd", index),
        Bus::Pvscsi => (Some("pvscsi"), format!("scsi-hd,bus=bus{index}.0")),
        Bus::Usb => (Some("qemu-xhci"), format!("usb-storage,bus=bus{index}.0")),
        Bus::Cdrom => match arch {
            Arch::X86_64 => ahci(arch, "ide-cd", index),
            Arch::Aarch64 => (Some("virtio-scsi-pci"), format!("scsi-cd,bus=bus{index}.0")),
        },
    };
    if let Some(controller) = controller {
        args.add("-device", format!("{controller},id=bus{index}"));
    }
    let mut text = format!("{device},drive=disk{index},serial=disk{index}");
    if let Some(boot) = boot {
        text.push_str(&format!(",bootindex={boot}"));
    }
    // QEMU lets IDE disks and CDs have no other sector size and refuses even to be told the usual one.
    if disk.sector != 512 {
        text.push_str(&format!(",logical_block_size={0},physical_block_size={0}", disk.sector));
    }
    args.add("-device", text);
}

/// Controller and device of a drive on AHCI; q35 has a controller of its own, with six ports.
fn ahci(arch: Arch, model: &str, index: usize) -> (Option<&'static str>, String) {
    match arch {
        Arch::X86_64 => (None, format!("{model},bus=ide.{index}")),
        Arch::Aarch64 => (Some("ich9-ahci"), format!("{model},bus=bus{index}.0")),
    }
}

/// Where the file of disk `index` lies inside the sandbox.
fn disk_place(index: usize) -> String {
    format!("/disks/{index}")
}

/// Where the record of its writes lies.
fn log_place(index: usize) -> String {
    format!("/disks/{index}.log")
}

/// A comma ends an option in QEMU's syntax unless doubled.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn add(&mut self, flag: &str, value: impl Into<String>) {
        self.0.extend([flag.to_owned(), value.into()]);
    }
}

#[cfg(test)]
mod tests;
