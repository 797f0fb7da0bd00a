//! Recipes with services and with programs of this repository: what becomes of them in plan and tree, and what is refused.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::assemble::{self, Inputs};
use lepton_builder::build;
use lepton_builder::lock::{FILE_NAME, Lock};
use lepton_builder::machine_config::MachineConfig;
use lepton_builder::plan::Plan;
use lepton_builder::programs::Programs;
use lepton_builder::spec::Catalog;

/// Descriptions with one image of these packages, and this repository's kernel.
fn catalog(dir: &Path, packages: &[(&str, &str)]) -> Catalog {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    symlink(repo.join("kernel-config"), dir.join("kernel-config")).unwrap();
    fs::create_dir(dir.join("images")).unwrap();
    let names: Vec<&str> = packages.iter().map(|(name, _)| *name).collect();
    let budgets =
        "kernel-bytes = { x86_64 = 1, aarch64 = 1 }\nuki-bytes = 1\nmemory-at-ready-kib = 1\nready-ms = 1\n";
    let image = format!("summary = \"x\"\npackages = {names:?}\n[budgets]\n{budgets}");
    fs::write(dir.join("images/test.toml"), image).unwrap();
    for (name, text) in packages {
        fs::create_dir_all(dir.join("packages").join(name)).unwrap();
        fs::write(dir.join("packages").join(name).join("package.toml"), text).unwrap();
    }
    Catalog::new(dir)
}

fn plan(packages: &[(&str, &str)]) -> Result<Plan, String> {
    let dir = tempfile::tempdir().unwrap();
    let catalog = catalog(dir.path(), packages);
    build::plan(&catalog, &"test".parse().unwrap(), Arch::X86_64).map_err(|error| error.to_string())
}

#[test]
fn a_program_and_its_service() {
    let text = "summary = \"x\"\n[source]\nkind = \"workspace\"\ncrate = \"agent\"\n\
                [[services]]\nname = \"agent\"\ncommand = [\"/usr/bin/agent\"]\nready = \"notify\"\n";
    let plan = plan(&[("agent", text)]).unwrap();
    let [program] = &plan.packages[0].programs()[..] else { panic!("one program is wanted") };
    assert_eq!((program.from.as_str(), program.binary.as_str()), ("packages/agent", "agent"));
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(FILE_NAME);
    let locked = plan.lock(&Lock::load(&lock).unwrap()).unwrap();
    let inputs = Programs::stand_ins(locked.plan()).added_to(Inputs::default());
    let nowhere = Path::new("/nowhere");
    let tree = assemble::root_tree(&locked, &MachineConfig::NONE, nowhere, &inputs).unwrap();
    let listing = tree.listing().unwrap();
    assert!(listing.contains("0755 0 0 /usr/bin/agent 0 "), "{listing}");
    assert!(listing.contains("0644 0 0 /usr/share/lepton/services/agent.toml "), "{listing}");
    let missing = assemble::root_tree(&locked, &MachineConfig::NONE, nowhere, &Inputs::default());
    assert_eq!(missing.unwrap_err().to_string(), "the programs of package agent were not compiled");
}

#[test]
fn mistakes_are_named_with_their_place() {
    let recipe = |services: &str| format!("summary = \"x\"\nsource = {{ kind = \"files\" }}\n{services}");
    let a = recipe("[[services]]\nname = \"a\"\ncommand = [\"a\"]\nneeds = [\"b\"]\n");
    let b = recipe("[[services]]\nname = \"b\"\ncommand = [\"/b\"]\nneeds = [\"a\"]\n");
    let error = plan(&[("a", &a), ("b", &b)]).unwrap_err();
    assert_eq!(error, "packages/a/package.toml:3: command: \"a\" is no absolute path of a program");
    let error = plan(&[("a", &a.replace("[\"a\"]", "[\"/a\"]")), ("b", &b)]).unwrap_err();
    assert_eq!(error, "images/test.toml: services wait for each other: a -> b -> a");
    let typo = recipe("[[services]]\nname = \"a\"\ncomand = [\"/a\"]\n");
    let error = plan(&[("a", &typo)]).unwrap_err();
    assert!(
        error.starts_with("packages/a/package.toml:5: unknown field `comand`; did you mean \"command\"?"),
        "{error}"
    );
}
