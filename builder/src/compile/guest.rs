//! Compiles our own Rust programs for the host we build: static, musl, in the sandbox, offline.
//!
//! Only the crate and the workspace crates it depends on are staged, under a manifest made for them,
//! so that a change elsewhere in the repository cannot change the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::crates::{self, CRATES};
use super::{CompileError, file_error, rust_std};
use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::process::Process;
use crate::store::Output;
use crate::tools::Toolbox;

/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "guest-2";
/// Cargo profile of guest programs.
const PROFILE: &str = "guest";

/// A program of this repository.
#[derive(Debug)]
pub struct GuestBuild<'a> {
    /// The repository.
    pub repo: &'a Path,
    /// Folder of the crate, relative to the repository.
    pub folder: &'a str,
    /// Name of its binary.
    pub binary: &'a str,
    /// What it is for.
    pub arch: Arch,
    /// The machine's cargo, which vendors crates as it is configured.
    pub cargo: &'a Path,
    /// Whether cargo may download.
    pub offline: bool,
}

/// The files of a staged workspace: relative path -> bytes.
type Sources = BTreeMap<String, Vec<u8>>;

impl GuestBuild<'_> {
    /// The compiled program, from the store when it is there.
    pub fn output(&self, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
        let sources = self.sources()?;
        let key = self.key_of(&sources, toolbox)?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let label = format!("{}-{}", self.binary, self.arch);
        let _lock = toolbox.store.lock(&format!("guest-{label}"))?;
        if let Some(output) = toolbox.store.output(key)? {
            return Ok(output);
        }
        let rust = toolbox.tree("rust")?;
        let sysroot = rust_std::sysroot(self.arch, toolbox)?;
        let cache = toolbox.store.cache(&format!("guest-{label}"))?;
        let stage = cache.join("source");
        sync(&stage, &sources)?;
        self.vendor(&sources, &stage, &cache.join("vendor"), toolbox)?;
        let target = cache.join("target");
        fs::create_dir_all(&target).map_err(file_error("make", &target))?;
        let step = toolbox.progress.step(&format!("{} for {}", self.binary, self.arch), None);
        let build = rust
            .program("cargo")
            .read_only(sysroot.dir(), "/sysroot")
            .read_only(&cache.join("vendor"), "/vendor")
            .writable(&stage, "/source")
            .writable(&target, "/target")
            .cwd("/source")
            .env("CARGO_HOME", "/tmp/cargo")
            .env("CARGO_TARGET_DIR", "/target")
            .env("RUSTFLAGS", Self::rustflags())
            .args(["build", "--offline", "--profile", PROFILE, "--target", self.arch.musl_target()])
            .args(["--bin", self.binary])
            // Only this crate's dependencies decide about features: a shared crate has more of them by default.
            .args(["--manifest-path", &format!("{}/Cargo.toml", self.folder)])
            .args(["--config", "source.crates-io.replace-with=\"vendored\""])
            .args(["--config", "source.vendored.directory=\"/vendor\""]);
        build.run(|_| step.advance(1))?;
        step.finish();
        // Asked again when everything is fresh: in the build itself its messages would hide a compiler's error.
        let messages = build.arg("--message-format=json").process().output()?;
        let folders = crates::Folders {
            source: &stage,
            vendor: &cache.join("vendor"),
            target: self.arch.musl_target(),
        };
        let list = serde_json::to_vec_pretty(&crates::compiled(&messages, &folders)?)
            .expect("a list of crates is made of text");
        let result = toolbox.store.scratch("guest-output")?;
        let list_path = result.path().join(CRATES);
        fs::write(&list_path, list).map_err(file_error("write", &list_path))?;
        let built = target.join(self.arch.musl_target()).join(PROFILE).join(self.binary);
        fs::copy(&built, result.path().join(self.binary)).map_err(file_error("copy", &built))?;
        Ok(toolbox.store.add_output(result, key)?)
    }

    /// Beside what musl needs: no tables for an unwinder that is not there, and relocations packed to a bit each (RELR),
    /// which together are a sixth of a small program.
    fn rustflags() -> &'static str {
        "--sysroot=/sysroot -Clinker=ld.lld-19 -Clinker-flavor=ld.lld -Clink-self-contained=yes \
         -Ctarget-feature=+crt-static -Cforce-unwind-tables=no -Clink-arg=--pack-dyn-relocs=relr"
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
        let sysroot = rust_std::key(self.arch, toolbox)?;
        let mut key = KeyBuilder::new(RECIPE)
            .with("binary", self.binary)
            .with("flags", Self::rustflags())
            .with_digest("sysroot", sysroot);
        for (path, bytes) in sources {
            key = key.with(path, bytes);
        }
        Ok(key.finish())
    }

    /// Everything cargo sees: the crate, its workspace dependencies, the lock and a manifest.
    fn sources(&self) -> Result<Sources, CompileError> {
        let root = Manifest::load(&self.repo.join("Cargo.toml"))?;
        let mut folders = Vec::new();
        closure(self.repo, &root, self.folder, &mut folders)?;
        let mut sources = Sources::new();
        for folder in &folders {
            collect(self.repo, folder, &mut sources)?;
        }
        let lock = self.repo.join("Cargo.lock");
        sources.insert("Cargo.lock".to_owned(), fs::read(&lock).map_err(file_error("read", &lock))?);
        sources.insert("Cargo.toml".to_owned(), root.with_members(&folders).into_bytes());
        Ok(sources)
    }

    /// The crates that the staged manifests and lock name, through the machine's own cargo.
    fn vendor(
        &self,
        sources: &Sources,
        stage: &Path,
        vendor: &Path,
        toolbox: &Toolbox<'_>,
    ) -> Result<(), CompileError> {
        let stamp = vendor.with_extension("stamp");
        let mut key = KeyBuilder::new("vendor");
        for (path, bytes) in
            sources.iter().filter(|(path, _)| path.ends_with("Cargo.toml") || *path == "Cargo.lock")
        {
            key = key.with(path, bytes);
        }
        let wanted = key.finish().to_string();
        if vendor.is_dir() && fs::read_to_string(&stamp).is_ok_and(|had| had == wanted) {
            return Ok(());
        }
        let step = toolbox.progress.step("vendor crates", None);
        let mut process = Process::new(self.cargo).inherit_env().arg("vendor").arg("--quiet").cwd(stage);
        if self.offline {
            process = process.arg("--offline");
        }
        let collected = process.arg(vendor).run(|_| step.advance(1));
        collected.map_err(|source| CompileError::Vendor { folder: self.folder.to_owned(), source })?;
        step.finish();
        fs::create_dir_all(vendor).map_err(file_error("make", vendor))?;
        fs::write(&stamp, wanted).map_err(file_error("write", stamp))
    }
}

/// A Cargo manifest.
struct Manifest {
    path: PathBuf,
    table: toml::Table,
}

impl Manifest {
    fn load(path: &Path) -> Result<Self, CompileError> {
        let text = fs::read_to_string(path).map_err(file_error("read", path))?;
        let table = text.parse().map_err(|error: toml::de::Error| CompileError::Manifest {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        Ok(Self { path: path.to_owned(), table })
    }

    /// Folders of workspace crates that this one depends on, relative to the repository.
    fn local_dependencies(&self, root: &Self, folder: &str) -> Vec<String> {
        let shared = root.table.get("workspace").and_then(|table| table.get("dependencies"));
        let sections = ["dependencies", "build-dependencies"];
        let tables = sections.iter().filter_map(|section| self.table.get(*section)?.as_table());
        let mut found = Vec::new();
        for (name, value) in tables.flatten() {
            let own = value.get("path").and_then(toml::Value::as_str).map(|path| join(folder, path));
            let inherited = value
                .get("workspace")
                .and(shared)
                .and_then(|shared| shared.get(name)?.get("path")?.as_str().map(str::to_owned));
            found.extend(own.or(inherited));
        }
        found
    }

    /// The root manifest for fewer members.
    fn with_members(&self, folders: &[String]) -> String {
        let mut table = self.table.clone();
        if let Some(workspace) = table.get_mut("workspace").and_then(toml::Value::as_table_mut) {
            let members = folders.iter().cloned().map(toml::Value::String).collect();
            workspace.insert("members".to_owned(), toml::Value::Array(members));
            workspace.remove("default-members");
            // A path to a crate that is not staged would be an error even when nobody uses it.
            let shared = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut);
            if let Some(shared) = shared {
                shared.retain(|_, value| {
                    let path = value.get("path").and_then(toml::Value::as_str);
                    path.is_none_or(|path| folders.iter().any(|folder| folder == path))
                });
            }
        }
        table.to_string()
    }
}

/// Adds `folder` and the workspace crates it depends on, each once.
fn closure(
    repo: &Path,
    root: &Manifest,
    folder: &str,
    folders: &mut Vec<String>,
) -> Result<(), CompileError> {
    if folders.iter().any(|known| known == folder) {
        return Ok(());
    }
    folders.push(folder.to_owned());
    let manifest = Manifest::load(&repo.join(folder).join("Cargo.toml"))?;
    for dependency in manifest.local_dependencies(root, folder) {
        if !repo.join(&dependency).is_dir() {
            let message = format!("it depends on {dependency:?}, which is no folder of this repository");
            return Err(CompileError::Manifest { path: manifest.path, message });
        }
        closure(repo, root, &dependency, folders)?;
    }
    Ok(())
}

/// `init` + `../builder/formats` = `builder/formats`.
fn join(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn collect(repo: &Path, folder: &str, sources: &mut Sources) -> Result<(), CompileError> {
    let hidden = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() > 0 && (name.starts_with('.') || name == "target")
    };
    let listed = walkdir::WalkDir::new(repo.join(folder)).sort_by_file_name();
    for entry in listed.into_iter().filter_entry(|entry| !hidden(entry)) {
        let entry = entry.map_err(|error| file_error("list", repo.join(folder))(error.into()))?;
        if entry.file_type().is_file() {
            let relative = entry.path().strip_prefix(repo).unwrap_or(entry.path());
            let bytes = fs::read(entry.path()).map_err(file_error("read", entry.path()))?;
            sources.insert(relative.to_string_lossy().into_owned(), bytes);
        }
    }
    Ok(())
}

/// Makes `stage` hold exactly `sources`; a file that is right keeps its time, so cargo compiles only changes.
fn sync(stage: &Path, sources: &Sources) -> Result<(), CompileError> {
    fs::create_dir_all(stage).map_err(file_error("make", stage))?;
    for entry in walkdir::WalkDir::new(stage).sort_by_file_name().into_iter().flatten() {
        let relative =
            entry.path().strip_prefix(stage).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if entry.file_type().is_file() && !sources.contains_key(&relative) {
            fs::remove_file(entry.path()).map_err(file_error("remove", entry.path()))?;
        }
    }
    for (relative, bytes) in sources {
        let path = stage.join(relative);
        if fs::read(&path).is_ok_and(|had| had == *bytes) {
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(file_error("make", parent))?;
        }
        fs::write(&path, bytes).map_err(file_error("write", &path))?;
    }
    Ok(())
}
