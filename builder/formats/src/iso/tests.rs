//! Images built from parts that only look like boot loaders and kernels.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::{Bios, IsoError, IsoSpec, build, dump, isolinux_cfg};
use crate::content::Content;
use crate::seed::Seed;
use crate::sparse::Sparse;
use crate::uki::Uki;
use crate::uki::tests::uki_for_tests;

fn uki() -> Uki {
    uki_for_tests(vec![b'i'; 5000].into())
}

fn bios() -> Bios {
    let mut isolinux_bin = vec![0x90; 3001];
    isolinux_bin[64..68].copy_from_slice(&[0xfb, 0xc0, 0x78, 0x70]);
    let ldlinux_c32 = b"ldlinux".as_slice().into();
    let isolinux_cfg = isolinux_cfg("console=ttyS0").unwrap();
    Bios { isolinux_bin, isohdpfx: vec![0x33; 432], ldlinux_c32, isolinux_cfg }
}

fn spec() -> IsoSpec {
    IsoSpec {
        uki: uki().image.into(),
        boot_path: "/EFI/BOOT/BOOTX64.EFI".to_owned(),
        esp_files: BTreeMap::new(),
        root_files: BTreeMap::from([
            ("docs/deep/license.txt".to_owned(), Content::from(vec![b'l'; 4000])),
            ("manifest.json".to_owned(), b"{}".as_slice().into()),
        ]),
        bios: Some(bios()),
        label: "TEST_1".to_owned(),
        epoch: 1_767_225_599,
        seed: Seed::new([7; 32]),
    }
}

fn bytes(spec: &IsoSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(spec).unwrap().write_to(&mut bytes).unwrap();
    bytes
}

/// The bytes of the file that a line of the dump describes.
fn file<'a>(image: &'a [u8], dump: &str, path: &str) -> &'a [u8] {
    let line = dump.lines().find(|line| line.starts_with(&format!("file {path} "))).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |index: usize| fields[index].parse::<usize>().unwrap();
    &image[number(4) * 2048..][..number(6)]
}

#[test]
fn boots_every_way() {
    expect![[r#"
        image of 190464 bytes
        mbr isolinux at sector 112 signature 267ceca6
        mbr partition 1 status 80 type 00 at 0 sectors 1
        mbr partition 2 status 00 type ee at 1 sectors 371
        mbr: type 0x00, 1 sectors from 0
        primary: lba 1, other 371, crc good
          usable: 34 to 338
          entries: lba 2, 128 of 128 bytes, crc good
          disk: 22d22080-9723-8b9f-8042-2d257ae42bd6
        backup: lba 371, other 1, crc good
          usable: 34 to 338
          entries: lba 339, 128 of 128 bytes, crc good
          disk: 22d22080-9723-8b9f-8042-2d257ae42bd6
        1: 136 to 335, 102400 bytes, "EFI system"
          type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
          id: 8f98ddb3-ea29-8b5d-b4bf-f4e4a9234534
          attributes: 0x0
        volume "TEST_1" by "LEPTON", 93 blocks, created 2025123123595900, path tables of 50 bytes at 19 and 20
        boot catalog at 21, platform 00
        boot entry 88 at 28 sectors 4
        boot section, platform ef
        boot entry 88 at 34 sectors 200
        terminator type 255
        directory / at 22 bytes 2048
        file /initrd INITRD.;1 at 49 bytes 5000
        file /lepton.efi LEPTON.EFI;1 at 45 bytes 14336
        file /manifest.json MANIFEST.JSO;1 at 32 bytes 2
        file /vmlinuz VMLINUZ.;1 at 48 bytes 1024
        directory /docs/ at 23 bytes 2048
        directory /docs/deep/ at 25 bytes 2048
        file /docs/deep/license.txt LICENSE.TXT;1 at 26 bytes 4000
        directory /isolinux/ at 24 bytes 2048
        file /isolinux/isolinux.bin ISOLINUX.BIN;1 at 28 bytes 3001
        file /isolinux/isolinux.cfg ISOLINUX.CFG;1 at 30 bytes 120
        file /isolinux/ldlinux.c32 LDLINUX.C32;1 at 31 bytes 7
    "#]]
    .assert_eq(&dump(&build(&spec()).unwrap()).unwrap());
}

#[test]
fn boots_without_bios() {
    let spec = IsoSpec { bios: None, root_files: BTreeMap::new(), ..spec() };
    expect![[r#"
        image of 169984 bytes
        mbr isolinux at sector 0 signature 00000000
        mbr partition 1 status 00 type ee at 1 sectors 331
        mbr: type 0xee, 331 sectors from 1
        primary: lba 1, other 331, crc good
          usable: 34 to 298
          entries: lba 2, 128 of 128 bytes, crc good
          disk: 22d22080-9723-8b9f-8042-2d257ae42bd6
        backup: lba 331, other 1, crc good
          usable: 34 to 298
          entries: lba 299, 128 of 128 bytes, crc good
          disk: 22d22080-9723-8b9f-8042-2d257ae42bd6
        1: 96 to 295, 102400 bytes, "EFI system"
          type: c12a7328-f81f-11d2-ba4b-00a0c93ec93b
          id: 8f98ddb3-ea29-8b5d-b4bf-f4e4a9234534
          attributes: 0x0
        volume "TEST_1" by "LEPTON", 83 blocks, created 2025123123595900, path tables of 10 bytes at 19 and 20
        boot catalog at 21, platform ef
        boot entry 88 at 24 sectors 200
        terminator type 255
        directory / at 22 bytes 2048
        file /initrd INITRD.;1 at 39 bytes 5000
        file /lepton.efi LEPTON.EFI;1 at 35 bytes 14336
        file /vmlinuz VMLINUZ.;1 at 38 bytes 1024
    "#]]
    .assert_eq(&dump(&build(&spec).unwrap()).unwrap());
}

#[test]
fn points_into_the_kernel_image() {
    let spec = spec();
    let image = bytes(&spec);
    let dump = dump(&build(&spec).unwrap()).unwrap();
    let uki = uki();
    let section = |name: &str| {
        let found = uki.sections.iter().find(|found| found.name == name).unwrap();
        Content::from(uki.image.clone()).slice(found.file_offset, found.size).to_vec().unwrap()
    };
    assert_eq!(file(&image, &dump, "/vmlinuz"), section(".linux"));
    assert_eq!(file(&image, &dump, "/initrd"), section(".initrd"));
    assert_eq!(file(&image, &dump, "/docs/deep/license.txt"), [b'l'; 4000]);
}

#[test]
fn tells_isolinux_where_it_is() {
    let spec = spec();
    let image = bytes(&spec);
    let dump = dump(&build(&spec).unwrap()).unwrap();
    let file = file(&image, &dump, "/isolinux/isolinux.bin");
    let block = u32::try_from(file.as_ptr() as usize - image.as_ptr() as usize).unwrap() / 2048;
    // 733 whole words of 0x90909090, the signature and the last byte from byte 64 on.
    let sum = 0x9090_9090u32.wrapping_mul(733).wrapping_add(0x7078_c0fb).wrapping_add(0x90);
    let table: Vec<u8> = [16, block, 3001, sum].into_iter().flat_map(u32::to_le_bytes).collect();
    assert_eq!(file[8..24], table);
    assert_eq!(file[24..64], [0; 40]);
}

#[test]
fn writes_the_same_bytes_again() {
    assert!(bytes(&spec()) == bytes(&spec()));
}

#[test]
fn finds_a_volume_size_near_the_limits_of_fat() {
    // Limits between types are at 4085 and 65525 clusters of 2048 bytes.
    for clusters in (3950..4120).chain(65420..65560).step_by(5) {
        let initrd = Content::from(Sparse::new(clusters * 2048));
        let spec = IsoSpec { uki: uki_for_tests(initrd).image.into(), ..spec() };
        let image = build(&spec).unwrap();
        assert!(image.len() < clusters * 2048 + (1 << 20), "{clusters}");
    }
}

#[test]
fn splits_directories_at_blocks() {
    let name = |number: usize| (format!("{number:08}-{}.txt", "x".repeat(100)), b"x".as_slice().into());
    let spec = IsoSpec { root_files: (0..40).map(name).collect(), ..spec() };
    let dump = dump(&build(&spec).unwrap()).unwrap();
    assert_eq!(dump.lines().filter(|line| line.starts_with("file /000000")).count(), 40);
}

#[test]
fn refuses_what_cannot_be_read() {
    let check = |spec: IsoSpec, expected: Expect| expected.assert_eq(&build(&spec).unwrap_err().to_string());
    let files = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (path.to_string(), Content::from(b"x".as_slice())))
            .collect::<BTreeMap<_, _>>()
    };
    check(
        IsoSpec { label: "lower".to_owned(), ..spec() },
        expect![[r#""lower" cannot be a volume label; hint: 1 to 32 of A-Z, 0-9 and _"#]],
    );
    check(
        IsoSpec { root_files: files(&["a//b"]), ..spec() },
        expect![[r#""a//b" cannot be a path in an ISO image"#]],
    );
    check(
        IsoSpec { root_files: files(&["vmlinuz"]), ..spec() },
        expect!["vmlinuz is a path that an ISO image needs for itself"],
    );
    check(
        IsoSpec { root_files: files(&["checksums-1.txt", "checksums-2.txt"]), ..spec() },
        expect![
            "checksums-2.txt and checksums-1.txt have the same name of eight and three characters; hint: rename one"
        ],
    );
    check(
        IsoSpec { bios: Some(Bios { isolinux_bin: vec![0; 3000], ..bios() }), ..spec() },
        expect!["isolinux.bin has no hybrid boot signature; hint: isolinux-debug.bin has none"],
    );
    check(
        IsoSpec { bios: Some(Bios { isohdpfx: vec![0; 440], ..bios() }), ..spec() },
        expect!["isohdpfx.bin has 440 bytes, not 432"],
    );
    check(
        IsoSpec { uki: vec![0; 8192].into(), ..spec() },
        expect!["cannot find the kernel in the unified kernel image"],
    );
}

#[test]
fn configures_isolinux() {
    expect![[r#"
        SERIAL 0 115200
        DEFAULT lepton
        PROMPT 0
        TIMEOUT 0
        LABEL lepton
          LINUX /vmlinuz
          INITRD /initrd
          APPEND console=ttyS0 quiet
    "#]]
    .assert_eq(&isolinux_cfg("console=ttyS0 quiet").unwrap());
    let check = |cmdline: &str, expected: Expect| {
        let error: IsoError = isolinux_cfg(cmdline).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    check(&"x".repeat(2013), expect!["the kernel command line has 2013 bytes; 2012 at most under BIOS"]);
    check(
        "a\nb",
        expect![[
            r#"isolinux cannot pass on the kernel command line "a\nb"; hint: no line breaks, no initrd="#
        ]],
    );
}
