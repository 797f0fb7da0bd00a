//! The folder of a trust domain on a workstation.
//!
//! `operators.pem` and `hosts.pem` are certificates that anybody may see; `operators.key` and `hosts.key` are their keys;
//! `host.toml` is for machine configs; `ROLE.pem` is a person's certificate with its key. A folder for somebody who only
//! uses certificates has `hosts.pem` and `ROLE.pem`.

use std::path::{Path, PathBuf};

use lepton_host_api::roles::Role;
use lepton_spiffe::{Bundle, BundleError, Certificate, SpiffeId, SpiffeIdError, TrustDomain, UnixSeconds};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::authority::{self, Authority, AuthorityError};
use crate::files::{self, Existing, FileError, Readers};
use crate::fragment::fragment;
use crate::{Identity, IdentityError, Lifetime};

/// Signs people.
const OPERATORS: &str = "operators";
/// Signs authorities of hosts.
const HOSTS: &str = "hosts";
/// For machine configs.
const FRAGMENT: &str = "host.toml";

/// The folder of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A certificate of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its file.
    pub path: PathBuf,
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// From when on it is good.
    pub not_before: UnixSeconds,
    /// Until when it is good.
    pub not_after: UnixSeconds,
}

/// Why something could not be done with a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A certificate of a person.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is in use.
    #[error("{0} has a trust domain already: name another folder, or remove it if no host relies on it")]
    Exists(PathBuf),
    /// An authority.
    #[error("the authority {path}")]
    Authority {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: AuthorityError,
    },
    /// What hosts are verified with.
    #[error("cannot verify hosts with {path}")]
    Bundle {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// A certificate.
    #[error("the certificate in {path} cannot be used: {why}")]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The trust domain's name leaves no room.
    #[error("the SPIFFE ID of {role} is too long")]
    Id {
        /// The role.
        role: Role,
        /// What is wrong.
        source: SpiffeIdError,
    },
}

impl Folder {
    /// The folder at that path; it is looked at later.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Makes a trust domain: both authorities, and the part of a machine config for its hosts.
    pub fn create(path: &Path, trust_domain: &TrustDomain, now: UnixSeconds) -> Result<Self, FolderError> {
        let folder = Self(path.to_owned());
        let names = [
            folder.certificate(OPERATORS),
            folder.key(OPERATORS),
            folder.certificate(HOSTS),
            folder.key(HOSTS),
        ];
        if names.iter().any(|name| name.exists()) {
            return Err(FolderError::Exists(path.to_owned()));
        }
        files::make_folder(path)?;
        // People are signed by the authority itself; hosts by authorities below it.
        for (name, below) in [(OPERATORS, 0), (HOSTS, 1)] {
            let made = Authority::new(trust_domain, &format!("{name} of {trust_domain}"), below, now);
            let made = made.map_err(|source| folder.failed(name, source))?;
            files::write(&folder.key(name), &made.key, Readers::Owner, Existing::Keep)?;
            files::write(&folder.certificate(name), &made.certificate, Readers::All, Existing::Keep)?;
        }
        let text = folder.fragment(Lifetime::AUTHORITY, now)?;
        files::write(&folder.fragment_path(), &text, Readers::Owner, Existing::Keep)?;
        Ok(folder)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the part of a machine config for hosts is.
    pub fn fragment_path(&self) -> PathBuf {
        self.0.join(FRAGMENT)
    }

    /// Where the certificate of a role is, with its key.
    pub fn identity_path(&self, role: Role) -> PathBuf {
        self.certificate(role.name())
    }

    /// The part of a machine config for hosts, each time with another authority.
    pub fn fragment(&self, lifetime: Lifetime, now: UnixSeconds) -> Result<Zeroizing<String>, FolderError> {
        let (operators, hosts) = (self.authority(OPERATORS)?, self.authority(HOSTS)?);
        let below = hosts.below(&format!("authority of hosts of {}", hosts.trust_domain), lifetime, now);
        Ok(fragment(&operators, &hosts, &below.map_err(|source| self.failed(HOSTS, source))?))
    }

    /// Signs a certificate of a person in that role, into `to`, with what hosts are verified with.
    pub fn issue(
        &self,
        role: Role,
        lifetime: Lifetime,
        now: UnixSeconds,
        to: &Self,
    ) -> Result<Entry, FolderError> {
        let operators = self.authority(OPERATORS)?;
        let id = SpiffeId::new(operators.trust_domain.clone(), &role.path())
            .map_err(|source| FolderError::Id { role, source })?;
        let made = operators.client(&id, &format!("{role} of {}", operators.trust_domain), lifetime, now);
        let made = made.map_err(|source| self.failed(OPERATORS, source))?;
        if to != self {
            files::make_folder(&to.0)?;
            let hosts = files::read(&self.certificate(HOSTS))?;
            files::write(&to.certificate(HOSTS), &hosts, Readers::All, Existing::Replace)?;
        }
        let mut text = Zeroizing::new(String::with_capacity(made.certificate.len() + made.key.len()));
        text.push_str(&made.certificate);
        text.push_str(&made.key);
        let path = to.identity_path(role);
        files::write(&path, &text, Readers::Owner, Existing::Replace)?;
        to.entry(path)
    }

    /// The certificate of a role, with its key.
    pub fn identity(&self, role: Role) -> Result<Identity, FolderError> {
        Ok(Identity::read(&self.identity_path(role))?)
    }

    /// What hosts are verified with, and the trust domain.
    pub fn bundle(&self) -> Result<Bundle, FolderError> {
        let path = self.certificate(HOSTS);
        let entry = self.entry(path.clone())?;
        let text = files::read(&path)?;
        Bundle::from_pem(entry.id.trust_domain().clone(), text.as_bytes())
            .map_err(|source| FolderError::Bundle { path, source })
    }

    /// Its certificates, authorities first.
    pub fn entries(&self) -> Result<Vec<Entry>, FolderError> {
        let names = [OPERATORS, HOSTS].into_iter().chain(Role::ALL.map(Role::name));
        let there = names.map(|name| self.certificate(name)).filter(|path| path.exists());
        there.map(|path| self.entry(path)).collect()
    }

    fn entry(&self, path: PathBuf) -> Result<Entry, FolderError> {
        let text = files::read(&path)?;
        let wrong = |why: String| FolderError::Certificate { path: path.clone(), why };
        let der =
            CertificateDer::from_pem_slice(text.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let facts = Certificate::read(&der).map_err(|error| wrong(error.to_string()))?;
        let id = match facts.is_ca {
            true => SpiffeId::of(authority::domain(&facts).map_err(wrong)?),
            false => facts.leaf_id().map_err(|error| wrong(error.to_string()))?,
        };
        Ok(Entry { id, not_before: facts.not_before, not_after: facts.not_after, path })
    }

    fn authority(&self, name: &str) -> Result<Authority, FolderError> {
        let certificate = files::read(&self.certificate(name))?;
        let key = files::read(&self.key(name))?;
        Authority::read(&certificate, &key).map_err(|source| self.failed(name, source))
    }

    fn failed(&self, name: &str, source: AuthorityError) -> FolderError {
        FolderError::Authority { path: self.certificate(name), source }
    }

    fn certificate(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    fn key(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }
}

#[cfg(test)]
mod tests;
