//! Which crates a guest program was compiled from, as cargo itself tells it after the build: nothing is guessed from
//! the lock, which also names crates of other platforms and of features that are off.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CompileError, file_error};
use crate::digest::Digest;

/// Name of the list in the output of a guest program.
pub fn list_of(binary: &str) -> String {
    format!("{binary}.crates.json")
}

/// One crate that took part in a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it says of its licence, as an SPDX expression.
    pub license: Option<String>,
    /// Digest of the crate's archive; absent for crates of this repository.
    pub sha256: Option<Digest>,
    /// Features that were on.
    pub features: Vec<String>,
    /// Whether its code is in the program. Build scripts and procedural macros, with what they need, run in the build.
    pub linked: bool,
}

/// The crates of a program, from the list in its output folder.
pub fn load(path: &Path) -> Result<Vec<Crate>, CompileError> {
    let text = fs::read(path).map_err(file_error("read", path))?;
    serde_json::from_slice(&text).map_err(|error| unusable(path, error.to_string()))
}

/// Where the paths that cargo sees in the sandbox really lie.
#[derive(Debug)]
pub(super) struct Folders<'a> {
    /// `/source`.
    pub source: &'a Path,
    /// `/vendor`.
    pub vendor: &'a Path,
    /// What the program is compiled for, for example `x86_64-unknown-linux-musl`.
    pub target: &'a str,
}

/// A line of `cargo build --message-format=json` that matters here.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    features: Vec<String>,
    filenames: Vec<String>,
}

/// Reads cargo's messages; crates are sorted by name and version, each once.
pub(super) fn compiled(messages: &str, folders: &Folders<'_>) -> Result<Vec<Crate>, CompileError> {
    let root = manifest(&folders.source.join("Cargo.toml"))?;
    let mut found: BTreeMap<(String, String), Crate> = BTreeMap::new();
    let for_target = format!("/{}/", folders.target);
    for line in messages.lines().filter(|line| line.contains("\"compiler-artifact\"")) {
        let artifact: Artifact = serde_json::from_str(line)
            .map_err(|error| unusable(Path::new("cargo's messages"), error.to_string()))?;
        let path = match artifact.manifest_path.strip_prefix("/vendor") {
            Ok(below) => folders.vendor.join(below),
            Err(_) => folders
                .source
                .join(artifact.manifest_path.strip_prefix("/source").unwrap_or(&artifact.manifest_path)),
        };
        let mut krate = describe(&path, &root)?;
        krate.features = artifact.features;
        krate.linked = artifact.filenames.iter().any(|name| name.contains(&for_target));
        let key = (krate.name.clone(), krate.version.clone());
        // A crate with a build script comes twice; one that is also used by a macro may have fewer features there.
        match found.get_mut(&key) {
            Some(had) if had.linked || !krate.linked => {}
            _ => drop(found.insert(key, krate)),
        }
    }
    if found.values().any(|krate| krate.linked) {
        return Ok(found.into_values().collect());
    }
    Err(unusable(Path::new("cargo's messages"), "they name no compiled crate".to_owned()))
}

fn describe(path: &Path, root: &toml::Table) -> Result<Crate, CompileError> {
    let table = manifest(path)?;
    let text = |key: &str| field(&table, key).or_else(|| inherited(&table, root, key)).map(str::to_owned);
    let missing = |key: &str| unusable(path, format!("it has no {key}"));
    // cargo vendor keeps the digest of the archive beside the files.
    let list = path.with_file_name(".cargo-checksum.json");
    let sha256 = match fs::read(&list) {
        Ok(bytes) => {
            serde_json::from_slice::<Checksums>(&bytes)
                .map_err(|error| unusable(&list, error.to_string()))?
                .package
        }
        Err(_) => None,
    };
    Ok(Crate {
        name: text("name").ok_or_else(|| missing("name"))?,
        version: text("version").ok_or_else(|| missing("version"))?,
        // Before 2018 alternatives were written with a slash.
        license: text("license").map(|text| text.replace('/', " OR ").replace("  ", " ")),
        sha256,
        features: Vec::new(),
        linked: false,
    })
}

#[derive(Deserialize)]
struct Checksums {
    package: Option<Digest>,
}

fn field<'a>(table: &'a toml::Table, key: &str) -> Option<&'a str> {
    table.get("package")?.get(key)?.as_str()
}

/// `version.workspace = true`.
fn inherited<'a>(table: &toml::Table, root: &'a toml::Table, key: &str) -> Option<&'a str> {
    table.get("package")?.get(key)?.get("workspace")?;
    root.get("workspace")?.get("package")?.get(key)?.as_str()
}

fn manifest(path: &Path) -> Result<toml::Table, CompileError> {
    let text = fs::read_to_string(path).map_err(file_error("read", path))?;
    text.parse().map_err(|error: toml::de::Error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, message: String) -> CompileError {
    CompileError::Manifest { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(manifest: &str, file: &str) -> String {
        format!(
            "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{manifest}\",\"features\":[\"std\"],\"filenames\":[\"{file}\"]}}\n"
        )
    }

    #[test]
    fn linked_crates_are_told_from_those_of_the_build() {
        let dir = tempfile::tempdir().unwrap();
        let (source, vendor) = (dir.path().join("source"), dir.path().join("vendor"));
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            source.join("Cargo.toml"),
            "[workspace.package]\nversion = \"0.1.0\"\nlicense = \"Apache-2.0\"\n",
        );
        write(
            source.join("init/Cargo.toml"),
            "[package]\nname = \"own\"\nversion.workspace = true\nlicense.workspace = true\n",
        );
        for name in ["both", "macro"] {
            write(
                vendor.join(name).join("Cargo.toml"),
                &format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nlicense = \"MIT/Apache-2.0\"\n"),
            );
            let digest = Digest::of(name.as_bytes());
            write(
                vendor.join(name).join(".cargo-checksum.json"),
                &format!("{{\"files\":{{}},\"package\":\"{digest}\"}}"),
            );
        }
        let folders = Folders { source: &source, vendor: &vendor, target: "x" };
        let own = message("/source/init/Cargo.toml", "/target/x/guest/own");
        let text = message("/vendor/both/Cargo.toml", "/target/guest/build/both/build-script-build")
            + &message("/vendor/both/Cargo.toml", "/target/x/guest/deps/libboth.rlib")
            + "not a message\n"
            + &message("/vendor/macro/Cargo.toml", "/target/guest/deps/libmacro.so")
            + &own;
        let crates = compiled(&text, &folders).unwrap();
        let short: Vec<String> = crates
            .iter()
            .map(|krate| {
                let Crate { name, version, license, linked, .. } = krate;
                format!(
                    "{name} {version} {} {linked} {}",
                    license.as_deref().unwrap_or("?"),
                    krate.sha256.is_some()
                )
            })
            .collect();
        assert_eq!(
            short,
            [
                "both 1.0.0 MIT OR Apache-2.0 true true",
                "macro 1.0.0 MIT OR Apache-2.0 false true",
                "own 0.1.0 Apache-2.0 true false"
            ]
        );
        assert!(compiled("", &folders).is_err());
        let list = dir.path().join(list_of("own"));
        fs::write(&list, serde_json::to_vec(&crates).unwrap()).unwrap();
        assert_eq!(load(&list).unwrap(), crates);
    }
}
