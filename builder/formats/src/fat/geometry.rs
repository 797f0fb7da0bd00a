//! Where the areas of a volume lie: sectors, clusters and the type that follows from their count.
//!
//! Pure arithmetic on the FAT spec's fields; this must not look at names or bytes.

use std::ops::RangeInclusive;

use super::dir::Tree;
use super::{FatError, FatKind, FatSpec, VolumeSize};

/// Copies of the FAT: two is the one count that every implementation expects.
pub(super) const FATS: u32 = 2;

/// Bytes of a directory entry.
pub(super) const ENTRY_BYTES: u32 = 32;

/// Root directory entries that FAT12 and FAT16 volumes should have (FAT spec, BPB_RootEntCnt).
const ROOT_ENTRIES: u32 = 512;

/// The FAT spec counsels to stay this far from 4085 and 65525 clusters, because much code is off by some.
const MARGIN: u32 = 16;

impl FatKind {
    const ALL: [Self; 3] = [Self::Fat12, Self::Fat16, Self::Fat32];

    /// Counts of clusters that make a volume of this type beyond doubt.
    fn clusters(self) -> RangeInclusive<u32> {
        match self {
            Self::Fat12 => 1..=4084 - MARGIN,
            Self::Fat16 => 4085 + MARGIN..=65524 - MARGIN,
            // Cluster numbers end at 0x0FFF_FFF6 and start at 2.
            Self::Fat32 => 65525 + MARGIN..=0x0fff_fff5,
        }
    }

    /// Bits of one FAT entry.
    pub(super) fn bits(self) -> u32 {
        match self {
            Self::Fat12 => 12,
            Self::Fat16 => 16,
            Self::Fat32 => 32,
        }
    }

    /// Sectors before the first FAT, without padding: what the FAT spec calls typical.
    fn reserved(self) -> u32 {
        match self {
            Self::Fat12 | Self::Fat16 => 1,
            Self::Fat32 => 32,
        }
    }
}

/// The layout of one volume; all counts are in the unit that the name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) kind: FatKind,
    pub(super) bytes_per_sector: u32,
    pub(super) sectors_per_cluster: u32,
    pub(super) reserved_sectors: u32,
    pub(super) fat_sectors: u32,
    /// Zero for FAT32, whose root directory is a chain of clusters.
    pub(super) root_entries: u32,
    pub(super) total_sectors: u32,
    pub(super) clusters: u32,
}

/// Refuses sizes that the FAT spec does not allow.
pub(super) fn check(spec: &FatSpec<'_>) -> Result<(), FatError> {
    let sector = u32::from(spec.bytes_per_sector);
    if !matches!(sector, 512 | 1024 | 2048 | 4096) {
        return Err(FatError::SectorSize(spec.bytes_per_sector));
    }
    let cluster = spec.bytes_per_cluster;
    if !cluster.is_power_of_two() || cluster < sector || cluster > (sector * 128).min(32 << 10) {
        return Err(FatError::ClusterSize(cluster));
    }
    let alignment = spec.data_alignment;
    // Padding is part of the reserved sectors, which 16 bits count.
    if !alignment.is_power_of_two() || alignment < sector || alignment / sector > 32768 {
        return Err(FatError::Alignment(alignment));
    }
    Ok(())
}

impl Geometry {
    /// The layout of a volume that holds `tree`; `spec` has passed `check`.
    pub(super) fn plan(spec: &FatSpec<'_>, tree: &Tree) -> Result<Self, FatError> {
        match spec.size {
            VolumeSize::Smallest => Self::smallest(spec, tree),
            VolumeSize::Exact(bytes) => Self::exact(spec, tree, bytes),
        }
    }

    fn smallest(spec: &FatSpec<'_>, tree: &Tree) -> Result<Self, FatError> {
        for kind in FatKind::ALL {
            let needed = tree.clusters(kind, spec.bytes_per_cluster);
            let range = kind.clusters();
            if needed > u64::from(*range.end()) {
                continue;
            }
            let clusters = u32::try_from(needed).expect("checked against a u32").max(*range.start());
            let layout =
                Self::with_fat(spec, tree, kind, fat_sectors(kind, clusters.into(), spec.bytes_per_sector));
            let total =
                u64::from(layout.data_sector()) + u64::from(clusters) * u64::from(layout.sectors_per_cluster);
            let bytes = total * u64::from(spec.bytes_per_sector);
            let total_sectors = u32::try_from(total).map_err(|_| FatError::VolumeSize(bytes))?;
            return Ok(Self { total_sectors, clusters, ..layout });
        }
        let needed = tree.clusters(FatKind::Fat32, spec.bytes_per_cluster);
        let available = u64::from(*FatKind::Fat32.clusters().end());
        Err(FatError::DoesNotFit { needed, available, bytes_per_cluster: spec.bytes_per_cluster })
    }

    fn exact(spec: &FatSpec<'_>, tree: &Tree, bytes: u64) -> Result<Self, FatError> {
        let sector = u64::from(spec.bytes_per_sector);
        if !bytes.is_multiple_of(sector) {
            return Err(FatError::VolumeSize(bytes));
        }
        let total_sectors = u32::try_from(bytes / sector).map_err(|_| FatError::VolumeSize(bytes))?;
        for kind in FatKind::ALL {
            // As if the FATs took no room: they may then end up a little larger than needed, never smaller.
            let most = bytes / u64::from(spec.bytes_per_cluster);
            let layout = Self::with_fat(spec, tree, kind, fat_sectors(kind, most, spec.bytes_per_sector));
            let data = total_sectors.saturating_sub(layout.data_sector());
            let clusters = data / layout.sectors_per_cluster;
            if !kind.clusters().contains(&clusters) {
                continue;
            }
            let needed = tree.clusters(kind, spec.bytes_per_cluster);
            if needed > u64::from(clusters) {
                let bytes_per_cluster = spec.bytes_per_cluster;
                return Err(FatError::DoesNotFit { needed, available: clusters.into(), bytes_per_cluster });
            }
            return Ok(Self { total_sectors, clusters, ..layout });
        }
        Err(FatError::AmbiguousType(bytes))
    }

    /// All but the counts of sectors and clusters, given the length of a FAT.
    fn with_fat(spec: &FatSpec<'_>, tree: &Tree, kind: FatKind, fat_sectors: u32) -> Self {
        let bytes_per_sector = u32::from(spec.bytes_per_sector);
        let root_entries = match kind {
            FatKind::Fat32 => 0,
            // Whole sectors only (FAT spec, BPB_RootEntCnt).
            _ => tree.root_entries().max(ROOT_ENTRIES).next_multiple_of(bytes_per_sector / ENTRY_BYTES),
        };
        let mut layout = Self {
            kind,
            bytes_per_sector,
            sectors_per_cluster: spec.bytes_per_cluster / bytes_per_sector,
            reserved_sectors: kind.reserved(),
            fat_sectors,
            root_entries,
            total_sectors: 0,
            clusters: 0,
        };
        let front = layout.data_sector();
        layout.reserved_sectors += front.next_multiple_of(spec.data_alignment / bytes_per_sector) - front;
        layout
    }

    /// First sector of cluster 2.
    fn data_sector(&self) -> u32 {
        let root_sectors = self.root_entries * ENTRY_BYTES / self.bytes_per_sector;
        self.reserved_sectors + FATS * self.fat_sectors + root_sectors
    }

    /// Bytes of one cluster.
    pub(super) fn bytes_per_cluster(&self) -> u32 {
        self.bytes_per_sector * self.sectors_per_cluster
    }

    /// Bytes of the volume.
    pub(super) fn volume_bytes(&self) -> u64 {
        self.sector_offset(self.total_sectors)
    }

    /// Byte offset of a sector.
    pub(super) fn sector_offset(&self, sector: u32) -> u64 {
        u64::from(sector) * u64::from(self.bytes_per_sector)
    }

    /// Byte offset of a copy of the FAT.
    pub(super) fn fat_offset(&self, copy: u32) -> u64 {
        self.sector_offset(self.reserved_sectors + copy * self.fat_sectors)
    }

    /// Byte offset of the root directory of FAT12 and FAT16.
    pub(super) fn root_offset(&self) -> u64 {
        self.fat_offset(FATS)
    }

    /// Byte offset of a cluster, the first of which is 2.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.sector_offset(self.data_sector()) + u64::from(cluster - 2) * u64::from(self.bytes_per_cluster())
    }
}

/// Sectors of a FAT for this many clusters and its two leading entries.
fn fat_sectors(kind: FatKind, clusters: u64, bytes_per_sector: u16) -> u32 {
    let bytes = ((clusters + 2) * u64::from(kind.bits())).div_ceil(8);
    // A volume has at most 2^32 sectors, so a FAT for all of them has at most 2^25 of 512 bytes.
    u32::try_from(bytes.div_ceil(bytes_per_sector.into())).expect("a FAT is far smaller than its volume")
}
