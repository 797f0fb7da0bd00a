//! The kernel's resolved configuration against `kernel-config/resolved/`: a symbol that changes is seen in review.

use std::fs;
use std::path::Path;

use super::case::{Defect, hold};
use super::files::difference;
use super::{Verdict, require};
use crate::Context;
use crate::context::{Goldens, TestError};

pub(super) fn resolved(cx: &Context) -> Verdict {
    let (built, golden) = (cx.artifact("kconfig")?, &cx.kernel_config);
    if cx.goldens == Goldens::Update {
        let folder = golden.parent().unwrap_or(golden);
        fs::create_dir_all(folder).map_err(TestError::file("make", folder))?;
        fs::copy(&built, golden).map_err(TestError::file("write", golden))?;
    }
    // A golden file that is missing differs in every line.
    let wanted = fs::read_to_string(golden).unwrap_or_default();
    let judge = |config: &Path| {
        let found = fs::read_to_string(config).map_err(TestError::file("read", config))?;
        require("golden file", found == wanted, || {
            format!(
                "{}{}\nhint: with UPDATE_EXPECT=1 the test writes it",
                golden.display(),
                difference(&wanted, &found)
            )
        })
    };
    hold(
        &built,
        &judge,
        &[
            Defect::new("a missing line", &|copy| copy.set_len(copy.len()? - 1)),
            // Inside a line in the middle, whatever it says.
            Defect::new("a changed symbol", &|copy| copy.write(copy.len()? / 2, b"?")),
        ],
    )
}
