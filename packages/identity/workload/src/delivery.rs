//! An identity as files, for programs that cannot speak the Workload API: certificate, key and bundle in PEM.
//!
//! All files are written whole under other names, synced, and then renamed one after the other: bundle, certificate, key.
//! Each name always has a whole file. Two names cannot change at once: a reader that opens certificate and key in that
//! moment may get one of each, sees that they do not belong together, and reads both again; after a signal
//! ([`reload`](Reloader)) both are there. If the host stops in that moment, [`Target::deliver`] puts it right at the next
//! start: what belongs to the current identity is not asked of the files.
//!
//! A folder of somebody else is no danger: no symbolic link is followed on the way to it (openat2(2)), a file is made by
//! this process and given away by its descriptor, and a rename replaces what has the name, whatever it is.

mod folder;
mod reload;

use std::io;
use std::path::{Path, PathBuf};

use lepton_spiffe::{Bundle, X509Svid};

use folder::Folder;
pub use reload::{ReloadError, ReloadSignal, Reloader};

/// Where an identity is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The certificates, the identity's own first.
    pub certificate: PathBuf,
    /// The private key (PKCS#8).
    pub key: PathBuf,
    /// The certificates of the trust domain.
    pub bundle: Option<PathBuf>,
    /// Owner of the files.
    pub uid: u32,
    /// Group of the files.
    pub gid: u32,
    /// Permission bits of the files.
    pub mode: u32,
}

/// Why files could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}{}", hint(.source))]
pub struct DeliveryError {
    /// What was tried.
    pub what: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ELOOP) => " (hint: no part of the path may be a symbolic link)",
        Some(libc::EROFS) => " (hint: only /run, /var, /tmp and /etc can be written to)",
        _ => "",
    }
}

/// A file that is written and has not its name yet; without one it is removed.
struct Written<'a> {
    folder: Folder,
    path: &'a Path,
    temporary: String,
    has_name: bool,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if !self.has_name {
            self.folder.forget(&self.temporary);
        }
    }
}

impl Target {
    /// Writes an identity. Files that have the right bytes, owner and mode already stay; gives whether any did not.
    pub fn deliver(&self, svid: &X509Svid, bundle: &Bundle) -> Result<bool, DeliveryError> {
        let (chain, key) = (svid.chain_pem(), svid.key_pem());
        let bundle = self.bundle.as_deref().map(|path| (path, bundle.to_pem()));
        let mut files: Vec<(&Path, &[u8])> = Vec::new();
        files.extend(bundle.as_ref().map(|(path, text)| (*path, text.as_bytes())));
        files.push((&self.certificate, chain.as_bytes()));
        files.push((&self.key, key.as_bytes()));
        let mut written = Vec::new();
        for (path, bytes) in files {
            if let Some(file) = self.write(path, bytes)? {
                written.push(file);
            }
        }
        let is_changed = !written.is_empty();
        for file in &mut written {
            let failed =
                |source| DeliveryError { what: "rename a file to", path: file.path.to_owned(), source };
            file.folder.rename(&file.temporary, file.path).map_err(failed)?;
            file.has_name = true;
        }
        for file in &written {
            let failed =
                |source| DeliveryError { what: "sync the folder of", path: file.path.to_owned(), source };
            file.folder.sync().map_err(failed)?;
        }
        Ok(is_changed)
    }

    fn write<'a>(&self, path: &'a Path, bytes: &[u8]) -> Result<Option<Written<'a>>, DeliveryError> {
        let failed = |what| move |source| DeliveryError { what, path: path.to_owned(), source };
        let folder = Folder::open(path, (self.uid, self.gid)).map_err(failed("open the folder of"))?;
        if folder.has(path, bytes, (self.uid, self.gid), self.mode) {
            return Ok(None);
        }
        let temporary = folder::temporary(path);
        let made = folder.make(&temporary, bytes, (self.uid, self.gid), self.mode);
        made.map_err(failed("write a file beside"))?;
        Ok(Some(Written { folder, path, temporary, has_name: false }))
    }

    /// Removes the files, and overwrites the key before; what is not there is fine.
    pub fn remove(&self) -> Result<(), DeliveryError> {
        let paths = [Some(&self.key), Some(&self.certificate), self.bundle.as_ref()];
        for path in paths.into_iter().flatten() {
            let removed = match Folder::open_existing(path) {
                Ok(folder) => folder.wipe(path),
                Err(error) => Err(error),
            };
            match removed {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(DeliveryError { what: "remove", path: path.clone(), source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
