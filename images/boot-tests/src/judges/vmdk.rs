//! The VMDK read by 7-Zip, whose reader shares no code with QEMU's (`disk.rs`): the same bytes as in the raw disk.

use std::path::Path;

use super::case::{Defect, hold};
use super::{Verdict, disk, tool};
use crate::Context;

/// A failure of 7-Zip adds bytes to what it wrote, so that nothing that it complains about can be equal.
const COMPARE: &str = "{ 7z e -tVMDK -so \"$1\" || echo failed; } | cmp - /raw";

pub(super) fn disk(cx: &Context) -> Verdict {
    let raw = cx.artifact("raw")?;
    let judge = |image: &Path| {
        let compare = tool::on(cx, "sh", image).read_only(&raw, "/raw").args(["-ec", COMPARE, "compare"]);
        tool::ask("7z", &compare.arg(tool::shown(image))).map(drop)
    };
    hold(
        &cx.artifact("vmdk")?,
        &judge,
        &[
            Defect::new("a changed grain", &|copy| copy.flip(disk::FIRST_DATA + 100)),
            Defect::new("a file that was cut", &|copy| copy.set_len(copy.len()? / 2)),
            Defect::new("another place of the grain directory", &|copy| copy.flip(copy.len()? - 1024 + 56)),
        ],
    )
}
