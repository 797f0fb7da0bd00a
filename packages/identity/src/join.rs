//! Joining: the host proves itself to one of the servers, and what it gets is checked before anything is kept.

use std::sync::Arc;

use lepton_spiffe::{Bundle, PrivateKey, Purpose, X509Svid, verify};

use crate::attest::NodeAttestor;
use crate::authority::AuthorityError;
use crate::clock::Clock;
use crate::keys;
use crate::server::{self, Link, Trust};
use crate::store::Membership;

/// Seconds that a server's clock may be ahead of ours.
const SKEW: i64 = 300;

/// What is needed.
#[derive(Debug)]
pub(crate) struct Joining<'a> {
    /// Which servers, in this order.
    pub(crate) servers: &'a [String],
    /// Whom to believe.
    pub(crate) trust: &'a Trust,
    /// How to prove the host.
    pub(crate) attestor: &'a dyn NodeAttestor,
    /// The key that the host will have. It is the same one for each attempt: a server that has answered, but was not heard,
    /// has signed for no other.
    pub(crate) key: &'a PrivateKey,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

/// Joins. Servers are tried one after the other until one says yes or no.
pub(crate) async fn join(joining: &Joining<'_>) -> Result<Membership, AuthorityError> {
    let mut failures = Vec::new();
    for address in joining.servers {
        match join_at(joining, address).await {
            Err(AuthorityError::Unavailable(why)) => failures.push(format!("{address}: {why}")),
            other => return other,
        }
    }
    Err(AuthorityError::Unavailable(format!("no server answers: {}", failures.join("; "))))
}

async fn join_at(joining: &Joining<'_>, address: &str) -> Result<Membership, AuthorityError> {
    let local = |error: &dyn std::fmt::Display| AuthorityError::Local(error.to_string());
    let config = server::config(joining.trust, None, joining.clock).map_err(|error| local(&error))?;
    let csr = keys::request_for(joining.key).map_err(|error| local(&error))?;
    let link = Link::connect(address, config).await?;
    let attested = link.attest(joining.attestor, csr).await?;
    let bad = |error: &dyn std::fmt::Display| {
        AuthorityError::Refused(format!("the server's answer is no good: {error}"))
    };
    let svid = X509Svid::new(attested.chain, joining.key.clone(), "").map_err(|error| bad(&error))?;
    if svid.id.trust_domain() != joining.trust.trust_domain() {
        return Err(bad(&format_args!("{} is of another trust domain", svid.id)));
    }
    // A token is used up now, so the way to here is not gone again for a bundle: the one that the server was verified with
    // does, until the next synchronisation.
    let bundle = match (link.bundle().await, joining.trust) {
        (Ok((bundle, _)), _) if bundle.trust_domain == *joining.trust.trust_domain() => Arc::new(bundle),
        (_, Trust::Bundle(bundle)) => Arc::clone(bundle),
        (Err(error), Trust::Anyone(_)) => return Err(error),
        (Ok((other, _)), Trust::Anyone(_)) => {
            return Err(bad(&format_args!("the bundle is one of {}", other.trust_domain)));
        }
    };
    is_led_to(&svid, &bundle, joining.clock.now()).map_err(|error| bad(&error))?;
    Ok(Membership {
        svid: Arc::new(svid),
        bundle,
        attestor: joining.attestor.name().to_owned(),
        reattestable: attested.reattestable && joining.attestor.can_repeat(),
    })
}

/// Whether the bundle leads to what a server has made; clocks may differ by a little.
fn is_led_to(svid: &X509Svid, bundle: &Bundle, now: i64) -> Result<(), lepton_spiffe::X509SvidError> {
    let now = if svid.not_before > now && svid.not_before <= now + SKEW { svid.not_before } else { now };
    verify(&svid.chain, bundle, Purpose::Client, now).map(|_| ())
}
