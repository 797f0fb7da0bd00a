//! Golden files: the resolved plan, the command line and the root tree of every image on every
//! architecture. `UPDATE_EXPECT=1 cargo test` rewrites them; the diff is what a reviewer reads.
#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use lepton_builder::arch::Arch;
use lepton_builder::assemble::{self, Inputs};
use lepton_builder::build;
use lepton_builder::lock::{FILE_NAME, Lock};
use lepton_builder::machine_config::MachineConfig;
use lepton_builder::name::ImageName;
use lepton_builder::plan::{Plan, PlannedPackage};
use lepton_builder::programs::Programs;
use lepton_builder::spec::Catalog;

fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every image on every architecture, with the stem of its golden files.
fn for_each(check: impl Fn(&Catalog, ImageName, Arch, &str)) {
    let catalog = Catalog::new(&repo());
    let images = catalog.images();
    assert!(!images.is_empty(), "there are images to check");
    for image in images {
        for arch in Arch::ALL {
            let stem = format!("{image}-{arch}");
            check(&catalog, image.clone(), arch, &stem);
        }
    }
}

fn golden(name: &str) -> PathBuf {
    repo().join("builder/tests/golden").join(name)
}

fn plan(catalog: &Catalog, image: &ImageName, arch: Arch) -> Plan {
    build::plan(catalog, image, arch).unwrap()
}

#[test]
fn plans() {
    for_each(|catalog, image, arch, stem| {
        expect_file![golden(&format!("{stem}.plan.toml"))].assert_eq(&plan(catalog, &image, arch).to_toml());
    });
}

#[test]
fn command_lines() {
    for_each(|catalog, image, arch, stem| {
        let cmdline = format!("{}\n", plan(catalog, &image, arch).cmdline);
        expect_file![golden(&format!("{stem}.cmdline"))].assert_eq(&cmdline);
    });
}

/// Modes, owners, sizes, digests and paths; what the builder writes itself changes with every plan, so
/// its digests are left out. So is what comes from elsewhere: the lock pins that.
#[test]
fn root_trees() {
    let lock = Lock::load(&repo().join(FILE_NAME)).unwrap();
    for_each(|catalog, image, arch, stem| {
        let locked = plan(catalog, &image, arch).lock(&lock).unwrap();
        let inputs = Programs::stand_ins(locked.plan()).added_to(Inputs::default());
        let tree = assemble::root_tree(&locked, &MachineConfig::NONE, catalog.root(), &inputs).unwrap();
        let compiled = locked.plan().packages.iter().flat_map(PlannedPackage::programs);
        let mut shown: Vec<(String, &str)> =
            compiled.map(|program| (format!("0755 0 0 {}", program.to), "(a program)")).collect();
        shown.push(("0644 0 0 /usr/share/lepton/plan.toml".to_owned(), "(the plan)"));
        let mut listing = String::new();
        for line in tree.listing().unwrap().lines() {
            let own = shown.iter().find(|(start, _)| line.starts_with(&format!("{start} ")));
            match own {
                Some((start, what)) => writeln!(listing, "{start} {what}").unwrap(),
                None => writeln!(listing, "{line}").unwrap(),
            }
        }
        expect_file![golden(&format!("{stem}.tree"))].assert_eq(&listing);
    });
}
