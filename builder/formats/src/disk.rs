//! The raw disk image: an EFI system partition and the state partition, on sectors of 512 or 4096 bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | partition tables (see `gpt`) |
//! | 1 MiB | `ESP`, 1 GiB, FAT32 |
//! | 1025 MiB | `lepton-state`, as long as the file system given, up to a whole MiB |
//! | last MiB | backup partition tables |
//!
//! Only bytes that mean something are there; the rest are holes. This must not know what a boot
//! manager, a kernel or a file system is.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::content::Content;
use crate::fat::{self, FatError, FatSpec, VolumeSize};
use crate::gpt::{self, GptError, GptSpec, Guid, Mbr, Partition, Sectors};
use crate::seed::Seed;
use crate::sparse::Sparse;

/// Partitions start and end at multiples of this many bytes, which suits every disk's physical blocks.
const ALIGNMENT: u64 = 1 << 20;

/// Bytes of the EFI system partition: several operating systems of some hundred MB must fit, for ever.
pub const ESP_BYTES: u64 = 1 << 30;

/// Partition name of the state partition, by which the host finds it.
pub const STATE_NAME: &str = "lepton-state";

/// Sector and cluster of the ESP: FAT can be read on disks with sectors up to its own size, so the larger
/// of the two serves both.
const ESP_SECTOR: u16 = 4096;

/// What a disk image is made from.
#[derive(Clone, Copy, Debug)]
pub struct DiskSpec<'a> {
    /// Source of GUIDs and the volume serial number.
    pub seed: &'a Seed,
    /// Unix time in seconds, for the files of the ESP.
    pub modified: u64,
    /// Files of the ESP by absolute path.
    pub esp: &'a BTreeMap<String, Content>,
    /// The file system of the state partition, with blocks of 4096 bytes: Linux refuses to mount smaller ones
    /// than the sectors of the disk.
    pub state: &'a Sparse,
}

/// What boots a host from its ESP.
#[derive(Clone, Debug)]
pub struct EspSpec<'a> {
    /// Suffix of EFI file names: `x64`, `aa64`.
    pub efi_arch: &'a str,
    /// The systemd-boot program.
    pub boot_manager: Content,
    /// Name of the image and its version, as in `node-1.2.3`: boot entries are sorted by it.
    pub name: &'a str,
    /// The unified kernel image.
    pub uki: Content,
}

/// Why a disk image cannot be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The EFI system partition.
    #[error("cannot write the EFI system partition")]
    Esp(#[from] FatError),
    /// The partition table.
    #[error("cannot write the partition table")]
    Table(#[from] GptError),
}

/// How often a new version may fail to boot before the one before is tried (UAPI Boot Loader Specification,
/// "Boot counting").
const BOOT_TRIES: u32 = 3;

/// No menu, and no way to edit the kernel command line at the console. A key held at power-on still shows the
/// menu, to choose an older version.
const LOADER_CONF: &str = "timeout 0\neditor no\n";

/// The files of an ESP: the boot manager at the removable-media path of UEFI and at its own, its settings,
/// and one UKI with boot counting.
pub fn esp_files(spec: &EspSpec<'_>) -> BTreeMap<String, Content> {
    let arch = spec.efi_arch;
    BTreeMap::from([
        (format!("/EFI/BOOT/BOOT{}.EFI", arch.to_ascii_uppercase()), spec.boot_manager.clone()),
        (format!("/EFI/systemd/systemd-boot{arch}.efi"), spec.boot_manager.clone()),
        (format!("/EFI/Linux/{}+{BOOT_TRIES}.efi", spec.name), spec.uki.clone()),
        ("/loader/loader.conf".to_owned(), LOADER_CONF.as_bytes().into()),
    ])
}

/// The disk image.
pub fn raw(spec: &DiskSpec<'_>) -> Result<Sparse, DiskError> {
    let sectors = Sectors::S512And4096;
    let esp_offset = sectors.head_bytes().next_multiple_of(ALIGNMENT);
    let state_offset = esp_offset + ESP_BYTES;
    let state_bytes = spec.state.len().next_multiple_of(ALIGNMENT);
    let end = state_offset + state_bytes;
    let mut image = Sparse::new((end + sectors.tail_bytes()).next_multiple_of(ALIGNMENT));

    let esp = fat::write(&esp_volume(spec), spec.esp)?;
    image.place(esp_offset, &esp.image);
    image.place(state_offset, spec.state);

    let partition = |kind: Guid, name: &str, offset: u64, len: u64| Partition {
        kind,
        id: Guid::from_seed(spec.seed, &format!("partition {name}")),
        name: name.to_owned(),
        attributes: 0,
        offset,
        len,
    };
    let partitions = [
        partition(Guid::ESP, "ESP", esp_offset, ESP_BYTES),
        // It becomes `/var`, and the type says so to rescue systems. None of them mounts it unasked: the
        // Discoverable Partitions Specification ties that to a GUID made from the machine's own identity.
        partition(Guid::LINUX_VAR, STATE_NAME, state_offset, state_bytes),
    ];
    let disk = Guid::from_seed(spec.seed, "disk");
    gpt::write(&mut image, &GptSpec { sectors, mbr: Mbr::Protective, disk, partitions: &partitions })?;
    Ok(image)
}

fn esp_volume<'a>(spec: &DiskSpec<'a>) -> FatSpec<'a> {
    FatSpec {
        size: VolumeSize::Exact(ESP_BYTES),
        bytes_per_sector: ESP_SECTOR,
        bytes_per_cluster: ESP_SECTOR.into(),
        data_alignment: ESP_SECTOR.into(),
        label: "ESP",
        serial: spec.seed.u32("esp serial"),
        modified: spec.modified,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn image() -> Sparse {
        let boot_manager = Content::from(vec![1; 100_000]);
        let uki = Content::from(vec![2; 9 << 20]);
        let esp = esp_files(&EspSpec { efi_arch: "aa64", boot_manager, name: "node-1.2.3", uki });
        let mut state = Sparse::new((64 << 20) - 4096);
        state.put(1024, vec![3; 1024]);
        let seed = Seed::new([9; 32]);
        raw(&DiskSpec { seed: &seed, modified: 1_767_225_599, esp: &esp, state: &state }).unwrap()
    }

    #[test]
    fn partitions_as_each_sector_size_shows_them() {
        let image = image();
        expect![[r#"
            mbr: type 0xee, 4294967295 sectors from 1
            primary: lba 1, other 2232319, crc good
              usable: 80 to 2232247
              entries: lba 48, 128 of 128 bytes, crc good
              disk: 9aee2fbd-4a6d-8320-b16f-ea71bbe87523
            backup: lba 2232319, other 1, crc good
              usable: 80 to 2232247
              entries: lba 2232248, 128 of 128 bytes, crc good
              disk: 9aee2fbd-4a6d-8320-b16f-ea71bbe87523
            1: 2048 to 2099199, 1073741824 bytes, "ESP"
              type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
              id: e2e4921f-2786-8465-8921-d6be1a8cf62c
              attributes: 0x0
            2: 2099200 to 2230271, 67108864 bytes, "lepton-state"
              type: 4d21b016-b534-45c2-a9fb-5c16e091fd2d
              id: 7857f748-c4fc-8e77-b535-f2713be6e2d8
              attributes: 0x0
        "#]]
        .assert_eq(&gpt::dump(&image, 512).unwrap());
        expect![[r#"
            mbr: type 0xee, 4294967295 sectors from 1
            primary: lba 1, other 279039, crc good
              usable: 10 to 279030
              entries: lba 2, 128 of 128 bytes, crc good
              disk: 9aee2fbd-4a6d-8320-b16f-ea71bbe87523
            backup: lba 279039, other 1, crc good
              usable: 10 to 279030
              entries: lba 279035, 128 of 128 bytes, crc good
              disk: 9aee2fbd-4a6d-8320-b16f-ea71bbe87523
            1: 256 to 262399, 1073741824 bytes, "ESP"
              type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
              id: e2e4921f-2786-8465-8921-d6be1a8cf62c
              attributes: 0x0
            2: 262400 to 278783, 67108864 bytes, "lepton-state"
              type: 4d21b016-b534-45c2-a9fb-5c16e091fd2d
              id: 7857f748-c4fc-8e77-b535-f2713be6e2d8
              attributes: 0x0
        "#]]
        .assert_eq(&gpt::dump(&image, 4096).unwrap());
        expect![[r#"
            type: FAT32
            label: ESP
            serial: fc21-cbb6
            bytes per sector: 4096
            sectors per cluster: 1
            reserved sectors: 32
            fats: 2 of 257 sectors
            root entries: 0
            total sectors: 262144
            data sector: 546
            clusters: 261598
            root cluster: 2
            free clusters: 259237, next 2363
            backup boot sector: 6
        "#]]
        .assert_eq(&fat::dump(&image, 1 << 20).unwrap());
    }

    #[test]
    fn only_bytes_that_mean_something_are_there() {
        let image = image();
        let stored: u64 = image.extents().map(|(_, content)| content.len()).sum();
        let files = 2 * 100_000 + (9 << 20) + 1024;
        assert!(stored < files + 64 * 1024, "{stored} bytes for {files} of files");
        let mut superblock = [0; 1];
        image.read_at(&mut superblock, (1025 << 20) + 1024).unwrap();
        assert_eq!(superblock, [3]);
    }

    #[test]
    fn paths_of_the_esp() {
        let content = Content::from(vec![0]);
        let spec =
            EspSpec { efi_arch: "x64", boot_manager: content.clone(), name: "node-1.2.3", uki: content };
        expect![[r#"
            [
                "/EFI/BOOT/BOOTX64.EFI",
                "/EFI/Linux/node-1.2.3+3.efi",
                "/EFI/systemd/systemd-bootx64.efi",
                "/loader/loader.conf",
            ]
        "#]]
        .assert_debug_eq(&esp_files(&spec).keys().collect::<Vec<_>>());
    }
}
