//! Names on FAT: which are allowed, their short forms, and the entries that hold the long form.
//!
//! FAT spec, "FAT Long Directory Entries". Short names are pure ASCII, so that they read the same
//! under every OEM code page; this must not use the case bits that the FAT spec reserves.

use std::collections::BTreeSet;

/// Eleven bytes: eight of name and three of extension, padded with spaces.
pub(super) type ShortName = [u8; 11];

/// UTF-16 units in one long entry.
const UNITS: usize = 13;

/// What is wrong with a long name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Character,
    Length,
}

/// Checks one component of a path, which is not empty and has no slash.
pub(super) fn check(name: &str) -> Result<(), Fault> {
    let refused = |c: char| c.is_control() || "\"*/:<>?\\|".contains(c);
    // Implementations drop spaces at both ends and periods at the end: such a name would not be found again.
    if name.contains(refused) || name.starts_with(' ') || name.ends_with([' ', '.']) {
        return Err(Fault::Character);
    }
    match name.encode_utf16().count() {
        0..=255 => Ok(()),
        _ => Err(Fault::Length),
    }
}

/// The form by which names are compared: FAT ignores case.
pub(super) fn fold(name: &str) -> String {
    name.to_uppercase()
}

/// True when the short name alone cannot say this name.
fn needs_long(name: &str) -> bool {
    without_tail(name).is_none() || name.contains(|c: char| c.is_ascii_lowercase())
}

/// The short name when upper case is all that changes.
pub(super) fn without_tail(name: &str) -> Option<ShortName> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = (1..=8).contains(&base.len()) && extension.len() <= 3;
    let plain = base.bytes().chain(extension.bytes()).all(is_short);
    (fits && plain).then(|| short(&base.to_ascii_uppercase(), &extension.to_ascii_uppercase()))
}

/// The first short name with a numeric tail (`LOADER~1.CON`) that is not in `taken`.
pub(super) fn with_tail(name: &str, taken: &BTreeSet<ShortName>) -> ShortName {
    let kept: String = name.chars().filter(|c| *c != ' ').collect();
    let kept = kept.trim_start_matches('.');
    let clean = |text: &str, most: usize| -> String {
        text.chars()
            .map(|c| if u8::try_from(c).is_ok_and(is_short) { c.to_ascii_uppercase() } else { '_' })
            .take(most)
            .collect()
    };
    let base = clean(kept.split('.').next().unwrap_or(kept), 8);
    let extension = clean(kept.rsplit_once('.').map_or("", |(_, extension)| extension), 3);
    (1_u32..)
        .map(|number| {
            let tail = format!("~{number}");
            let stem = &base[..base.len().min(8 - tail.len())];
            short(&format!("{stem}{tail}"), &extension)
        })
        .find(|candidate| !taken.contains(candidate))
        .expect("a directory has fewer entries than there are tails")
}

/// The bytes of a volume label, when it is one.
pub(super) fn label(text: &str) -> Option<ShortName> {
    let allowed = |byte: u8| byte == b' ' || (is_short(byte) && !byte.is_ascii_lowercase());
    let fits = (1..=11).contains(&text.len()) && text.bytes().all(allowed) && text.trim() == text;
    fits.then(|| {
        let mut label = [b' '; 11];
        label[..text.len()].copy_from_slice(text.as_bytes());
        label
    })
}

/// The long entries of a name, in the order in which they precede the short entry; none when it says all.
pub(super) fn long_entries(name: &str, short: &ShortName) -> Vec<[u8; 32]> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let count = long_count(name);
    (1..=count).rev().map(|ordinal| long_entry(&units, ordinal, ordinal == count, checksum(short))).collect()
}

/// Count of long entries.
pub(super) fn long_count(name: &str) -> usize {
    if needs_long(name) { name.encode_utf16().count().div_ceil(UNITS) } else { 0 }
}

fn long_entry(units: &[u16], ordinal: usize, last: bool, checksum: u8) -> [u8; 32] {
    const LAST: u8 = 0x40;
    const ATTRIBUTES: u8 = 0x0f;
    // Byte offsets of the thirteen units.
    const PLACES: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
    let mut entry = [0; 32];
    entry[0] = u8::try_from(ordinal).expect("255 units need 20 entries") | if last { LAST } else { 0 };
    entry[11] = ATTRIBUTES;
    entry[13] = checksum;
    for (index, place) in PLACES.into_iter().enumerate() {
        let position = (ordinal - 1) * UNITS + index;
        // One zero ends a name that does not fill its entry; ones fill what follows.
        let unit = units.get(position).copied().unwrap_or(if position == units.len() { 0 } else { 0xffff });
        entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

fn is_short(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"$%'-_@~`!(){}^#&".contains(&byte)
}

fn short(base: &str, extension: &str) -> ShortName {
    let mut name = [b' '; 11];
    name[..base.len()].copy_from_slice(base.as_bytes());
    name[8..8 + extension.len()].copy_from_slice(extension.as_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short_of(name: &str, taken: &[&ShortName]) -> String {
        let taken = taken.iter().map(|name| **name).collect();
        let short = without_tail(name).unwrap_or_else(|| with_tail(name, &taken));
        String::from_utf8(short.to_vec()).unwrap()
    }

    #[test]
    fn short_names_follow_the_basis_name_algorithm() {
        for (name, expected, long) in [
            ("BOOTX64.EFI", "BOOTX64 EFI", false),
            ("EFI", "EFI        ", false),
            ("loader", "LOADER     ", true),
            ("loader.conf", "LOADER~1CON", true),
            ("systemd-bootx64.efi", "SYSTEM~1EFI", true),
            ("node-1.2.3+3.efi", "NODE-1~1EFI", true),
            ("A+B", "A_B~1      ", true),
            (".profile", "PROFIL~1   ", true),
            ("a b.tar.gz", "AB~1    GZ ", true),
            ("größe", "GR__E~1    ", true),
        ] {
            assert_eq!(short_of(name, &[]), expected, "{name}");
            assert_eq!(needs_long(name), long, "{name}");
        }
        assert_eq!(short_of("loader.conf", &[b"LOADER~1CON"]), "LOADER~2CON");
        let nine: Vec<ShortName> = (1..10).map(|n| short(&format!("LOADER~{n}"), "CON")).collect();
        assert_eq!(short_of("loader.conf", &nine.iter().collect::<Vec<_>>()), "LOADE~10CON");
    }

    #[test]
    fn refuses_what_cannot_be_found_again() {
        for name in ["a:b", "a\u{1}", "a.", "a ", " a", "what?", "a\\b"] {
            assert_eq!(check(name), Err(Fault::Character), "{name:?}");
        }
        assert_eq!(check(&"x".repeat(255)), Ok(()));
        assert_eq!(check(&"x".repeat(256)), Err(Fault::Length));
        assert_eq!(label("lower"), None);
        assert_eq!(label("TWELVE CHARS"), None);
    }

    #[test]
    fn long_entries_run_backwards_and_are_padded() {
        // The short name and checksum of the FAT spec's own example.
        let entries = long_entries("The quick brown.fox", b"THEQUI~1FOX");
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(entries[0][1..11], *b"w\0n\0.\0f\0o\0");
        assert_eq!(entries[0][14..18], *b"x\0\0\0");
        assert_eq!(entries[0][18..26], [0xff; 8]);
        assert_eq!(entries[0][13], entries[1][13]);
        // A full entry has neither end nor padding.
        assert_eq!(long_entries("thirteen.char", b"THIRTE~1CHA")[0][30..], *b"r\0");
    }
}
