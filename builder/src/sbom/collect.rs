//! Gathers the elements of a document: one function for each kind of source, each gives the element it made.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest as _, Sha1};

use super::spdx::{
    Checksum, File, NO_ASSERTION, Package, Relationship, VerificationCode, reference, relation,
};
use super::{LICENSE, PATH, Program, SUPPLIER, SbomError, purl};
use crate::arch::Arch;
use crate::assemble;
use crate::compile::crates::{self, Crate};
use crate::compile::modules::{self, Module, Modules};
use crate::compile::{go, rust_std};
use crate::digest::Digest;
use crate::lock::Lock;
use crate::plan::Plan;
use crate::preload::{self, PreloadedImage};
use crate::programs::{self, Language};
use crate::source_debian;
use crate::store::Output;
use crate::tree::{NodeKind, RootTree};

/// Licences that Debian's copyright files declare for what reaches an image. `NOASSERTION` for all others.
const DEBIAN_LICENSES: [(&str, &str); 7] = [
    ("linux-source-", "GPL-2.0-only WITH Linux-syscall-note"),
    ("musl-dev", "MIT"),
    ("rust-web-src", "MIT OR Apache-2.0"),
    ("golang-1.26-src", "BSD-3-Clause"),
    ("systemd-boot-efi", "LGPL-2.1-or-later"),
    ("isolinux", "GPL-2.0-or-later"),
    ("syslinux-common", "GPL-2.0-or-later"),
];

/// Who supplies Go modules.
const GO_SUPPLIER: &str = "Go module proxy";

/// What was gathered so far.
pub(super) struct Collector<'a> {
    lock: &'a Lock,
    /// The module of each package whose programs are compiled from Go modules.
    go: BTreeMap<&'a str, Module>,
    packages: BTreeMap<String, Package>,
    files: Vec<File>,
    relationships: BTreeSet<Relationship>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(lock: &'a Lock, programs: &[Program<'a>]) -> Result<Self, SbomError> {
        let mut go = BTreeMap::new();
        for Program { package, language, binary, output } in programs {
            if let (Some(package), Language::Go) = (package, language) {
                let list = modules::load(&output.path(&modules::list_of(binary)))?;
                go.insert(package.as_str(), list.main);
            }
        }
        let (packages, relationships) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { lock, go, packages, files: Vec::new(), relationships })
    }

    /// Packages and relationships in the order of their identifiers, files in that of their paths.
    pub(super) fn into_parts(self) -> (Vec<Package>, Vec<File>, Vec<Relationship>) {
        (self.packages.into_values().collect(), self.files, self.relationships.into_iter().collect())
    }

    pub(super) fn relate(&mut self, from: &str, kind: &'static str, to: &str) {
        self.relationships.insert(relation(from, kind, to));
    }

    /// Something of this repository.
    pub(super) fn own(&mut self, element: &str, name: &str, version: &str, purpose: &'static str) -> String {
        let mut package =
            Package::new(reference(element), name, version, SUPPLIER, purpose).declared(LICENSE);
        if matches!(purpose, "APPLICATION" | "FILE") {
            LICENSE.clone_into(&mut package.license_concluded);
        } else {
            // What holds other packages is under all their licences.
            NO_ASSERTION.clone_into(&mut package.license_declared);
        }
        self.add(package.purl(format!("pkg:generic/{name}@{version}")))
    }

    /// A Debian package of the lock.
    pub(super) fn debian(&mut self, id: &str) -> Result<String, SbomError> {
        let locked = self.lock.package(id)?;
        let name = id.split_once(':').map_or(id, |(name, _)| name);
        let known = DEBIAN_LICENSES.iter().find(|(start, _)| name.starts_with(start));
        let purpose = match name {
            name if name.ends_with("-src") || name.starts_with("linux-source-") => "SOURCE",
            "musl-dev" => "LIBRARY",
            _ => "APPLICATION",
        };
        let mut package =
            Package::new(reference(&format!("Debian-{id}")), name, &locked.version, "Debian", purpose)
                .declared(known.map_or(NO_ASSERTION, |(_, license)| license))
                .sha256(Some(locked.sha256))
                .purl(purl::debian(id, &locked.version));
        package.package_file_name = locked.path.rsplit('/').next().map(str::to_owned);
        Ok(self.add(package))
    }

    /// The compiled kernel, and the source that it was compiled from.
    pub(super) fn kernel(
        &mut self,
        release: &str,
        source: &str,
        output: &Output,
    ) -> Result<String, SbomError> {
        let source = self.debian(&format!("{source}:all"))?;
        let mut package = Package::new(reference("Kernel"), "linux", release, SUPPLIER, "OPERATING_SYSTEM")
            .declared("GPL-2.0-only WITH Linux-syscall-note")
            .sha256(output.facts("vmlinuz").map(|facts| facts.sha256))
            .purl(format!("pkg:generic/linux@{release}"))
            .external("SECURITY", "cpe23Type", purl::linux_cpe(release));
        package.package_file_name = Some("vmlinuz".to_owned());
        let kernel = self.add(package);
        self.relate(&kernel, "GENERATED_FROM", &source);
        Ok(kernel)
    }

    /// A program with all that is linked into it.
    pub(super) fn program(&mut self, program: &Program<'_>, arch: Arch) -> Result<String, SbomError> {
        let Program { package, language, binary, output } = program;
        let program = match package {
            // Its file is one of the package's.
            Some(package) => reference(&format!("Files-{package}")),
            None => self.outside_root(binary, output),
        };
        let linked = match language {
            Language::Rust => self.rust(&crates::load(&output.path(&crates::list_of(binary)))?, arch)?,
            Language::Go => self.golang(&modules::load(&output.path(&modules::list_of(binary)))?)?,
        };
        for part in linked {
            self.relate(&program, "STATIC_LINK", &part);
        }
        Ok(program)
    }

    /// The crates of a program that are in it, musl and Rust's own library.
    fn rust(&mut self, crates: &[Crate], arch: Arch) -> Result<Vec<String>, SbomError> {
        let linked = crates.iter().filter(|krate| krate.linked);
        let mut parts: Vec<String> = linked.map(|krate| self.krate(krate)).collect();
        for id in rust_std::sources(arch) {
            parts.push(self.debian(&id)?);
        }
        Ok(parts)
    }

    /// The modules of a program and Go's own library.
    fn golang(&mut self, modules: &Modules) -> Result<Vec<String>, SbomError> {
        let all = std::iter::once(&modules.main).chain(&modules.others);
        let mut parts: Vec<String> = all.map(|module| self.module(module)).collect();
        parts.push(self.debian(go::LIBRARY)?);
        Ok(parts)
    }

    /// A Go module. SPDX has no checksum of the kind that go.sum holds, so that is a comment.
    fn module(&mut self, module: &Module) -> String {
        let Module { path, version, sum } = module;
        let element = reference(&format!("Go-{path}-{version}"));
        let mut package =
            Package::new(element, path, version, GO_SUPPLIER, "LIBRARY").purl(purl::golang(path, version));
        package.comment = Some(format!("go.sum: {sum}"));
        self.add(package)
    }

    /// A program that no file of the root stands for.
    fn outside_root(&mut self, binary: &str, output: &Output) -> String {
        let (element, version) = (reference(&format!("Program-{binary}")), crate::plan::VERSION);
        let mut package = Package::new(element, binary, version, SUPPLIER, "APPLICATION")
            .sha256(output.facts(binary).map(|facts| facts.sha256))
            .purl(format!("pkg:generic/lepton-{binary}@{version}"));
        package.package_file_name = Some(binary.to_owned());
        self.add(package)
    }

    /// A crate: of a registry when its archive has a digest, else of this repository.
    fn krate(&mut self, krate: &Crate) -> String {
        let Crate { name, version, .. } = krate;
        let supplier = if krate.sha256.is_some() { "Rust crate registry (crates-io)" } else { SUPPLIER };
        let element = reference(&format!("Crate-{name}-{version}"));
        let mut package = Package::new(element, name, version, supplier, "LIBRARY")
            .declared(krate.license.as_deref().unwrap_or(NO_ASSERTION))
            .sha256(krate.sha256)
            .purl(purl::cargo(name, version));
        if !krate.features.is_empty() {
            package.comment = Some(format!("features: {}", krate.features.join(", ")));
        }
        self.add(package)
    }

    /// Every regular file of the root, by its owner; gives the owners.
    pub(super) fn files(&mut self, tree: &RootTree, plan: &Plan) -> Result<Vec<String>, SbomError> {
        let mut owners: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for (path, node) in tree.nodes() {
            let NodeKind::File(content) = &node.kind else { continue };
            let failed = |source| SbomError::Read { path: path.relative().into(), source };
            let (sha256, _) = Digest::of_reader(content.reader()).map_err(failed)?;
            let mut sha1 = Sha1::new();
            std::io::copy(&mut content.reader(), &mut sha1).map_err(failed)?;
            let sha1: String = sha1.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            let id = reference(&format!("File-{}", self.files.len() + 1));
            self.files.push(File {
                id: id.clone(),
                file_name: format!("./{}", path.relative()),
                // Section 8.4 asks for SHA-1; the other is for people.
                checksums: vec![
                    Checksum { algorithm: "SHA1", checksum_value: sha1.clone() },
                    Checksum::sha256(sha256),
                ],
                license_concluded: if is_of_others(&node.owner) { NO_ASSERTION } else { LICENSE }.to_owned(),
                license_info_in_files: vec![NO_ASSERTION.to_owned()],
                copyright_text: NO_ASSERTION,
            });
            owners.entry(&node.owner).or_default().push((id, sha1));
        }
        owners.into_iter().map(|(owner, files)| self.owner(owner, files, plan)).collect()
    }

    /// A container image of the root, and the Debian packages of the files that the builder put into it.
    pub(super) fn container(&mut self, image: &PreloadedImage, plan: &Plan) -> Result<String, SbomError> {
        let PreloadedImage { name, digest, debian, is_made } = image;
        let (registry, rest) = name.split_once('/').unwrap_or_default();
        let (_, tag) = rest.rsplit_once(':').unwrap_or_default();
        let supplier = if *is_made { SUPPLIER } else { registry };
        let element = reference(&format!("Container-{name}"));
        let mut package =
            Package::new(element, name, tag, supplier, "CONTAINER").purl(purl::oci(name, *digest));
        package.comment = Some("a container image; its files are not listed one by one".to_owned());
        let container = self.add(package);
        for package in debian {
            let archive = self.debian(&self.debian_id(package, plan))?;
            self.relate(&container, "GENERATED_FROM", &archive);
        }
        Ok(container)
    }

    /// The lock's name of a package that may be for one architecture or for all.
    fn debian_id(&self, package: &str, plan: &Plan) -> String {
        let [own, all] = [plan.arch.debian(), "all"].map(|arch| format!("{package}:{arch}"));
        if self.lock.packages.contains_key(&own) { own } else { all }
    }

    fn owner(&mut self, owner: &str, files: Vec<(String, String)>, plan: &Plan) -> Result<String, SbomError> {
        let is_builder = owner == assemble::BUILDER;
        let others = (owner.strip_prefix(source_debian::OWNER), owner.strip_prefix(programs::GO_OWNER));
        let element = match others {
            (Some(package), _) => self.picked(package, plan)?,
            (_, Some(package)) => self.go_programs(package, plan),
            _ => {
                let short = match owner {
                    _ if is_builder => "description",
                    assemble::MACHINE_CONFIG => "machine-config",
                    preload::OWNER => "container-images",
                    package => package,
                };
                self.own(&format!("Files-{short}"), &format!("lepton-{short}"), plan.version, "FILE")
            }
        };
        let mut sums: Vec<&str> = files.iter().map(|(_, sha1)| sha1.as_str()).collect();
        sums.sort_unstable();
        let code: String = Sha1::digest(sums.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(package) = self.packages.get_mut(&element) {
            package.files_analyzed = true;
            package.license_info_from_files = vec![NO_ASSERTION.to_owned()];
            package.package_verification_code = Some(VerificationCode {
                package_verification_code_value: code,
                // The document cannot hold its own digest.
                package_verification_code_excluded_files: if is_builder {
                    vec![format!(".{PATH}")]
                } else {
                    Vec::new()
                },
            });
        }
        for (file, _) in files {
            self.relate(&element, "CONTAINS", &file);
        }
        Ok(element)
    }

    /// The files that were picked out of a Debian package.
    fn picked(&mut self, package: &str, plan: &Plan) -> Result<String, SbomError> {
        let id = self.debian_id(package, plan);
        let archive = self.debian(&id)?;
        let version = self.lock.package(&id)?.version.clone();
        let mut files = Package::new(reference(&format!("Files-{id}")), package, &version, "Debian", "FILE");
        files.comment = Some("files picked out of the Debian package".to_owned());
        let files = self.add(files);
        self.relate(&files, "GENERATED_FROM", &archive);
        Ok(files)
    }

    /// The programs of a package that were compiled from Go modules; their version is their module's.
    fn go_programs(&mut self, package: &str, plan: &Plan) -> String {
        let version = self.go.get(package).map_or(plan.version, |module| &module.version).to_owned();
        let element = reference(&format!("Files-{package}"));
        let mut files = Package::new(element, package, &version, GO_SUPPLIER, "APPLICATION");
        files.comment = Some("programs compiled from Go modules".to_owned());
        self.add(files)
    }

    fn add(&mut self, package: Package) -> String {
        let id = package.id.clone();
        self.packages.insert(id.clone(), package);
        id
    }
}

/// Whether files of this owner come from outside of this repository.
fn is_of_others(owner: &str) -> bool {
    owner.starts_with(source_debian::OWNER)
        || owner.starts_with(programs::GO_OWNER)
        || owner == preload::OWNER
}
