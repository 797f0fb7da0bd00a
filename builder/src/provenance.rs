//! The provenance of artifacts: an in-toto Statement v1 with a SLSA Provenance v1 predicate.
//!
//! It names what was asked for, everything that was used and every file that came of it, each by digest. It names
//! neither the machine nor the time, so that two builds of one commit give the same statement. A claim about who built
//! is the business of whoever signs it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::artifact::Format;
use crate::compile::CompileError;
use crate::compile::{crates, modules};
use crate::digest::Digest;
use crate::lock::{LockError, LockedPackage, PackageId};
use crate::plan::LockedPlan;
use crate::programs::Language;
use crate::sbom::{Program, purl};
use crate::spec::SourceSpec;
use crate::store::FileFacts;
use crate::tools::Toolbox;

/// Extension of the statement beside the artifacts.
pub const EXTENSION: &str = "provenance.json";
/// How the parameters are to be read; docs/sbom.md describes them.
const BUILD_TYPE: &str = "urn:lepton:build:image:1";
/// Who claims the statement as long as nobody has signed it.
const BUILDER: &str = "urn:lepton:builder";

/// What went into a build and what came of it.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The plan.
    pub locked: &'a LockedPlan,
    /// What was asked for.
    pub formats: &'a [Format],
    /// Text inputs of the repository: what each is, and its digest.
    pub sources: Vec<(String, Digest)>,
    /// Tool sets that were used.
    pub sets: &'a [String],
    /// Programs that were compiled.
    pub programs: &'a [Program<'a>],
    /// Every file that was written.
    pub files: &'a BTreeMap<String, FileFacts>,
}

/// The statement cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProvenanceError {
    /// The lock lacks a package that was used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The list of a program's crates or modules cannot be used.
    #[error(transparent)]
    Crates(#[from] CompileError),
}

/// in-toto Statement v1.
#[derive(Serialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: &'static str,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate,
}

/// in-toto ResourceDescriptor.
#[derive(Serialize)]
struct Resource {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    digest: BTreeMap<&'static str, String>,
}

/// SLSA Provenance v1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    build_definition: BuildDefinition,
    run_details: RunDetails,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition {
    build_type: &'static str,
    external_parameters: Parameters,
    resolved_dependencies: Vec<Resource>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    image: String,
    arch: &'static str,
    formats: Vec<&'static str>,
    /// Digest of the machine config that was built in.
    #[serde(skip_serializing_if = "Option::is_none")]
    config_sha256: Option<Digest>,
}

#[derive(Serialize)]
struct RunDetails {
    builder: Builder,
}

#[derive(Serialize)]
struct Builder {
    id: &'static str,
    version: BTreeMap<&'static str, &'static str>,
}

/// The text of the statement.
pub fn statement(inputs: &Inputs<'_>, toolbox: &Toolbox<'_>) -> Result<String, ProvenanceError> {
    let plan = inputs.locked.plan();
    let mut used: Vec<Resource> =
        inputs.sources.iter().map(|(name, digest)| resource(name, None, *digest)).collect();
    used.extend(
        packages(inputs, toolbox)?
            .into_iter()
            .map(|(id, package)| resource(id, Some(purl::debian(id, &package.version)), package.sha256)),
    );
    used.extend(crates(inputs.programs)?);
    used.extend(go_modules(inputs.programs)?);
    let statement = Statement {
        kind: "https://in-toto.io/Statement/v1",
        subject: inputs.files.iter().map(|(name, facts)| resource(name, None, facts.sha256)).collect(),
        predicate_type: "https://slsa.dev/provenance/v1",
        predicate: Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE,
                external_parameters: Parameters {
                    image: plan.image.to_string(),
                    arch: plan.arch.name(),
                    formats: inputs.formats.iter().map(|format| format.name()).collect(),
                    config_sha256: plan.config_sha256,
                },
                resolved_dependencies: used,
            },
            run_details: RunDetails {
                builder: Builder { id: BUILDER, version: BTreeMap::from([("lepton-builder", plan.version)]) },
            },
        },
    };
    Ok(serde_json::to_string_pretty(&statement).expect("a statement is made of text") + "\n")
}

/// Every Debian package of the tool sets and of the recipes, once.
fn packages<'a>(
    inputs: &Inputs<'_>,
    toolbox: &Toolbox<'a>,
) -> Result<BTreeMap<&'a PackageId, &'a LockedPackage>, LockError> {
    let mut all = BTreeMap::new();
    for set in inputs.sets {
        all.extend(toolbox.lock.set(toolbox.host, set)?);
    }
    let plan = inputs.locked.plan();
    for package in plan.every_package() {
        if let SourceSpec::Debian { .. } = package.source {
            all.extend(toolbox.lock.guest(plan.arch, package.name.as_str())?);
        }
    }
    Ok(all)
}

/// Every crate of a registry, those that only ran in the build among them.
fn crates(programs: &[Program<'_>]) -> Result<Vec<Resource>, CompileError> {
    let mut all = BTreeSet::new();
    for program in programs.iter().filter(|program| program.language == Language::Rust) {
        for krate in crates::load(&program.output.path(&crates::list_of(program.binary)))? {
            all.extend(krate.sha256.map(|sha256| (krate.name, krate.version, sha256)));
        }
    }
    let describe = |(name, version, sha256): (String, String, Digest)| {
        let purl = purl::cargo(&name, &version);
        resource(&format!("{name} {version}"), Some(purl), sha256)
    };
    Ok(all.into_iter().map(describe).collect())
}

/// Every Go module, by the hash that go.sum has of it.
fn go_modules(programs: &[Program<'_>]) -> Result<Vec<Resource>, CompileError> {
    let mut all = BTreeSet::new();
    for program in programs.iter().filter(|program| program.language == Language::Go) {
        let list = modules::load(&program.output.path(&modules::list_of(program.binary)))?;
        all.insert(list.main);
        all.extend(list.others);
    }
    let describe = |module: modules::Module| Resource {
        name: format!("{} {}", module.path, module.version),
        uri: Some(purl::golang(&module.path, &module.version)),
        digest: module.dir_hash().map(|hash| ("dirHash", hash)).into_iter().collect(),
    };
    Ok(all.into_iter().map(describe).collect())
}

fn resource(name: &str, uri: Option<String>, sha256: Digest) -> Resource {
    Resource { name: name.to_owned(), uri, digest: BTreeMap::from([("sha256", sha256.to_string())]) }
}
