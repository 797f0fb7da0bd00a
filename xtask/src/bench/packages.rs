//! What each package of an image costs: the size of the unified kernel image without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build;
use lepton_builder::name::ImageName;
use lepton_builder::process::Process;
use lepton_builder::scratch::Scratch;
use lepton_builder::times::{Figure, Unit};
use walkdir::WalkDir;

use crate::context::Context;
use crate::image::{self, Order};
use crate::repro;

/// What a package needs.
type Needs = BTreeMap<String, Vec<String>>;

/// The image as it is, then without each of its packages and those that cannot be without that one.
pub(super) fn sizes(context: &Context, image: &ImageName, arch: Arch) -> Result<Vec<Figure>> {
    let out = context.catalog.root().join(super::OUT);
    let built = image::build(context, image, arch, &Order::plain(&[Format::Uki], &out))?;
    let size = |files: &mut dyn Iterator<Item = u64>| files.max().unwrap_or(0);
    let whole = size(&mut built.files.values().map(|facts| facts.size));
    let mut figures = vec![Figure::new("unified kernel image", whole, Unit::Bytes)];

    let plan = build::plan(&context.catalog, image, arch)?;
    let mut needs = Needs::new();
    for package in plan.every_package() {
        let recipe = context.catalog.recipe(&package.name)?.value;
        let named = recipe.needs.iter().map(|name| name.get_ref().clone()).collect();
        needs.insert(package.name.to_string(), named);
    }
    let named = context.catalog.image(image)?.value.packages;
    let roots: Vec<String> = named.iter().map(|name| name.get_ref().clone()).collect();

    let work = Scratch::new_in(&out, ".lepton-packages-")
        .with_context(|| format!("cannot make a folder in {}", out.display()))?;
    let repo = work.path().join("repo");
    repro::copy_repo(context.catalog.root(), &repo)?;
    let path = repo.join(format!("images/{image}.toml"));
    let description: toml::Table = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .parse()
        .with_context(|| format!("cannot read {}", path.display()))?;
    for package in needs.keys() {
        let (kept, gone) = without(package, &roots, &needs);
        let mut smaller = description.clone();
        smaller.insert(
            "packages".to_owned(),
            toml::Value::Array(kept.into_iter().map(toml::Value::from).collect()),
        );
        fs::write(&path, smaller.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
        let bytes = build_size(context, &repo, image, arch, &work.path().join(package))?;
        figures.push(Figure::new(format!("  without {}", gone.join(", ")), bytes, Unit::Bytes));
    }
    Ok(figures)
}

/// The packages that an image can still name without `package`, and those that go with it, it first.
fn without<'a>(package: &'a str, roots: &'a [String], needs: &'a Needs) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut kept, mut gone) = (Vec::new(), vec![package]);
    for root in roots {
        if !everything(root, needs).contains(package) {
            kept.push(root.as_str());
        } else if root != package {
            gone.push(root);
        }
    }
    (kept, gone)
}

/// A package and all that it needs.
fn everything<'a>(package: &'a str, needs: &'a Needs) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![package];
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(needs.get(name).into_iter().flatten().map(String::as_str));
        }
    }
    found
}

/// Builds in another checkout with a program of its own, and looks at what came out.
fn build_size(context: &Context, repo: &Path, image: &ImageName, arch: Arch, out: &Path) -> Result<u64> {
    let mut build = Process::new("/proc/self/exe").inherit_env().args(["--quiet", "--repo"]).arg(repo);
    build = build.args(["image", image.as_str(), "--arch", arch.name(), "--format", "uki", "--out"]).arg(out);
    build.env("CARGO", &context.host.cargo).run(|_| {})?;
    let mut bytes = 0;
    for entry in WalkDir::new(out).sort_by_file_name() {
        bytes = bytes.max(entry?.metadata()?.len());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_package_goes_with_it() {
        let list = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let needs = Needs::from([
            ("base".to_owned(), list(&[])),
            ("kubelet".to_owned(), list(&["kubernetes", "runtime"])),
            ("kubernetes".to_owned(), list(&[])),
            ("runtime".to_owned(), list(&["plugins"])),
            ("plugins".to_owned(), list(&[])),
        ]);
        let roots = list(&["base", "kubelet", "runtime"]);
        assert_eq!(without("base", &roots, &needs), (vec!["kubelet", "runtime"], vec!["base"]));
        assert_eq!(without("kubelet", &roots, &needs), (vec!["base", "runtime"], vec!["kubelet"]));
        assert_eq!(without("plugins", &roots, &needs), (vec!["base"], vec!["plugins", "kubelet", "runtime"]));
    }
}
