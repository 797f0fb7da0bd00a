//! What the host keeps of its membership: its own identity, and the cache for times without a server. Each is one file
//! that changes in one step, so that after a power cut a host has joined or has not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lepton_spiffe::{Bundle, CertificateDer, TrustDomain, X509Svid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::authority::{Entry, Tainted, Update};
use crate::encoded::Bytes;
use crate::files::{self, FileError};
use crate::log::say;

/// Of both files.
const VERSION: u32 = 1;

/// A host's own identity in the trust domain of a server.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) svid: Arc<X509Svid>,
    pub(crate) bundle: Arc<Bundle>,
    /// How it joined.
    pub(crate) attestor: String,
    /// Whether the server lets it do so again.
    pub(crate) reattestable: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct MembershipFile {
    version: u32,
    attestor: String,
    reattestable: bool,
    svid: StoredSvid,
    trust_domain: String,
    bundle: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoredSvid {
    chain: Vec<Bytes>,
    key: Bytes,
}

impl StoredSvid {
    fn of(svid: &X509Svid) -> Self {
        Self {
            chain: svid.chain.iter().map(|it| Bytes::new(it.to_vec())).collect(),
            key: Bytes::new(svid.key.as_der().to_vec()),
        }
    }

    fn read(self, hint: &str) -> Option<X509Svid> {
        let chain = self.chain.into_iter().map(|it| CertificateDer::from(it.into_vec())).collect();
        X509Svid::new(chain, self.key.into_key(), hint).ok()
    }
}

fn bundle_value(bundle: &Bundle) -> Value {
    serde_json::from_str(&bundle.to_jwks()).unwrap_or(Value::Null)
}

fn bundle_of(trust_domain: &str, value: &Value) -> Option<Bundle> {
    let domain: TrustDomain = trust_domain.parse().ok()?;
    Bundle::from_jwks(domain, value.to_string().as_bytes()).ok()
}

impl Membership {
    /// What is stored; none when there is none, or none that can be read.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FileError> {
        let Some(text) = files::read(path)? else { return Ok(None) };
        let read = serde_json::from_slice::<MembershipFile>(&text).ok();
        let membership = read.filter(|file| file.version == VERSION).and_then(|file| {
            let svid = Arc::new(file.svid.read("")?);
            let bundle = Arc::new(bundle_of(&file.trust_domain, &file.bundle)?);
            (svid.id.trust_domain() == &bundle.trust_domain).then_some(Self {
                svid,
                bundle,
                attestor: file.attestor,
                reattestable: file.reattestable,
            })
        });
        if membership.is_none() {
            say(format_args!("{} cannot be read: the host joins anew", path.display()));
        }
        Ok(membership)
    }

    /// Stores it in one step.
    pub(crate) fn write(&self, path: &Path) -> Result<(), FileError> {
        let file = MembershipFile {
            version: VERSION,
            attestor: self.attestor.clone(),
            reattestable: self.reattestable,
            svid: StoredSvid::of(&self.svid),
            trust_domain: self.bundle.trust_domain.as_str().to_owned(),
            bundle: bundle_value(&self.bundle),
        };
        write(path, &file)
    }
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let text = Zeroizing::new(serde_json::to_vec(value).expect("it is made of text and numbers"));
    files::write(path, &text)
}

/// Entries, SVIDs and bundles.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) update: Update,
    /// SVIDs by the name of their entry, with their keys.
    pub(crate) svids: BTreeMap<String, Arc<X509Svid>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeptFile {
    version: u32,
    trust_domain: String,
    bundle: Value,
    federated: BTreeMap<String, Value>,
    entries: Vec<KeptEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeptEntry {
    id: String,
    spiffe_id: String,
    selectors: Vec<String>,
    federates_with: Vec<String>,
    dns_names: Vec<String>,
    x509_ttl: i64,
    jwt_ttl: i64,
    hint: String,
    created_at: i64,
    revision: i64,
    svid: Option<StoredSvid>,
}

impl KeptEntry {
    fn of(entry: &Entry, svid: Option<&X509Svid>) -> Self {
        Self {
            id: entry.id.clone(),
            spiffe_id: entry.spiffe_id.to_string(),
            selectors: entry.selectors.iter().map(ToString::to_string).collect(),
            federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
            dns_names: entry.dns_names.clone(),
            x509_ttl: entry.x509_ttl,
            jwt_ttl: entry.jwt_ttl,
            hint: entry.hint.clone(),
            created_at: entry.created_at,
            revision: entry.revision,
            svid: svid.map(StoredSvid::of),
        }
    }

    fn read(self) -> Option<(Entry, Option<Arc<X509Svid>>)> {
        let entry = Entry {
            spiffe_id: self.spiffe_id.parse().ok()?,
            selectors: self.selectors.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?,
            federates_with: self.federates_with.iter().map(|it| it.parse().ok()).collect::<Option<_>>()?,
            id: self.id,
            dns_names: self.dns_names,
            x509_ttl: self.x509_ttl,
            jwt_ttl: self.jwt_ttl,
            hint: self.hint,
            created_at: self.created_at,
            revision: self.revision,
        };
        let svid = self.svid.and_then(|svid| svid.read(&entry.hint));
        let svid = svid.filter(|svid| svid.id == entry.spiffe_id).map(Arc::new);
        Some((entry, svid))
    }
}

impl Kept {
    /// What is stored; none when there is none, or none that can be read: it comes again.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FileError> {
        let Some(text) = files::read(path)? else { return Ok(None) };
        let read = serde_json::from_slice::<KeptFile>(&text).ok().filter(|file| file.version == VERSION);
        Ok(read.and_then(|file| {
            let bundle = bundle_of(&file.trust_domain, &file.bundle)?;
            let mut update = Update {
                entries: BTreeMap::new(),
                bundle,
                federated: BTreeMap::new(),
                // The next synchronisation tells.
                tainted: Tainted::default(),
            };
            for (name, value) in &file.federated {
                let bundle = bundle_of(name, value)?;
                update.federated.insert(bundle.trust_domain.clone(), bundle);
            }
            let mut svids = BTreeMap::new();
            for (entry, svid) in file.entries.into_iter().filter_map(KeptEntry::read) {
                svids.extend(svid.map(|svid| (entry.id.clone(), svid)));
                update.entries.insert(entry.id.clone(), entry);
            }
            Some(Self { update, svids })
        }))
    }

    /// Stores it in one step.
    pub(crate) fn write(&self, path: &Path) -> Result<(), FileError> {
        let Update { entries, bundle, federated, .. } = &self.update;
        let entry = |(id, entry): (&String, &Entry)| {
            KeptEntry::of(entry, self.svids.get(id).map(|svid| svid.as_ref()))
        };
        let file = KeptFile {
            version: VERSION,
            trust_domain: bundle.trust_domain.as_str().to_owned(),
            bundle: bundle_value(bundle),
            federated: federated.iter().map(|(name, it)| (name.to_string(), bundle_value(it))).collect(),
            entries: entries.iter().map(entry).collect(),
        };
        write(path, &file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::{Authority as _, Csr};
    use crate::clock::Clock;
    use crate::clock::fake::FakeClock;
    use crate::keys;
    use crate::local::{HOST, Local};

    #[tokio::test(start_paused = true)]
    async fn there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::new());
        let local = Local::open(&path("local"), &"td".parse().unwrap(), "a", clock).unwrap();
        let (key, der) = keys::request().unwrap();
        let chains = local.x509(vec![Csr { entry: HOST.to_owned(), der }]).await.unwrap();
        let svid = Arc::new(X509Svid::new(chains[0].clone().unwrap(), key, "").unwrap());

        let mut bundle = local.bundle();
        bundle.jwt_authorities.values_mut().for_each(|it| it.expires_at = None);
        let membership = Membership {
            svid: Arc::clone(&svid),
            bundle: Arc::new(bundle.clone()),
            attestor: "x509pop".to_owned(),
            reattestable: true,
        };
        membership.write(&path("identity")).unwrap();
        let read = Membership::read(&path("identity")).unwrap().unwrap();
        assert_eq!((&read.svid, &read.bundle), (&membership.svid, &membership.bundle));
        assert_eq!((&*read.attestor, read.reattestable), ("x509pop", true));

        let mut update = local.sync().await.unwrap();
        update.bundle = bundle.clone();
        bundle.trust_domain = "other".parse().unwrap();
        update.federated.insert(bundle.trust_domain.clone(), bundle);
        let kept = Kept { update, svids: BTreeMap::from([(HOST.to_owned(), svid)]) };
        kept.write(&path("cache")).unwrap();
        let read = Kept::read(&path("cache")).unwrap().unwrap();
        assert_eq!((read.update, read.svids), (kept.update, kept.svids));
    }

    #[test]
    fn broken_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(Membership::read(&path).unwrap().is_none());
        for text in ["", "{", "{}", "[1]", "{\"version\":1}"] {
            std::fs::write(&path, text).unwrap();
            assert!(Membership::read(&path).unwrap().is_none() && Kept::read(&path).unwrap().is_none());
        }
    }
}
