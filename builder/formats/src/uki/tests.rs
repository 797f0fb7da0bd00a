//! Images built from a stub and a kernel that are nothing but headers.

use expect_test::{Expect, expect};

use super::{Uki, UkiError, UkiSpec, build, dump, sections};
use crate::content::Content;

const X86_64: u16 = 0x8664;
const NX: u16 = 0x0100;

/// A PE32+ program with the given sections (name, data), 512 bytes of headers and one page per section.
fn program(machine: u16, flags: u16, contents: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| file[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x40u32.to_le_bytes());
    put(0x40, b"PE\0\0");
    put(0x44, &machine.to_le_bytes());
    put(0x46, &u16::try_from(contents.len()).unwrap().to_le_bytes());
    put(0x48, &0x1234_5678u32.to_le_bytes());
    put(0x54, &112u16.to_le_bytes());
    put(0x58, &0x20bu16.to_le_bytes());
    put(0x58 + 32, &4096u32.to_le_bytes());
    put(0x58 + 36, &512u32.to_le_bytes());
    put(0x58 + 60, &512u32.to_le_bytes());
    put(0x58 + 70, &flags.to_le_bytes());
    let mut data = Vec::new();
    for (index, (name, bytes)) in contents.iter().enumerate() {
        let header = 0x58 + 112 + index * 40;
        let word = |value: usize| u32::try_from(value).unwrap().to_le_bytes();
        put(header, name.as_bytes());
        put(header + 8, &word(bytes.len()));
        put(header + 12, &word(4096 * (index + 1)));
        put(header + 16, &word(512));
        put(header + 20, &word(512 + data.len()));
        data.extend_from_slice(bytes);
        data.resize((index + 1) * 512, 0);
    }
    file.extend(data);
    file
}

fn spec() -> UkiSpec {
    UkiSpec {
        stub: program(X86_64, NX, &[(".text", &[0xc3; 7]), (".sbat", b"sbat,1\n"), (".reloc", &[1])]),
        os_release: "ID=test\n".to_owned(),
        cmdline: "console=ttyS0".to_owned(),
        uname: String::new(),
        sbat: "test,1\n".to_owned(),
        kernel: program(X86_64, NX, &[(".text", &[0x90; 500])]).into(),
        initrd: vec![b'i'; 5000].into(),
        more: vec![],
    }
}

/// An image with this initrd, for tests of formats that hold one.
pub(crate) fn uki_for_tests(initrd: Content) -> Uki {
    build(&UkiSpec { initrd, ..spec() }).unwrap()
}

#[test]
fn lays_sections_out() {
    let uki = build(&spec()).unwrap();
    let file = Content::from(uki.image);
    assert_eq!(sections(&file).unwrap(), uki.sections);
    let text = |name: &str| {
        let found = uki.sections.iter().find(|section| section.name == name).unwrap();
        String::from_utf8(file.slice(found.file_offset, found.size).to_vec().unwrap()).unwrap()
    };
    assert_eq!(text(".sbat"), "sbat,1\ntest,1\n");
    assert_eq!(text(".cmdline"), "console=ttyS0");
    assert_eq!(text(".initrd"), "i".repeat(5000));
    expect![[r#"
        machine 0x8664 nx true bytes 0x3800
        .text    at 0x0001000 file 0x0000200 size 0x0000007 raw 0x0000200 flags 0x0
        .sbat    at 0x0002000 file 0x0000400 size 0x000000e raw 0x0000200 flags 0x0
        .reloc   at 0x0003000 file 0x0000600 size 0x0000001 raw 0x0000200 flags 0x0
        .osrel   at 0x0004000 file 0x0000800 size 0x0000008 raw 0x0000800 flags 0x40000040
        .cmdline at 0x0005000 file 0x0001000 size 0x000000d raw 0x0000800 flags 0x40000040
        .linux   at 0x0006000 file 0x0001800 size 0x0000400 raw 0x0000800 flags 0x40000020
        .initrd  at 0x0007000 file 0x0002000 size 0x0001388 raw 0x0001800 flags 0x40000040
    "#]]
    .assert_eq(&dump(&file).unwrap());
}

#[test]
fn leaves_no_time_in_the_header() {
    let file = Content::from(build(&spec()).unwrap().image);
    assert_eq!(file.slice(0x48, 4).to_vec().unwrap(), [0; 4]);
}

#[test]
fn promises_nx_only_with_the_kernel() {
    let with = |flags| {
        let kernel = program(X86_64, flags, &[(".text", &[0x90])]).into();
        dump(&build(&UkiSpec { kernel, ..spec() }).unwrap().image.into()).unwrap()
    };
    assert!(with(NX).starts_with("machine 0x8664 nx true"));
    assert!(with(0).starts_with("machine 0x8664 nx false"));
}

#[test]
fn adds_sbat_to_a_stub_without() {
    let stub = program(X86_64, 0, &[(".text", &[0xc3])]);
    let uki = build(&UkiSpec { stub, ..spec() }).unwrap();
    assert!(uki.sections.iter().any(|section| section.name == ".sbat"));
}

#[test]
fn refuses_what_would_not_boot() {
    let check = |spec: UkiSpec, expected: Expect| {
        let error: UkiError = build(&spec).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    let arm = program(0xaa64, 0, &[(".text", &[0])]).into();
    check(
        UkiSpec { kernel: arm, ..spec() },
        expect!["the EFI stub is for machine 0x8664, the kernel for 0xaa64"],
    );
    check(
        UkiSpec { kernel: vec![0; 4096].into(), ..spec() },
        expect!["the kernel is no EFI program; hint: CONFIG_EFI_STUB"],
    );
    check(
        UkiSpec { cmdline: "x".repeat(2048), ..spec() },
        expect!["the kernel command line has 2048 bytes; 2047 at most"],
    );
    check(
        UkiSpec { sbat: "x".repeat(506), ..spec() },
        expect!["the .sbat section of the stub holds 512 bytes, not 513"],
    );
    check(
        UkiSpec { stub: [spec().stub, vec![0; 8]].concat(), ..spec() },
        expect!["the EFI stub has data outside its sections; hint: use an unsigned, stripped stub"],
    );
    let more = |names: &[&str]| names.iter().map(|name| (name.to_string(), b"x".as_slice().into())).collect();
    let twice = UkiSpec { os_release: String::new(), more: more(&[".linux"]), ..spec() };
    check(twice, expect![[r#"".linux" cannot be the name of an added section"#]]);
    let long = UkiSpec { os_release: String::new(), more: more(&[".too-long"]), ..spec() };
    check(long, expect![[r#"".too-long" cannot be the name of an added section"#]]);
    check(
        UkiSpec { more: more(&[".a", ".b", ".c", ".d"]), ..spec() },
        expect!["the header of the EFI stub has room for 7 sections, not 11"],
    );
}
