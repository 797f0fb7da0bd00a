//! Finished outputs of another store, so that one machine's kernel serves a team.
//!
//! A substitute is a store folder, or an address that serves one: of an entry it gives `outputs/KEY/output.json` and
//! the files that this names. Every file must match that list, else nothing of it is used. The list itself is
//! believed: a key names the inputs of an output and not its bytes, so whoever serves a substitute is trusted as much
//! as a compiler. Nothing here makes outputs, and nothing here is fatal: what cannot be had is built.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::apt::{Apt, AptError};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::progress::Progress;
use crate::store::{FileFacts, OUTPUT_LIST, Output, Store, StoreError};

/// The variable that names a substitute.
pub const VARIABLE: &str = "LEPTON_SUBSTITUTE";
/// Largest list that is read, in bytes: the longest of ours has some thousand.
const LIST_BYTES: u64 = 1 << 20;

/// Another store to take outputs from.
#[derive(Debug)]
pub struct Substitute {
    place: Place,
    host: Arch,
    progress: Progress,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Place {
    Folder(PathBuf),
    /// Without a final slash.
    Address(String),
}

#[derive(Debug, Default)]
struct State {
    /// Each entry is asked for once.
    asked: BTreeSet<Digest>,
    /// A substitute that did not answer is not asked again.
    gone: bool,
}

/// The value of [`VARIABLE`] cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadSubstitute {
    /// An address needs the network.
    #[error(
        "{VARIABLE} is the address {0}, and --offline allows no network\nhint: set it to a folder, or leave out --offline"
    )]
    Offline(String),
}

/// Why an entry was not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("it cannot be read: {0}")]
    Gone(String),
    #[error("its list of digests is damaged")]
    List,
    #[error("its list names {0:?}, which is no path below the entry")]
    Name(String),
    #[error("{0} is missing")]
    Missing(String),
    #[error("{name} is damaged: {} bytes with sha256 {}, its list says {} bytes with sha256 {}",
        found.size, found.sha256, wanted.size, wanted.sha256)]
    Damaged { name: String, found: FileFacts, wanted: FileFacts },
    #[error("{0}")]
    Write(io::Error),
}

impl Substitute {
    /// From the value of [`VARIABLE`]: a folder, or an address that begins with `http://` or `https://`.
    pub fn new(text: &str, host: Arch, offline: bool, progress: Progress) -> Result<Self, BadSubstitute> {
        let is_address = text.starts_with("http://") || text.starts_with("https://");
        let place = match (is_address, offline) {
            (true, true) => return Err(BadSubstitute::Offline(text.to_owned())),
            (true, false) => Place::Address(text.trim_end_matches('/').to_owned()),
            (false, _) => Place::Folder(PathBuf::from(text)),
        };
        Ok(Self { place, host, progress, state: Mutex::default() })
    }

    /// The entry, taken into `store` when it is there and undamaged. One line says what was taken or refused.
    pub(crate) fn output(&self, store: &Store, key: Digest) -> Result<Option<Output>, StoreError> {
        // Held until the end: stages that run side by side ask one after the other, and learn what the first one learned.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.gone || !state.asked.insert(key) {
            return Ok(None);
        }
        let _lock = store.lock(&format!("substitute-{key}"))?;
        if let Some(output) = store.own_output(key)? {
            return Ok(Some(output));
        }
        let scratch = store.scratch("substitute")?;
        match self.take(key, scratch.path()) {
            Ok(None) => Ok(None),
            Ok(Some(names)) => {
                let output = store.add_output(scratch, key)?;
                self.progress.line(&format!("taken from {}: {} ({key})", self.place, names.join(" ")));
                Ok(Some(output))
            }
            Err(refusal) => {
                state.gone |= matches!(refusal, Refusal::Gone(_));
                self.progress
                    .line(&format!("substitute {}, entry {key}: {refusal}; it is built here", self.place));
                Ok(None)
            }
        }
    }

    /// Puts the files of the entry into `dir` and gives their names; nothing when there is no such entry.
    fn take(&self, key: Digest, dir: &Path) -> Result<Option<Vec<String>>, Refusal> {
        let list_path = dir.join(".list");
        let Some(()) = self.copy_list(key, dir, &list_path)? else { return Ok(None) };
        let files = read_list(&list_path)?;
        fs::remove_file(&list_path).map_err(Refusal::Write)?;
        for name in files.keys() {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(Refusal::Write)?;
        }
        self.copy_files(key, &files, dir)?;
        for (name, wanted) in &files {
            let (sha256, size) =
                Digest::of_file(&dir.join(name)).map_err(|_| Refusal::Missing(name.clone()))?;
            let found = FileFacts { sha256, size };
            if found != *wanted {
                return Err(Refusal::Damaged { name: name.clone(), found, wanted: *wanted });
            }
        }
        Ok(Some(files.into_keys().collect()))
    }

    fn copy_list(&self, key: Digest, dir: &Path, to: &Path) -> Result<Option<()>, Refusal> {
        match &self.place {
            Place::Folder(root) => {
                let outputs = root.join("outputs");
                fs::metadata(&outputs)
                    .map_err(|error| Refusal::Gone(format!("{}: {error}", outputs.display())))?;
                let from = outputs.join(key.to_string()).join(OUTPUT_LIST);
                if !from.exists() {
                    return Ok(None);
                }
                copy(&from, to, LIST_BYTES).ok_or(Refusal::List)?.map(Some)
            }
            Place::Address(_) => {
                let complaints = self.download(key, &[(OUTPUT_LIST.to_owned(), to.to_owned())], dir)?;
                match complaints.first() {
                    None if to.exists() => Ok(Some(())),
                    // What servers say when they have no such file; everything else is trouble.
                    Some(text) if text.contains(" 404 ") => Ok(None),
                    Some(text) => Err(Refusal::Gone(text.clone())),
                    None => Err(Refusal::Gone("nothing came".to_owned())),
                }
            }
        }
    }

    fn copy_files(
        &self,
        key: Digest,
        files: &BTreeMap<String, FileFacts>,
        dir: &Path,
    ) -> Result<(), Refusal> {
        match &self.place {
            Place::Folder(root) => {
                let entry = root.join("outputs").join(key.to_string());
                for (name, facts) in files {
                    let missing = || Refusal::Missing(name.clone());
                    copy(&entry.join(name), &dir.join(name), facts.size + 1).ok_or_else(missing)??;
                }
                Ok(())
            }
            Place::Address(_) => {
                let wanted: Vec<_> = files.keys().map(|name| (name.clone(), dir.join(name))).collect();
                let complaints = self.download(key, &wanted, dir)?;
                match wanted.iter().find(|(_, path)| !path.exists()) {
                    Some((name, _)) => Err(Refusal::Missing(match complaints.first() {
                        Some(text) => format!("{name} ({text})"),
                        None => name.clone(),
                    })),
                    None => Ok(()),
                }
            }
        }
    }

    /// Downloads files of an entry; gives apt's complaints about those that did not come.
    fn download(&self, key: Digest, files: &[(String, PathBuf)], dir: &Path) -> Result<Vec<String>, Refusal> {
        let Place::Address(address) = &self.place else { return Ok(Vec::new()) };
        let settings = dir.join(".apt");
        let apt = Apt::new(&settings, self.host, "").map_err(|error| Refusal::Gone(error.to_string()))?;
        let wanted: Vec<_> = files
            .iter()
            .map(|(name, path)| (format!("{address}/outputs/{key}/{}", escaped(name)), path.clone()))
            .collect();
        let mut complaints = Vec::new();
        let result = apt.try_download(&wanted, |line| {
            complaints.extend(line.strip_prefix("E: Failed to fetch ").map(str::to_owned));
        });
        fs::remove_dir_all(&settings).map_err(Refusal::Write)?;
        match result {
            Err(AptError::Process(_)) if !complaints.is_empty() => Ok(complaints),
            Err(error) => Err(Refusal::Gone(error.to_string())),
            Ok(()) => Ok(complaints),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Address(address) => f.write_str(address),
        }
    }
}

/// Copies at most `limit` bytes; nothing when the source cannot be read.
fn copy(from: &Path, to: &Path, limit: u64) -> Option<Result<(), Refusal>> {
    use std::io::Read;
    let source = fs::File::open(from).ok()?;
    let copied = fs::File::create(to).and_then(|mut to| io::copy(&mut source.take(limit), &mut to));
    Some(copied.map(drop).map_err(Refusal::Write))
}

/// A list whose names all lie below the entry.
fn read_list(path: &Path) -> Result<BTreeMap<String, FileFacts>, Refusal> {
    let text = fs::read(path).map_err(Refusal::Write)?;
    let files: BTreeMap<String, FileFacts> = serde_json::from_slice(&text).map_err(|_| Refusal::List)?;
    if files.is_empty() {
        return Err(Refusal::List);
    }
    let is_plain = |name: &str| Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    match files.keys().find(|name| name.is_empty() || name.starts_with('.') || !is_plain(name)) {
        Some(name) => Err(Refusal::Name(name.clone())),
        None => Ok(files),
    }
}

/// A path as addresses have it (RFC 3986, section 2): only unreserved characters and slashes stay.
fn escaped(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(byte);
    name.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02x}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_leaves_its_entry_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        let facts = format!("{{\"sha256\":\"{}\",\"size\":1}}", Digest::of(b"x"));
        for name in ["../x", "/etc/x", "a/../../x", "", ".list", "a/./../b"] {
            fs::write(&path, format!("{{\"{name}\":{facts}}}")).unwrap();
            assert!(matches!(read_list(&path), Err(Refusal::Name(_))), "{name}");
        }
        fs::write(&path, format!("{{\"lib/a.rlib\":{facts}}}")).unwrap();
        assert_eq!(read_list(&path).unwrap().len(), 1);
        for bad in ["{}", "[]", "{\"a\":"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(read_list(&path), Err(Refusal::List)), "{bad}");
        }
    }

    #[test]
    fn names_are_escaped_in_addresses() {
        assert_eq!(escaped("lib/libstd-1+2.rlib"), "lib/libstd-1%2b2.rlib");
    }
}
