//! Items of a buffer as their destination has them.

use crate::buffer::Item;
use crate::clock;
use crate::format::Speaker;
use crate::frame::{self, Frame};
use crate::record::{Record, Records, Stream};
use crate::source::Source;

/// Gives the records of an item, and who speaks, to `each`.
pub(super) fn with_records<T>(item: &Item, each: impl FnOnce(Speaker<'_>, Records<'_>) -> T) -> Option<T> {
    // It may get another name at any time: by DHCP, for one.
    let uname = rustix::system::uname();
    let host = &*uname.nodename().to_string_lossy();
    match item {
        Item::Lines { frame, key, .. } => {
            let Some(Frame::Batch(batch)) = frame::decode(&mut frame.as_slice()) else { return None };
            let source = Source::from_key(key);
            Some(each(Speaker { host, source: source.as_ref() }, batch.records))
        }
        Item::Notice { key, lines } => {
            let source = Source::from_key(key);
            let text =
                format!("lepton: {lines} lines are missing here: the destination was away or too slow");
            let time_ns = clock::now_ns();
            let mut records = Vec::new();
            let record = Record { time_ns, stream: Stream::Lepton, is_part: false, text: text.as_bytes() };
            record.encode(&mut records);
            Some(each(Speaker { host, source: source.as_ref() }, Records(&records)))
        }
    }
}
