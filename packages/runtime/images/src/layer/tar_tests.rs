//! Archives of tools, of foreign code, and of nobody.

use super::super::test_archive::Made;
use super::*;

fn list(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut archive = Archive::new(bytes, 1 << 20, 100);
    let mut found = Vec::new();
    while let Some(entry) = archive.next().map_err(|error| error.to_string())? {
        let mut content = Vec::new();
        archive.read_to_end(&mut content).map_err(|error| error.to_string())?;
        found.push(format!(
            "{:?} {:o} {} {} {}",
            entry.kind,
            entry.mode,
            entry.mtime.0,
            String::from_utf8_lossy(&entry.path),
            String::from_utf8_lossy(if content.is_empty() { &entry.link } else { &content })
        ));
    }
    Ok(found)
}

#[test]
fn foreign_archives_are_read() {
    let mut writer = ::tar::Builder::new(Vec::new());
    let long = format!("{}file", "folder/".repeat(40));
    let mut header = ::tar::Header::new_gnu();
    header.set_size(5);
    header.set_mode(0o4755);
    header.set_mtime(12);
    writer.append_data(&mut header, &long, &b"hello"[..]).unwrap();
    let mut header = ::tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o777);
    header.set_mtime(7);
    header.set_entry_type(::tar::EntryType::Symlink);
    let target = "x".repeat(300);
    writer.append_link(&mut header, "link", &target).unwrap();
    let bytes = writer.into_inner().unwrap();
    let wanted = [format!("File 4755 12 {long} hello"), format!("Symlink 777 7 link {target}")];
    assert_eq!(list(&bytes).unwrap(), wanted);
}

#[test]
fn headers_of_pax() {
    let bytes = Made::default()
        .pax(&[b"path=new/name", b"mtime=99.5", b"size=3", b"SCHILY.xattr.user.a=b"])
        .entry(b'0', "old", "", b"abc", |header| header[124..136].copy_from_slice(b"00000000000\0"))
        .pax(&[b"linkpath=far/away"])
        .symlink("link", "near")
        .entry(b'g', "global", "", &super::super::test_archive::record(b"comment=x"), |_| {})
        .file("after", "x")
        .finish();
    assert_eq!(
        list(&bytes).unwrap(),
        ["File 644 99 new/name abc", "Symlink 644 1000 link far/away", "File 644 1000 after x"]
    );
}

#[test]
fn old_forms() {
    let folder = Made::default().entry(0, "folder/", "", b"", |header| header[257..265].fill(0)).finish();
    assert_eq!(list(&folder).unwrap(), ["Directory 644 1000 folder "]);
    let prefix = Made::default().entry(b'0', "b", "", b"x", |header| header[345] = b'a').finish();
    assert_eq!(list(&prefix).unwrap(), ["File 644 1000 a/b x"]);
    let wide = Made::default().entry(b'0', "b", "", b"x", |header| {
        header[136..148].copy_from_slice(&[0xff; 12]);
        header[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    });
    assert_eq!(list(&wide.finish()).unwrap(), ["File 644 -1 b x"]);
    // The end may be missing, or be one block.
    assert_eq!(list(&Made::default().file("a", "b").unfinished()).unwrap().len(), 1);
    assert_eq!(list(&Made::default().file("a", "b").raw(&[0; 512]).unfinished()).unwrap().len(), 1);
}

#[test]
fn refused() {
    let check = |bytes: Vec<u8>, wanted: &str| {
        let error = list(&bytes).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    };
    check(b"no archive".repeat(100), "no tar header");
    check(Made::default().file("a", "b").finish()[..513].to_vec(), "in the middle");
    check(Made::default().file("a", "b").unfinished()[..700].to_vec(), "in the middle");
    check(Made::default().pax(&[b"path=a"]).finish(), "in the middle");
    check(Made::default().entry(b'x', "p", "", b"7 path", |_| {}).file("a", "").finish(), "PAX");
    check(Made::default().entry(b'x', "p", "", &vec![b'a'; 2 << 20], |_| {}).finish(), "the limit is");
    let name = |header: &mut [u8; 512]| header[124..136].copy_from_slice(b"77777777777\0");
    check(Made::default().entry(b'L', "p", "", b"", name).finish(), "the limit is");
    check(
        Made::default().pax(&[&[b"path=".as_slice(), &[b'a'; 5000]].concat()]).file("a", "").finish(),
        "longer",
    );
    check(Made::default().pax(&[b"path=a\0b"]).file("a", "").finish(), "byte 0");
    check(Made::default().file("", "").finish(), "empty");
    check(Made::default().symlink("a", "").finish(), "link target is empty");
    check(Made::default().entry(b'S', "a", "", b"", |_| {}).finish(), "sparse");
    check(Made::default().pax(&[b"GNU.sparse.major=1"]).file("a", "").finish(), "sparse");
    check(Made::default().entry(b'?', "a", "", b"", |_| {}).finish(), "unknown type");
    check(Made::default().pax(&[b"uid=4294967295"]).file("a", "").finish(), "user is no number");
    check(
        Made::default().entry(b'0', "a", "", b"", |header| header[108] = b'9').finish(),
        "user is no number",
    );
    let negative = |header: &mut [u8; 512]| header[124..136].copy_from_slice(&[0xff; 12]);
    check(Made::default().entry(b'0', "a", "", b"", negative).finish(), "size is no number");
    let many = (0..101).fold(Made::default(), |made, number| made.file(&number.to_string(), ""));
    check(many.finish(), "more than 100 entries");
}
