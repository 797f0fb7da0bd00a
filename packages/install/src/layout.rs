//! What a disk shall hold: the same as our disk image, with identifiers of its own.
//!
//! A disk that has this layout already keeps its state partition and gets another EFI system partition. On any other
//! disk everything is replaced.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use lepton_disks::list::Disk;
use lepton_formats::disk::{DiskError, DiskSpec, ESP_BYTES, EspSpec, STATE_NAME, esp_files, raw};
use lepton_formats::simg::{self, SimgError};
use lepton_formats::{Content, Seed, Sparse};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::medium::Medium;
use crate::write::{Job, Range};

const BOOT_MANAGER: &str = "/usr/share/lepton/install/systemd-boot.efi";
const SKELETON: &str = "/usr/share/lepton/state.simg";
/// Suffix of EFI programs (UEFI specification section 3.5.1.1).
const EFI_ARCH: &str = if cfg!(target_arch = "aarch64") { "aa64" } else { "x64" };
/// Where the image has its EFI system partition (`lepton_formats::disk`).
const ESP_START: u64 = 1 << 20;
/// Blocks with partition table headers or boot sectors: what makes a disk or partition recognisable.
const BLOCK: u64 = 4096;
/// Holes longer than this are free space of the EFI system partition, whose contents do not matter.
const LONGEST_ZEROES: u64 = 128 << 20;
/// Replaces the first sector while a disk is being installed, so that no firmware takes it for a disk to boot.
const MARK: &[u8] = b"lepton: this disk is being installed\n";

/// Why the layout cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("cannot read {path}")]
    Read { path: &'static str, source: io::Error },
    #[error("cannot use {SKELETON}")]
    Skeleton(#[from] SimgError),
    #[error("cannot lay out the disk")]
    Disk(#[from] DiskError),
    #[error(
        "{disk} has state in {partition}, where a new system does not leave it; --wipe (lepton.install-wipe on the kernel command line) gives it up"
    )]
    Elsewhere { disk: String, partition: String },
}

/// The bytes of an installed disk.
#[derive(Debug)]
pub(crate) struct Layout {
    image: Sparse,
}

impl Layout {
    pub(crate) fn new(medium: &Medium) -> Result<Self, LayoutError> {
        let read = |path: &'static str| move |source| LayoutError::Read { path, source };
        let state = simg::read(&fs::read(SKELETON).map_err(read(SKELETON))?)?;
        let boot_manager = Content::open(Path::new(BOOT_MANAGER)).map_err(read(BOOT_MANAGER))?;
        // The date of the image's files.
        let modified = fs::metadata(SKELETON).map_err(read(SKELETON))?.mtime();
        let mut random = [0; 32];
        getrandom(&mut random, GetRandomFlags::empty())
            .map_err(|errno| read("random bytes")(errno.into()))?;
        let name = format!("lepton-{}-{}", medium.image_id(), medium.field("IMAGE_VERSION"));
        let esp =
            esp_files(&EspSpec { efi_arch: EFI_ARCH, boot_manager, name: &name, uki: medium.uki.clone() });
        let image = raw(&DiskSpec {
            seed: &Seed::new(random),
            modified: u64::try_from(modified).unwrap_or(0),
            esp: &esp,
            state: &state,
        })?;
        Ok(Self { image })
    }

    /// Bytes that a disk must have.
    pub(crate) fn bytes(&self) -> u64 {
        self.image.len()
    }

    /// Whether the disk has a state partition with a file system where this layout has it.
    pub(crate) fn can_keep_state(&mut self, disk: &Disk) -> Result<bool, LayoutError> {
        let parts: Vec<Part> = disk.partitions.iter().filter_map(|name| Part::read(name)).collect();
        let Some(state) = parts.iter().find(|part| part.label == STATE_NAME && part.is_ext4) else {
            return Ok(false);
        };
        let esp = parts.iter().any(|part| (part.start, part.len) == (ESP_START, ESP_BYTES));
        if esp && state.start == ESP_START + ESP_BYTES {
            return Ok(true);
        }
        Err(LayoutError::Elsewhere { disk: disk.name.clone(), partition: state.name.clone() })
    }

    /// What is to be written to `disk`.
    pub(crate) fn job(self, disk: &Disk, keep_state: bool) -> Job {
        let range = |start, end| Range { start, end };
        let zeroes = |count: u64| vec![0; usize::try_from(count).expect("a few blocks")];
        let mut mark = zeroes(BLOCK);
        mark[..MARK.len()].copy_from_slice(MARK);
        let (spoil, body, last) = if keep_state {
            // Both boot sectors of the volume: without them it is none.
            let esp = range(ESP_START, ESP_START + ESP_BYTES);
            let spoil = vec![(esp.start, zeroes(8 * BLOCK))];
            (spoil, range(esp.start + BLOCK, esp.end), vec![range(esp.start, esp.start + BLOCK)])
        } else {
            let end = disk.bytes - 2 * BLOCK;
            let spoil = vec![(0, mark), (BLOCK, zeroes(BLOCK)), (end, zeroes(2 * BLOCK))];
            // The header of 4096-byte sectors, then that of 512-byte sectors with the protective MBR.
            let last = vec![range(BLOCK, 2 * BLOCK), range(0, BLOCK)];
            (spoil, range(2 * BLOCK, self.image.len()), last)
        };
        Job { image: self.image, spoil, body, last, longest_zeroes: LONGEST_ZEROES }
    }
}

/// A partition as the kernel shows it, in bytes.
struct Part {
    name: String,
    label: String,
    start: u64,
    len: u64,
    is_ext4: bool,
}

impl Part {
    fn read(name: &str) -> Option<Self> {
        let dir = Path::new("/sys/class/block").join(name);
        let sectors = |file: &str| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok();
        let uevent = fs::read_to_string(dir.join("uevent")).ok()?;
        let label = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="));
        let mut magic = [0; 2];
        let device = fs::File::open(Path::new("/dev").join(name));
        let read = device.and_then(|device| device.read_exact_at(&mut magic, 1024 + 56));
        Some(Self {
            name: name.to_owned(),
            label: label.unwrap_or_default().to_owned(),
            start: sectors("start")? * 512,
            len: sectors("size")? * 512,
            is_ext4: read.is_ok() && magic == [0x53, 0xef],
        })
    }
}
