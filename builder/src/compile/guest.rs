//! Compiles our own Rust programs for the host we build: static, musl, in the sandbox, offline.
//!
//! Only the crates and the workspace crates they depend on are staged, under a manifest made for them, so that a change
//! elsewhere in the repository cannot change a program. All programs share the stage and cargo's target folder, one
//! package after the other and for both architectures: what they have in common, build scripts and macros among it, is
//! compiled once.

mod c;
mod lock;
mod sources;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::crates;
use super::{CompileError, file_error, rust_std, unwind};
use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::process::Process;
use crate::sandbox::Sandbox;
use crate::store::{Output, Store};
use crate::tools::Toolbox;
use sources::Sources;

/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "guest-4";
/// Lock and cache of all guest programs. cargo takes a file that changed for one that is newer, which holds in one
/// stage, and not among several.
const LABEL: &str = "guest";
/// Cargo profile of guest programs.
const PROFILE: &str = "guest";
/// Beside what musl needs: no tables for an unwinder that is not there, and relocations packed to a bit each (RELR),
/// which together are a sixth of a small program; and what stands in for the unwinder where one is named.
const RUSTFLAGS: &str = "--sysroot=/sysroot -Clinker=ld.lld-19 -Clinker-flavor=ld.lld -Clink-self-contained=yes \
                         -Ctarget-feature=+crt-static -Cforce-unwind-tables=no -Clink-arg=--pack-dyn-relocs=relr \
                         -Clink-arg=/unwind/libunwind.a";
/// What build scripts find as getconf(1): they ask for the size of a page, which must be that of our kernels on both
/// architectures and not that of the building machine.
const GETCONF: &str = "#!/bin/sh\ncase \"$*\" in PAGE_SIZE | PAGESIZE) echo 4096 ;; *) exit 1 ;; esac\n";

/// Programs of this repository that one package installs.
#[derive(Clone, Copy, Debug)]
pub struct GuestBuild<'a> {
    /// The repository.
    pub repo: &'a Path,
    /// What people and caches call this set of programs.
    pub name: &'a str,
    /// The programs.
    pub programs: &'a [GuestProgram<'a>],
    /// What they are for.
    pub arch: Arch,
    /// The machine's cargo, which vendors crates as it is configured.
    pub cargo: &'a Path,
    /// Whether cargo may download.
    pub offline: bool,
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct GuestProgram<'a> {
    /// Folder of its crate, relative to the repository.
    pub folder: &'a str,
    /// Name of its binary.
    pub binary: &'a str,
}

/// Folders that outlive a build.
struct Folders {
    stage: PathBuf,
    /// The crates of all programs, each in a folder with its version: no program's paths depend on the others.
    vendor: PathBuf,
    /// A file for each set of crates that is among them.
    vendored: PathBuf,
    target: PathBuf,
    programs: PathBuf,
}

impl GuestBuild<'_> {
    /// The compiled programs by name, each with the list of its crates, from the store when they are there.
    pub fn output(&self, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
        let sources = self.sources()?;
        let key = self.key_of(&sources, toolbox)?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let _lock = toolbox.store.lock(LABEL)?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let folders = Folders::new(toolbox.store)?;
        sources::sync(&folders.stage, &sources)?;
        self.vendor(&sources, &folders, toolbox)?;
        self.forget_other_library(&folders, toolbox)?;
        let result = toolbox.store.scratch("guest-output")?;
        let base = self.sandbox(&folders, toolbox)?;
        for program in self.programs {
            self.compile(program, base.clone(), &folders, result.path(), toolbox)?;
        }
        Ok(toolbox.store.add_output(result, key)?)
    }

    /// Removes what was compiled for another standard library: cargo takes it for fresh, as it knows of no change.
    fn forget_other_library(&self, folders: &Folders, toolbox: &Toolbox<'_>) -> Result<(), CompileError> {
        let folder = folders.target.join(self.arch.musl_target());
        let mark = folder.join("sysroot");
        let key = rust_std::key(self.arch, toolbox)?.to_string();
        if fs::read_to_string(&mark).is_ok_and(|text| text == key) {
            return Ok(());
        }
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(file_error("remove", &folder)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&folder).map_err(file_error("make", &folder))?;
        fs::write(&mark, key).map_err(file_error("write", &mark))
    }

    /// cargo in the sandbox, before it is told what to do.
    fn sandbox(&self, folders: &Folders, toolbox: &Toolbox<'_>) -> Result<Sandbox, CompileError> {
        let rust = toolbox.tree("rust")?;
        let musl = toolbox.tree(&rust_std::musl_set(self.arch))?;
        let sysroot = rust_std::sysroot(self.arch, toolbox)?;
        let unwind = unwind::archive(self.arch, toolbox)?;
        let mut cargo = rust
            .program("cargo")
            .read_only(sysroot.dir(), "/sysroot")
            .read_only(musl.root(), c::MUSL)
            .read_only(unwind.dir(), "/unwind")
            .read_only(&folders.programs, "/programs")
            .read_only(&folders.vendor, "/vendor")
            .writable(&folders.stage, "/source")
            .writable(&folders.target, "/target")
            .cwd("/source")
            .env("PATH", "/programs:/usr/bin:/usr/sbin")
            .env("CARGO_HOME", "/tmp/cargo")
            .env("CARGO_TARGET_DIR", "/target")
            .env("RUSTFLAGS", RUSTFLAGS);
        for (name, value) in c::environment(self.arch, toolbox.host) {
            cargo = cargo.env(&name, value);
        }
        Ok(cargo)
    }

    fn compile(
        &self,
        program: &GuestProgram<'_>,
        cargo: Sandbox,
        folders: &Folders,
        out: &Path,
        toolbox: &Toolbox<'_>,
    ) -> Result<(), CompileError> {
        let (binary, target) = (program.binary, self.arch.musl_target());
        let step = toolbox.progress.step(&format!("{binary} for {}", self.arch), None);
        let build = cargo
            .args(["build", "--offline", "--profile", PROFILE, "--target", target, "--bin", binary])
            // Only this crate's dependencies decide about features: a shared crate has more of them by default.
            .args(["--manifest-path", &format!("{}/Cargo.toml", program.folder)])
            .args(["--config", "source.crates-io.replace-with=\"vendored\""])
            .args(["--config", "source.vendored.directory=\"/vendor\""]);
        build.run(|_| step.advance(1))?;
        step.finish();
        // Asked again when everything is fresh: in the build itself its messages would hide a compiler's error.
        let messages = build.arg("--message-format=json").process().output()?;
        let places = crates::Folders { source: &folders.stage, vendor: &folders.vendor, target };
        let list = serde_json::to_vec_pretty(&crates::compiled(&messages, &places)?)
            .expect("a list of crates is made of text");
        let list_path = out.join(crates::list_of(binary));
        fs::write(&list_path, list).map_err(file_error("write", &list_path))?;
        let built = folders.target.join(target).join(PROFILE).join(binary);
        fs::copy(&built, out.join(binary)).map(drop).map_err(file_error("copy", &built))
    }

    /// What the result depends on.
    pub fn key(&self, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
        self.key_of(&self.sources()?, toolbox)
    }

    /// Digest of the lines that sha256sum(1) prints for everything that cargo is given, manifests and lock among it.
    pub fn source_digest(&self) -> Result<Digest, CompileError> {
        let line = |(path, bytes): (&String, &Vec<u8>)| format!("{}  {path}\n", Digest::of(bytes));
        Ok(Digest::of(self.sources()?.iter().map(line).collect::<String>().as_bytes()))
    }

    fn key_of(&self, sources: &Sources, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
        let mut key = KeyBuilder::new(RECIPE)
            .with("flags", RUSTFLAGS)
            .with("getconf", GETCONF)
            .with_digest("unwind", unwind::key(self.arch, toolbox)?)
            .with_digest("sysroot", rust_std::key(self.arch, toolbox)?);
        for (name, value) in c::environment(self.arch, toolbox.host) {
            key = key.with(&name, value);
        }
        for program in self.programs {
            key = key.with(program.binary, program.folder);
        }
        for (path, bytes) in sources {
            key = key.with(path, bytes);
        }
        Ok(key.finish())
    }

    fn sources(&self) -> Result<Sources, CompileError> {
        sources::of(self.repo, self.programs.iter().map(|program| program.folder))
    }

    /// The crates that the staged manifests and lock name, through the machine's own cargo.
    fn vendor(
        &self,
        sources: &Sources,
        folders: &Folders,
        toolbox: &Toolbox<'_>,
    ) -> Result<(), CompileError> {
        let mut key = KeyBuilder::new("vendor");
        for (path, bytes) in
            sources.iter().filter(|(path, _)| path.ends_with("Cargo.toml") || *path == "Cargo.lock")
        {
            key = key.with(path, bytes);
        }
        let stamp = folders.vendored.join(key.finish().to_string());
        if stamp.is_file() {
            return Ok(());
        }
        let step = toolbox.progress.step("vendor crates", None);
        let mut process = Process::new(self.cargo)
            .inherit_env()
            .args(["vendor", "--quiet", "--versioned-dirs", "--no-delete"])
            .cwd(&folders.stage);
        if self.offline {
            process = process.arg("--offline");
        }
        let collected = process.arg(&folders.vendor).run(|_| step.advance(1));
        collected.map_err(|source| CompileError::Vendor { folder: self.name.to_owned(), source })?;
        step.finish();
        fs::write(&stamp, []).map_err(file_error("write", stamp))
    }
}

impl Folders {
    fn new(store: &Store) -> Result<Self, CompileError> {
        let cache = store.cache(LABEL)?;
        let [vendor, vendored, target, programs] =
            ["vendor", "vendor.stamp", "target", "programs"].map(|name| cache.join(name));
        for folder in [&vendor, &vendored, &target, &programs] {
            fs::create_dir_all(folder).map_err(file_error("make", folder))?;
        }
        let getconf = programs.join("getconf");
        fs::write(&getconf, GETCONF)
            .and_then(|()| fs::set_permissions(&getconf, fs::Permissions::from_mode(0o755)))
            .map_err(file_error("write", &getconf))?;
        Ok(Self { stage: cache.join("source"), vendor, vendored, target, programs })
    }
}
