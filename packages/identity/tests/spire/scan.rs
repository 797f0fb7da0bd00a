//! Looks for what must not be somewhere: keys, tokens, files that others can read.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Beginnings of private keys: of PEM, and of those of P-256 in base64, PKCS#8 and SEC 1, as JSON may hold them.
const KEYS: [&str; 3] = ["PRIVATE KEY", "MIGHAgEAMBMGByqGSM49", "MHcCAQEEI"];
/// The beginning of PKCS#8 of P-256 in DER.
const KEY_DER: [u8; 13] = [0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48];

/// Files below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

/// Files below a folder that have one of these words in them.
fn holding(folder: &Path, words: &[&[u8]]) -> Vec<String> {
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        words.iter().any(|word| contains(&bytes, word))
    };
    names(files(folder).into_iter().filter(has))
}

fn names(paths: impl Iterator<Item = PathBuf>) -> Vec<String> {
    paths.map(|path| path.display().to_string()).collect()
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

/// Files below a folder with private keys in them.
pub(crate) fn keys(folder: &Path) -> Vec<String> {
    let mut words: Vec<&[u8]> = KEYS.iter().map(|word| word.as_bytes()).collect();
    words.push(&KEY_DER);
    holding(folder, &words)
}

/// Whether a text has a private key or a JWT in it.
pub(crate) fn has_secret(text: &str) -> bool {
    KEYS.iter().any(|key| text.contains(key)) || text.split(['"', ' ', '\n', '=']).any(is_jwt)
}

/// Three parts of base64url, of which the first is a JSON object.
fn is_jwt(word: &str) -> bool {
    word.starts_with("eyJ") && word.split('.').count() == 3
}

/// Files below a folder that others than their owner can read or write.
pub(crate) fn open_files(folder: &Path) -> Vec<String> {
    let is_open =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0);
    names(files(folder).into_iter().filter(is_open))
}
