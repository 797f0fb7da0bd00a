//! The command line with the real repository, kernel source and compilers: `cargo xtask test` runs these after it has
//! built the image. Nothing in its store is changed.
#![expect(
    clippy::disallowed_methods,
    reason = "these tests start the program under test and are told where the store is"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use walkdir::WalkDir;

/// The variable that names the store of a finished build.
const STORE_VARIABLE: &str = "LEPTON_TEST_STORE";
/// The variable that names the image and the architecture that the store was filled for.
const IMAGE_VARIABLE: &str = "LEPTON_TEST_IMAGE";
/// What a copy of the repository holds: the descriptions, and no code.
const DESCRIPTIONS: [&str; 5] =
    ["packages.lock", "builder/tools.toml", "images", "kernel-config", "packages"];

/// A store that holds everything that one image is made of.
struct Finished {
    store: PathBuf,
    image: String,
    arch: String,
}

/// What the variables name, or nothing where they are not set.
fn finished() -> Option<Finished> {
    let Some(store) = std::env::var_os(STORE_VARIABLE) else {
        eprintln!(
            "left out: {STORE_VARIABLE} is not set; `cargo xtask test` sets it when it has built the image"
        );
        return None;
    };
    let target = std::env::var(IMAGE_VARIABLE).expect("it is set together with the store");
    let (image, arch) = target.split_once(' ').expect("it names an image and an architecture");
    Some(Finished { store: store.into(), image: image.to_owned(), arch: arch.to_owned() })
}

/// A store in `dir` with what `finished` has in these folders, but for the entries that are left out.
fn store_like(finished: &Path, dir: &Path, folders: &[&str], left_out: impl Fn(&Path) -> bool) -> PathBuf {
    let store = dir.join("store");
    for folder in folders {
        fs::create_dir_all(store.join(folder)).expect("a folder in a new folder");
        for entry in WalkDir::new(finished.join(folder)).min_depth(1).max_depth(1).sort_by_file_name() {
            let entry = entry.expect("the store can be read");
            if !left_out(entry.path()) {
                let link = store.join(folder).join(entry.file_name());
                symlink(entry.path(), link).expect("a link in a new folder");
            }
        }
    }
    store
}

/// A command about the image that the store was filled for.
fn xtask(store: &Path, command: &str, finished: &Finished) -> Command {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["--quiet", command, &finished.image, "--arch", &finished.arch]);
    xtask.env("LEPTON_STORE", store).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    xtask
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The gate that nothing asked for is lost, on the real kconfig: a symbol no kernel has, and one that only another
/// symbol may set.
#[test]
fn symbols_that_kconfig_does_not_give() {
    let Some(finished) = finished() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = store_like(&finished.store, dir.path(), &["blobs", "trees"], |_| false);
    let repo = dir.path().join("repo");
    copy_descriptions(&repo);
    let fragment = repo.join("kernel-config/base.config");
    let wanted = fs::read_to_string(&fragment).expect("the fragment");
    let line = wanted.lines().count() + 1;
    fs::write(&fragment, format!("{wanted}CONFIG_NO_SUCH_SYMBOL=y\nCONFIG_BROKEN=y\n"))
        .expect("the fragment");
    let mut command = xtask(&store, "plan", &finished);
    let output = command.args(["--kernel-config", "--repo"]).arg(&repo).output().expect("it starts");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(output.stdout, b"", "a configuration that is not what was asked for is not printed");
    let next = line + 1;
    for words in [
        "lost 2 wanted symbols",
        &format!("kernel-config/base.config:{line}: CONFIG_NO_SUCH_SYMBOL=y became n"),
        &format!("kernel-config/base.config:{next}: CONFIG_BROKEN=y became n"),
    ] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    assert_eq!(
        WalkDir::new(store.join("work")).min_depth(1).into_iter().count(),
        0,
        "work is left in the store"
    );
}

/// Two builds at once compile PID 1 once, and write the same bytes.
#[test]
fn two_builds_share_a_store() {
    let Some(finished) = finished() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    // Without the kernel's tools and downloads, a kernel that is not there is an error and not an hour of work.
    let left_out = |entry: &Path| entry.join("init").exists() || entry.join("usr/bin/make").exists();
    let store = store_like(&finished.store, dir.path(), &["trees", "outputs"], left_out);
    let outs = [dir.path().join("first"), dir.path().join("second")];
    let builds = outs.clone().map(|out| {
        let mut command = xtask(&store, "image", &finished);
        command.args(["--offline", "--format", "uki,iso,ova", "--out"]).arg(out).spawn().expect("it starts")
    });
    for build in builds {
        let output = build.wait_with_output().expect("it can be waited for");
        assert!(output.status.success(), "{}", text(&output));
    }
    let [first, second] = outs.map(|out| contents(&out));
    assert_eq!(
        first.len(),
        8,
        "artifacts, manifest, configuration, bill of materials, provenance and digests"
    );
    assert!(first == second, "two builds at once gave different bytes");
}

fn contents(out: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = WalkDir::new(out).min_depth(1).sort_by_file_name().into_iter();
    let file = |entry: walkdir::DirEntry| {
        let name = entry.path().strip_prefix(out).expect("it was found below").to_owned();
        (name, fs::read(entry.path()).expect("an artifact"))
    };
    entries.map(|entry| file(entry.expect("the folder can be read"))).collect()
}

fn copy_descriptions(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository");
    for name in DESCRIPTIONS {
        for entry in WalkDir::new(from.join(name)).sort_by_file_name() {
            let entry = entry.expect("the repository can be read");
            let target = to.join(entry.path().strip_prefix(from).expect("it was found below"));
            if entry.file_type().is_file() {
                fs::create_dir_all(target.parent().expect("it lies in the copy"))
                    .expect("a folder of the copy");
                fs::copy(entry.path(), target).expect("a file of the copy");
            }
        }
    }
}
