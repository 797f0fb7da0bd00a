//! Full disks: exit code 1, wherever the space ends. Each disk is a small tmpfs that only the build sees.

use std::fs;

use crate::support::repository::DATA_BYTES;
use crate::support::{Bench, Listing, listing};

/// Exit code of errors without a class of their own.
const OTHER: i32 = 1;
/// What the operating system says of it.
const FULL: &str = "No space left on device";

/// Builds with a disk of `kib` KiB mounted over `folder` of the bench, and gives what was left there.
fn fails_on_a_full_disk(bench: &Bench, folder: &str, kib: u64, words: &[&str]) -> Listing {
    let disk = bench.path(folder);
    let seen = bench.path("seen");
    fs::create_dir(&seen).expect("a folder of the bench");
    let setup = format!("mount -t tmpfs -o size={kib}k tmpfs '{}'", disk.display());
    // The disk vanishes with its namespace, so what is left on it is copied; names suffice.
    let check = format!(
        "cd '{}' && find . -mindepth 1 -type d | (cd '{}' && xargs -r mkdir -p); find . -type f | (cd '{1}' && xargs -r touch)",
        disk.display(),
        seen.display()
    );
    let command = bench.image_after(&setup, &["--user", "--map-root-user", "--mount"], &check);
    bench.fails(command, OTHER, words);
    listing(&seen)
}

fn assert_no_work(store: &Listing) {
    let work = store.keys().filter(|path| path.starts_with("work"));
    let left: Vec<_> = work
        .filter(|path| {
            path.components()
                .nth(1)
                .is_some_and(|name| !name.as_os_str().to_string_lossy().starts_with("cache-"))
        })
        .collect();
    assert!(left.is_empty(), "{left:?} is left in the store");
}

#[test]
fn output_folder_is_full() {
    let bench = Bench::new();
    let kib = DATA_BYTES as u64 / 1024 / 2;
    let left = fails_on_a_full_disk(&bench, "out", kib, &["cannot write", "tiny", FULL]);
    assert!(left.is_empty(), "{left:?} is left in the output folder");
}

#[test]
fn output_folder_is_full_after_the_first_artifact() {
    let bench = Bench::new();
    let kib = DATA_BYTES as u64 / 1024 * 3 / 2;
    let left = fails_on_a_full_disk(&bench, "out", kib, &["cannot write", "pxe", FULL]);
    assert!(left.is_empty(), "{left:?} is left in the output folder");
}

#[test]
fn store_is_full_while_downloading() {
    let bench = Bench::new();
    let left = fails_on_a_full_disk(&bench, "store", 256, &[FULL]);
    assert_no_work(&left);
    assert_eq!(left.keys().filter(|path| path.starts_with("trees")).count(), 1, "{left:?}");
}

#[test]
fn store_is_full_while_unpacking() {
    let bench = Bench::new();
    let packed: u64 = bench.pins.values().map(|pin| pin.size).sum();
    let left = fails_on_a_full_disk(&bench, "store", packed * 3 / 2 / 1024, &["cannot unpack", FULL]);
    assert_no_work(&left);
    assert_eq!(left.keys().filter(|path| path.starts_with("trees")).count(), 1, "{left:?}");
}
