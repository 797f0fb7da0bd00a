//! An image's boot structures and file list as text, read back from its bytes, for golden tests.
//!
//! Made for images of this module: it trusts their pointers.

use std::fmt::Write as _;
use std::io;

use super::{BLOCK, DESCRIPTOR};
use crate::gpt;
use crate::sparse::Sparse;

/// MBR, GPT, volume descriptors, boot catalog and directories, one fact a line.
pub fn dump(image: &Sparse) -> io::Result<String> {
    let mut text = format!("image of {} bytes\n", image.len());
    dump_mbr(&read::<512>(image, 0)?, &mut text);
    text.push_str(&gpt::dump(image, 512)?);
    let volume = read_block(image, DESCRIPTOR)?;
    let _ = writeln!(
        text,
        "volume {:?} by {:?}, {} blocks, created {}, path tables of {} bytes at {} and {}",
        trimmed(&volume[40..72]),
        trimmed(&volume[574..702]),
        word(&volume, 80),
        trimmed(&volume[813..829]),
        word(&volume, 132),
        word(&volume, 140),
        u32::from_be_bytes([volume[148], volume[149], volume[150], volume[151]]),
    );
    let catalog = word(&read_block(image, DESCRIPTOR + 1)?, 71);
    dump_catalog(image, catalog, &mut text)?;
    let _ = writeln!(text, "terminator type {}", read_block(image, DESCRIPTOR + 2)?[0]);
    dump_directory(image, "", word(&volume, 156 + 2), word(&volume, 156 + 10), &mut text)?;
    Ok(text)
}

fn dump_mbr(mbr: &[u8], text: &mut String) {
    let _ = writeln!(text, "mbr isolinux at sector {} signature {:08x}", word(mbr, 432), word(mbr, 440));
    for (number, entry) in (1..).zip(mbr[446..510].chunks_exact(16)).filter(|(_, entry)| entry != &[0; 16]) {
        let (status, kind) = (entry[0], entry[4]);
        let (first, count) = (word(entry, 8), word(entry, 12));
        let _ = writeln!(
            text,
            "mbr partition {number} status {status:02x} type {kind:02x} at {first} sectors {count}"
        );
    }
}

fn dump_catalog(image: &Sparse, catalog: u32, text: &mut String) -> io::Result<()> {
    let block = read_block(image, catalog)?;
    for entry in block.chunks_exact(32).take_while(|entry| entry[0] != 0) {
        let sectors = u16::from_le_bytes([entry[6], entry[7]]);
        let _ = match entry[0] {
            1 => writeln!(text, "boot catalog at {catalog}, platform {:02x}", entry[1]),
            0x91 => writeln!(text, "boot section, platform {:02x}", entry[1]),
            _ => writeln!(text, "boot entry {:02x} at {} sectors {sectors}", entry[0], word(entry, 8)),
        };
    }
    Ok(())
}

fn dump_directory(image: &Sparse, path: &str, block: u32, len: u32, text: &mut String) -> io::Result<()> {
    let _ = writeln!(text, "directory /{path} at {block} bytes {len}");
    let mut inside = Vec::new();
    for number in 0..len / 2048 {
        let bytes = read_block(image, block + number)?;
        let mut at = 0;
        while at < bytes.len() && bytes[at] != 0 {
            let record = &bytes[at..at + usize::from(bytes[at])];
            at += record.len();
            let identifier = &record[33..33 + usize::from(record[32])];
            if identifier.len() == 1 && identifier[0] < 2 {
                continue;
            }
            let name = format!("{path}{}", rock_ridge_name(record));
            let (first, len) = (word(record, 2), word(record, 10));
            if record[25] & 2 == 0 {
                let _ = writeln!(text, "file /{name} {} at {first} bytes {len}", trimmed(identifier));
            } else {
                inside.push((format!("{name}/"), first, len));
            }
        }
    }
    for (path, block, len) in inside {
        dump_directory(image, &path, block, len, text)?;
    }
    Ok(())
}

/// The name in the NM field behind the identifier.
fn rock_ridge_name(record: &[u8]) -> String {
    let mut fields = &record[(33 + usize::from(record[32])).next_multiple_of(2)..];
    while let [a, b, len, ..] = *fields {
        if [a, b] == *b"NM" {
            return trimmed(&fields[5..usize::from(len)]);
        }
        fields = &fields[usize::from(len)..];
    }
    String::new()
}

fn trimmed(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn read_block(image: &Sparse, block: u32) -> io::Result<[u8; 2048]> {
    read(image, u64::from(block) * BLOCK)
}

fn read<const LEN: usize>(image: &Sparse, offset: u64) -> io::Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    image.read_at(&mut bytes, offset)?;
    Ok(bytes)
}
