//! What the server asks of those who have identities: the cache of an agent.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use lepton_spiffe::{Bundle, JwtSvid, Selector, SpiffeId, TrustDomain, X509Svid};
use tokio::sync::watch;

/// What callers with certain selectors may have.
pub trait Identities: Send + Sync + 'static {
    /// What a caller has now, and a new view each time that its SVIDs or bundles change.
    ///
    /// The receiver must give its first value without a wait. When its sender is dropped, calls of it end with
    /// `UNAVAILABLE`, and clients ask again.
    fn watch(&self, selectors: &BTreeSet<Selector>) -> watch::Receiver<Arc<View>>;

    /// JWT-SVIDs for an audience: of all identities of the caller, or of the one that it asked for.
    fn jwt(
        &self,
        selectors: &BTreeSet<Selector>,
        audience: &[String],
        only: Option<&SpiffeId>,
    ) -> impl Future<Output = Result<Vec<JwtSvid>, JwtError>> + Send;
}

/// What a caller has.
#[derive(Clone, Debug)]
pub struct View {
    /// Its identities, the default one first. None means that nothing is registered for it.
    pub svids: Vec<Arc<X509Svid>>,
    /// The bundle of the trust domain.
    pub bundle: Arc<Bundle>,
    /// Bundles of the trust domains that its identities federate with.
    pub federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    /// Whether this is all that there is for it. While it is not, because nothing is known of registrations yet or SVIDs
    /// are still being made, a caller without identities waits for a while and is not refused.
    pub is_settled: bool,
}

impl View {
    /// A view without any identity.
    pub fn empty(bundle: Arc<Bundle>) -> Self {
        Self { svids: Vec::new(), bundle, federated: BTreeMap::new(), is_settled: true }
    }

    /// All bundles, the federated ones first.
    pub(crate) fn bundles(&self) -> impl Iterator<Item = (&TrustDomain, &Bundle)> {
        let federated = self.federated.iter().map(|(domain, bundle)| (domain, &**bundle));
        federated.chain([(&self.bundle.trust_domain, &*self.bundle)])
    }

    /// The bundle of a trust domain that the caller may verify others with.
    pub fn bundle_of(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        if self.bundle.trust_domain == *trust_domain {
            return Some(&self.bundle);
        }
        self.federated.get(trust_domain).map(|bundle| &**bundle)
    }
}

/// Why there is no JWT-SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// Nothing is registered for the caller, or not what it asked for.
    #[error("no identity issued")]
    NoIdentity,
    /// The authority does not answer, and none is kept that is still good.
    #[error("cannot get a JWT-SVID now: {0}")]
    Unavailable(String),
    /// The authority says no.
    #[error("the authority refuses the JWT-SVID: {0}")]
    Refused(String),
}
