//! The command line on bad input: each case gives one clear error, the documented exit code, and leaves nothing
//! in the output folder or the store. Everything runs on tiny repositories with tools of a few lines.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests start the program under test with an environment of their own"
)]

mod descriptions;
mod disk;
mod inputs;
mod interrupt;
mod machine;
mod machine_config;
mod programs;
mod repro;
mod substitute;
mod support;

use support::{Bench, run, text};

/// What the other tests break.
#[test]
fn good_input_builds() {
    let bench = Bench::new();
    let first = bench.build();
    for name in ["SHA256SUMS", "manifest.json", "kconfig", "efi", "pxe", "pxe/initrd"] {
        assert!(
            first.keys().any(|path| path.to_string_lossy().ends_with(name)),
            "{name} in {:?}",
            first.keys()
        );
    }
    let again = run(bench.image(&[]));
    assert!(text(&again).contains("(unchanged)"), "{}", text(&again));
}
