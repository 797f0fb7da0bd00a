//! The EFI system partition of an ISO image, and where kernel and initrd are inside it.

use std::collections::BTreeMap;

use super::{BLOCK, IsoError, IsoSpec};
use crate::fat::{self, FatError, FatSpec, VolumeSize};
use crate::sparse::Sparse;
use crate::uki;

/// Sections that BIOS machines load, and the names of the ISO 9660 files that point at them.
const FILES: [(&str, &str); 2] = [(".linux", "vmlinuz"), (".initrd", "initrd")];

/// Name of the ISO 9660 file that is the whole unified kernel image.
const WHOLE: &str = "lepton.efi";

/// Free bytes of the volume on a stick, for a file such as a machine config. The larger sizes are for volumes that
/// the smaller would put between two types of FAT, a range of up to 330 KiB.
const FREE: [u64; 3] = [64 << 10, 256 << 10, 512 << 10];

/// A FAT volume and, by path, offset and length of the files that ISO 9660 shows of it.
#[derive(Debug)]
pub(super) struct Esp {
    pub(super) volume: Sparse,
    pub(super) files: BTreeMap<String, (u64, u64)>,
}

/// Writes the volume with the UKI at its boot path.
pub(super) fn build(spec: &IsoSpec) -> Result<Esp, IsoError> {
    let sections = uki::sections(&spec.uki)?;
    let mut files = spec.esp_files.clone();
    if files.insert(spec.boot_path.clone(), spec.uki.clone()).is_some() {
        return Err(FatError::Duplicate(spec.boot_path.clone()).into());
    }
    let with = |size| {
        let block = u16::try_from(BLOCK).expect("2048 fits");
        let fat = FatSpec {
            size,
            bytes_per_sector: 512,
            // One block of ISO 9660, so that every section of the UKI lies on one.
            bytes_per_cluster: block.into(),
            data_alignment: block.into(),
            label: "LEPTON-ESP",
            serial: spec.seed.u32("iso esp serial"),
            modified: spec.epoch,
        };
        fat::write(&fat, &files)
    };
    let smallest = with(VolumeSize::Smallest)?.image.len();
    let [small, middle, large] = FREE.map(|free| VolumeSize::Exact(smallest + free));
    let volume = with(small).or_else(|_| with(middle)).or_else(|_| with(large))?;
    let uki = volume.offsets[&spec.boot_path];
    let mut shown = BTreeMap::new();
    for (section, path) in FILES {
        let found = sections.iter().find(|found| found.name == section);
        let found = found
            .filter(|found| found.file_offset.is_multiple_of(BLOCK))
            .ok_or(IsoError::Section { section })?;
        shown.insert(path.to_owned(), (uki + found.file_offset, found.size));
    }
    // The whole file, too: the installer reads it from a mounted CD or stick.
    shown.insert(WHOLE.to_owned(), (uki, spec.uki.len()));
    Ok(Esp { volume: volume.image, files: shown })
}
