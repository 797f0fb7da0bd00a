//! Makes tar archives byte by byte, so that tests can say anything, also what no tool would write.

use super::tar::Kind;

/// An archive that is being made. Owners are those of the process, so that no test needs root for them.
#[derive(Default)]
pub(crate) struct Made(Vec<u8>);

/// A PAX record with its length.
pub(crate) fn record(text: &[u8]) -> Vec<u8> {
    let mut length = text.len() + 3;
    while length != text.len() + 2 + length.to_string().len() {
        length = text.len() + 2 + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", text, b"\n"].concat()
}

impl Made {
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        self.entry(b'0', path, "", content.as_bytes(), |_| {})
    }

    pub(crate) fn folder(self, path: &str) -> Self {
        self.entry(b'5', path, "", b"", |header| header[100..108].copy_from_slice(b"0000755\0"))
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, b"", |_| {})
    }

    pub(crate) fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, b"", |_| {})
    }

    pub(crate) fn device(self, path: &str, kind: Kind) -> Self {
        let (flag, major, minor) = match kind {
            Kind::Character { major, minor } => (b'3', major, minor),
            Kind::Block { major, minor } => (b'4', major, minor),
            _ => (b'6', 0, 0),
        };
        self.entry(flag, path, "", b"", |header| {
            header[329..337].copy_from_slice(format!("{major:07o}\0").as_bytes());
            header[337..345].copy_from_slice(format!("{minor:07o}\0").as_bytes());
        })
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, records: &[&[u8]]) -> Self {
        let content: Vec<u8> = records.iter().flat_map(|text| record(text)).collect();
        self.entry(b'x', "PaxHeaders/x", "", &content, |_| {})
    }

    /// Any entry; `edit` changes the header before its checksum is counted.
    pub(crate) fn entry(
        mut self,
        kind: u8,
        path: &str,
        link: &str,
        content: &[u8],
        edit: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        header[108..116].copy_from_slice(format!("{uid:07o}\0").as_bytes());
        header[116..124].copy_from_slice(format!("{gid:07o}\0").as_bytes());
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000001750\0");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        edit(&mut header);
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.raw(content)
    }

    /// Bytes, filled up to a block.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive with its end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }

    /// The archive without an end.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }
}
