//! Makes `packages.lock` from `builder/tools.toml`, the recipes and the current indexes of the mirror.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::apt::{Apt, AptError};
use crate::arch::Arch;
use crate::date;
use crate::lock::{Archive, Lock, LockedPackage, PackageId};
use crate::mirror::Mirror;
use crate::spec::{Catalog, SourceSpec, SpecError};

/// Where the sets of tools are described.
pub const TOOLS_FILE: &str = "builder/tools.toml";

/// `builder/tools.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    suites: Vec<Suite>,
    /// Tool sets by name.
    pub sets: BTreeMap<String, ToolSet>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Suite {
    archive: Archive,
    name: String,
}

/// One set of tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSet {
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    data: Vec<String>,
    /// Links to make after unpacking: path -> target.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// The lock could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The mirror's indexes cannot be had.
    #[error(
        "cannot read the mirror's indexes\nhint: set LEPTON_DEBIAN_MIRROR to a Debian archive that can be reached"
    )]
    Indexes(#[source] AptError),
    /// apt failed.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// The file that lists the tools cannot be used.
    #[error("cannot use {TOOLS_FILE}: {0}")]
    Tools(String),
    /// A package to update that no set and no recipe names.
    #[error("no package {name:?} is in packages.lock, {TOOLS_FILE} or packages/{hint}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// A near name.
        hint: String,
    },
    /// A recipe cannot be read.
    #[error(transparent)]
    Recipe(#[from] SpecError),
    /// The mirror's answer makes no sense.
    #[error("the mirror's index does not describe {0}")]
    NotIndexed(String),
    /// No index carries a date.
    #[error("the mirror's indexes carry no date")]
    NoDate,
}

impl Tools {
    /// Reads the description in a repository.
    pub fn load(repo: &Path) -> Result<Self, UpdateError> {
        let text = fs::read_to_string(repo.join(TOOLS_FILE))
            .map_err(|error| UpdateError::Tools(error.to_string()))?;
        toml::from_str(&text).map_err(|error| UpdateError::Tools(error.to_string()))
    }
}

/// Resolves every set for every host architecture, and the Debian packages of every recipe for every architecture of
/// images. With `only`, packages of other names keep their pins, sets without that name keep their packages, and the
/// date stays.
pub fn update(
    repo: &Path,
    scratch: &Path,
    mirror: &Mirror,
    old: Option<&Lock>,
    only: Option<&str>,
    mut line: impl FnMut(&str),
) -> Result<Lock, UpdateError> {
    let tools = Tools::load(repo)?;
    let recipes = debian_recipes(repo)?;
    if let (Some(name), Some(old)) = (only, old) {
        check_known(name, old, &tools, &recipes)?;
    }
    let mut lock = Lock { date: 0, sets: BTreeMap::new(), guest: BTreeMap::new(), packages: BTreeMap::new() };
    let sources = sources(repo, &tools, mirror);
    let mut index = BTreeMap::new();
    for host in Arch::ALL {
        let apt = Apt::new(&scratch.join(host.name()), host, &sources)?;
        apt.update(&mut line).map_err(UpdateError::Indexes)?;
        for text in apt.indexes("_Packages")? {
            read_index(&text, &mut index);
        }
        let dates = apt.indexes("_InRelease")?;
        lock.date = dates.iter().filter_map(|text| release_date(text)).max().ok_or(UpdateError::NoDate)?;
        let kept = only.zip(old);
        for (name, set) in &tools.sets {
            let had = kept.and_then(|(only, old)| {
                let asked = || set.packages.iter().chain(&set.data).any(|package| name_of(package) == only);
                old.sets
                    .get(&host)?
                    .get(name)
                    .filter(|ids| !holds(ids, only) && !asked())
                    .map(|ids| (ids, old))
            });
            let ids = match had {
                Some((ids, old)) => keep(&mut lock, old, ids),
                None => {
                    line(&format!("resolving {name} for {host}"));
                    let mut found = Vec::new();
                    if !set.packages.is_empty() {
                        found.extend(apt.resolve(&set.packages)?);
                    }
                    if !set.data.is_empty() {
                        found.extend(apt.locate(&set.data)?);
                    }
                    pin(&mut lock, &found, mirror, &index)?
                }
            };
            lock.sets.entry(host).or_default().insert(name.clone(), ids);
        }
        for (name, packages) in &recipes {
            let had = kept.and_then(|(only, old)| {
                let asked = || name == only || packages.iter().any(|package| package == only);
                old.guest
                    .get(&host)?
                    .get(name)
                    .filter(|ids| !holds(ids, only) && !asked())
                    .map(|ids| (ids, old))
            });
            let ids = match had {
                Some((ids, old)) => keep(&mut lock, old, ids),
                None => {
                    line(&format!("resolving {name} for images of {host}"));
                    pin(&mut lock, &apt.resolve(packages)?, mirror, &index)?
                }
            };
            lock.guest.entry(host).or_default().insert(name.clone(), ids);
        }
    }
    if let (Some(name), Some(old)) = (only, old) {
        keep_others(&mut lock, old, name);
        lock.date = old.date;
    }
    Ok(lock)
}

/// The recipes that take files from Debian packages, each with the packages it names.
fn debian_recipes(repo: &Path) -> Result<BTreeMap<String, Vec<String>>, UpdateError> {
    let catalog = Catalog::new(repo);
    let mut recipes = BTreeMap::new();
    for name in catalog.packages() {
        if let SourceSpec::Debian { packages } = catalog.recipe(&name)?.value.source {
            recipes.insert(name.to_string(), packages);
        }
    }
    Ok(recipes)
}

fn holds(ids: &[PackageId], name: &str) -> bool {
    ids.iter().any(|id| name_of(id) == name)
}

/// Takes over the packages of a set as they were.
fn keep(lock: &mut Lock, old: &Lock, ids: &[PackageId]) -> Vec<PackageId> {
    for id in ids {
        if let Some(package) = old.packages.get(id) {
            lock.packages.insert(id.clone(), package.clone());
        }
    }
    ids.to_vec()
}

/// Adds what the mirror has at `addresses`; gives the ids in order.
fn pin(
    lock: &mut Lock,
    addresses: &[String],
    mirror: &Mirror,
    index: &BTreeMap<String, (PackageId, LockedPackage)>,
) -> Result<Vec<PackageId>, UpdateError> {
    let mut ids = BTreeSet::new();
    for address in addresses {
        let (id, package) = locked(address, mirror, index)?;
        lock.packages.insert(id.clone(), package);
        ids.insert(id);
    }
    Ok(ids.into_iter().collect())
}

/// The text of the lock file.
pub fn render(lock: &Lock) -> String {
    let mut text = String::from("# Written by `cargo xtask lock --update`. Do not edit.\n\n");
    writeln!(text, "date = {}", lock.date).expect("writing to a string cannot fail");
    for (table, by_arch) in [("sets", &lock.sets), ("guest", &lock.guest)] {
        for (arch, sets) in by_arch {
            writeln!(text, "\n[{table}.{arch}]").expect("writing to a string cannot fail");
            for (name, ids) in sets {
                writeln!(text, "{name} = [").expect("writing to a string cannot fail");
                for id in ids {
                    writeln!(text, "  \"{id}\",").expect("writing to a string cannot fail");
                }
                writeln!(text, "]").expect("writing to a string cannot fail");
            }
        }
    }
    for (id, package) in &lock.packages {
        writeln!(text, "\n[packages.\"{id}\"]").expect("writing to a string cannot fail");
        let fields = toml::to_string(package).expect("a package is a flat table of text and numbers");
        text.push_str(&fields);
    }
    text
}

fn sources(repo: &Path, tools: &Tools, mirror: &Mirror) -> String {
    let keys: Vec<String> = ["automatic", "security-automatic"]
        .iter()
        .map(|name| repo.join(format!("builder/keys/debian-archive-trixie-{name}.asc")).display().to_string())
        .collect();
    let archs: Vec<&str> = Arch::ALL.iter().map(|arch| arch.debian()).collect();
    let line = |suite: &Suite| {
        let key = if suite.archive == Archive::DebianSecurity { &keys[1] } else { &keys[0] };
        format!(
            "deb [arch={} signed-by={key}] {} {} main\n",
            archs.join(","),
            mirror.address(suite.archive),
            suite.name
        )
    };
    tools.suites.iter().map(line).collect()
}

/// Adds the packages of one index (deb-control stanzas), by path.
fn read_index(text: &str, index: &mut BTreeMap<String, (PackageId, LockedPackage)>) {
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
        };
        let entry = || {
            let path = field("Filename")?.to_owned();
            let id = format!("{}:{}", field("Package")?, field("Architecture")?);
            let package = LockedPackage {
                version: field("Version")?.to_owned(),
                archive: Archive::Debian,
                path: path.clone(),
                size: field("Size")?.parse().ok()?,
                sha256: field("SHA256")?.parse().ok()?,
            };
            Some((path, (id, package)))
        };
        index.extend(entry());
    }
}

fn locked(
    address: &str,
    mirror: &Mirror,
    index: &BTreeMap<String, (PackageId, LockedPackage)>,
) -> Result<(PackageId, LockedPackage), UpdateError> {
    let unknown = || UpdateError::NotIndexed(address.rsplit('/').next().unwrap_or(address).to_owned());
    let (archive, path) = mirror.split(address).ok_or_else(unknown)?;
    let (id, package) = index.get(path).ok_or_else(unknown)?;
    Ok((id.clone(), LockedPackage { archive, ..package.clone() }))
}

fn release_date(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Date: ")).and_then(date::parse_rfc2822)
}

/// A name may be locked already, or be new in the description of the tools or in a recipe, or be a recipe.
fn check_known(
    name: &str,
    old: &Lock,
    tools: &Tools,
    recipes: &BTreeMap<String, Vec<String>>,
) -> Result<(), UpdateError> {
    let of_tools = tools.sets.values().flat_map(|set| set.packages.iter().chain(&set.data));
    let of_recipes = recipes.iter().flat_map(|(recipe, packages)| packages.iter().chain([recipe]));
    let asked_for = of_tools.chain(of_recipes);
    let names: BTreeSet<&str> = old.packages.keys().chain(asked_for).map(|id| name_of(id)).collect();
    if names.contains(name) {
        return Ok(());
    }
    let hint = crate::suggest::hint(name, names.iter().copied());
    Err(UpdateError::Unknown { name: name.to_owned(), hint })
}

/// Puts back the old pin of every package that was not asked for.
fn keep_others(lock: &mut Lock, old: &Lock, name: &str) {
    for (id, package) in &mut lock.packages {
        if let Some(before) = old.packages.get(id)
            && name_of(id) != name
        {
            *package = before.clone();
        }
    }
}

fn name_of(id: &str) -> &str {
    id.split_once(':').map_or(id, |(name, _)| name)
}
