//! What PID 1 itself does with a config: files below /etc, kernel settings, and the copy for the host's services.
//!
//! One thing that fails is reported and does not keep the others from being done.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use lepton_config::{File, MachineConfig, SysctlKey};

use super::EFFECTIVE;
use crate::{etc, files};

/// Mode of a file for which the config names none.
const DEFAULT_MODE: u32 = 0o644;

/// Kernel settings as they were before a config had them, to be put back when it has them no more.
#[derive(Clone, Debug, Default)]
pub struct Before(BTreeMap<SysctlKey, String>);

/// Applies what differs from `old`, which is applied already; gives one sentence per thing that failed.
pub fn apply_changes(before: &mut Before, old: &MachineConfig, config: &MachineConfig) -> Vec<String> {
    let mut errors = Vec::new();
    for file in config.files.iter().filter(|file| !old.files.contains(file)) {
        if let Err(error) = write_file(file) {
            errors.push(format!("cannot write {}: {error}", file.path));
        }
    }
    for file in old.files.iter().filter(|old| config.files.iter().all(|file| file.path != old.path)) {
        if let Err(error) = etc::restore(file.path.as_str()) {
            errors.push(format!("cannot put back {}: {error}", file.path));
        }
    }
    for (key, value) in config.sysctl.iter().filter(|(key, value)| old.sysctl.get(key) != Some(value)) {
        if let Ok(value) = files::read_value(key.path()) {
            before.0.entry(key.clone()).or_insert(value);
        }
        if let Err(error) = fs::write(key.path(), value.as_str()) {
            errors.push(format!("cannot set {key} to {:?}: {error}", value.as_str()));
        }
    }
    for key in old.sysctl.keys().filter(|key| !config.sysctl.contains_key(key)) {
        let restored = match before.0.remove(key) {
            Some(value) => fs::write(key.path(), value),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        if let Err(error) = restored {
            errors.push(format!("cannot set {key} back, so it stays until the next start: {error}"));
        }
    }
    // It may hold secrets, as contents of files.
    if let Err(error) = write_secret(EFFECTIVE, &config.to_toml()) {
        errors.push(error);
    }
    errors
}

/// Puts a file in place that only root may read.
pub(super) fn write_secret(path: &str, text: &str) -> Result<(), String> {
    write_whole(Path::new(path), text.as_bytes(), 0o600)
        .map_err(|error| format!("cannot write {path}: {error}"))
}

fn write_file(file: &File) -> io::Result<()> {
    let mode = file.mode.as_ref().map_or(DEFAULT_MODE, lepton_config::Mode::bits);
    write_whole(Path::new(file.path.as_str()), file.content.as_bytes(), mode)
}

/// Puts a file in place at once, instead of a file or link that is there.
pub(super) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    fs::create_dir_all(dir)?;
    let mut temporary = std::ffi::OsString::from(".new-");
    temporary.push(name);
    let temporary = dir.join(temporary);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    // After the contents, and past the process's mask.
    file.set_permissions(Permissions::from_mode(mode))?;
    // On a disk the contents come before the name; in memory this costs nothing.
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_replaces_a_link_and_has_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a/b/motd"), dir.path().join("other"));
        fs::write(&other, "untouched").unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        write_whole(&path, b"hello", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hello");
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::read(&other).unwrap(), b"untouched");
        assert_eq!(files::list_dir(path.parent().unwrap()).unwrap(), ["motd"], "nothing is left beside it");
    }
}
