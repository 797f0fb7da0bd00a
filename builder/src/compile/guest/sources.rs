//! What cargo is given to compile programs of this repository: their crates, the workspace crates they depend on, and a
//! lock and a manifest made for them. What only other programs need is in neither, so that it changes nothing here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::lock;
use crate::compile::{CompileError, file_error};

/// The files of a staged workspace: relative path -> bytes.
pub(super) type Sources = BTreeMap<String, Vec<u8>>;

/// Everything cargo sees to compile the crates in `folders` of `repo`.
pub(super) fn of<'a>(repo: &Path, folders: impl Iterator<Item = &'a str>) -> Result<Sources, CompileError> {
    let root = Manifest::load(&repo.join("Cargo.toml"))?;
    let mut members = Vec::new();
    for folder in folders {
        closure(repo, &root, folder, &mut members)?;
    }
    let mut sources = Sources::new();
    for folder in &members {
        collect(repo, folder, &mut sources)?;
    }
    let manifests = members
        .iter()
        .map(|folder| Manifest::load(&repo.join(folder).join("Cargo.toml")))
        .collect::<Result<Vec<_>, _>>()?;
    let names: BTreeSet<&str> = manifests.iter().filter_map(Manifest::name).collect();
    let path = repo.join("Cargo.lock");
    let text = fs::read_to_string(&path).map_err(file_error("read", &path))?;
    let lock = lock::narrowed(&text, &names)
        .map_err(|message| CompileError::Manifest { path: path.clone(), message })?;
    sources.insert("Cargo.lock".to_owned(), lock.into_bytes());
    let shared: BTreeSet<&str> = manifests.iter().flat_map(Manifest::inherited).collect();
    sources.insert("Cargo.toml".to_owned(), root.with_members(&members, &shared).into_bytes());
    Ok(sources)
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

    fn name(&self) -> Option<&str> {
        self.table.get("package")?.get("name")?.as_str()
    }

    /// Tables of dependencies: `[dependencies]` and its kin, those of `[target.*]` among them.
    fn dependency_tables(&self) -> impl Iterator<Item = &toml::Table> {
        let targets = self.table.get("target").and_then(toml::Value::as_table);
        let targets = targets.into_iter().flat_map(|table| table.values().filter_map(toml::Value::as_table));
        std::iter::once(&self.table).chain(targets).flat_map(|table| {
            ["dependencies", "build-dependencies", "dev-dependencies"]
                .into_iter()
                .filter_map(|section| table.get(section)?.as_table())
        })
    }

    /// Names of `[workspace.dependencies]` that this crate takes over.
    fn inherited(&self) -> impl Iterator<Item = &str> {
        let entries = self.dependency_tables().flatten();
        entries.filter(|(_, value)| value.get("workspace").is_some()).map(|(name, _)| name.as_str())
    }

    /// Folders of workspace crates that this one depends on, relative to the repository.
    fn local_dependencies(&self, root: &Self, folder: &str) -> Vec<String> {
        let shared = root.table.get("workspace").and_then(|table| table.get("dependencies"));
        // Those of tests too: cargo reads their manifests before it knows that nobody runs tests.
        let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
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

    /// The root manifest for fewer members, which take over the dependencies in `shared`.
    fn with_members(&self, folders: &[String], shared: &BTreeSet<&str>) -> String {
        let mut table = self.table.clone();
        if let Some(workspace) = table.get_mut("workspace").and_then(toml::Value::as_table_mut) {
            let members = folders.iter().cloned().map(toml::Value::String).collect();
            workspace.insert("members".to_owned(), toml::Value::Array(members));
            workspace.remove("default-members");
            // A path to a crate that is not staged would be an error even when nobody uses it.
            let dependencies = workspace.get_mut("dependencies").and_then(toml::Value::as_table_mut);
            if let Some(dependencies) = dependencies {
                dependencies.retain(|name, value| {
                    let path = value.get("path").and_then(toml::Value::as_str);
                    shared.contains(name)
                        && path.is_none_or(|path| folders.iter().any(|folder| folder == path))
                });
            }
        }
        // Those of the workstation's programs say nothing here.
        if let Some(profiles) = table.get_mut("profile").and_then(toml::Value::as_table_mut) {
            profiles.retain(|name, _| [super::PROFILE, "release"].contains(&name));
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

/// Adds the files of a crate, but for crates in it: each of those is a member of its own, or not wanted.
fn collect(repo: &Path, folder: &str, sources: &mut Sources) -> Result<(), CompileError> {
    let hidden = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        let is_crate = || entry.path().join("Cargo.toml").is_file();
        entry.depth() > 0 && (name.starts_with('.') || name == "target" || is_crate())
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
pub(super) fn sync(stage: &Path, sources: &Sources) -> Result<(), CompileError> {
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
