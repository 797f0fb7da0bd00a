//! The bytes of a `Boot####` variable (UEFI specification 2.10, section 3.1.3): what firmware starts and from where.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | attributes, little-endian; bit 0: the option is active |
//! | 2 | length of the device path |
//! | … | description, UTF-16LE with a final NUL |
//! | … | device path (section 10.3): a partition, a file, the end |
//!
//! The device path is the short form of section 3.1.2, which begins with the partition: firmware looks for it on every
//! disk, so the entry stays right when the disk is plugged in elsewhere. This must not touch any variable.

use lepton_disks::gpt::PartitionId;

/// `LOAD_OPTION_ACTIVE`.
const ACTIVE: u32 = 1;
/// Type and subtype of the nodes used here: hard drive (10.3.5.1), file path (10.3.5.4), end (10.3.1).
const HARD_DRIVE: [u8; 2] = [4, 1];
const FILE_PATH: [u8; 2] = [4, 4];
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// Length of a hard drive node.
const HARD_DRIVE_BYTES: u16 = 42;
/// A GUID partition table, and a GUID as signature.
const GPT: [u8; 2] = [2, 2];

/// Where a program of EFI lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program<'a> {
    /// The partition's identifier.
    pub(crate) id: PartitionId,
    /// Its number in the table, from 1.
    pub(crate) number: u32,
    /// Its first block and its count of blocks, in logical sectors.
    pub(crate) blocks: [u64; 2],
    /// Path of the program in it, with backslashes.
    pub(crate) path: &'a str,
}

/// An option that starts `program` and is shown as `description`.
pub(crate) fn build(description: &str, program: &Program<'_>) -> Vec<u8> {
    let mut nodes = Vec::new();
    nodes.extend(HARD_DRIVE);
    nodes.extend(HARD_DRIVE_BYTES.to_le_bytes());
    nodes.extend(program.number.to_le_bytes());
    nodes.extend(program.blocks.iter().flat_map(|number| number.to_le_bytes()));
    nodes.extend(program.id.to_disk());
    nodes.extend(GPT);
    let path = utf16(program.path);
    nodes.extend(FILE_PATH);
    nodes.extend(length(4 + path.len()));
    nodes.extend(path);
    nodes.extend(END);

    let mut option = ACTIVE.to_le_bytes().to_vec();
    option.extend(length(nodes.len()));
    option.extend(utf16(description));
    option.extend(nodes);
    option
}

/// What an option says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) description: String,
    /// The partition that its device path names, when it names one by GUID.
    pub(crate) partition: Option<PartitionId>,
}

/// Reads an option; `None` when it is none.
pub(crate) fn parse(option: &[u8]) -> Option<Found> {
    let path_bytes = usize::from(u16::from_le_bytes(option.get(4..6)?.try_into().ok()?));
    let text = option.get(6..)?;
    let units: Vec<u16> = text
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let mut nodes = text.get(2 * units.len() + 2..)?.get(..path_bytes)?;
    let mut partition = None;
    while nodes.len() >= 4 && nodes[..2] != END[..2] {
        let len = usize::from(u16::from_le_bytes([nodes[2], nodes[3]]));
        let node = nodes.get(..len).filter(|_| len >= 4)?;
        if node[..2] == HARD_DRIVE && len == usize::from(HARD_DRIVE_BYTES) && node[40..42] == GPT {
            partition = node[24..40].try_into().ok().map(PartitionId::from_disk);
        }
        nodes = &nodes[len..];
    }
    Some(Found { description: String::from_utf16_lossy(&units), partition })
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn length(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("names here have some dozen characters").to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program<'static> {
        let id = PartitionId::parse("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").unwrap();
        Program { id, number: 1, blocks: [0x800, 0x20_0000], path: r"\EFI\a.efi" }
    }

    #[test]
    fn every_byte_of_an_option() {
        let option = build("L1", &program());
        let expected: Vec<u8> = [
            &[1, 0, 0, 0][..],            // active
            &[72, 0],                     // 42 + 26 + 4 bytes of path
            b"L\x001\x00\x00\x00",        // description
            &[4, 1, 42, 0, 1, 0, 0, 0],   // hard drive, partition 1
            &[0, 8, 0, 0, 0, 0, 0, 0],    // first block
            &[0, 0, 0x20, 0, 0, 0, 0, 0], // blocks
            &[0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11],
            &[0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b],
            &[2, 2],        // GPT, GUID
            &[4, 4, 26, 0], // file path
            b"\\\x00E\x00F\x00I\x00\\\x00a\x00.\x00e\x00f\x00i\x00\x00\x00",
            &[0x7f, 0xff, 4, 0],
        ]
        .concat();
        assert_eq!(option, expected);
        let found = Found { description: "L1".to_owned(), partition: Some(program().id) };
        assert_eq!(parse(&option), Some(found));
    }

    #[test]
    fn options_of_others() {
        // What OVMF makes of a CD: an ACPI and two PCI nodes, then optional data.
        let mut option = vec![1, 0, 0, 0, 26, 0, b'C', 0, 0, 0];
        option.extend([2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0]);
        option.extend([1, 1, 6, 0, 0, 0x1f, 3, 1, 4, 0]);
        option.extend([0x7f, 0xff, 4, 0, 9, 9, 9]);
        assert_eq!(parse(&option), Some(Found { description: "C".to_owned(), partition: None }));
        let whole = build("L1", &program());
        for len in [0, 5, 6, 9, 40, whole.len() - 1] {
            assert_eq!(parse(&whole[..len]), None, "{len} bytes");
        }
        // A node that is shorter than its own header must not be read for ever.
        let mut endless = whole.clone();
        endless[14] = 0;
        assert_eq!(parse(&endless), None);
    }
}
