//! Layers made to harm: each is refused with an error of its own, or can do nothing.

use std::fs;

use super::layer_tests::Stack;
use super::tar::Kind;
use super::test_archive::Made;
use super::*;

/// The error that an archive gets, with the word that tells it from others.
fn refused(archive: Made, word: &str) {
    refused_on(&mut Stack::new(), archive, word);
}

fn refused_on(stack: &mut Stack, archive: Made, word: &str) {
    let error = stack.add(&archive.finish()).unwrap_err();
    assert!(error.to_string().contains(word), "{error}");
    assert_eq!(stack.outside(), Vec::<String>::new());
    stack.forget_failed();
}

#[test]
fn names_that_lead_upwards() {
    for path in ["../outside", "a/../../outside", "..", "a/..", "/../outside"] {
        refused(Made::default().file(path, "x"), "has a component `..`");
    }
    refused(Made::default().pax(&[b"path=../outside"]).file("a", "x"), "has a component `..`");
}

#[test]
fn absolute_names_stay_inside() {
    let mut stack = Stack::new();
    let folder = stack.add(&Made::default().file("/etc/outside", "x").file("//b", "y").finish()).unwrap();
    assert_eq!(fs::read(folder.join("etc/outside")).unwrap(), b"x");
    assert_eq!(fs::read(folder.join("b")).unwrap(), b"y");
}

#[test]
fn links_that_lead_out() {
    let mut stack = Stack::new();
    let archive = Made::default()
        .symlink("up", "../../../..")
        .file("up/outside-1", "x")
        .symlink("abs", "/")
        .file("abs/outside-2", "y")
        .symlink("magic", "/proc/self/root")
        .file("magic/outside-3", "z")
        .finish();
    let folder = stack.add(&archive).unwrap();
    assert_eq!(fs::read(folder.join("outside-1")).unwrap(), b"x");
    assert_eq!(fs::read(folder.join("outside-2")).unwrap(), b"y");
    assert_eq!(fs::read(folder.join("proc/self/root/outside-3")).unwrap(), b"z");
    assert_eq!(stack.outside(), Vec::<String>::new());
    assert!(!std::path::Path::new("/outside-2").exists() && !std::path::Path::new("/outside-3").exists());
}

#[test]
fn a_file_does_not_write_through_a_link() {
    let mut stack = Stack::new();
    let victim = tempfile::NamedTempFile::new().unwrap();
    let target = victim.path().to_str().unwrap();
    stack.add(&Made::default().symlink("link", target).file("link", "x").finish()).unwrap();
    assert_eq!(fs::read(victim.path()).unwrap(), b"");
}

#[test]
fn links_in_circles() {
    refused(
        Made::default().symlink("a", "b").symlink("b", "a").file("a/x", ""),
        "more than 40 symbolic links",
    );
    refused(Made::default().symlink("a", "a/a").file("a/x", ""), "more than 40 symbolic links");
}

#[test]
fn links_that_grow() {
    let long = vec![b'x'; 200];
    let long = String::from_utf8(long).unwrap();
    let mut made = Made::default().folder("a");
    let mut path = "a".to_owned();
    // Each link makes the real path longer than the written one.
    for index in 0..25 {
        let inner = format!("{path}/{long}");
        made = made.pax(&[format!("path={inner}").as_bytes()]).folder("x");
        let name = format!("l{index}");
        made = made.pax(&[format!("linkpath={inner}").as_bytes()]).symlink(&name, "x");
        path = name;
    }
    refused(made, "longer than a path can be");
}

#[test]
fn hard_links_out_of_the_root() {
    refused(Made::default().hard_link("a", "../../etc/passwd"), "has a component `..`");
    refused(Made::default().hard_link("a", "/etc/passwd"), "which is not in the image");
    refused(
        Made::default().symlink("up", "../../..").hard_link("a", "up/etc/passwd"),
        "which is not in the image",
    );
    refused(Made::default().folder("b").hard_link("a", "b"), "which is a folder of the image");
    refused(Made::default().hard_link("a", "/"), "which is a folder of the image");
    refused(Made::default().hard_link("a", "a"), "which is not in the image");
    refused(Made::default().file("b/c", "x").hard_link("b", "b/c"), "which is not in the image");
}

#[test]
fn files_where_folders_should_be() {
    refused(Made::default().file("a", "x").file("a/b", "y"), "is no folder");
    let mut stack = Stack::new();
    stack.add(&Made::default().file("a", "x").finish()).unwrap();
    refused_on(&mut stack, Made::default().file("a/b", "y"), "is no folder");
}

#[test]
fn the_root_as_something_else() {
    refused(Made::default().file("./", "x"), "replaces the root");
    refused(Made::default().symlink("/", "/etc"), "replaces the root");
}

#[test]
fn names_of_whiteouts() {
    refused(Made::default().file(".wh.", ""), "reserved name");
    refused(Made::default().file(".wh...", ""), "reserved name");
    refused(Made::default().file(".wh..", ""), "reserved name");
    refused(Made::default().file(".wh.a/b", ""), "reserved name");
    refused(Made::default().hard_link("a", ".wh.b"), "reserved name");
}

#[test]
fn the_device_of_overlayfs() {
    refused(Made::default().device("a", Kind::Character { major: 0, minor: 0 }), "takes for a removed file");
}

#[test]
fn compression_bombs() {
    let mut stack = Stack::new();
    stack.rules.limits.ratio_from = 1 << 20;
    let content = "0".repeat(4 << 20);
    let archive = Made::default().file("zeros", &content).finish();
    let stored = zstd::encode_all(&archive[..], 3).unwrap();
    let error = stack.add_stored(&stored, Digest::of(&archive)).unwrap_err();
    assert!(matches!(error.exceeded(), Some(Exceeded::Ratio { .. })), "{error}");
    stack.forget_failed();
    stack.rules.limits.unpacked = 1 << 20;
    let error = stack.add(&archive).unwrap_err();
    assert!(matches!(error.exceeded(), Some(Exceeded::Size { .. })), "{error}");
    // Even if nothing of it would be written.
    stack.forget_failed();
    let trailing = [Made::default().finish(), vec![0; 2 << 20]].concat();
    assert!(stack.add(&trailing).unwrap_err().exceeded().is_some());
}

#[test]
fn many_entries() {
    let mut stack = Stack::new();
    stack.rules.limits.entries = 10;
    let many = (0..11).fold(Made::default(), |made, number| made.file(&number.to_string(), ""));
    refused_on(&mut stack, many, "more than 10 entries");
}

#[test]
fn large_headers() {
    let large = vec![b'a'; 2 << 20];
    refused(
        Made::default().pax(&[&[b"comment=".as_slice(), &large].concat()]).file("a", ""),
        "the limit is 1048576",
    );
    let attribute = [b"SCHILY.xattr.user.a=".as_slice(), &large].concat();
    refused(Made::default().pax(&[&attribute]).file("a", ""), "the limit is 1048576");
}

#[test]
fn streams_that_break_off() {
    let mut stack = Stack::new();
    let archive = Made::default().file("a", &"x".repeat(10_000)).finish();
    let error = stack.add(&archive[..5000]).unwrap_err();
    assert!(error.to_string().contains("in the middle"), "{error}");
    stack.forget_failed();
    let stored = zstd::encode_all(&archive[..], 3).unwrap();
    let error = stack.add_stored(&stored[..stored.len() - 5], Digest::of(&archive)).unwrap_err();
    assert!(error.to_string().contains("cannot read the archive"), "{error}");
    stack.forget_failed();
    assert!(stack.add(b"\x28\xb5\x2f\xfdgarbage that is no zstd").is_err());
}
