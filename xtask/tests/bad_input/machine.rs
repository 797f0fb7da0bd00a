//! Machines that forbid what a build needs, and builds that meet in one store.

use std::fs;

use crate::support::{Bench, listing, rest_of_errors, start};

/// An ordinary user where no user namespace can be made is told which settings forbid it.
#[test]
fn forbidden_user_namespaces() {
    let bench = Bench::new();
    let options = ["--user", "--map-user=1000", "--map-group=1000", "--keep-caps"];
    let command = bench.image_after("echo 0 > /proc/sys/user/max_user_namespaces", &options, ":");
    let words = [
        "builds run in a sandbox, which cannot be made here",
        "cannot make namespaces: the system allows no more of them",
        "user.max_user_namespaces",
        "kernel.unprivileged_userns_clone",
        "kernel.apparmor_restrict_unprivileged_userns",
    ];
    bench.fails(command, 1, &words);
    assert_eq!(bench.mirror.asked(), [""; 0], "nothing is downloaded for a build that cannot run");
}

/// Both start from nothing, so they meet at every download, tree and output.
#[test]
fn two_builds_share_a_store() {
    let bench = Bench::new();
    let outs = [bench.path("first"), bench.path("second")];
    let builds = outs.clone().map(|out| {
        let mut command = bench.xtask(&["image", "tiny", "--format", "uki,pxe"]);
        command.arg("--out").arg(out);
        start(command)
    });
    for mut build in builds {
        let text = rest_of_errors(&mut build);
        let status = build.wait().expect("it can be waited for");
        assert!(status.success(), "{status}\n{text}");
    }
    bench.assert_no_leftovers();
    let [first, second] = outs.map(|out| listing(&out));
    assert!(!first.is_empty());
    assert_eq!(first, second);
    let mut asked = bench.mirror.asked();
    asked.sort();
    let count = asked.len();
    asked.dedup();
    assert_eq!(asked.len(), count, "a package was downloaded twice: {asked:?}");
}

/// A store that cannot be written to is named.
#[test]
fn store_in_the_place_of_a_file() {
    let bench = Bench::new();
    fs::remove_dir(bench.store()).expect("an empty store");
    fs::write(bench.store(), "a file").expect("a file");
    let mut command = bench.image(&[]);
    command.env("LEPTON_STORE", bench.store());
    bench.fails(command, 1, &["cannot make", "store/blobs"]);
}
