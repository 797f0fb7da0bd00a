//! The beginning of a file, by which it is known again when its inode says too little: inodes are used again, a log is copied
//! before it is cut, and what kubelet has compressed is another file.

/// Bytes that are compared. A log begins with a time, so they tell files apart.
pub const MAX: usize = 256;

/// The first bytes that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head(Vec<u8>);

impl Head {
    /// Takes bytes that were read at an offset.
    pub fn take(&mut self, offset: u64, bytes: &[u8]) {
        if offset == self.0.len() as u64 && self.0.len() < MAX {
            let count = bytes.len().min(MAX - self.0.len());
            self.0.extend_from_slice(&bytes[..count]);
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their CRC-32.
    pub fn crc(&self) -> u32 {
        crc32fast::hash(&self.0)
    }
}
