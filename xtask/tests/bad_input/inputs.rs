//! Inputs that are missing or damaged: exit code 3, and nothing damaged is ever used.

use std::fs;

use lepton_builder::digest::Digest;

use crate::support::mirror::Answer;
use crate::support::tools::Scripts;
use crate::support::{Bench, damage, listing, names, only, run, text};

/// Exit code of an input that is missing or damaged.
const INPUT: i32 = 3;
/// A package of every bench.
const SOURCE: &str = "linux-source-6.12";

/// What a bench's mirror has as the kernel's source.
fn source(bench: &Bench) -> Vec<u8> {
    let file = only(&bench.store().join("blobs"), &bench.pins[SOURCE].sha256.to_string());
    fs::read(file).expect("a blob")
}

/// What the store holds of the kernel's source.
fn stored(bench: &Bench) -> Option<Vec<u8>> {
    fs::read(bench.store().join("blobs").join(bench.pins[SOURCE].sha256.to_string())).ok()
}

#[test]
fn download_with_another_digest() {
    let bench = Bench::new();
    let pin = &bench.pins[SOURCE];
    let other = vec![b'x'; usize::try_from(pin.size).expect("it is small")];
    let found = Digest::of(&other).to_string();
    bench.mirror.set(&pin.path, Answer::File(other));
    let words =
        ["linux-source-6.12:all 1.0 from http://127.0.0.1", "is damaged", &found, &pin.sha256.to_string()];
    bench.fails(bench.image(&[]), INPUT, &words);
    assert_eq!(stored(&bench), None, "damaged bytes are in the store");
    // What arrived whole is kept, so that the next try is short: the other packages of the kernel's tools, and of the
    // stage that ran beside it.
    assert_eq!(names(&bench.store().join("blobs")).len(), 3);
}

#[test]
fn page_instead_of_a_package() {
    let bench = Bench::new();
    bench.mirror.set(&bench.pins[SOURCE].path, Answer::File(b"<html>please log in</html>".to_vec()));
    let wanted = format!("wants {} bytes", bench.pins[SOURCE].size);
    bench.fails(bench.image(&[]), INPUT, &["is damaged: 26 bytes", &wanted]);
    assert_eq!(stored(&bench), None, "damaged bytes are in the store");
}

#[test]
fn truncated_download() {
    let bench = Bench::new();
    let good = Bench::new();
    good.build();
    bench.mirror.set(&bench.pins[SOURCE].path, Answer::Half(source(&good)));
    let words = ["cannot download linux-source-6.12:all 1.0 from http://127.0.0.1", &bench.pins[SOURCE].path];
    bench.fails(bench.image(&[]), INPUT, &words);
    assert_eq!(stored(&bench), None, "half a file is in the store");
}

#[test]
fn unreachable_mirror() {
    let bench = Bench::new();
    let mut command = bench.image(&[]);
    // Port 1 is reserved and nothing listens there.
    command.env("LEPTON_DEBIAN_MIRROR", "http://127.0.0.1:1/debian");
    let words = ["cannot download", "http://127.0.0.1:1/debian/pool/", "refused", "out of reach"];
    bench.fails(command, INPUT, &words);
}

#[test]
fn version_that_the_mirror_replaced() {
    let bench = Bench::new();
    bench.mirror.remove(&bench.pins[SOURCE].path);
    let words = [
        "cannot download linux-source-6.12:all 1.0",
        "404",
        "cargo xtask lock --update linux-source-6.12",
        "snapshot",
    ];
    bench.fails(bench.image(&[]), INPUT, &words);
}

#[test]
fn offline_with_an_empty_store() {
    let bench = Bench::new();
    bench.fails(
        bench.image(&["--offline"]),
        INPUT,
        &["the store lacks: 2", "the first is shell:all", "without --offline"],
    );
    assert_eq!(bench.mirror.asked(), [""; 0]);
}

#[test]
fn offline_with_a_full_store() {
    let bench = Bench::new();
    let online = bench.build();
    fs::remove_dir_all(bench.out()).expect("the output folder");
    bench.mirror.remove_all();
    let output = run(bench.image(&["--offline"]));
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(listing(&bench.out()), online);
}

#[test]
fn mirror_whose_security_archive_is_unknown() {
    let bench = Bench::new();
    let mut command = bench.image(&[]);
    command.env("LEPTON_DEBIAN_MIRROR", "http://127.0.0.1:1/other");
    let words = ["no Debian mirror is known", "security archive is unknown", "set LEPTON_DEBIAN_MIRROR"];
    bench.fails(command, INPUT, &words);
}

#[test]
fn machine_that_knows_no_mirror() {
    let bench = Bench::new();
    let setup = "mount --bind \"$HOME\" /etc/apt && unset LEPTON_DEBIAN_MIRROR";
    let command = bench.image_after(setup, &["--user", "--map-root-user", "--mount"], ":");
    bench.fails(command, INPUT, &["no Debian mirror is known", "set LEPTON_DEBIAN_MIRROR"]);
}

#[test]
fn renewal_from_a_mirror_without_indexes() {
    let bench = Bench::new();
    bench.write("builder/tools.toml", "[[suites]]\narchive = \"debian\"\nname = \"trixie\"\n\n[sets]\n");
    let files = listing(&bench.path("repo"));
    let words = ["apt-get", bench.mirror.address(), "404", "set LEPTON_DEBIAN_MIRROR"];
    bench.fails(bench.xtask(&["lock", "--update"]), INPUT, &words);
    assert_eq!(listing(&bench.path("repo")), files, "the repository changed");
}

#[test]
fn package_that_is_no_archive() {
    let bench = Bench::new();
    let pin = &bench.pins[SOURCE];
    let other = b"not an archive";
    bench.replace("packages.lock", &format!("size = {}", pin.size), &format!("size = {}", other.len()));
    bench.replace("packages.lock", &pin.sha256.to_string(), &Digest::of(other).to_string());
    bench.mirror.set(&pin.path, Answer::File(other.to_vec()));
    bench.fails(bench.image(&[]), INPUT, &["cannot unpack", &Digest::of(other).to_string()]);
}

#[test]
fn damaged_blob_is_fetched_again() {
    let bench = Bench::new();
    let first = bench.build();
    let good = stored(&bench);
    forget_all_but_blobs(&bench);
    damage(&bench.store().join("blobs").join(bench.pins[SOURCE].sha256.to_string()));
    let asked = bench.mirror.asked().len();
    assert_eq!(bench.build(), first);
    assert_eq!(stored(&bench), good);
    assert_eq!(bench.mirror.asked()[asked..], [bench.pins[SOURCE].path.clone()]);
}

#[test]
fn damaged_blob_is_not_used() {
    let bench = Bench::new();
    bench.build();
    forget_all_but_blobs(&bench);
    damage(&bench.store().join("blobs").join(bench.pins[SOURCE].sha256.to_string()));
    bench.fails(bench.image(&["--offline"]), INPUT, &["the store lacks: 1", "linux-source-6.12:all"]);
}

/// Leaves the downloads and removes all that was made of them, and the artifacts.
fn forget_all_but_blobs(bench: &Bench) {
    for folder in [bench.store().join("trees"), bench.store().join("outputs"), bench.out()] {
        fs::remove_dir_all(&folder).expect("a folder of the bench");
        fs::create_dir(&folder).expect("a folder of the bench");
    }
}

#[test]
fn damaged_outputs_are_made_again() {
    let bench = Bench::new();
    let first = bench.build();
    let outputs = bench.store().join("outputs");
    for (output, file) in
        [("vmlinuz", "vmlinuz"), ("vmlinuz", "config"), ("init", "init"), ("init", "output.json")]
    {
        let mut folders = names(&outputs).into_iter().map(|name| outputs.join(name));
        let folder = folders.find(|folder| folder.join(output).is_file()).expect("an output with this file");
        let holder = folder.join(file);
        let good = fs::read(&holder).expect("a file of the store");
        damage(&holder);
        fs::remove_dir_all(bench.out()).expect("the output folder");
        assert_eq!(bench.build(), first, "{file}");
        assert!(fs::read(&holder).expect("it is made again") == good, "{file}");
    }
}

#[test]
fn tool_that_fails() {
    let bench = Bench::with(Scripts::default().with("mkfs.erofs", "echo it is out of order; exit 9"));
    bench.fails(bench.image(&[]), 4, &["mkfs.erofs", "exit status: 9", "it is out of order"]);
}
