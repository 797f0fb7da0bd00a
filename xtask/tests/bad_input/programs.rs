//! Recipes whose programs are compiled: what reaches the image and its papers, and what is refused.

use std::fs;

use crate::support::{Bench, names, run, text};

/// Exit code of a wrong description.
const SPEC: i32 = 2;
/// Exit code of errors that are no class of their own.
const OTHER: i32 = 1;

const GO: &str = "summary = \"x\"\n\n[source]\nkind = \"go\"\nto = \"/usr/lib/cni\"\ntags = [\"small\"]\n\n\
                  [source.commands]\none = \"example.org/plugins/one\"\ntwo = \"example.org/plugins/two\"\n";

/// A bench whose image has a package `plugins` with this recipe.
fn bench(recipe: &str) -> Bench {
    let bench = Bench::new();
    bench.replace("images/tiny.toml", "[\"base\"]", "[\"base\", \"plugins\"]");
    bench.write("packages/plugins/package.toml", recipe);
    bench
}

/// The only artifact whose name ends so.
fn paper(bench: &Bench, end: &str) -> String {
    let files: Vec<String> = names(&bench.out()).into_iter().filter(|name| name.ends_with(end)).collect();
    let [file] = &files[..] else { panic!("{files:?}") };
    fs::read_to_string(bench.out().join(file)).expect("an artifact")
}

#[test]
fn programs_of_go_modules() {
    let bench = bench(GO);
    bench.write("packages/plugins/go.mod", "module plugins\n");
    bench.write("packages/plugins/tools.go", "package tools\n");
    // Before anything is compiled: the module's pins are part of what the image is made of.
    bench.fails(bench.image(&[]), OTHER, &["cannot read", "packages/plugins/go.sum"]);
    bench.write("packages/plugins/go.sum", "example.org/plugins v1.2.3 h1:x\n");
    bench.build();
    let sbom = paper(&bench, ".spdx.json");
    for part in ["pkg:golang/example.org/plugins@v1.2.3", "./usr/lib/cni/one", "./usr/lib/cni/two"] {
        assert!(sbom.contains(part), "{part} in {sbom}");
    }
    let provenance = paper(&bench, ".provenance.json");
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for part in ["pkg:golang/example.org/netlink@v0.4.0", &format!("\"dirHash\": \"{hash}\"")] {
        assert!(provenance.contains(part), "{part} in {provenance}");
    }
    assert!(text(&run(bench.image(&[]))).contains("(unchanged)"));
    bench.replace("packages/plugins/go.sum", "h1:x", "h1:y");
    assert!(!text(&run(bench.image(&[]))).contains("(unchanged)"), "other pins are another image");
}

#[test]
fn programs_of_several_crates() {
    let recipe = "summary = \"x\"\n\n[source]\nkind = \"workspace\"\ncrate = \"plugins\"\n\
                  more = [{ crate = \"plugins/part\", to = \"/usr/lib/part\" }]\n";
    let bench = bench(recipe);
    bench.replace("Cargo.toml", "[\"init\"]", "[\"init\", \"packages/plugins\", \"packages/plugins/part\"]");
    for (folder, name) in [("packages/plugins", "plugins"), ("packages/plugins/part", "part")] {
        let manifest = format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n");
        bench.write(&format!("{folder}/Cargo.toml"), &manifest);
    }
    bench.build();
    let sbom = paper(&bench, ".spdx.json");
    for part in ["./usr/bin/plugins", "./usr/lib/part", "SPDXRef-Crate-part-0.1.0"] {
        assert!(sbom.contains(part), "{part} in {sbom}");
    }
    bench.write("packages/plugins/part/src/main.rs", "fn main() {}\n");
    assert!(!text(&run(bench.image(&[]))).contains("(unchanged)"), "another program is another image");
}

#[test]
fn mistakes_in_recipes_of_programs() {
    for (recipe, words) in [
        (GO.replace("commands]", "comands]"), "packages/plugins/package.toml:3: unknown field `comands`"),
        (
            "summary = \"x\"\n[source]\nkind = \"workspace\"\ncrate = \"../init\"\n".to_owned(),
            "packages/plugins/package.toml:2: \"../init\" is not a crate's folder below packages",
        ),
        (
            "summary = \"x\"\n[source]\nkind = \"files\"\n[[install]]\nfrom = \"*.crt\"\nto = \"/a\"\njoin = true\n".to_owned(),
            "packages/plugins/package.toml:4: join is for recipes of kind \"debian\"",
        ),
    ] {
        let bench = bench(&recipe);
        bench.fails(bench.image(&[]), SPEC, &[words]);
    }
}
