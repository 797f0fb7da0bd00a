//! Where the unified kernel image of the running system is: beside the initrd of a network boot, or on a CD or stick.
//!
//! Only the image and version that runs is taken: another one would be a surprise after the restart.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lepton_formats::{Content, uki};
use rustix::mount::{MountFlags, mount};

/// What PID 1 kept of the initrd.
const KEPT: &str = "/usr/share/lepton/install/medium/uki.efi";
/// Where a CD or stick is mounted; it stays there until the restart.
const MOUNT: &str = "/run/lepton/medium";
/// Its file, which lies in its EFI system partition at the same time.
const FILE: &str = "lepton.efi";
/// The running system's description.
const OS_RELEASE: &str = "/usr/lib/os-release";
/// Where ISO 9660 has its first volume descriptor (ECMA-119 section 8.4): its identifier and the volume's label.
const DESCRIPTOR: u64 = 32768;
/// Drives take this long to find their medium.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(100);

/// Why there is nothing to install.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MediumError {
    #[error(
        "no CD or stick of this image and no {KEPT}: start from the ISO, or over the network with install.ipxe or install.efi"
    )]
    None,
    #[error("cannot read {path}")]
    Read { path: String, source: io::Error },
    #[error("{path} is no unified kernel image")]
    Uki { path: String, source: uki::UkiError },
    #[error("{path} is another image or version than the running one")]
    Other { path: String },
}

/// The system to install.
#[derive(Debug)]
pub(crate) struct Medium {
    pub(crate) uki: Content,
    os_release: String,
}

impl Medium {
    /// Name of the image.
    pub(crate) fn image_id(&self) -> &str {
        self.field("IMAGE_ID")
    }

    /// A value of its description.
    pub(crate) fn field(&self, key: &str) -> &str {
        let value = self.os_release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or("unknown").trim_matches('"')
    }

    pub(crate) fn find() -> Result<Self, MediumError> {
        let os_release = fs::read_to_string(OS_RELEASE).map_err(read_error(OS_RELEASE))?;
        if Path::new(KEPT).exists() {
            return Self::open(KEPT, os_release);
        }
        let path = format!("{MOUNT}/{FILE}");
        // A check before the installation has mounted it already.
        for _ in 0..TRIES {
            if Path::new(&path).exists() || mount_medium() {
                return Self::open(&path, os_release);
            }
            sleep(BETWEEN);
        }
        Err(MediumError::None)
    }

    fn open(path: &str, os_release: String) -> Result<Self, MediumError> {
        let uki = Content::open(Path::new(path)).map_err(read_error(path))?;
        let bad = |source| MediumError::Uki { path: path.to_owned(), source };
        let sections = uki::sections(&uki).map_err(bad)?;
        let other = || MediumError::Other { path: path.to_owned() };
        let section = sections.iter().find(|section| section.name == ".osrel").ok_or_else(other)?;
        let text = uki.slice(section.file_offset, section.size).to_vec().map_err(read_error(path))?;
        let same = String::from_utf8_lossy(&text).trim_matches(['\0', '\n']) == os_release.trim();
        if same { Ok(Self { uki, os_release }) } else { Err(other()) }
    }
}

fn read_error(path: &str) -> impl FnOnce(io::Error) -> MediumError {
    let path = path.to_owned();
    move |source| MediumError::Read { path, source }
}

/// Mounts the first medium with a label of ours that has the file.
fn mount_medium() -> bool {
    if fs::create_dir_all(MOUNT).is_err() {
        return false;
    }
    #[expect(clippy::disallowed_methods, reason = "any order will do: there is one medium")]
    let names = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let mut names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names.iter().map(|name| format!("/dev/{name}")).any(|device| {
        is_ours(Path::new(&device))
            && mount(&device, MOUNT, "iso9660", MountFlags::RDONLY | MountFlags::NODEV, None).is_ok()
            && Path::new(MOUNT).join(FILE).exists()
    })
}

fn is_ours(device: &Path) -> bool {
    let mut bytes = [0; 72];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut bytes, DESCRIPTOR));
    read.is_ok() && &bytes[1..6] == b"CD001" && bytes[40..].starts_with(b"LEPTON_")
}
