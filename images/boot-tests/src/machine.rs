//! A virtual machine as a value: what `cargo xtask run` starts and what the boot tests vary.
//!
//! Nothing here starts anything or touches a file; `qemu.rs` turns a machine into a command.

use std::path::{Path, PathBuf};

use lepton_builder::arch::Arch;

/// What starts the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS on x86_64, none on aarch64: with a kernel given, its bytes are loaded directly.
    Bios,
    /// OVMF or AAVMF with an empty variable store of the run's own.
    Uefi,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk on PCI.
    VirtioBlk,
    /// An NVMe controller with one namespace.
    Nvme,
    /// A disk on an AHCI port. AAVMF has no driver for it, so aarch64 cannot boot from it.
    Ahci,
    /// A SCSI disk on VMware's paravirtual controller. OVMF has no driver for it, so it cannot be booted from.
    Pvscsi,
    /// A USB mass-storage stick on xHCI.
    Usb,
    /// A read-only optical drive: AHCI on x86_64, virtio-scsi on aarch64, whose machine has no AHCI.
    Cdrom,
}

/// Format of a disk's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// QEMU copy-on-write, version 2 or 3.
    Qcow2,
    /// VMware's virtual disk, stream-optimised ones included.
    Vmdk,
}

/// What happens to what the guest writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// They go to a temporary overlay, so that a run never changes an artifact.
    Discard,
    /// They go to the file.
    Keep,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub(crate) path: PathBuf,
    pub(crate) format: DiskFormat,
    pub(crate) bus: Bus,
    pub(crate) sector: u32,
    pub(crate) writes: Writes,
    pub(crate) log: Option<PathBuf>,
}

impl Disk {
    /// A disk with 512-byte sectors whose writes are discarded.
    pub fn new(path: &Path, format: DiskFormat, bus: Bus) -> Self {
        Self { path: path.to_owned(), format, bus, sector: 512, writes: Writes::Discard, log: None }
    }

    /// Sets the logical and physical sector size: 512 or 4096 bytes.
    pub fn sector_bytes(mut self, bytes: u32) -> Self {
        self.sector = bytes;
        self
    }

    /// Chooses what happens to writes.
    pub fn writes(mut self, writes: Writes) -> Self {
        self.writes = writes;
        self
    }

    /// Records every write and flush of the guest in the file `path`, for `power_cut`.
    pub(crate) fn log(mut self, path: &Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }
}

/// A kernel that QEMU loads itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    pub(crate) image: PathBuf,
    pub(crate) initrd: Option<PathBuf>,
    pub(crate) cmdline: Option<String>,
}

impl Kernel {
    /// A kernel with its initrd and command line.
    pub fn new(image: &Path, initrd: &Path, cmdline: &str) -> Self {
        Self { image: image.to_owned(), initrd: Some(initrd.to_owned()), cmdline: Some(cmdline.to_owned()) }
    }

    /// A unified kernel image, which brings its own initrd and command line; needs [`Firmware::Uefi`].
    pub fn unified(image: &Path) -> Self {
        Self { image: image.to_owned(), initrd: None, cmdline: None }
    }

    /// Gives the kernel this command line, also in place of the one that a unified kernel image brings.
    pub fn cmdline(mut self, text: &str) -> Self {
        self.cmdline = Some(text.to_owned());
        self
    }
}

/// Model of the network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nic {
    /// virtio-net on PCI.
    Virtio,
    /// VMware's paravirtual card; x86_64 only.
    Vmxnet3,
    /// Intel 82574L.
    E1000e,
}

/// A TCP port of the machine that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Port on the loopback address of the machine.
    pub host: u16,
    /// Port of the guest.
    pub guest: u16,
}

/// What the network card is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// There is no card.
    None,
    /// A cable on which nobody answers.
    Silent,
    /// QEMU's own network without a way out: the guest is 10.0.2.15, DHCP and TFTP answer at 10.0.2.2.
    Isolated,
    /// The same with the machine's network behind it: for `cargo xtask run`.
    Host(Vec<Forward>),
    /// The isolated network with a web server at 10.0.2.100, which serves the folder `dir`.
    Served {
        /// Folder that is served.
        dir: PathBuf,
    },
    /// The isolated network, from which firmware boots `file` of the folder `dir` over TFTP.
    Tftp {
        /// Folder that is served.
        dir: PathBuf,
        /// DHCP boot file name.
        file: String,
    },
    /// A network of the sandbox's own, from which UEFI firmware boots `file` of the folder `dir` over HTTP.
    /// The guest is in 192.0.2.0/24. Needs `/dev/net/tun`.
    Http {
        /// Folder that is served.
        dir: PathBuf,
        /// Name below it.
        file: String,
    },
    /// Networks of a test: card N of the machine is the tap device `netN` of the sandbox's own network namespace, where
    /// the shell script `setup` starts servers before the machine, and [`crate::Guest::there`] runs commands beside it.
    /// Needs `/dev/net/tun`.
    Field {
        /// Number of cards.
        cards: usize,
        /// Commands; the first that fails ends the run.
        setup: String,
    },
    /// The isolated network, and ports of the machine that lead into it.
    Forwarded(Vec<Forward>),
    /// A network that several machines are on: the card is plugged into a tap device in the network namespace of another
    /// process. Needs `/dev/net/tun`.
    Shared {
        /// The process.
        pid: u32,
        /// The device.
        tap: String,
        /// Number of the card on that network, which its hardware address comes from.
        card: usize,
    },
}

impl Network {
    /// Whether firmware boots from this network before any disk.
    pub(crate) fn is_boot_source(&self) -> bool {
        matches!(self, Self::Tftp { .. } | Self::Http { .. })
    }
}

/// In which order firmware tries what it could boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The network if it is a boot source, then disks as they were added, and nothing else.
    Devices,
    /// As its variables say; an empty store has CDs before disks.
    Variables,
}

/// How the guest's time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// With the machine's.
    Real,
    /// One nanosecond per instruction: a boot takes the same virtual time on every machine. One CPU only.
    Counted,
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    pub(crate) arch: Arch,
    pub(crate) firmware: Firmware,
    pub(crate) memory_mib: u32,
    pub(crate) cpus: u32,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) variables: Option<PathBuf>,
    pub(crate) order: Order,
    pub(crate) disks: Vec<Disk>,
    pub(crate) nic: Nic,
    pub(crate) network: Network,
    pub(crate) clock: Clock,
    pub(crate) date: Option<String>,
    pub(crate) fw_cfg: Vec<(String, String)>,
    pub(crate) oem_strings: Vec<String>,
    pub(crate) watchdog: Option<&'static str>,
}

impl Machine {
    /// A UEFI machine with 1 GiB, one CPU, a virtio card on the isolated network, and no disk.
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            firmware: Firmware::Uefi,
            memory_mib: 1024,
            cpus: 1,
            kernel: None,
            variables: None,
            order: Order::Devices,
            disks: Vec::new(),
            nic: Nic::Virtio,
            network: Network::Isolated,
            clock: Clock::Real,
            date: None,
            fw_cfg: Vec::new(),
            oem_strings: Vec::new(),
            watchdog: None,
        }
    }

    /// Chooses the firmware.
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// Sets the memory in MiB.
    pub fn memory_mib(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Sets the number of CPUs.
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Boots this kernel instead of a disk.
    pub fn kernel(mut self, kernel: Kernel) -> Self {
        self.kernel = Some(kernel);
        self
    }

    /// Keeps the variables of UEFI firmware in the file `path`, which the first start makes.
    pub fn variables(mut self, path: &Path) -> Self {
        self.variables = Some(path.to_owned());
        self
    }

    /// Chooses what firmware tries first.
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// Adds a disk.
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Chooses the model of the network card.
    pub fn nic(mut self, nic: Nic) -> Self {
        self.nic = nic;
        self
    }

    /// Chooses what the network card is plugged into.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Chooses how time passes.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the machine's battery-backed clock at this date (`2026-01-01T00:00:00`) instead of the right one.
    pub fn date(mut self, date: &str) -> Self {
        self.date = Some(date.to_owned());
        self
    }

    /// Adds words to the kernel command line of a unified kernel image, as machine firmware can (SMBIOS type 11).
    pub fn kernel_words(mut self, words: &str) -> Self {
        self.oem_strings.push(format!("io.systemd.stub.kernel-cmdline-extra={words}"));
        self
    }

    /// Adds a watchdog device of this model; when it bites, the guest restarts, which ends the run.
    pub fn watchdog(mut self, model: &'static str) -> Self {
        self.watchdog = Some(model);
        self
    }

    /// Adds an entry that the guest finds below `/sys/firmware/qemu_fw_cfg/by_name`, for example `opt/lepton/config`.
    pub fn fw_cfg(mut self, name: &str, text: &str) -> Self {
        self.fw_cfg.push((name.to_owned(), text.to_owned()));
        self
    }
}
