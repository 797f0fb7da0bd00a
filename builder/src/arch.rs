//! The architectures, and every name that depends on them. Nothing else spells such a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An architecture that images are built for, or that a build runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm, little-endian.
    #[serde(rename = "aarch64")]
    Aarch64,
}

/// A name that is no architecture of ours.
#[derive(Debug, thiserror::Error)]
#[error("unsupported architecture {0:?}; supported: x86_64, aarch64")]
pub struct UnknownArch(String);

impl Arch {
    /// All architectures, in the order they are listed to people.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture this program was compiled for.
    pub fn host() -> Result<Self, UnknownArch> {
        std::env::consts::ARCH.parse()
    }

    /// As `uname -m`, our TOML and file names say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name (`dpkg --print-architecture`).
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Go's name (`GOARCH`).
    pub fn golang(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust target of programs that run on the host we build.
    pub fn musl_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-musl",
            Self::Aarch64 => "aarch64-unknown-linux-musl",
        }
    }

    /// GNU triplet: Debian's multiarch folder and the prefix of cross tools.
    pub fn gnu_triplet(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// Debian's folder of musl's objects.
    pub fn musl_triplet(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-musl",
            Self::Aarch64 => "aarch64-linux-musl",
        }
    }

    /// `ARCH=` of the kernel's Makefile.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Kernel build products: make target, path below the build folder, name in the store.
    pub fn kernel_images(self) -> &'static [KernelImage] {
        match self {
            Self::X86_64 => {
                &[KernelImage { target: "bzImage", path: "arch/x86/boot/bzImage", name: "vmlinuz" }]
            }
            // A direct boot (`-kernel` without firmware) cannot unpack EFI zboot, so both are kept.
            Self::Aarch64 => &[
                KernelImage { target: "vmlinuz.efi", path: "arch/arm64/boot/vmlinuz.efi", name: "vmlinuz" },
                KernelImage { target: "Image", path: "arch/arm64/boot/Image", name: "Image" },
            ],
        }
    }

    /// The kernel that a boot loader without EFI can start.
    pub fn direct_boot_kernel(self) -> &'static str {
        match self {
            Self::X86_64 => "vmlinuz",
            Self::Aarch64 => "Image",
        }
    }

    /// Suffix in EFI file names (`systemd-bootx64.efi`), UEFI specification section 3.5.1.1.
    pub fn efi_suffix(self) -> &'static str {
        match self {
            Self::X86_64 => "x64",
            Self::Aarch64 => "aa64",
        }
    }

    /// The removable-media path of UEFI, section 3.5.1.1.
    pub fn efi_boot_path(self) -> &'static str {
        match self {
            Self::X86_64 => "/EFI/BOOT/BOOTX64.EFI",
            Self::Aarch64 => "/EFI/BOOT/BOOTAA64.EFI",
        }
    }

    /// `ARCHITECTURE=` of os-release(5).
    pub fn os_release(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Hardware families of the OVF: the oldest that has what the image needs.
    pub fn vmware_hardware(self) -> &'static str {
        match self {
            Self::X86_64 => "vmx-15",
            Self::Aarch64 => "vmx-20",
        }
    }

    /// `vmw:osType` of the OVF: known to the oldest host of that hardware family.
    pub fn vmware_guest(self) -> &'static str {
        match self {
            Self::X86_64 => "other4xLinux64Guest",
            Self::Aarch64 => "arm-other6xlinux-64",
        }
    }

    /// Serial console of virtual machines and most servers.
    pub fn serial_console(self) -> &'static str {
        match self {
            Self::X86_64 => "ttyS0,115200",
            Self::Aarch64 => "ttyAMA0,115200",
        }
    }
}

/// One value for each architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerArch<T> {
    x86_64: T,
    aarch64: T,
}

impl<T: Copy> PerArch<T> {
    /// The value for `arch`.
    pub fn of(&self, arch: Arch) -> T {
        match arch {
            Arch::X86_64 => self.x86_64,
            Arch::Aarch64 => self.aarch64,
        }
    }
}

/// One file that a kernel build gives.
#[derive(Clone, Copy, Debug)]
pub struct KernelImage {
    /// Make target.
    pub target: &'static str,
    /// Where make leaves it.
    pub path: &'static str,
    /// What the store calls it.
    pub name: &'static str,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = UnknownArch;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|arch| arch.name() == name).ok_or_else(|| UnknownArch(name.to_owned()))
    }
}
