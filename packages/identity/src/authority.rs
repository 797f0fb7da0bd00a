//! Who issues identities: a SPIRE server, or the host itself while it is alone. The rest of the agent knows no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use lepton_spiffe::{
    Bundle, CertificateDer, JwtSvid, Purpose, Selector, SpiffeId, TrustDomain, UnixSeconds, X509Svid, verify,
};

/// An answer that takes its time.
pub(crate) type Soon<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuthorityError>> + Send + 'a>>;

/// An identity that workloads of this host may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name at the authority.
    pub(crate) id: String,
    /// Who has it.
    pub(crate) spiffe_id: SpiffeId,
    /// What a workload must have, all of these; one at least.
    pub(crate) selectors: BTreeSet<Selector>,
    /// Trust domains whose bundles come with it.
    pub(crate) federates_with: BTreeSet<TrustDomain>,
    /// DNS names of its certificate.
    pub(crate) dns_names: Vec<String>,
    /// Seconds that a certificate of it is good for; 0 where the authority decides.
    pub(crate) x509_ttl: i64,
    /// Seconds that a JWT-SVID of it is good for; 0 where the authority decides.
    pub(crate) jwt_ttl: i64,
    /// What tells it from others of one workload.
    pub(crate) hint: String,
    /// When it was made: of several the oldest is a workload's default.
    pub(crate) created_at: i64,
    /// Changes when the entry does.
    pub(crate) revision: i64,
}

impl Entry {
    /// The seconds that the entry asks for, when a certificate is good for less: authorities have limits of their own.
    /// That SPIRE and the host's own authority date certificates back by ten seconds hides a limit that is as near.
    pub(crate) fn capped_from(&self, svid: &X509Svid) -> Option<i64> {
        (svid.lifetime() < self.x509_ttl).then_some(self.x509_ttl)
    }
}

/// All that an authority has for this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// Entries by name.
    pub(crate) entries: BTreeMap<String, Entry>,
    /// The bundle of the trust domain.
    pub(crate) bundle: Bundle,
    /// Bundles that the entries federate with, as far as the authority has them.
    pub(crate) federated: BTreeMap<TrustDomain, Bundle>,
    /// Authorities that are still in the bundle, but not to be relied on.
    pub(crate) tainted: Tainted,
}

/// Authorities whose keys somebody else may have: what they have signed is to be replaced soon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tainted {
    /// Certificates.
    pub(crate) x509: Vec<CertificateDer<'static>>,
    /// Names of keys of JWT-SVIDs.
    pub(crate) jwt: BTreeSet<String>,
}

impl Tainted {
    /// Whether one of them leads to an SVID.
    pub(crate) fn has_signed(&self, svid: &X509Svid, now: UnixSeconds) -> bool {
        let mut bundle = Bundle::empty(svid.id.trust_domain().clone());
        for authority in &self.x509 {
            // Those that cannot be read have signed nothing.
            let _ = bundle.add(authority.clone());
        }
        !bundle.x509_authorities.is_empty()
            && verify(&svid.chain, &bundle, Purpose::Client, now.max(svid.not_before)).is_ok()
    }
}

/// A request for a certificate.
#[derive(Clone, Debug)]
pub(crate) struct Csr {
    /// The entry.
    pub(crate) entry: String,
    /// PKCS#10.
    pub(crate) der: Vec<u8>,
}

/// A chain of certificates.
pub(crate) type Chain = Vec<CertificateDer<'static>>;

/// Why an authority did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AuthorityError {
    /// It cannot be reached, or is not well: later, or another one.
    #[error("{0}")]
    Unavailable(String),
    /// It says no to this.
    #[error("{0}")]
    Refused(String),
    /// It does not know the host any more; it may join again.
    #[error("the server does not know this host's identity any more: {0}")]
    MustAttest(String),
    /// It does not want the host, whatever it shows.
    #[error("the server has banned this host: {0}")]
    Banned(String),
    /// The entry is gone.
    #[error("the authority has no entry of that name any more")]
    NoEntry,
    /// The host itself has failed.
    #[error("{0}")]
    Local(String),
}

/// Who issues identities.
pub(crate) trait Authority: Send + Sync + std::fmt::Debug {
    /// What there is for this host now.
    fn sync(&self) -> Soon<'_, Update>;

    /// Certificates for these requests, in their order.
    fn x509(&self, requests: Vec<Csr>) -> Soon<'_, Vec<Result<Chain, AuthorityError>>>;

    /// A JWT-SVID.
    fn jwt(&self, entry: &Entry, audience: &[String]) -> Soon<'_, JwtSvid>;
}
