//! The plan: an image resolved for one architecture. It is printed before any work, is a golden
//! file in the tests, and lies in every artifact.

use std::collections::BTreeMap;

use lepton_service_spec::{OrderError, ServiceSpec};
use serde::Serialize;
use toml::Spanned;

use crate::arch::Arch;
use crate::cmdline;
use crate::digest::{Digest, KeyBuilder};
use crate::kernel_config::KernelSpec;
use crate::lock::{Lock, LockError};
use crate::machine_config::MachineConfig;
use crate::name::{ImageName, PackageName};
use crate::spec::{
    Budgets, Catalog, Disk, ImageSpec, Install, Machine, Parsed, Preload, Program, Recipe, SourceSpec,
    SpecError,
};
use crate::suggest;

/// The product's version; every artifact carries it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An image resolved for one architecture: defaults filled in, packages in order.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The image.
    pub image: ImageName,
    /// The product's version.
    pub version: &'static str,
    /// The architecture.
    pub arch: Arch,
    /// One sentence for people.
    pub summary: String,
    /// The kernel's command line.
    pub cmdline: String,
    /// Digest of the machine config that is built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_sha256: Option<Digest>,
    /// Partition sizes.
    pub disk: Disk,
    /// The virtual machine that the OVA describes.
    pub machine: Machine,
    /// Limits.
    pub budgets: Budgets,
    /// The kernel's source and configuration fragments, in order.
    pub kernel: KernelSpec,
    /// Packages, each after all it needs.
    pub packages: Vec<PlannedPackage>,
    /// Container images that it brings along.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub preload: Vec<PlannedPreload>,
}

/// A container image of a plan: of files of the repository, or made of packages.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedPreload {
    /// Its whole name; none where its files say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// OCI layout or docker archive, relative to the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What a container runs unless it is told.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Packages that it is made of, each after all it needs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<PlannedPackage>,
}

/// A package of a plan.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedPackage {
    /// Its name.
    pub name: PackageName,
    /// Where its files come from, when that is not its own folder.
    #[serde(skip_serializing_if = "SourceSpec::is_own_folder")]
    pub source: SourceSpec,
    /// Its recipe's files.
    pub install: Vec<Install>,
    /// Its recipe's links.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// Its recipe's folders.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Its recipe's services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceSpec>,
}

impl PlannedPackage {
    /// The programs that are compiled for it.
    pub fn programs(&self) -> Vec<Program> {
        self.source.programs()
    }
}

/// A plan whose every outside input is pinned.
#[derive(Clone, Debug)]
pub struct LockedPlan {
    plan: Plan,
    text: String,
    date: u64,
    kernel_version: String,
    digest: Digest,
}

impl Plan {
    /// Resolves an image; all mistakes are reported together.
    pub fn resolve(
        name: &ImageName,
        spec: &Parsed<ImageSpec>,
        catalog: &Catalog,
        arch: Arch,
    ) -> Result<Self, Vec<SpecError>> {
        let kernel = KernelSpec::load(catalog.root()).map_err(|error| vec![error])?;
        let mut order =
            Order { catalog, arch, known: catalog.packages(), done: Vec::new(), errors: Vec::new() };
        for package in &spec.value.packages {
            order.visit(spec, package, &mut Vec::new());
        }
        if order.errors.is_empty() {
            order.check_services(spec);
        }
        let (packages, mut errors) = (order.done, order.errors);
        let preload = preloads(spec, catalog, arch, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let value = &spec.value;
        Ok(Self {
            image: name.clone(),
            version: VERSION,
            arch,
            summary: value.summary.clone(),
            cmdline: cmdline::kernel_arguments(arch, &value.kernel_arguments),
            config_sha256: None,
            disk: value.disk,
            machine: value.machine,
            budgets: value.budgets,
            kernel,
            packages,
            preload,
        })
    }

    /// The same plan with a machine config built in.
    pub fn with_config(mut self, config: &MachineConfig) -> Self {
        self.config_sha256 = config.digest();
        self
    }

    /// The plan as people read it.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a plan is made of tables, text and numbers")
    }

    /// Packages of the image and of the container images in it.
    pub fn every_package(&self) -> impl Iterator<Item = &PlannedPackage> {
        self.packages.iter().chain(self.preload.iter().flat_map(|preload| &preload.packages))
    }

    /// Pins what the plan takes from outside.
    pub fn lock(self, lock: &Lock) -> Result<LockedPlan, LockError> {
        let source = lock.package(&format!("{}:all", self.kernel.source))?;
        let kernel_version = source.version.clone();
        for package in self.every_package() {
            if let SourceSpec::Debian { .. } = package.source {
                lock.guest(self.arch, package.name.as_str())?;
            }
        }
        let text = self.to_toml();
        let digest = KeyBuilder::new("plan")
            .with("plan", &text)
            .with("date", lock.date.to_string())
            .with_digest("kernel", source.sha256)
            .finish();
        Ok(LockedPlan { plan: self, text, date: lock.date, kernel_version, digest })
    }
}

impl LockedPlan {
    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan's text, as stored in artifacts.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Seconds since 1970 that every file and volume of the artifacts carries.
    pub fn date(&self) -> u64 {
        self.date
    }

    /// Debian version of the kernel source.
    pub fn kernel_version(&self) -> &str {
        &self.kernel_version
    }

    /// What identifiers in artifacts derive from.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// File name of every artifact, without its extension.
    pub fn stem(&self) -> String {
        format!("lepton-{}-{}-{}", self.plan.image, self.plan.version, self.plan.arch)
    }
}

/// Orders packages after what they need.
struct Order<'a> {
    catalog: &'a Catalog,
    arch: Arch,
    known: Vec<PackageName>,
    done: Vec<PlannedPackage>,
    errors: Vec<SpecError>,
}

impl Order<'_> {
    fn visit<T>(&mut self, file: &Parsed<T>, wanted: &Spanned<String>, path: &mut Vec<PackageName>) {
        let Some(name) = self.known.iter().find(|name| name.as_str() == wanted.get_ref()).cloned() else {
            let hint = suggest::hint(wanted.get_ref(), self.known.iter().map(PackageName::as_str));
            let message = format!("no package {:?} in packages/{hint}", wanted.get_ref());
            self.errors.push(file.error_at(wanted, message));
            return;
        };
        if self.done.iter().any(|package| package.name == name) {
            return;
        }
        if path.contains(&name) {
            let names: Vec<&str> = path.iter().chain([&name]).map(PackageName::as_str).collect();
            self.errors
                .push(file.error_at(wanted, format!("packages need each other: {}", names.join(" -> "))));
            return;
        }
        match self.catalog.recipe(&name) {
            Err(error) => self.errors.push(error),
            Ok(recipe) => {
                path.push(name.clone());
                for needed in &recipe.value.needs {
                    self.visit(&recipe, needed, path);
                }
                path.pop();
                self.check_recipe(&recipe);
                self.done.push(planned(name, recipe.value, self.arch));
            }
        }
    }

    /// What one recipe's files and services say about themselves.
    fn check_recipe(&mut self, recipe: &Parsed<Recipe>) {
        for install in &recipe.value.install {
            let problem = install.get_ref().problem(&recipe.value.source);
            self.errors.extend(problem.map(|problem| recipe.error_at(install, problem)));
        }
        for service in &recipe.value.services {
            let problems = service.get_ref().problems();
            self.errors.extend(problems.iter().map(|problem| recipe.error_at(service, problem.to_string())));
        }
    }

    /// What the services of all packages together must be: PID 1 starts them in this order.
    fn check_services(&mut self, spec: &Parsed<ImageSpec>) {
        let services: Vec<ServiceSpec> =
            self.done.iter().flat_map(|package| package.services.iter().cloned()).collect();
        let mistakes = lepton_service_spec::order(&services).err().unwrap_or_default();
        let error =
            |mistake: OrderError| SpecError { place: spec.shown.clone(), message: mistake.to_string() };
        self.errors.extend(mistakes.into_iter().map(error));
    }
}

/// The container images of a description.
fn preloads(
    spec: &Parsed<ImageSpec>,
    catalog: &Catalog,
    arch: Arch,
    errors: &mut Vec<SpecError>,
) -> Vec<PlannedPreload> {
    let mut planned = Vec::new();
    for written in &spec.value.preload {
        let preload = written.get_ref();
        errors.extend(preload.problem().map(|problem| spec.error_at(written, problem)));
        let packages = of_container(spec, &preload.packages, catalog, arch, errors);
        let Preload { name, from, command, .. } = preload.clone();
        planned.push(PlannedPreload { name, from, command, packages });
    }
    planned
}

/// The packages of a container image that `file` describes, each after all it needs.
pub(crate) fn of_container<T>(
    file: &Parsed<T>,
    wanted: &[Spanned<String>],
    catalog: &Catalog,
    arch: Arch,
    errors: &mut Vec<SpecError>,
) -> Vec<PlannedPackage> {
    let known = catalog.packages();
    let mut order = Order { catalog, arch, known, done: Vec::new(), errors: Vec::new() };
    for package in wanted {
        let before = order.done.len();
        order.visit(file, package, &mut Vec::new());
        for made in &order.done[before..] {
            // Programs of this repository are for the host; a container has no PID 1 that would read services.
            if !made.programs().is_empty() || !made.services.is_empty() {
                let message = format!(
                    "a container image is made of packages of kind \"debian\" or \"files\" without services; {} is none",
                    made.name
                );
                order.errors.push(file.error_at(package, message));
            }
        }
    }
    errors.append(&mut order.errors);
    order.done
}

fn planned(name: PackageName, recipe: Recipe, arch: Arch) -> PlannedPackage {
    let links = recipe.source.links();
    let mut install: Vec<Install> = recipe.install.into_iter().map(Spanned::into_inner).collect();
    if matches!(recipe.source, SourceSpec::Debian { .. }) {
        for install in &mut install {
            install.from =
                install.from.replace("{efi}", arch.efi_suffix()).replace("{triplet}", arch.gnu_triplet());
        }
    }
    PlannedPackage {
        name,
        source: recipe.source,
        install,
        links: recipe
            .links
            .into_iter()
            .chain(links)
            .map(|(path, target)| (path.to_string(), target))
            .collect(),
        folders: recipe.folders.into_iter().map(|path| path.to_string()).collect(),
        services: recipe.services.into_iter().map(Spanned::into_inner).collect(),
    }
}
