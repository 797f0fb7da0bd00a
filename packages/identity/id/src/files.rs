//! SVIDs as files, and a token from one. Keys are root's alone from the first byte on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lepton_identity_control::{Text, X509};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// No join token is longer.
const LONGEST_TOKEN: u64 = 4096;
/// The file that is standard input.
const STANDARD_INPUT: &str = "-";

/// Writes each SVID, its key and its bundle to a folder, under the names that spire-agent gives them.
pub(crate) fn write(list: &[X509], folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut written = Vec::new();
    for (index, one) in list.iter().enumerate() {
        for (name, text) in [
            (format!("svid.{index}.key"), one.key.expose()),
            (format!("svid.{index}.pem"), one.chain.as_str()),
            (format!("bundle.{index}.pem"), one.bundle.as_str()),
        ] {
            let path = folder.join(name);
            private(&path, text.as_bytes())?;
            written.push(path);
        }
    }
    Ok(written)
}

/// Puts a file in the place of what is there; a reader sees the old one or the new one.
fn private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let failed = |source| Failure::File { action: "write", path: path.to_owned(), source };
    let done = (|| {
        // What an interrupted call left; never through a link.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    done.map_err(failed)
}

/// The token in a file, or in standard input.
pub(crate) fn token(path: &Path) -> Result<Text, Failure> {
    let failed = |source| Failure::File { action: "read", path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new(STANDARD_INPUT) {
        io::stdin().take(LONGEST_TOKEN).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(LONGEST_TOKEN).read_to_string(&mut text))
    };
    read.map_err(failed)?;
    let token = text.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if is_token { Ok(Text::new(token.to_owned())) } else { Err(Failure::NoToken(path.to_owned())) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn svid(id: &str) -> X509 {
        X509 {
            spiffe_id: id.to_owned(),
            chain: format!("chain of {id}"),
            key: Text::new(format!("key of {id}")),
            bundle: "bundle".to_owned(),
            expires_at: 0,
            hint: String::new(),
        }
    }

    #[test]
    fn files_are_private_and_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("svid.0.key.new")).unwrap();
        std::os::unix::fs::symlink(&victim, folder.path().join("svid.0.pem")).unwrap();
        let written = write(&[svid("a"), svid("b")], folder.path()).unwrap();
        assert_eq!(written.len(), 6);
        for path in &written {
            let metadata = fs::symlink_metadata(path).unwrap();
            assert!(metadata.is_file(), "{}", path.display());
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(fs::read_to_string(folder.path().join("svid.1.key")).unwrap(), "key of b");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        write(&[svid("c")], folder.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("svid.0.pem")).unwrap(), "chain of c");
        let error = write(&[svid("a")], &folder.path().join("absent")).unwrap_err();
        assert!(!error.chain().contains("key of a"), "{}", error.chain());
    }

    #[test]
    fn tokens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "  5c5a-7e\n").unwrap();
        assert_eq!(token(&path).unwrap().expose(), "5c5a-7e");
        for bad in ["", "\n", "a b", "a\nb"] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(token(&path), Err(Failure::NoToken(_))), "{bad:?}");
        }
        assert!(matches!(token(Path::new("/absent")), Err(Failure::File { .. })));
    }
}
