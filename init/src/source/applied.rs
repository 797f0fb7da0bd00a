//! The machine config that was applied on the running host, on the state partition: replaced at once, so that a power cut
//! leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use lepton_config::MachineConfig;

use super::apply::write_whole;

/// Where it is kept; it may hold secrets.
pub const FILE: &str = "/var/lib/lepton/config/applied.toml";

/// What was applied, with its text, and one sentence per mistake. A mistake voids the smallest thing it is in: the text was
/// good when it was applied, but another version of the system may know other keys.
pub fn read(path: &Path) -> (Option<(String, MachineConfig)>, Vec<String>) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return (None, Vec::new()),
        Err(error) => return (None, vec![format!("cannot read {}: {error}", path.display())]),
    };
    let parsed = lepton_config::parse("applied", &text);
    let errors = parsed.problems.iter().map(ToString::to_string).collect();
    (Some((text, parsed.config)), errors)
}

/// Keeps a text, or nothing, so that it survives a power cut from now on.
pub fn store(path: &Path, text: Option<&str>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    match text {
        Some(text) => write_whole(path, text.as_bytes(), 0o600)?,
        None => match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        },
    }
    // The names must be on the disk, too: that of the file, and those of folders which were made for it.
    for folder in folder.ancestors().take(3) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_or_new_and_nothing_between() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lepton/config/applied.toml");
        assert_eq!(read(&path), (None, vec![]));
        store(&path, None).unwrap();
        store(&path, Some("hostname = 'a'")).unwrap();
        // A write that was cut off has left its beginning under another name.
        fs::write(path.with_file_name(".new-applied.toml"), "hostna").unwrap();
        let (kept, errors) = read(&path);
        assert_eq!((kept.unwrap().0.as_str(), errors), ("hostname = 'a'", vec![]));
        store(&path, Some("hostname = 'b'\nnonsense = 1\n")).unwrap();
        let (kept, errors) = read(&path);
        assert_eq!(kept.unwrap().1.hostname.unwrap().as_str(), "b");
        assert!(errors[0].starts_with("applied:2: nonsense: unknown key"), "{errors:?}");
        store(&path, None).unwrap();
        assert_eq!(read(&path), (None, vec![]));
    }

    #[test]
    fn only_root_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/applied.toml");
        store(&path, Some("x")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_disk_that_takes_nothing_keeps_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("applied.toml");
        store(&path, Some("hostname = 'a'")).unwrap();
        // In the way of the new file, so that it cannot be written.
        fs::create_dir(dir.path().join(".new-applied.toml")).unwrap();
        assert!(store(&path, Some("hostname = 'b'")).is_err());
        assert_eq!(read(&path).0.unwrap().0, "hostname = 'a'");
    }
}
