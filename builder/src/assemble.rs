//! Packages and the plan become the root tree. A path that two owners want is an error naming both.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lepton_formats::Content;

use crate::machine_config::MachineConfig;
use crate::name::{BadName, PackageName, RootPath};
use crate::plan::{LockedPlan, PlannedPackage};
use crate::preload::Preloaded;
use crate::spec::{Install, SourceSpec};
use crate::tree::{Clash, Node, NodeKind, RootTree};

/// Mount points of PID 1; the root is read-only, so they must be there.
const MOUNT_POINTS: [&str; 7] = ["/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/var"];
/// Where PID 1 finds the services of the image.
const SERVICES: &str = "/usr/share/lepton/services";
/// Who owns what no package brings.
pub(crate) const BUILDER: &str = "the builder";
/// Who owns what a machine config brings.
pub(crate) const MACHINE_CONFIG: &str = "the machine config";

/// The tree cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// Two owners of one path.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// A recipe names a file that is not there.
    #[error("package {package} installs {path}, which cannot be read")]
    Missing {
        /// The package.
        package: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A recipe's mode is no octal number.
    #[error("package {package}: mode {mode:?} of {path} is not an octal number such as \"0644\"")]
    Mode {
        /// The package.
        package: String,
        /// The path it is for.
        path: RootPath,
        /// What was written.
        mode: String,
    },
    /// A package's programs were not compiled before.
    #[error("the programs of package {package} were not compiled")]
    NotCompiled {
        /// The package.
        package: String,
    },
    /// A path of the tree is wrong.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// What packages install from outside of the repository.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// By package.
    pub(crate) packages: BTreeMap<PackageName, Vec<(RootPath, Node)>>,
    /// What several packages may need: shared libraries and copyright files, each once.
    pub(crate) shared: BTreeMap<RootPath, Node>,
    /// Container images to bring along.
    pub(crate) preloaded: BTreeMap<RootPath, Node>,
}

impl Inputs {
    /// Adds container images.
    pub(crate) fn add_preloaded(&mut self, preloaded: &Preloaded) {
        self.preloaded.extend(preloaded.files.clone());
    }

    /// Adds the empty file system of the state partition, which a host writes to a new or wiped partition.
    pub(crate) fn add_state(&mut self, path: &Path) -> io::Result<()> {
        let kind = NodeKind::File(Content::open(path)?);
        let node = Node { mode: 0o644, kind, owner: BUILDER.to_owned() };
        let place = "/usr/share/lepton/state.simg".parse().expect("a plain absolute path");
        self.shared.insert(place, node);
        Ok(())
    }
}

/// The root tree of a plan; `repo` holds the packages' own files, `inputs` those of other packages.
pub fn root_tree(
    locked: &LockedPlan,
    config: &MachineConfig,
    repo: &Path,
    inputs: &Inputs,
) -> Result<RootTree, AssembleError> {
    let mut tree = RootTree::default();
    for path in MOUNT_POINTS {
        tree.add(path.parse()?, folder(BUILDER))?;
    }
    let texts = [
        ("/usr/lib/os-release", os_release(locked)),
        ("/usr/share/lepton/plan.toml", locked.text().to_owned()),
    ];
    for (path, text) in texts {
        let kind = NodeKind::File(Content::from(text.into_bytes()));
        tree.add(path.parse()?, Node { mode: 0o644, kind, owner: BUILDER.to_owned() })?;
    }
    if let Some((path, text)) = config.file() {
        let kind = NodeKind::File(Content::from(text.as_bytes()));
        // It may hold secrets; PID 1 is the one to read it.
        tree.add(path, Node { mode: 0o600, kind, owner: MACHINE_CONFIG.to_owned() })?;
    }
    for package in &locked.plan().packages {
        add_services(&mut tree, package)?;
    }
    add_packages(&mut tree, &locked.plan().packages, repo, inputs)?;
    for (path, node) in &inputs.preloaded {
        tree.add(path.clone(), node.clone())?;
    }
    Ok(tree)
}

/// The root of a container image that is made of packages.
pub(crate) fn container_tree(
    packages: &[PlannedPackage],
    repo: &Path,
    inputs: &Inputs,
) -> Result<RootTree, AssembleError> {
    let mut tree = RootTree::default();
    for path in MOUNT_POINTS {
        // Anybody may write there, and a container has no PID 1 that mounts something else.
        let mode = if path == "/tmp" { 0o1777 } else { 0o755 };
        tree.add(path.parse()?, Node { mode, ..folder(BUILDER) })?;
    }
    add_packages(&mut tree, packages, repo, inputs)?;
    Ok(tree)
}

fn add_packages(
    tree: &mut RootTree,
    packages: &[PlannedPackage],
    repo: &Path,
    inputs: &Inputs,
) -> Result<(), AssembleError> {
    for package in packages {
        add_package(tree, package, &repo.join("packages").join(package.name.as_str()))?;
        let brought = inputs.packages.get(&package.name);
        if brought.is_none() && !package.programs().is_empty() {
            return Err(AssembleError::NotCompiled { package: package.name.to_string() });
        }
        for (path, node) in brought.into_iter().flatten() {
            tree.add(path.clone(), node.clone())?;
        }
    }
    for (path, node) in &inputs.shared {
        tree.add(path.clone(), node.clone())?;
    }
    Ok(())
}

/// os-release(5): also the `.osrel` section that boot loaders show and sort by.
pub fn os_release(locked: &LockedPlan) -> String {
    let plan = locked.plan();
    format!(
        "NAME=Lepton\nID=lepton\nPRETTY_NAME=\"Lepton {image} {version}\"\nVERSION_ID={version}\n\
         IMAGE_ID={image}\nIMAGE_VERSION={version}\nARCHITECTURE={arch}\n",
        image = plan.image,
        version = plan.version,
        arch = plan.arch.os_release(),
    )
}

fn add_package(tree: &mut RootTree, package: &PlannedPackage, dir: &Path) -> Result<(), AssembleError> {
    let owner = package.name.to_string();
    for path in &package.folders {
        tree.add(path.parse()?, folder(&owner))?;
    }
    for (path, target) in &package.links {
        let node = Node { mode: 0o777, kind: NodeKind::Link(target.clone()), owner: owner.clone() };
        tree.add(path.parse()?, node)?;
    }
    if matches!(package.source, SourceSpec::Debian { .. }) {
        return Ok(());
    }
    for install in &package.install {
        let path = dir.join(&install.from);
        let content = Content::open(&path).map_err(|source| AssembleError::Missing {
            package: owner.clone(),
            path,
            source,
        })?;
        let mode = mode_of(install, &owner)?;
        tree.add(install.to.clone(), Node { mode, kind: NodeKind::File(content), owner: owner.clone() })?;
    }
    Ok(())
}

/// The permission bits that a recipe gives a file.
pub(crate) fn mode_of(install: &Install, package: &str) -> Result<u32, AssembleError> {
    let mode = u32::from_str_radix(&install.mode, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| AssembleError::Mode {
        package: package.to_owned(),
        path: install.to.clone(),
        mode: install.mode.clone(),
    })
}

/// One file for each service, which PID 1 reads at boot.
fn add_services(tree: &mut RootTree, package: &PlannedPackage) -> Result<(), AssembleError> {
    for service in &package.services {
        let text = toml::to_string(service).expect("a service is made of text, numbers and lists");
        let kind = NodeKind::File(Content::from(text.into_bytes()));
        let node = Node { mode: 0o644, kind, owner: package.name.to_string() };
        tree.add(format!("{SERVICES}/{}.toml", service.name).parse()?, node)?;
    }
    Ok(())
}

fn folder(owner: &str) -> Node {
    Node { mode: 0o755, kind: NodeKind::Folder, owner: owner.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clash_names_both_owners() {
        let mut tree = RootTree::default();
        let link = |owner: &str| Node { mode: 0o777, kind: NodeKind::Link("x".into()), owner: owner.into() };
        tree.add("/usr/a".parse().unwrap(), link("one")).unwrap();
        let clash = tree.add("/usr/a".parse().unwrap(), link("two")).unwrap_err();
        assert_eq!(clash.to_string(), "both one and two install /usr/a");
        let below = tree.add("/usr/a/b".parse().unwrap(), link("two")).unwrap_err();
        assert_eq!(below.to_string(), "both one and two install /usr/a");
    }
}
