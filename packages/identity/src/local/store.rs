//! The host's authority on the disk.

use std::path::Path;

use lepton_spiffe::{CertificateDer, SpiffeId, TrustDomain};
use serde::{Deserialize, Serialize};

use super::LocalError;
use super::generation::Generation;
use crate::encoded::Bytes;
use crate::files;
use crate::log::say;

/// Of the file.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: u32,
    trust_domain: String,
    host: String,
    sequence: u64,
    generations: Vec<Stored>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Stored {
    certificate: Bytes,
    key: Bytes,
    jwt_key: Bytes,
}

/// What is stored for this host in this trust domain. What is another's is wiped: a copy of a disk is no authority.
pub(super) fn read(
    path: &Path,
    trust_domain: &TrustDomain,
    host_id: &str,
) -> Result<Option<(Vec<Generation>, u64)>, LocalError> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    let host = format!("spiffe://{trust_domain}/host/{host_id}");
    let generation = |stored: Stored| {
        let certificate = CertificateDer::from(stored.certificate.into_vec());
        Generation::of_parts(stored.key.into_key(), stored.jwt_key.into_key(), certificate)
    };
    let read = serde_json::from_slice::<File>(&text).ok().filter(|file| file.version == VERSION);
    let read = read.filter(|file| file.trust_domain == trust_domain.as_str() && file.host == host);
    let read = read.and_then(|file| {
        let generations: Vec<_> =
            file.generations.into_iter().map(generation).collect::<Result<_, _>>().ok()?;
        Some((generations, file.sequence))
    });
    if read.is_none() {
        say(format_args!("the authority in {} is none of {host}: it is wiped", path.display()));
        files::wipe(path)?;
    }
    Ok(read)
}

/// Which trust domain is stored, if any is.
pub(super) fn trust_domain(path: &Path) -> Result<Option<TrustDomain>, LocalError> {
    let Some(text) = files::read(path)? else { return Ok(None) };
    let file = serde_json::from_slice::<File>(&text).ok();
    Ok(file.and_then(|file| file.trust_domain.parse().ok()))
}

/// Stores all generations in one step.
pub(super) fn write(
    path: &Path,
    trust_domain: &TrustDomain,
    host: &SpiffeId,
    generations: &[Generation],
    sequence: u64,
) -> Result<(), LocalError> {
    let stored = |it: &Generation| Stored {
        certificate: Bytes::new(it.certificate.to_vec()),
        key: Bytes::new(it.key.as_der().to_vec()),
        jwt_key: Bytes::new(it.jwt_key.as_der().to_vec()),
    };
    let file = File {
        version: VERSION,
        trust_domain: trust_domain.as_str().to_owned(),
        host: host.to_string(),
        sequence,
        generations: generations.iter().map(stored).collect(),
    };
    let text = zeroize::Zeroizing::new(serde_json::to_vec(&file).map_err(|_| LocalError::Key)?);
    Ok(files::write(path, &text)?)
}
