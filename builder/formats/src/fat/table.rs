//! Which clusters are taken, and the FAT that says so.
//!
//! Every chain is one run of clusters, so the FAT is a function of where runs end.

use super::FatKind;

/// Number of the first cluster of the data area.
pub(super) const FIRST_CLUSTER: u32 = 2;

/// Media descriptor of a fixed disk, in the parameter block and in the first FAT entry.
pub(super) const MEDIA: u8 = 0xf8;

/// Runs of clusters, one after the other from the first cluster on.
#[derive(Debug, Default)]
pub(super) struct Allocation {
    /// Last cluster of each run.
    ends: Vec<u32>,
    used: u32,
}

impl Allocation {
    /// Takes a run; no cluster at all is number zero, as for an empty file.
    pub(super) fn take(&mut self, count: u64) -> u32 {
        if count == 0 {
            return 0;
        }
        let start = FIRST_CLUSTER + self.used;
        self.used += u32::try_from(count).expect("the volume was planned for all clusters");
        self.ends.push(FIRST_CLUSTER + self.used - 1);
        start
    }

    /// Clusters in use.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// The FAT up to the last cluster in use.
    pub(super) fn table(&self, kind: FatKind) -> Vec<u8> {
        // The upper four bits of a FAT32 entry are reserved; all ones end a chain.
        let end = match kind {
            FatKind::Fat12 => 0x0fff,
            FatKind::Fat16 => 0xffff,
            FatKind::Fat32 => 0x0fff_ffff,
        };
        // Entry 0 repeats the media descriptor; entry 1 says: cleanly unmounted, no errors.
        let mut values = vec![end & !0xff | u32::from(MEDIA), end];
        values.extend((FIRST_CLUSTER..FIRST_CLUSTER + self.used).map(|cluster| cluster + 1));
        for last in &self.ends {
            values[*last as usize] = end;
        }
        match kind {
            FatKind::Fat12 => values.chunks(2).flat_map(pack12).collect(),
            FatKind::Fat16 => {
                values.iter().flat_map(|value| [value.to_le_bytes()[0], value.to_le_bytes()[1]]).collect()
            }
            FatKind::Fat32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// One or two entries of twelve bits.
fn pack12(pair: &[u32]) -> Vec<u8> {
    let both = (pair[0] | pair.get(1).unwrap_or(&0) << 12).to_le_bytes();
    both[..if pair.len() == 2 { 3 } else { 2 }].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_each_type() {
        let mut allocation = Allocation::default();
        assert_eq!([allocation.take(2), allocation.take(0), allocation.take(1)], [2, 0, 4]);
        assert_eq!(allocation.used(), 3);
        assert_eq!(allocation.table(FatKind::Fat12), [0xf8, 0xff, 0xff, 0x03, 0xf0, 0xff, 0xff, 0x0f]);
        assert_eq!(allocation.table(FatKind::Fat16), [0xf8, 0xff, 0xff, 0xff, 3, 0, 0xff, 0xff, 0xff, 0xff]);
        let words = [0x0fff_fff8_u32, 0x0fff_ffff, 3, 0x0fff_ffff, 0x0fff_ffff];
        assert_eq!(allocation.table(FatKind::Fat32), words.map(u32::to_le_bytes).concat());
    }
}
