//! The pipeline: every stage once, from top to bottom. Nothing else calls these stages.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lepton_formats::{Content, Seed, simg};

use crate::arch::Arch;
use crate::artifact::{self, ArtifactError, Format, Payload};
use crate::assemble::{self, AssembleError};
use crate::compile::CompileError;
use crate::compile::go;
use crate::compile::kernel::{self, KernelBuild};
use crate::digest::{Digest, KeyBuilder};
use crate::hardening::{self, Exceptions, HardeningError};
use crate::kernel_config::WantedConfig;
use crate::lock::{Lock, LockError};
use crate::machine_config::MachineConfig;
use crate::manifest::{self, Manifest};
use crate::name::ImageName;
use crate::pack::ext4::StateBuild;
use crate::pack::{self, PackError};
use crate::plan::{LockedPlan, Plan};
use crate::preload::{self, PreloadError};
use crate::programs::{Compiled, Language, ProgramBuilds, Programs};
use crate::provenance::{self, ProvenanceError};
use crate::sbom::{self, SbomError};
use crate::scratch::Scratch;
use crate::sign;
use crate::source_debian::{self, DebianError};
use crate::spec::{Catalog, SpecError};
use crate::stamp;
use crate::store::{FileFacts, StoreError};
use crate::times;
use crate::tools::{Toolbox, ToolsError};

/// What to build and where to put it.
#[derive(Debug)]
pub struct Request<'a> {
    /// The repository.
    pub catalog: &'a Catalog,
    /// The machine config to build in.
    pub config: &'a MachineConfig,
    /// The lock.
    pub lock: &'a Lock,
    /// The image.
    pub image: &'a ImageName,
    /// The architecture it is for.
    pub arch: Arch,
    /// What to write.
    pub formats: &'a [Format],
    /// Folder for the artifacts.
    pub out: &'a Path,
    /// Processes at once.
    pub jobs: usize,
    /// The machine's cargo.
    pub cargo: &'a Path,
    /// Whether nothing may be downloaded.
    pub offline: bool,
    /// Identifies the builder itself: other builders may write other bytes.
    pub builder: Digest,
}

/// What a build gave.
#[derive(Debug)]
pub struct Built {
    /// The plan with its pinned inputs.
    pub locked: LockedPlan,
    /// Files and folders in the output folder.
    pub written: Vec<(Format, String)>,
    /// Size and digest of every file.
    pub files: BTreeMap<String, FileFacts>,
    /// The root as `RootTree::listing` describes it.
    pub root_listing: String,
    /// Whether the artifacts were there already.
    pub unchanged: bool,
}

/// A build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Descriptions are wrong; all mistakes are listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Spec(Vec<SpecError>),
    /// The lock does not fit.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A tool tree could not be made.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// A Debian package lacks what a recipe wants of it.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// Container images cannot be preloaded.
    #[error(transparent)]
    Preload(#[from] PreloadError),
    /// A compiler failed.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The root tree could not be made.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A file system could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The kernel is not hardened as the list of exceptions says.
    #[error(transparent)]
    Hardening(#[from] HardeningError),
    /// The bill of materials could not be made.
    #[error(transparent)]
    Sbom(#[from] SbomError),
    /// The provenance could not be made.
    #[error(transparent)]
    Provenance(#[from] ProvenanceError),
    /// An artifact could not be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// PID 1 is larger than the image allows.
    #[error("PID 1 has {len} bytes, and the budget init-bytes of the image allows {budget}")]
    InitBudget {
        /// Its size.
        len: u64,
        /// What the image allows.
        budget: u64,
    },
    /// The output folder cannot be used.
    #[error("cannot {action} {path}")]
    Out {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The resolved plan, before any work.
pub fn plan(catalog: &Catalog, image: &ImageName, arch: Arch) -> Result<Plan, BuildError> {
    let spec = catalog.image(image).map_err(|error| BuildError::Spec(vec![error]))?;
    Plan::resolve(image, &spec, catalog, arch).map_err(BuildError::Spec)
}

/// Builds an image.
pub fn build(request: &Request<'_>, toolbox: &Toolbox<'_>) -> Result<Built, BuildError> {
    let started = Instant::now();
    let locked =
        plan(request.catalog, request.image, request.arch)?.with_config(request.config).lock(request.lock)?;
    let wanted = WantedConfig::load(request.catalog.root(), &locked.plan().kernel, request.arch)
        .map_err(|error| BuildError::Spec(vec![error]))?;
    let kernel_build =
        KernelBuild { spec: &locked.plan().kernel, wanted: &wanted, arch: request.arch, jobs: request.jobs };
    let exceptions =
        Exceptions::load(request.catalog.root()).map_err(|error| BuildError::Spec(vec![error]))?;
    let gate =
        hardening::Gate { exceptions: &exceptions, arch: request.arch, cmdline: &locked.plan().cmdline };
    let builds = ProgramBuilds {
        repo: request.catalog.root(),
        arch: request.arch,
        cargo: request.cargo,
        offline: request.offline,
    };
    let init_build = builds.init();
    let seed = Seed::new(locked.digest().bytes());
    let mut packages = source_debian::inputs(&locked.plan().packages, request.arch, toolbox)?;
    let preloaded = preload::images(&locked, request.catalog.root(), toolbox)?;
    packages.add_preloaded(&preloaded);
    let state =
        StateBuild { mib: locked.plan().disk.state_mib, seed, date: locked.date() }.output(toolbox)?;
    packages.add_state(&state).map_err(out_error("read", &state))?;
    let assemble = |programs: &Programs| {
        let inputs = programs.added_to(packages.clone());
        let tree = assemble::root_tree(&locked, request.config, request.catalog.root(), &inputs)?;
        let listing = tree.listing().map_err(out_error("read", request.catalog.root()))?;
        Ok::<_, BuildError>((tree, listing))
    };
    // Nothing is compiled yet: for the key, what a program depends on stands for the program.
    let (_, keyed) = assemble(&builds.keys(locked.plan(), toolbox)?)?;
    let key = KeyBuilder::new("artifacts")
        .with_digest("builder", request.builder)
        .with_digest("plan", locked.digest())
        .with_digest("kernel", kernel_build.key(toolbox)?)
        .with_digest("init", init_build.key(toolbox)?)
        .with("tree", &keyed)
        .with_digest("hardening", gate.settings(toolbox)?)
        .with_digest("image tools", toolbox.key("image").map_err(ToolsError::from)?)
        .with("formats", request.formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(" "))
        .finish();
    if let Some((written, files)) = stamp::unchanged(toolbox.store, request.out, key) {
        let (mut tree, _) = assemble(&builds.outputs(locked.plan(), toolbox)?)?;
        let sbom = request.out.join(format!("{}.{}", locked.stem(), sbom::EXTENSION));
        sbom::add_to(&mut tree, &fs::read_to_string(&sbom).map_err(out_error("read", &sbom))?)?;
        let root_listing = tree.listing().map_err(out_error("read", request.catalog.root()))?;
        return Ok(Built { locked, written, files, root_listing, unchanged: true });
    }
    toolbox.progress.line(&format!(
        "plan of {} for {}:\n{}",
        request.image,
        request.arch,
        indented(locked.text())
    ));

    // Compiling the kernel leaves processors idle while it configures and links; programs need none of it.
    let (kernel, init, programs) = std::thread::scope(|scope| {
        let programs =
            scope.spawn(|| Ok((init_build.output(toolbox)?, builds.outputs(locked.plan(), toolbox)?)));
        let kernel = kernel_build.output(toolbox);
        let programs: Result<_, CompileError> =
            programs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let kernel = kernel?;
        let (init, programs) = programs?;
        Ok::<_, CompileError>((kernel, init, programs))
    })?;
    gate.pass(&kernel.path(kernel::CONFIG), toolbox)?;
    hold_init(&init.path("init"), locked.plan().budgets.init_bytes)?;
    let (mut tree, listing) = assemble(&programs)?;
    let compiled = builds.compiled(locked.plan(), toolbox)?;
    let mut programs =
        vec![sbom::Program { package: None, language: Language::Rust, binary: "init", output: &init }];
    for Compiled { package, language, binaries, output } in &compiled {
        let program = |binary| sbom::Program { package: Some(package), language: *language, binary, output };
        programs.extend(binaries.iter().map(|binary| program(binary)));
    }
    let sbom_inputs = sbom::Inputs {
        locked: &locked,
        lock: request.lock,
        tree: &tree,
        kernel: &kernel,
        programs: &programs,
        preloaded: &preloaded.images,
    };
    let sbom = sbom::document(&sbom_inputs)?;
    sbom::add_to(&mut tree, &sbom)?;
    let root_listing = tree.listing().map_err(out_error("read", request.catalog.root()))?;
    let tools = toolbox.tree("image")?;
    let work = toolbox.store.scratch("image")?;
    let rootfs = pack::erofs::write(&tree, &seed, locked.date(), &tools, work.path())?;
    let initrd = pack::initrd::write(&init.path("init"), &rootfs, locked.date(), work.path())?;
    let state = simg::read(&fs::read(&state).map_err(out_error("read", &state))?).map_err(PackError::from)?;

    fs::create_dir_all(request.out).map_err(out_error("make", request.out))?;
    let fresh = Scratch::new_in(request.out, ".lepton-").map_err(out_error("write to", request.out))?;
    let initrd_content = Content::open(&initrd).map_err(out_error("read", &initrd))?;
    let payload = Payload { locked: &locked, kernel: &kernel, initrd: initrd_content, state, tools: &tools };
    let written = artifact::write(&payload, request.formats, fresh.path(), toolbox.progress)?;

    let mut files = manifest::file_facts(fresh.path(), &written).map_err(out_error("read", fresh.path()))?;
    let facts_of = |path: &Path| {
        let (sha256, size) = Digest::of_file(path).map_err(out_error("read", path))?;
        Ok::<_, BuildError>(FileFacts { sha256, size })
    };
    let manifest =
        Manifest::new(&locked, &kernel, facts_of(&init.path("init"))?, facts_of(&initrd)?, files.clone());
    let stem = locked.stem();
    let config = kernel.path(kernel::CONFIG);
    let config_text = fs::read_to_string(&config).map_err(out_error("read", &config))?;
    let put = |extension: &str, text: String, files: &mut BTreeMap<String, FileFacts>| {
        let name = format!("{stem}.{extension}");
        let facts = FileFacts { sha256: Digest::of(text.as_bytes()), size: text.len() as u64 };
        fs::write(fresh.path().join(&name), text).map_err(out_error("write", fresh.path()))?;
        files.insert(name, facts);
        Ok::<_, BuildError>(())
    };
    let beside = [("manifest.json", manifest.to_json()), ("kconfig", config_text), (sbom::EXTENSION, sbom)];
    for (extension, text) in beside {
        put(extension, text, &mut files)?;
    }
    let mut sets = ["kernel", "rust", "image", hardening::SET].map(str::to_owned).to_vec();
    sets.push(format!("musl-{}", request.arch));
    if compiled.iter().any(|compiled| compiled.language == Language::Go) {
        sets.push(go::TOOLS.to_owned());
    }
    // Last, because it names all the others.
    let statement = provenance::Inputs {
        locked: &locked,
        formats: request.formats,
        sources: vec![
            ("plan".to_owned(), Digest::of(locked.text().as_bytes())),
            ("kernel configuration".to_owned(), Digest::of(wanted.text().as_bytes())),
            ("root".to_owned(), Digest::of(listing.as_bytes())),
            ("init".to_owned(), init_build.source_digest()?),
        ],
        sets: &sets,
        programs: &programs,
        files: &files,
    };
    put(provenance::EXTENSION, provenance::statement(&statement, toolbox)?, &mut files)?;
    publish(&fresh, request.out, &files)?;
    stamp::record(toolbox.store, request.out, key, &written, &files);
    times::record(toolbox.store, &stem, started, toolbox.progress);
    Ok(Built { locked, written, files, root_listing, unchanged: false })
}

/// Refuses a PID 1 that has outgrown its budget.
fn hold_init(program: &Path, budget: u64) -> Result<(), BuildError> {
    let len = fs::metadata(program).map_err(out_error("read", program))?.len();
    if len > budget { Err(BuildError::InitBudget { len, budget }) } else { Ok(()) }
}

/// Gives the finished files their final names, the list of digests last.
fn publish(fresh: &Scratch, out: &Path, files: &BTreeMap<String, FileFacts>) -> Result<(), BuildError> {
    let listed = walkdir::WalkDir::new(fresh.path()).min_depth(1).max_depth(1).sort_by_file_name();
    let names = listed.into_iter().map(|entry| entry.map(|entry| entry.file_name().to_owned()));
    let mut names = names
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| out_error("list", fresh.path())(error.into()))?;
    // Written before anything is renamed, because it may not fit on the disk.
    let sums = manifest::update_sums(out, files);
    let fresh_sums = fresh.path().join(manifest::SUMS);
    fs::write(&fresh_sums, &sums).map_err(out_error("write", &fresh_sums))?;
    names.push(manifest::SUMS.into());
    // A signature of another list would only confuse.
    let signature = out.join(sign::SIGNATURE);
    let is_signed =
        signature.exists() && fs::read_to_string(out.join(manifest::SUMS)).ok().as_ref() != Some(&sums);
    if is_signed {
        fs::remove_file(&signature).map_err(out_error("remove", &signature))?;
    }
    let rename_all = |from: &Path| {
        for name in &names {
            let to = out.join(name);
            if to.is_dir() {
                fs::remove_dir_all(&to).map_err(out_error("replace", &to))?;
            }
            fs::rename(from.join(name), &to).map_err(out_error("write", &to))?;
        }
        Ok(())
    };
    fresh.publish(rename_all).map_err(out_error("write to", out))?
}

fn out_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.into();
    move |source| BuildError::Out { action, path, source }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_too_many_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("init");
        fs::write(&path, [0; 100]).unwrap();
        assert!(hold_init(&path, 100).is_ok());
        let error = hold_init(&path, 99).unwrap_err().to_string();
        assert_eq!(error, "PID 1 has 100 bytes, and the budget init-bytes of the image allows 99");
    }
}
