//! Tables in both layouts, read back by another implementation of GPT.

use expect_test::{Expect, expect};

use super::*;
use crate::seed::Seed;

const MIB: u64 = 1 << 20;
const BASIC_DATA: Guid = Guid(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7);

fn partition(name: &str, offset: u64, len: u64) -> Partition {
    let id = Guid::from_seed(&Seed::new([7; 32]), name);
    Partition { kind: BASIC_DATA, id, name: name.to_owned(), attributes: 1 << 60, offset, len }
}

fn image(sectors: Sectors, len: u64, partitions: &[Partition]) -> Result<Sparse, GptError> {
    let mut image = Sparse::new(len);
    let disk = Guid::from_seed(&Seed::new([7; 32]), "disk");
    write(&mut image, &GptSpec { sectors, mbr: Mbr::Protective, disk, partitions })?;
    Ok(image)
}

/// Opens the image as a disk with sectors of `sector` bytes, and again with its primary header lost.
fn check(image: &Sparse, sector: u64, layout: &Expect) {
    layout.assert_eq(&dump(image, sector).unwrap());
    let block = if sector == 512 {
        ::gpt::disk::LogicalBlockSize::Lb512
    } else {
        ::gpt::disk::LogicalBlockSize::Lb4096
    };
    let config = || ::gpt::GptConfig::new().writable(false).logical_block_size(block);
    let mut bytes = Vec::new();
    image.write_to(&mut bytes).unwrap();
    let whole = config().open_from_device(std::io::Cursor::new(bytes.clone())).unwrap();
    let partitions = whole.partitions().clone();
    assert_eq!(partitions[&1].name, "one");
    assert_eq!(partitions[&1].bytes_start(block).unwrap(), MIB);
    assert_eq!(partitions[&1].bytes_len(block).unwrap(), MIB);
    assert_eq!(whole.backup_header().unwrap().backup_lba, 1);
    let at = usize::try_from(sector).unwrap();
    bytes[at..at + 92].fill(0);
    let rescued = config().open_from_device(std::io::Cursor::new(bytes)).unwrap();
    assert_eq!(rescued.partitions(), &partitions);
}

#[test]
fn one_table() {
    let image = image(
        Sectors::S512,
        4 * MIB + 2048,
        &[partition("one", MIB, MIB), partition("zwei ü", 2 * MIB, 2048)],
    );
    check(
        &image.unwrap(),
        512,
        &expect![[r#"
        mbr: type 0xee, 8195 sectors from 1
        primary: lba 1, other 8195, crc good
          usable: 34 to 8162
          entries: lba 2, 128 of 128 bytes, crc good
          disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
        backup: lba 8195, other 1, crc good
          usable: 34 to 8162
          entries: lba 8163, 128 of 128 bytes, crc good
          disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
        1: 2048 to 4095, 1048576 bytes, "one"
          type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
          id: 57948d11-9618-8594-abc7-ec0b2917e6fc
          attributes: 0x1000000000000000
        2: 4096 to 4099, 2048 bytes, "zwei ü"
          type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
          id: 034a9e21-542a-8492-bb6d-4305707734c7
          attributes: 0x1000000000000000
    "#]],
    );
}

#[test]
fn two_tables() {
    let image =
        image(Sectors::S512And4096, 4 * MIB, &[partition("one", MIB, MIB), partition("two", 2 * MIB, MIB)])
            .unwrap();
    check(
        &image,
        512,
        &expect![[r#"
            mbr: type 0xee, 4294967295 sectors from 1
            primary: lba 1, other 8191, crc good
              usable: 80 to 8119
              entries: lba 48, 128 of 128 bytes, crc good
              disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
            backup: lba 8191, other 1, crc good
              usable: 80 to 8119
              entries: lba 8120, 128 of 128 bytes, crc good
              disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
            1: 2048 to 4095, 1048576 bytes, "one"
              type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
              id: 57948d11-9618-8594-abc7-ec0b2917e6fc
              attributes: 0x1000000000000000
            2: 4096 to 6143, 1048576 bytes, "two"
              type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
              id: 7c4ffb2f-d997-8b22-ba4f-87da62436e95
              attributes: 0x1000000000000000
        "#]],
    );
    check(
        &image,
        4096,
        &expect![[r#"
            mbr: type 0xee, 4294967295 sectors from 1
            primary: lba 1, other 1023, crc good
              usable: 10 to 1014
              entries: lba 2, 128 of 128 bytes, crc good
              disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
            backup: lba 1023, other 1, crc good
              usable: 10 to 1014
              entries: lba 1019, 128 of 128 bytes, crc good
              disk: de48825d-7a13-84dc-a7a4-3795efc31b5c
            1: 256 to 511, 1048576 bytes, "one"
              type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
              id: 57948d11-9618-8594-abc7-ec0b2917e6fc
              attributes: 0x1000000000000000
            2: 512 to 767, 1048576 bytes, "two"
              type: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7
              id: 7c4ffb2f-d997-8b22-ba4f-87da62436e95
              attributes: 0x1000000000000000
        "#]],
    );
}

#[test]
fn the_caller_may_own_the_first_bytes() {
    let mut image = Sparse::new(MIB);
    write(&mut image, &GptSpec { sectors: Sectors::S512, mbr: Mbr::Caller, disk: Guid(1), partitions: &[] })
        .unwrap();
    assert!(image.is_hole(0, 512) && !image.is_hole(512, 512));
}

#[test]
fn partitions_up_to_the_tables_are_accepted_and_no_further() {
    for sectors in [Sectors::S512, Sectors::S512And4096] {
        let (first, end) = (sectors.head_bytes(), MIB - sectors.tail_bytes());
        let step = sectors.largest();
        let full = partition("full", first, end - first);
        // Sparse refuses overlaps, so this also shows that no table lies in the usable bytes.
        let mut image = image(sectors, MIB, std::slice::from_ref(&full)).unwrap();
        image.put(first, vec![1; usize::try_from(end - first).unwrap()]);
        for (offset, len) in [
            (first - step, step),
            (first, end - first + step),
            (first, 0),
            (first + 1, step),
            (u64::MAX - step + 1, step),
        ] {
            let error = self::image(sectors, MIB, &[partition("bad", offset, len)]).unwrap_err();
            assert_eq!(error, GptError::Placement { name: "bad".into(), offset, len, first, end });
        }
    }
}

#[test]
fn refuses_what_a_table_cannot_say() {
    let refuse = |len: u64, partitions: &[Partition]| image(Sectors::S512, len, partitions).unwrap_err();
    assert_eq!(refuse(16384, &[]), GptError::ImageSize(16384));
    assert_eq!(refuse(MIB + 1, &[]), GptError::ImageSize(MIB + 1));
    assert_eq!(image(Sectors::S512And4096, MIB + 512, &[]).unwrap_err(), GptError::ImageSize(MIB + 512));
    let many: Vec<Partition> = (1..130).map(|n| partition(&n.to_string(), n * MIB, MIB)).collect();
    assert_eq!(refuse(200 * MIB, &many), GptError::TooMany(129));
    assert!(image(Sectors::S512, 200 * MIB, &many[..128]).is_ok());
    let name = "x".repeat(37);
    assert_eq!(refuse(4 * MIB, &[partition(&name, MIB, MIB)]), GptError::NameTooLong(name));
    let overlap = [partition("a", MIB, MIB), partition("b", 2 * MIB - 512, MIB)];
    assert_eq!(refuse(4 * MIB, &overlap), GptError::Overlap("a".into(), "b".into()));
    let twins = [partition("a", MIB, MIB), partition("a", 2 * MIB, MIB)];
    assert_eq!(refuse(4 * MIB, &twins), GptError::SameId("a".into(), "a".into()));
}
