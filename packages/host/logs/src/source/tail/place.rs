//! Where a reader is among the files of a log.

use std::sync::Arc;

use crate::frame::Position;
use crate::source::files::Opened;

/// By fewer bytes a file is not known again when its inode is another one.
const ENOUGH: u32 = 96;

/// Whether more than `limit` bytes of a log's files wait behind a place of the first.
pub(super) fn is_far_ahead(files: &[Arc<Opened>], offset: u64, limit: u64) -> bool {
    let bytes: u64 =
        files.iter().filter(|file| !file.is_compressed).filter_map(|file| file.size().ok()).sum();
    bytes.saturating_sub(offset) > limit
}

/// The file of a position: by its inode and its beginning, or by a beginning that is long enough.
pub(super) fn find(files: &[Arc<Opened>], position: &Position) -> Option<usize> {
    let is_same = |file: &Arc<Opened>| {
        position.head_len == 0 || file.head_crc(position.head_len) == Some(position.head_crc)
    };
    let is_it = |file: &Arc<Opened>| file.inode == position.file && !file.is_compressed && is_same(file);
    let by_inode = files.iter().position(is_it);
    let is_copy = |file: &Arc<Opened>| position.head_len >= ENOUGH && is_same(file);
    by_inode.or_else(|| files.iter().position(is_copy))
}
