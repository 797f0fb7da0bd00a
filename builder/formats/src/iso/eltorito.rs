//! El Torito 1.0: the boot record, the boot catalog, and the table that isolinux reads about itself.

use super::IsoError;
use super::volume::descriptor;

/// Bytes of an entry; the catalog has four at most.
const CATALOG_ENTRY: usize = 32;

/// Platforms of the catalog: PC BIOS, and EFI (UEFI specification 13.3.2.1).
const PLATFORM_BIOS: u8 = 0;
const PLATFORM_EFI: u8 = 0xef;

/// Sectors of 512 bytes that a BIOS loads of isolinux: it loads the rest itself.
const ISOLINUX_SECTORS: u16 = 4;

/// What isolinux made for hybrid images has at byte 64, little-endian 0x7078c0fb.
const HYBRID_MAGIC: [u8; 4] = [0xfb, 0xc0, 0x78, 0x70];

/// The boot record (El Torito 2.0): a volume descriptor of type 0 that names the catalog's block.
pub(super) fn boot_record(catalog: u32) -> Vec<u8> {
    let mut bytes = descriptor(0);
    let system = b"EL TORITO SPECIFICATION";
    bytes[7..7 + system.len()].copy_from_slice(system);
    bytes[71..75].copy_from_slice(&catalog.to_le_bytes());
    bytes
}

/// The catalog: with isolinux, its entry is the default one and the ESP gets a section of its own.
///
/// `isolinux` and `esp` are blocks, `esp_bytes` is the length of the ESP image.
pub(super) fn catalog(isolinux: Option<u32>, esp: u32, esp_bytes: u64) -> Vec<u8> {
    // A count of 0 means up to the end of the medium, which is right when 16 bits cannot say it.
    let esp_sectors = u16::try_from(esp_bytes.div_ceil(512)).unwrap_or(0);
    let esp = entry(esp, esp_sectors);
    match isolinux {
        None => [validation(PLATFORM_EFI), esp].concat(),
        Some(block) => {
            [validation(PLATFORM_BIOS), entry(block, ISOLINUX_SECTORS), last_section(PLATFORM_EFI), esp]
                .concat()
        }
    }
}

/// The first entry (2.1): its sixteen-bit words add up to zero.
fn validation(platform: u8) -> [u8; CATALOG_ENTRY] {
    let mut bytes = [0; CATALOG_ENTRY];
    bytes[0] = 1;
    bytes[1] = platform;
    bytes[30..].copy_from_slice(&[0x55, 0xaa]);
    let sum = bytes
        .chunks_exact(2)
        .fold(0u16, |sum, pair| sum.wrapping_add(u16::from_le_bytes([pair[0], pair[1]])));
    bytes[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    bytes
}

/// Bootable, no emulation, default load segment (2.2 and 2.4).
fn entry(block: u32, sectors: u16) -> [u8; CATALOG_ENTRY] {
    let mut bytes = [0; CATALOG_ENTRY];
    bytes[0] = 0x88;
    bytes[6..8].copy_from_slice(&sectors.to_le_bytes());
    bytes[8..12].copy_from_slice(&block.to_le_bytes());
    bytes
}

/// The header of the last section, which has one entry (2.3).
fn last_section(platform: u8) -> [u8; CATALOG_ENTRY] {
    let mut bytes = [0; CATALOG_ENTRY];
    bytes[..4].copy_from_slice(&[0x91, platform, 1, 0]);
    bytes
}

/// isolinux.bin with its boot information table: bytes 8 to 63 hold the blocks of the volume descriptor and of
/// the file itself, the file's length and the sum of its 32-bit words from byte 64 on.
pub(super) fn isolinux_bin(file: &[u8], descriptor: u32, block: u32) -> Result<Vec<u8>, IsoError> {
    if file.get(64..68) != Some(HYBRID_MAGIC.as_slice()) {
        return Err(IsoError::Isolinux);
    }
    let mut bytes = file.to_vec();
    bytes.resize(file.len().next_multiple_of(4), 0);
    let words =
        bytes[64..].chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let sum = words.fold(0u32, u32::wrapping_add);
    let len = u32::try_from(file.len()).map_err(|_| IsoError::Isolinux)?;
    bytes[8..64].fill(0);
    for (index, value) in [descriptor, block, len, sum].into_iter().enumerate() {
        bytes[8 + 4 * index..12 + 4 * index].copy_from_slice(&value.to_le_bytes());
    }
    bytes.truncate(file.len());
    Ok(bytes)
}
