//! Signs the list of digests with a person's minisign key. A signature is no artifact: it is different each time, and
//! nothing else depends on it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ct_codecs::{Base64, Decoder};
use minisign::{PError, SecretKey, SecretKeyBox};

use crate::manifest::SUMS;

/// File name of the signature, as minisign(1) looks for it.
pub const SIGNATURE: &str = "SHA256SUMS.minisig";
/// How the encoded key begins when it is encrypted: `Ed`, then `Sc` for scrypt, then `B2`.
const ENCRYPTED: &str = "RWRTY0Iy";
/// Where the checksum lies in a key: behind three algorithms of 2 bytes, the salt of 32, two limits of 8, the key's
/// number of 8 and the key of 64.
const CHECKSUM: usize = 126;
/// Permission bits of people other than the owner.
const OTHERS: u32 = 0o077;

/// A secret key, ready to sign.
pub struct SigningKey(SecretKey);

/// The list cannot be signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key file is not there.
    #[error("cannot read the signing key {path}\nhint: `minisign -G` makes one")]
    Read {
        /// The key file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other people can read the key.
    #[error("the signing key {path} can be read by others (mode {mode:04o})\nhint: chmod 600 {path}")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no key, or the password is wrong.
    #[error("cannot use the signing key {path}{hint}")]
    Key {
        /// The key file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        source: PError,
    },
    /// The list cannot be read, or the signature cannot be written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The signature could not be made.
    #[error("cannot sign {path}")]
    Sign {
        /// The list.
        path: PathBuf,
        /// Why.
        source: PError,
    },
}

impl SigningKey {
    /// Reads a key of minisign; an encrypted one without `password` asks for it on the terminal.
    pub fn load(path: &Path, password: Option<String>) -> Result<Self, SignError> {
        let read = |source| SignError::Read { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(read)?.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(SignError::Exposed { path: path.to_owned(), mode });
        }
        let text = fs::read_to_string(path).map_err(read)?;
        let encrypted = text.lines().nth(1).is_some_and(|line| line.starts_with(ENCRYPTED));
        let boxed = SecretKeyBox::from(text);
        let (key, hint) = if encrypted {
            let hint = "\nhint: LEPTON_SIGN_PASSWORD holds its password; without it the terminal is asked";
            (boxed.into_secret_key(password), hint)
        } else {
            let hint = "\nhint: it must be a secret key made by `minisign -G`";
            (without_checksum(&boxed).unwrap_or_else(|| boxed.into_unencrypted_secret_key()), hint)
        };
        key.map(Self).map_err(|source| SignError::Key { path: path.to_owned(), hint, source })
    }

    /// Signs the list of digests in `dir`; gives the name of the signature.
    pub fn sign(&self, dir: &Path) -> Result<&'static str, SignError> {
        let sums = dir.join(SUMS);
        let list = fs::read(&sums).map_err(|source| SignError::File {
            action: "read",
            path: sums.clone(),
            source,
        })?;
        // The crate's own comment would be the time.
        let comment = Some("file:SHA256SUMS");
        let signature =
            minisign::sign(None, &self.0, list.as_slice(), comment, Some("signature of Lepton images"))
                .map_err(|source| SignError::Sign { path: sums, source })?;
        let (fresh, path) = (dir.join(format!(".{SIGNATURE}")), dir.join(SIGNATURE));
        let written = fs::write(&fresh, signature.into_string()).and_then(|()| fs::rename(&fresh, &path));
        written.inspect_err(|_| drop(fs::remove_file(&fresh))).map_err(|source| SignError::File {
            action: "write",
            path,
            source,
        })?;
        Ok(SIGNATURE)
    }
}

/// A key of `minisign -G -W`, which leaves the checksum out that the crate asks for.
fn without_checksum(boxed: &SecretKeyBox) -> Option<Result<SecretKey, PError>> {
    let text = boxed.to_string();
    let bytes = Base64::decode_to_vec(text.lines().nth(1)?, None).ok()?;
    let checksum = bytes.get(CHECKSUM..)?;
    let is_left_out = checksum.len() == 32 && checksum.iter().all(|byte| *byte == 0);
    is_left_out.then(|| SecretKey::from_bytes(&bytes))
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

#[cfg(test)]
mod tests {
    use ct_codecs::Encoder;
    use minisign::KeyPair;

    use super::*;

    fn key_file(dir: &Path, text: &str, mode: u32) -> PathBuf {
        let path = dir.join("key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn pair() -> (KeyPair, String) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let text = pair.sk.to_box(None).unwrap().into_string();
        (pair, text)
    }

    #[test]
    fn a_signature_is_of_this_list_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (pair, text) = pair();
        fs::write(dir.path().join(SUMS), "digest  file\n").unwrap();
        // As the crate writes a key, and as minisign does: without a checksum.
        let mut bytes = Base64::decode_to_vec(text.lines().nth(1).unwrap(), None).unwrap();
        bytes[CHECKSUM..].fill(0);
        let bare = format!("untrusted comment: x\n{}\n", Base64::encode_to_string(&bytes).unwrap());
        for text in [&text, &bare] {
            SigningKey::load(&key_file(dir.path(), text, 0o600), None).unwrap().sign(dir.path()).unwrap();
        }
        let signature = minisign::SignatureBox::from_file(dir.path().join(SIGNATURE)).unwrap();
        assert_eq!(signature.trusted_comment().unwrap(), "file:SHA256SUMS");
        let holds = |list: &[u8]| {
            let list = io::Cursor::new(list);
            minisign::verify(&pair.pk, &signature, list, true, false, false).is_ok()
        };
        assert!(holds(b"digest  file\n"));
        assert!(!holds(b"digest  other\n"));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (_, text) = pair();
        let message = |path: &Path| SigningKey::load(path, None).unwrap_err().to_string();
        for mode in [0o644, 0o640, 0o602] {
            assert!(message(&key_file(dir.path(), &text, mode)).contains("can be read by others"));
        }
        assert!(message(&dir.path().join("nothing")).contains("cannot read the signing key"));
        for wrong in ["", "untrusted comment: x\nRWQAAEIy\n", "no key\nat all\n"] {
            assert!(message(&key_file(dir.path(), wrong, 0o600)).contains("cannot use the signing key"));
        }
    }

    /// The key is derived with 1 GiB of memory, as minisign's own keys are.
    #[test]
    fn a_wrong_password_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_encrypted_keypair(Some("right".to_owned())).unwrap();
        let path = key_file(dir.path(), &pair.sk.to_box(None).unwrap().into_string(), 0o600);
        let error = SigningKey::load(&path, Some("wrong".to_owned())).unwrap_err();
        assert!(error.to_string().contains("LEPTON_SIGN_PASSWORD"), "{error}");
        assert!(SigningKey::load(&path, Some("right".to_owned())).is_ok());
    }
}
