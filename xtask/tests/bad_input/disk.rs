//! Full disks: exit code 1, wherever the space ends. Each disk is a small tmpfs that only the build sees.

use std::collections::BTreeSet;
use std::fs;

use crate::support::repository::DATA_BYTES;
use crate::support::{Bench, Listing, listing, run, text};

/// Exit code of errors without a class of their own.
const OTHER: i32 = 1;
/// What the operating system says of it.
const FULL: &str = "No space left on device";

/// Builds with a disk of `kib` KiB mounted over `folder` of the bench, and gives what was left there.
fn fails_on_a_full_disk(bench: &Bench, folder: &str, kib: u64, words: &[&str]) -> Listing {
    let seen = bench.path("seen");
    fs::create_dir(&seen).expect("a folder of the bench");
    let (disk, seen_shown) = (bench.path(folder).display().to_string(), seen.display().to_string());
    let setup = format!("mount -t tmpfs -o size={kib}k tmpfs '{disk}'");
    // The disk vanishes with its namespace, so what is left on it is copied; names suffice.
    let check = format!(
        "cd '{disk}'; find . -type d | (cd '{seen_shown}'; xargs mkdir -p); \
         find . -type f | (cd '{seen_shown}'; xargs -r touch)"
    );
    let command = bench.image_after(&setup, &["--user", "--map-root-user", "--mount"], &check);
    bench.fails(command, OTHER, words);
    listing(&seen)
}

/// No scratch folders are left in the store, and this many trees, which are whole.
fn assert_left(store: &Listing, trees: usize) {
    let below = |folder: &str| -> BTreeSet<String> {
        let names = store.keys().filter_map(|path| path.strip_prefix(folder).ok()?.iter().next());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    };
    let work = below("work");
    // What outlives a build is told by its name.
    assert!(work.iter().all(|name| name.starts_with("cache-")), "{work:?} in the store's work");
    assert!(!below("locks").is_empty(), "the store was not used");
    assert_eq!(below("trees").len(), trees);
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
    let words = ["cannot download shell:all 1.0", "store/work/download-", FULL];
    let left = fails_on_a_full_disk(&bench, "store", 256, &words);
    assert_left(&left, 0);
}

#[test]
fn store_is_full_while_unpacking() {
    let bench = Bench::new();
    let packed: u64 = bench.pins.values().map(|pin| pin.size).sum();
    let left = fails_on_a_full_disk(&bench, "store", packed * 3 / 2 / 1024, &["cannot unpack", FULL]);
    assert_left(&left, 0);
}

/// The kernel's source is unpacked and the kernel is made, but the root finds no room.
#[test]
fn store_is_full_while_building() {
    let bench = Bench::new();
    // First on a large disk, to learn how much a whole build takes.
    let size = bench.path("size");
    let setup = format!("mount -t tmpfs tmpfs '{}'", bench.store().display());
    let check = format!("cd '{}'; du -ks . | cut -f1 > '{}'", bench.store().display(), size.display());
    let command = bench.image_after(&setup, &["--user", "--map-root-user", "--mount"], &check);
    let output = run(command);
    assert!(output.status.success(), "{}", text(&output));
    fs::remove_dir_all(bench.out()).expect("artifacts");
    fs::create_dir(bench.out()).expect("the output folder");
    let used: u64 =
        fs::read_to_string(size).expect("it was written").trim().parse().expect("a number of KiB");
    let half_of_a_root = DATA_BYTES as u64 / 1024 / 2;
    let words = ["cannot write", "root.tar", FULL];
    let left = fails_on_a_full_disk(&bench, "store", used + half_of_a_root, &words);
    // The kernel's, the C library's, and one for Rust and the file systems, which take the same packages here.
    assert_left(&left, 3);
}
