//! FAT12, FAT16 and FAT32 volumes with long names, as a function of their files.
//!
//! Follows Microsoft's "FAT: General Overview of On-Disk Format" 1.03, named "FAT spec" below. Files
//! and directories lie contiguously from the first cluster on, so a caller may point into them.
//! Volumes are written once and whole: this must not learn to change an existing one.
//!
//! | area | sectors | bytes present in the image |
//! |---|---|---|
//! | reserved | FAT32: boot sector 0, FSInfo 1, their copies 6 and 7; else boot sector 0; then padding | 512 each |
//! | two FATs | as many as the clusters need | up to the last cluster in use |
//! | root directory, FAT12 and FAT16 | 512 entries of 32 bytes, or more when needed | entries in use |
//! | data, from cluster 2 | starts at a multiple of `data_alignment` | directories and files |

mod boot;
mod dir;
mod geometry;
mod name;
mod stamp;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use thiserror::Error;

pub use boot::dump;

use crate::content::Content;
use crate::sparse::Sparse;
use geometry::Geometry;

/// What a volume is made from, besides its files.
#[derive(Clone, Copy, Debug)]
pub struct FatSpec<'a> {
    /// How large the volume is.
    pub size: VolumeSize,
    /// Bytes per sector: 512, 1024, 2048 or 4096. A volume is readable on disks with sectors up to this size.
    pub bytes_per_sector: u16,
    /// Bytes per cluster: a power of two, 1 to 128 sectors, at most 32 KiB.
    pub bytes_per_cluster: u32,
    /// The data area starts at a multiple of this many bytes; a power of two, at least a sector.
    pub data_alignment: u32,
    /// Volume label: 1 to 11 characters of a short name, upper case; spaces allowed inside.
    pub label: &'a str,
    /// Volume serial number, from a `Seed`.
    pub serial: u32,
    /// Unix time in seconds for every time stamp, stored as UTC within what FAT can say (1980 to 2107).
    pub modified: u64,
}

/// How large a volume is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeSize {
    /// This many bytes, a multiple of the sector size; what files do not need is free.
    Exact(u64),
    /// As few clusters as the files need.
    Smallest,
}

/// The type of a volume, which follows from its count of clusters alone (FAT spec, "FAT Type Determination").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FatKind {
    /// Fewer than 4085 clusters.
    Fat12,
    /// Fewer than 65525 clusters.
    Fat16,
    /// Any more.
    Fat32,
}

/// A finished volume.
#[derive(Clone, Debug)]
pub struct FatVolume {
    /// Its bytes.
    pub image: Sparse,
    /// Its type.
    pub kind: FatKind,
    /// Byte offset in `image` of each file that is not empty, by the path it was given with.
    pub offsets: BTreeMap<String, u64>,
}

/// Why a volume cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FatError {
    /// Sector size outside of the FAT spec.
    #[error("{0} bytes per sector: neither 512, 1024, 2048 nor 4096")]
    SectorSize(u16),
    /// Cluster size outside of the FAT spec.
    #[error("{0} bytes per cluster: not a power of two from one sector to 128 sectors or 32 KiB")]
    ClusterSize(u32),
    /// Alignment that cannot be reached.
    #[error("data area at a multiple of {0} bytes: not a power of two from one sector to 32768 sectors")]
    Alignment(u32),
    /// Volume label outside of the FAT spec.
    #[error("volume label {0:?}: not 1 to 11 upper-case characters of a short name")]
    Label(String),
    /// Volume size that is no whole number of sectors, or more than 32 bits can count.
    #[error("volume of {0} bytes: not a whole number of sectors, or more than 32 bits can count")]
    VolumeSize(u64),
    /// So close to a limit between types that implementations disagree about the type.
    #[error(
        "volume of {0} bytes: too few clusters, or within 16 of a limit between FAT types; hint: change the size"
    )]
    AmbiguousType(u64),
    /// Path that is not absolute, or has an empty or dot component.
    #[error("path {0:?}: not of the form /name/name")]
    Path(String),
    /// Character that long names cannot hold.
    #[error("path {0:?}: a name has a control character, one of \"*:<>?\\|, or a space or period at its end")]
    NameCharacter(String),
    /// More than 255 UTF-16 units.
    #[error("path {0:?}: a name has more than 255 UTF-16 units")]
    NameTooLong(String),
    /// A name met twice when case is ignored, or once as a file and once as a directory.
    #[error("path {0:?}: the name is taken by another when case is ignored")]
    Duplicate(String),
    /// File of 4 GiB or more.
    #[error("file {path:?} of {len} bytes: FAT holds fewer than 4 GiB")]
    FileTooLarge {
        /// Its path.
        path: String,
        /// Its length in bytes.
        len: u64,
    },
    /// Directory of more than 65408 entries of 32 bytes.
    #[error("directory {0:?}: more than 65408 entries")]
    DirectoryTooLarge(String),
    /// Files need more clusters than there are.
    #[error("files need {needed} clusters of {bytes_per_cluster} bytes and the volume has {available}")]
    DoesNotFit {
        /// Clusters that files and directories need.
        needed: u64,
        /// Clusters of the volume.
        available: u64,
        /// Bytes per cluster.
        bytes_per_cluster: u32,
    },
}

/// Writes a volume that holds `files`, keyed by absolute path (`/EFI/BOOT/BOOTX64.EFI`).
pub fn write(spec: &FatSpec<'_>, files: &BTreeMap<String, Content>) -> Result<FatVolume, FatError> {
    geometry::check(spec)?;
    let label = name::label(spec.label).ok_or_else(|| FatError::Label(spec.label.to_owned()))?;
    let mut tree = dir::Tree::build(files)?;
    let geometry = Geometry::plan(spec, &tree)?;
    let allocation = tree.allocate(&geometry);

    let mut image = Sparse::new(geometry.volume_bytes());
    let boot_sector = boot::boot_sector(&geometry, spec.serial, label);
    image.put(0, boot_sector.clone());
    if geometry.kind == FatKind::Fat32 {
        let fs_info = boot::fs_info(geometry.clusters, allocation.used());
        image.put(geometry.sector_offset(boot::FS_INFO_SECTOR), fs_info.clone());
        image.put(geometry.sector_offset(boot::BACKUP_SECTOR), boot_sector);
        image.put(geometry.sector_offset(boot::BACKUP_SECTOR + boot::FS_INFO_SECTOR), fs_info);
    }
    let table = Content::from(allocation.table(geometry.kind));
    for copy in 0..geometry::FATS {
        image.put(geometry.fat_offset(copy), table.clone());
    }
    let offsets = tree.place(&geometry, label, stamp::Stamp::new(spec.modified), &mut image);
    Ok(FatVolume { image, kind: geometry.kind, offsets })
}
