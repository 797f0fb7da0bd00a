//! Mistakes in descriptions and arguments: exit code 2, with file, line and the nearest right name.

use crate::support::Bench;

/// Exit code of a wrong description, argument or lock.
const SPEC: i32 = 2;

#[test]
fn unknown_key_in_an_image() {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "packages = ", "packges = ");
    let words = ["images/tiny.toml:3: unknown field `packges`", "did you mean \"packages\"?"];
    bench.fails(bench.image(&[]), SPEC, &words);
}

#[test]
fn unknown_key_in_a_table_of_an_image() {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "ready-ms = ", "ready-mss = ");
    let words = ["images/tiny.toml:12: unknown field `ready-mss`", "did you mean \"ready-ms\"?"];
    bench.fails(bench.image(&[]), SPEC, &words);
}

#[test]
fn unknown_keys_in_a_package() {
    for (from, to, line, right) in [
        ("summary = ", "sumary = ", 1, "summary"),
        ("[[install]]", "[[instal]]", 6, "install"),
        ("from = ", "form = ", 7, "from"),
        ("kind = \"files\"", "kind = \"fils\"", 4, "files"),
        // What fits depends on the kind, so the table is named and not the line in it.
        ("kind = \"files\"", "kind = \"files\"\nknd = 1", 3, "field `knd`"),
    ] {
        let bench = Bench::new();
        bench.replace("packages/base/package.toml", from, to);
        let place = format!("packages/base/package.toml:{line}: unknown ");
        bench.fails(bench.image(&[]), SPEC, &[&place, right]);
    }
}

#[test]
fn text_that_is_no_toml() {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "default = true", "default = ");
    bench.fails(bench.image(&[]), SPEC, &["images/tiny.toml:2: "]);
}

#[test]
fn unknown_package() {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "[\"base\"]", "[\n  \"base\",\n  \"identty\",\n]");
    let words = ["images/tiny.toml:5: no package \"identty\" in packages/", "did you mean \"identity\"?"];
    bench.fails(bench.image(&[]), SPEC, &words);
}

#[test]
fn unknown_package_that_another_needs() {
    let bench = Bench::new();
    bench.replace("packages/base/package.toml", "\n[source]", "needs = [\"identity\", \"bsae\"]\n\n[source]");
    let words = ["packages/base/package.toml:2: no package \"bsae\"", "did you mean \"base\"?"];
    bench.fails(bench.image(&[]), SPEC, &words);
}

#[test]
fn all_mistakes_are_told_together() {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "[\"base\"]", "[\"first\", \"second\"]");
    bench.fails(
        bench.image(&[]),
        SPEC,
        &["tiny.toml:3: no package \"first\"", "tiny.toml:3: no package \"second\""],
    );
}

#[test]
fn unknown_image() {
    let bench = Bench::new();
    let words = ["no image \"tny\"", "did you mean \"tiny\"?", "images: tiny"];
    bench.fails(bench.xtask(&["plan", "tny"]), SPEC, &words);
    bench.fails(bench.xtask(&["image", "tny"]), SPEC, &words);
}

#[test]
fn image_names_with_a_path() {
    let bench = Bench::new();
    std::fs::copy(bench.path("repo/images/tiny.toml"), bench.path("repo/tiny.toml")).expect("a copy");
    for name in ["../tiny", "a/b", "/etc/passwd", "..", "", "Tiny", "tiny.toml"] {
        let words = [&format!("{name:?} is not an image name"), "use lower-case letters"];
        bench.fails(bench.xtask(&["image", name]), SPEC, &words);
    }
}

#[test]
fn unsupported_architecture() {
    let bench = Bench::new();
    let words = ["unsupported architecture \"mips\"", "supported: x86_64, aarch64"];
    bench.fails(bench.image(&["--arch", "mips"]), SPEC, &words);
    bench.fails(bench.xtask(&["plan", "--arch", "mips"]), SPEC, &words);
}

#[test]
fn unknown_format() {
    let bench = Bench::new();
    let words = [
        "unknown format \"qcow\"",
        "did you mean \"qcow2\"?",
        "formats: uki, raw, qcow2, vmdk, ova, iso, pxe",
    ];
    bench.fails(bench.xtask(&["image", "--format", "uki,qcow"]), SPEC, &words);
}

#[test]
fn wrong_port_forward() {
    let bench = Bench::new();
    bench.fails(bench.xtask(&["run", "--forward", "80"]), SPEC, &["\"80\" is no port forward", "HOST:GUEST"]);
    bench.fails(
        bench.xtask(&["run", "--firmware", "bios"]),
        SPEC,
        &["only the ISO boots with BIOS", "--format iso"],
    );
}

#[test]
fn package_that_installs_a_missing_file() {
    let bench = Bench::new();
    bench.replace("packages/base/package.toml", "files/data", "files/date");
    bench.fails(bench.image(&[]), SPEC, &["package base installs", "packages/base/files/date"]);
}

#[test]
fn lock_that_cannot_be_understood() {
    let bench = Bench::new();
    bench.replace("packages.lock", "date = 1700000000", "date = \"today\"");
    bench.fails(bench.image(&[]), SPEC, &["packages.lock", "line 1", "cargo xtask lock --update"]);
}

#[test]
fn lock_without_a_tool_set() {
    let bench = Bench::new();
    bench.replace("packages.lock", "\nkernel = ", "\nkern = ");
    bench.fails(bench.image(&[]), SPEC, &["no tool set \"kernel\"", "cargo xtask lock --update"]);
}

#[test]
fn renewal_of_a_package_that_is_not_locked() {
    let bench = Bench::new();
    let words = ["no package \"tols\" is in packages.lock", "did you mean \"tools\"?"];
    bench.fails(bench.xtask(&["lock", "--update", "tols"]), SPEC, &words);
}

#[test]
fn fragment_line_that_means_nothing() {
    let bench = Bench::new();
    bench.replace("kernel-config/base.config", "CONFIG_BINFMT_ELF=y", "CONFIG_BINFMT_ELF y");
    let words = ["kernel-config/base.config:2: \"CONFIG_BINFMT_ELF y\" is neither CONFIG_X=y"];
    bench.fails(bench.image(&[]), SPEC, &words);
}

#[test]
fn symbol_that_kconfig_does_not_give() {
    let bench = Bench::new();
    bench.write("kernel-config/base.config", "# Why.\nCONFIG_BINFMT_ELF=y\nCONFIG_IMPOSSIBLE=y\n");
    let words = [
        "lost 1 wanted symbol",
        "kernel-config/base.config:3: CONFIG_IMPOSSIBLE=y became n",
        "a dependency is off",
    ];
    bench.fails(bench.image(&[]), SPEC, &words);
    bench.fails(bench.xtask(&["plan", "tiny", "--kernel-config"]), SPEC, &words);
}

#[test]
fn repository_that_is_not_there() {
    let bench = Bench::new();
    std::fs::remove_dir_all(bench.path("repo")).expect("a repository");
    bench.fails(bench.image(&[]), SPEC, &["cannot read", "repo/packages.lock"]);
}
