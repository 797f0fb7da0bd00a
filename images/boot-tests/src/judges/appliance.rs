//! Copies of the appliance with a planted defect: one thing is wrong, everything else is as an importer expects it.

use std::io::{self, Read};

use lepton_builder::digest::Digest;

use super::plant::Copy;

/// Names and contents, in the order of the archive: descriptor, manifest, disk.
pub(super) type Members = Vec<(String, Vec<u8>)>;

/// Writes the archive again with other members.
pub(super) fn rewrite(copy: &Copy, change: impl FnOnce(&mut Members)) -> io::Result<()> {
    let bytes = copy.read_all()?;
    let mut members = Members::new();
    for entry in tar::Archive::new(bytes.as_slice()).entries()? {
        let mut entry = entry?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        members.push((entry.path()?.display().to_string(), content));
    }
    change(&mut members);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in &members {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content.as_slice())?;
    }
    copy.replace(&archive.into_inner()?)
}

/// Leaves the first line.
pub(super) fn keep_line(text: &mut Vec<u8>) {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.truncate(end);
}

/// Replaces the first `from` in the descriptor.
pub(super) fn redescribe(copy: &Copy, from: &str, to: &str) -> io::Result<()> {
    change(copy, |text| text.replacen(from, to, 1))
}

/// Changes the descriptor, and the manifest so that only the descriptor is wrong.
pub(super) fn change(copy: &Copy, change: impl FnOnce(&str) -> String) -> io::Result<()> {
    rewrite(copy, |members| {
        let text = change(&String::from_utf8_lossy(&members[0].1));
        let line = format!("SHA256(disk.ovf)= {}", Digest::of(text.as_bytes()));
        let manifest = String::from_utf8_lossy(&members[1].1).into_owned();
        let rest = manifest.split_once('\n').map_or("", |(_, rest)| rest);
        members[1].1 = format!("{line}\n{rest}").into_bytes();
        members[0].1 = text.into_bytes();
    })
}

/// Puts the manifest before the descriptor.
pub(super) fn shuffle(copy: &Copy) -> io::Result<()> {
    rewrite(copy, |members| members.swap(0, 1))
}

/// Changes the digest of the disk in the manifest.
pub(super) fn wrong_digest(copy: &Copy) -> io::Result<()> {
    rewrite(copy, |members| {
        // The last line ends in a digit of the digest and a line feed.
        if let [.., digit, _] = &mut members[1].1[..] {
            *digit = if *digit == b'0' { b'1' } else { b'0' };
        }
    })
}

/// Leaves out the property `hostname`.
pub(super) fn without_hostname(copy: &Copy) -> io::Result<()> {
    change(copy, |text| {
        let start = text.find("<Property ").unwrap_or_default();
        let end = text.find("</Property>").map_or(start, |at| at + "</Property>".len());
        format!("{}{}", &text[..start], &text[end..])
    })
}
