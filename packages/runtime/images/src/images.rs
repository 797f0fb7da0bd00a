//! The images of a host: what the CRI server calls.

use std::path::Path;

use crate::config::Config;
use crate::error::Error;
use crate::record::{Collected, Credentials, FsUsage, ImageRecord, Imported, Pulled, Snapshot, Usage};

/// The images of a host. Copies are the same images.
#[derive(Debug, Clone)]
pub struct Images {
    config: Config,
}

impl Images {
    /// Opens the root folder, drops what is damaged with a line on standard error, and registers preloaded images.
    pub async fn open(config: Config) -> Result<Self, Error> {
        Ok(Self { config })
    }

    /// Makes an image of a registry complete on this host: downloaded, verified and unpacked.
    pub async fn pull(&self, reference: &str, credentials: Option<&Credentials>) -> Result<Pulled, Error> {
        let _ = credentials;
        Err(Error::NoImage(reference.to_owned()))
    }

    /// All images, by ID.
    #[must_use]
    pub fn list(&self) -> Vec<ImageRecord> {
        Vec::new()
    }

    /// The image that a reference, an ID (with or without `sha256:`), the digest of a manifest or the beginning of an ID
    /// names.
    pub fn get(&self, name: &str) -> Result<ImageRecord, Error> {
        Err(Error::NoImage(name.to_owned()))
    }

    /// Removes an image. By an ID all of it goes; a reference with a tag takes that tag away, and the image with the
    /// last one. An image that is not there is an error; contents that others need stay.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        Err(Error::NoImage(name.to_owned()))
    }

    /// Reads an OCI layout (folder or tar) or a docker archive, plain or compressed.
    pub async fn import(&self, path: &Path) -> Result<Vec<Imported>, Error> {
        Err(Error::NoImage(path.display().to_string()))
    }

    /// Makes the folders of a container's root file system. The key is 1 to 128 letters, digits, `_`, `.` and `-`;
    /// a key that exists gives its snapshot again, if it is of the same image.
    pub async fn prepare(&self, name: &str, key: &str) -> Result<Snapshot, Error> {
        let _ = key;
        Err(Error::NoImage(name.to_owned()))
    }

    /// A snapshot that was prepared before, also by an earlier process.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot, Error> {
        Err(Error::NoImage(key.to_owned()))
    }

    /// The keys of all snapshots.
    #[must_use]
    pub fn snapshots(&self) -> Vec<String> {
        Vec::new()
    }

    /// Removes a snapshot that is not mounted; one that is not there is no error.
    pub async fn remove_snapshot(&self, key: &str) -> Result<(), Error> {
        Err(Error::NoImage(key.to_owned()))
    }

    /// What the changes of a container take.
    pub async fn usage(&self, key: &str) -> Result<Usage, Error> {
        Err(Error::NoImage(key.to_owned()))
    }

    /// What everything takes.
    pub async fn fs_usage(&self) -> Result<FsUsage, Error> {
        Err(Error::NoImage(self.config.root.display().to_string()))
    }

    /// Marks an image as one that garbage collectors must leave, or no more.
    pub async fn pin(&self, name: &str, pinned: bool) -> Result<(), Error> {
        let _ = pinned;
        Err(Error::NoImage(name.to_owned()))
    }

    /// Removes contents that no image, snapshot or pull in progress needs. Removing an image does it too.
    pub async fn collect(&self) -> Result<Collected, Error> {
        Ok(Collected::default())
    }
}
