//! Golden headers of every format, all made from one small payload as an image is made from its parts.
//!
//! The dumps are read back from the bytes that were written. `UPDATE_EXPECT=1 cargo test -p lepton-builder` writes
//! them anew.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Cursor, Read};
use std::path::Path;

use expect_test::expect_file;
use lepton_formats::disk::{self, DiskSpec, EspSpec, esp_files};
use lepton_formats::iso::{self, Bios, IsoSpec, isolinux_cfg};
use lepton_formats::uki::{self, UkiSpec};
use lepton_formats::{Content, Seed, Sparse, fat, gpt, ova, qcow2, vmdk};

/// 2026-01-01.
const DATE: u64 = 1_767_225_600;
const CMDLINE: &str = "console=ttyS0 panic=10";
/// The ESP follows the first MiB of a disk.
const ESP: u64 = 1 << 20;

fn seed() -> Seed {
    Seed::new([7; 32])
}

/// A PE32+ program for x86-64 with one section of 512 bytes for each name: nothing but headers.
fn program(sections: &[&str]) -> Vec<u8> {
    const OPTIONAL: usize = 0x58;
    const TABLE: usize = OPTIONAL + 112;
    let mut file = vec![0; 512 * (1 + sections.len())];
    let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
    let word = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
    put(0, b"MZ");
    put(0x3c, &word(0x40));
    put(0x40, b"PE\0\0");
    put(0x44, &0x8664_u16.to_le_bytes());
    put(0x46, &u16::try_from(sections.len()).unwrap().to_le_bytes());
    put(0x54, &112_u16.to_le_bytes());
    put(OPTIONAL, &0x20b_u16.to_le_bytes());
    put(OPTIONAL + 32, &word(4096));
    put(OPTIONAL + 36, &word(512));
    put(OPTIONAL + 60, &word(512));
    for (index, name) in sections.iter().enumerate() {
        let header = TABLE + 40 * index;
        put(header, name.as_bytes());
        put(header + 8, &word(100));
        put(header + 12, &word(4096 * (index + 1)));
        put(header + 16, &word(512));
        put(header + 20, &word(512 * (index + 1)));
    }
    file
}

fn uki() -> Content {
    let spec = UkiSpec {
        stub: program(&[".text", ".sbat"]),
        os_release: "ID=test\n".to_owned(),
        cmdline: CMDLINE.to_owned(),
        uname: "6.12.0".to_owned(),
        sbat: "test,1\n".to_owned(),
        kernel: program(&[".text", ".data"]).into(),
        initrd: vec![b'i'; 300_000].into(),
        more: Vec::new(),
    };
    uki::build(&spec).unwrap().image.into()
}

fn raw() -> Sparse {
    let boot_manager = Content::from(program(&[".text"]));
    let esp = esp_files(&EspSpec { efi_arch: "x64", boot_manager, name: "lepton-test-0.1.0", uki: uki() });
    let mut state = Sparse::new(8 << 20);
    state.put(1024, vec![b's'; 4096]);
    disk::raw(&DiskSpec { seed: &seed(), modified: DATE, esp: &esp, state: &state }).unwrap()
}

fn check(name: &str, text: &str) {
    expect_file![Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/headers").join(name)]
        .assert_eq(text);
}

#[test]
fn unified_kernel_image() {
    check("uki.txt", &uki::dump(&uki()).unwrap());
}

#[test]
fn raw_disk() {
    let disk = raw();
    let mut text = String::new();
    for sector in [512, 4096] {
        write!(text, "== sectors of {sector} bytes\n{}", gpt::dump(&disk, sector).unwrap()).unwrap();
    }
    write!(text, "== ESP\n{}", fat::dump(&disk, ESP).unwrap()).unwrap();
    check("raw.txt", &text);
}

#[test]
fn qcow2_disk() {
    let mut file = Cursor::new(Vec::new());
    qcow2::write(&raw(), &mut file).unwrap();
    check("qcow2.txt", &qcow2::dump(&file.into_inner().into()).unwrap());
}

#[test]
fn vmdk_disk() {
    let mut file = Vec::new();
    let stats = vmdk::write(&raw(), &seed(), &mut file).unwrap();
    assert_eq!(stats.file_len, file.len() as u64);
    check("vmdk.txt", &vmdk::dump(&file.into()).unwrap());
}

#[test]
fn appliance() {
    let mut file = Vec::new();
    ova::write("<Envelope/>\n", &vec![b'v'; 3000].into(), DATE, &mut file).unwrap();
    let mut text = String::new();
    for entry in tar::Archive::new(file.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let header = entry.header();
        let (mode, time, size) = (header.mode().unwrap(), header.mtime().unwrap(), header.size().unwrap());
        let (uid, gid, magic) = (header.uid().unwrap(), header.gid().unwrap(), header.as_ustar().is_some());
        writeln!(text, "{path} mode {mode:o} owner {uid}:{gid} time {time} size {size} ustar {magic}")
            .unwrap();
        if path.ends_with(".mf") {
            entry.read_to_string(&mut text).unwrap();
        }
    }
    check("ova.txt", &text);
}

#[test]
fn cd() {
    let mut isolinux_bin = vec![0x90; 3001];
    // Code of isolinux behind its boot information table, by which its version is known.
    isolinux_bin[64..68].copy_from_slice(&[0xfb, 0xc0, 0x78, 0x70]);
    let bios = Bios {
        isolinux_bin,
        isohdpfx: vec![0x33; 432],
        ldlinux_c32: b"ldlinux".as_slice().into(),
        isolinux_cfg: isolinux_cfg(CMDLINE).unwrap(),
    };
    for (name, boot_path, bios) in [
        ("iso-x86_64.txt", "/EFI/BOOT/BOOTX64.EFI", Some(bios)),
        ("iso-aarch64.txt", "/EFI/BOOT/BOOTAA64.EFI", None),
    ] {
        let spec = IsoSpec {
            uki: uki(),
            boot_path: boot_path.to_owned(),
            esp_files: BTreeMap::new(),
            root_files: BTreeMap::new(),
            bios,
            label: "LEPTON_TEST".to_owned(),
            epoch: DATE,
            seed: seed(),
        };
        check(name, &iso::dump(&iso::build(&spec).unwrap()).unwrap());
    }
}
