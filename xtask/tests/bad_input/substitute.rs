//! A substitute that is good, damaged, half there or out of reach: what it cannot give is built, and nothing that
//! differs from its own list of digests is ever used.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::mirror::Answer;
use crate::support::{Bench, damage, listing, names, only, run, text};

/// The package that only building a kernel asks for.
const SOURCE: &str = "linux-source-6.12";
/// What a build takes: the kernel, PID 1 and the empty state partition.
const OUTPUTS: usize = 3;

/// A bench that has built, whose store others may use.
fn donor() -> Bench {
    let donor = Bench::new();
    donor.build();
    donor
}

/// The entry of a store that has this file.
fn entry(bench: &Bench, file: &str) -> PathBuf {
    let outputs = bench.store().join("outputs");
    let mut folders = names(&outputs).into_iter().map(|name| outputs.join(name));
    folders.find(|folder| folder.join(file).is_file()).expect("an entry with this file")
}

/// Puts the donor's entries on its mirror and gives their address.
fn serve(donor: &Bench) -> String {
    for (path, facts) in listing(&donor.store().join("outputs")) {
        if facts.is_some() {
            let bytes = fs::read(donor.store().join("outputs").join(&path)).expect("a file of the store");
            donor.mirror.set(&format!("shared/outputs/{}", path.display()), Answer::File(bytes));
        }
    }
    format!("{}/shared", donor.mirror.address())
}

/// Builds with a substitute, which must give what the donor has, and gives what was printed.
fn build(bench: &Bench, donor: &Bench, substitute: &str, more: &[&str]) -> String {
    let mut command = bench.image(more);
    command.env("LEPTON_SUBSTITUTE", substitute);
    let output = run(command);
    assert!(output.status.success(), "{}", text(&output));
    bench.assert_no_leftovers();
    assert_eq!(listing(&bench.out()), listing(&donor.out()), "a substitute changed the artifacts");
    let theirs = listing(&donor.store().join("outputs"));
    for (path, facts) in listing(&bench.store().join("outputs")) {
        assert_eq!(Some(&facts), theirs.get(&path), "a substitute changed {}", path.display());
    }
    text(&output)
}

fn kernel_was_built(bench: &Bench) -> bool {
    bench.mirror.asked().contains(&bench.pins[SOURCE].path)
}

#[test]
fn from_a_folder() {
    let (donor, bench) = (donor(), Bench::new());
    let text = build(&bench, &donor, &donor.store().display().to_string(), &[]);
    assert_eq!(text.matches("taken from").count(), OUTPUTS, "{text}");
    assert!(text.contains("config release vmlinuz ("), "{text}");
    assert!(!kernel_was_built(&bench), "the kernel was built");
}

#[test]
fn from_an_address() {
    let (donor, bench) = (donor(), Bench::new());
    let text = build(&bench, &donor, &serve(&donor), &[]);
    assert_eq!(text.matches("taken from http://127.0.0.1").count(), OUTPUTS, "{text}");
    assert!(!kernel_was_built(&bench), "the kernel was built");
}

#[test]
fn damaged_file_in_a_folder() {
    let (donor, bench) = (donor(), Bench::new());
    let copy = bench.path("damaged");
    let good = entry(&donor, "vmlinuz");
    let bad = copy.join("outputs").join(good.file_name().expect("it has a name"));
    fs::create_dir_all(&bad).expect("a folder in a new folder");
    for name in names(&good) {
        fs::copy(good.join(&name), bad.join(&name)).expect("a file of the store");
    }
    damage(&bad.join("vmlinuz"));
    let text = build(&bench, &donor, &copy.display().to_string(), &[]);
    assert!(text.contains("vmlinuz is damaged") && text.contains("it is built here"), "{text}");
    assert_eq!(text.matches("substitute ").count(), 1, "{text}");
    assert!(kernel_was_built(&bench));
}

#[test]
fn damaged_list_and_missing_file_in_a_folder() {
    for (file, words) in
        [("output.json", "its list of digests is damaged"), ("vmlinuz", "vmlinuz is missing")]
    {
        let (donor, bench) = (donor(), Bench::new());
        let copy = bench.path("damaged");
        fs::create_dir(&copy).expect("a folder in a new folder");
        let good = listing(&donor.store().join("outputs"));
        for (path, facts) in &good {
            let (from, to) = (donor.store().join("outputs").join(path), copy.join("outputs").join(path));
            match facts {
                None => fs::create_dir_all(to).expect("a folder of the copy"),
                Some(_) => fs::create_dir_all(to.parent().expect("it lies in the copy"))
                    .and_then(|()| fs::copy(from, to))
                    .map(drop)
                    .expect("a file of the copy"),
            }
        }
        let entry = entry(&donor, "vmlinuz");
        let path = copy.join("outputs").join(entry.file_name().expect("it has a name")).join(file);
        if file == "vmlinuz" {
            fs::remove_file(path).expect("a file of the copy");
        } else {
            fs::write(path, "{\"vmlinuz\":").expect("a file of the copy");
        }
        let text = build(&bench, &donor, &copy.display().to_string(), &[]);
        assert!(text.contains(words), "{text}");
        assert_eq!(text.matches("taken from").count(), OUTPUTS - 1, "the other entries are good\n{text}");
    }
}

#[test]
fn damaged_and_truncated_files_from_an_address() {
    let half: fn(Vec<u8>) -> Answer = Answer::Half;
    let other: fn(Vec<u8>) -> Answer = |mut bytes| {
        bytes[0] ^= 1;
        Answer::File(bytes)
    };
    for (answer, words) in [(half, "vmlinuz"), (other, "vmlinuz is damaged")] {
        let (donor, bench) = (donor(), Bench::new());
        let address = serve(&donor);
        let entry = entry(&donor, "vmlinuz");
        let key = entry.file_name().expect("it has a name").to_string_lossy().into_owned();
        let bytes = fs::read(entry.join("vmlinuz")).expect("a kernel");
        donor.mirror.set(&format!("shared/outputs/{key}/vmlinuz"), answer(bytes));
        let text = build(&bench, &donor, &address, &[]);
        assert!(text.contains(&format!("entry {key}: {words}")), "{text}");
        assert!(kernel_was_built(&bench));
    }
}

#[test]
fn entries_that_an_address_lacks_are_built_without_a_word() {
    let (donor, bench) = (donor(), Bench::new());
    let text = build(&bench, &donor, &format!("{}/nothing", bench.mirror.address()), &[]);
    assert!(!text.contains("substitute") && !text.contains("taken from"), "{text}");
    assert!(kernel_was_built(&bench));
}

#[test]
fn substitutes_out_of_reach_are_named_once() {
    let donor = donor();
    for address in ["/no/such/folder", "http://127.0.0.1:1/shared"] {
        let bench = Bench::new();
        let text = build(&bench, &donor, address, &[]);
        assert_eq!(text.matches("it cannot be read").count(), 1, "{text}");
        assert!(text.contains(&format!("substitute {address}")), "{text}");
    }
}

#[test]
fn address_that_does_not_go_on_is_given_up() {
    let (donor, bench) = (donor(), Bench::new());
    let address = serve(&donor);
    for (path, facts) in listing(&donor.store().join("outputs")) {
        if facts.is_some() {
            donor
                .mirror
                .set(&format!("shared/outputs/{}", path.display()), Answer::Stall(b"{\"vmlinuz\":".to_vec()));
        }
    }
    let started = Instant::now();
    let text = build(&bench, &donor, &address, &[]);
    assert!(text.contains("it cannot be read"), "{text}");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn offline_takes_folders_and_refuses_addresses() {
    let (donor, bench) = (donor(), Bench::new());
    bench.build();
    for folder in [bench.store().join("outputs"), bench.out()] {
        fs::remove_dir_all(&folder).expect("a folder of the bench");
        fs::create_dir(&folder).expect("a folder of the bench");
    }
    // Without its source the kernel can only be taken.
    fs::remove_file(only(&bench.store().join("blobs"), &bench.pins[SOURCE].sha256.to_string()))
        .expect("a download");
    let text = build(&bench, &donor, &donor.store().display().to_string(), &["--offline"]);
    assert_eq!(text.matches("taken from").count(), OUTPUTS, "{text}");

    let mut command = bench.image(&["--offline"]);
    command.env("LEPTON_SUBSTITUTE", "http://127.0.0.1:1/shared");
    bench.fails(command, 2, &["LEPTON_SUBSTITUTE is the address http://127.0.0.1:1", "--offline"]);
}
