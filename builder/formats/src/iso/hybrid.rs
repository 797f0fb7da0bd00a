//! The first 32 KiB: what makes the image start as a disk, through the MBR (BIOS) or the GPT (UEFI).
//!
//! ISO 9660 leaves these bytes to the system; a CD reader never looks at them.

use super::{Bios, IsoError};
use crate::gpt::{self, GptSpec, Guid, Mbr, Partition, Sectors};
use crate::seed::Seed;
use crate::sparse::Sparse;

/// isohdpfx.bin fills the MBR up to the pointer to isolinux.
const BOOT_CODE: usize = 432;

/// Writes MBR and both GPTs; `isolinux` is the block of isolinux.bin, `esp` the offset and length of the ESP.
pub(super) fn write(
    image: &mut Sparse,
    bios: Option<(&Bios, u32)>,
    esp: (u64, u64),
    seed: &Seed,
) -> Result<(), IsoError> {
    let (offset, len) = esp;
    let id = Guid::from_seed(seed, "iso partition esp");
    let name = "EFI system".to_owned();
    let partitions = [Partition { kind: Guid::ESP, id, name, attributes: 0, offset, len }];
    let mbr = match bios {
        None => Mbr::Protective,
        Some((bios, isolinux)) => {
            let mbr = boot_mbr(&bios.isohdpfx, isolinux, seed.u32("iso mbr"), image.len())?;
            image.put(0, mbr);
            Mbr::Caller
        }
    };
    let disk = Guid::from_seed(seed, "iso disk");
    gpt::write(image, &GptSpec { sectors: Sectors::S512, mbr, disk, partitions: &partitions })?;
    Ok(())
}

/// Boot code, at 432 the 512-byte sector of isolinux.bin, at 440 the disk signature, at 446 four partitions.
///
/// Some BIOSes start only from a disk with an active partition, and an active protective one makes some UEFI
/// firmware ignore the GPT: so an empty entry of type 0 is active and the protective entry comes second.
fn boot_mbr(isohdpfx: &[u8], isolinux: u32, signature: u32, len: u64) -> Result<Vec<u8>, IsoError> {
    if isohdpfx.len() != BOOT_CODE {
        return Err(IsoError::Isohdpfx { len: isohdpfx.len() });
    }
    let mut mbr = isohdpfx.to_vec();
    mbr.extend((u64::from(isolinux) * 4).to_le_bytes());
    mbr.extend(signature.to_le_bytes());
    mbr.extend([0, 0]);
    mbr.extend(partition(0x80, 0, [0, 1, 0], 0, 1));
    let sectors = u32::try_from(len / 512 - 1).unwrap_or(u32::MAX);
    mbr.extend(partition(0, 0xee, [0xff, 0xff, 0xff], 1, sectors));
    mbr.extend([0; 32]);
    mbr.extend([0x55, 0xaa]);
    Ok(mbr)
}

/// Status, first head-sector-cylinder, type, last one, first sector, sectors (UEFI specification 5.2.1).
fn partition(status: u8, kind: u8, last: [u8; 3], first_sector: u32, sectors: u32) -> [u8; 16] {
    let first = if first_sector == 0 { [0, 1, 0] } else { [0, 2, 0] };
    let mut bytes = [0; 16];
    bytes[0] = status;
    bytes[1..4].copy_from_slice(&first);
    bytes[4] = kind;
    bytes[5..8].copy_from_slice(&last);
    bytes[8..12].copy_from_slice(&first_sector.to_le_bytes());
    bytes[12..].copy_from_slice(&sectors.to_le_bytes());
    bytes
}
