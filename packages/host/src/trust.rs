//! Whom to believe: what a certificate chain is worth, held against the bundle of those who sign for operators. Pure.

use lepton_host_api::roles::Role;
use lepton_spiffe::{
    Bundle, Certificate, CertificateDer, Purpose, SpiffeId, TrustDomain, UnixSeconds, verify,
};

/// Seconds that a caller's clock may be ahead of ours: its certificate may have been made a moment ago.
const SKEW: UnixSeconds = 300;

/// Somebody who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Who.
    pub id: SpiffeId,
    /// What they may do.
    pub role: Role,
    /// When their certificate ends.
    pub until: UnixSeconds,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The certificate cannot be read, or names nobody.
    #[error("the certificate is no X.509-SVID: {0}")]
    NoSvid(String),
    /// No authority of the bundle has signed it.
    #[error("{id} is not believed: {why}")]
    Unknown {
        /// Who they say they are.
        id: SpiffeId,
        /// What the verifier said.
        why: String,
    },
    /// It is of another trust domain.
    #[error("{id} is not of the trust domain {expected}")]
    Foreign {
        /// Who.
        id: SpiffeId,
        /// Whose clients are served.
        expected: TrustDomain,
    },
    /// It was good once.
    #[error("the certificate of {id} has expired")]
    Expired {
        /// Whose.
        id: SpiffeId,
    },
    /// It will be good.
    #[error("the certificate of {id} is not valid yet; is the host's clock right?")]
    NotYet {
        /// Whose.
        id: SpiffeId,
    },
    /// Its ID names no role.
    #[error("{id} has no role here: its path is none of /role/admin, /role/operator and /role/reader")]
    NoRole {
        /// Whose.
        id: SpiffeId,
    },
}

impl Distrust {
    /// Whether a connection may be made all the same, so that the caller can be told why it is refused.
    pub fn may_be_told(&self) -> bool {
        !matches!(self, Self::NoSvid(_) | Self::Unknown { .. })
    }

    /// Who it is about, where that is proved.
    pub fn id(&self) -> Option<&SpiffeId> {
        match self {
            Self::NoSvid(_) | Self::Unknown { .. } => None,
            Self::Foreign { id, .. } | Self::Expired { id } | Self::NotYet { id } | Self::NoRole { id } => {
                Some(id)
            }
        }
    }
}

/// Who has that chain, the caller's own certificate first.
pub fn judge(chain: &[CertificateDer<'_>], bundle: &Bundle, now: UnixSeconds) -> Result<Known, Distrust> {
    let no_svid = |why: &dyn std::fmt::Display| Distrust::NoSvid(why.to_string());
    let first = chain.first().ok_or_else(|| no_svid(&"there is none"))?;
    let certificate = Certificate::read(first).map_err(|error| no_svid(&error))?;
    let id = certificate.leaf_id().map_err(|error| no_svid(&error))?;
    // Signatures first, as if it were the right time and domain: what is wrong besides is told to those who are known.
    let mut authorities = Bundle::empty(id.trust_domain().clone());
    authorities.x509_authorities.clone_from(&bundle.x509_authorities);
    // A certificate whose end is before its beginning has no time at which it is good.
    let then = now.max(certificate.not_before).min(certificate.not_after);
    verify(chain, &authorities, Purpose::Client, then)
        .map_err(|error| Distrust::Unknown { id: id.clone(), why: said(&error) })?;
    if id.trust_domain() != &bundle.trust_domain {
        return Err(Distrust::Foreign { id, expected: bundle.trust_domain.clone() });
    }
    if now > certificate.not_after {
        return Err(Distrust::Expired { id });
    }
    if now.saturating_add(SKEW) < certificate.not_before {
        return Err(Distrust::NotYet { id });
    }
    match Role::of_path(id.path()) {
        Some(role) => Ok(Known { id, role, until: certificate.not_after }),
        None => Err(Distrust::NoRole { id }),
    }
}

/// Without the name, which is said before.
fn said(error: &lepton_spiffe::X509SvidError) -> String {
    match error {
        lepton_spiffe::X509SvidError::Unverified { why, .. } => why.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Authority, DOMAIN, Leaf, NOW};

    fn judged(authority: &Authority, leaf: &Leaf<'_>, now: UnixSeconds) -> Result<Role, String> {
        let bundle = authority.bundle(DOMAIN);
        let (chain, _) = authority.issue(leaf);
        judge(&[chain], &bundle, now).map(|known| known.role).map_err(|error| error.to_string())
    }

    #[test]
    fn roles() {
        let authority = Authority::new(DOMAIN);
        for role in Role::ALL {
            let id = format!("spiffe://{DOMAIN}{}", role.path());
            assert_eq!(judged(&authority, &Leaf::of(&id), NOW), Ok(role));
        }
    }

    #[test]
    fn others() {
        let authority = Authority::new(DOMAIN);
        let bundle = authority.bundle(DOMAIN);
        let admin = Leaf::of("spiffe://example.org/role/admin");
        let ask = |authority: &Authority, leaf: &Leaf<'_>, now| {
            judge(&[authority.issue(leaf).0], &bundle, now).unwrap_err()
        };
        assert!(matches!(ask(&Authority::new(DOMAIN), &admin, NOW), Distrust::Unknown { .. }));
        let foreign = Leaf::of("spiffe://example.net/role/admin");
        assert!(matches!(ask(&authority, &foreign, NOW), Distrust::Foreign { .. }));
        // Somebody else's certificate of another trust domain is unknown before it is foreign.
        assert!(matches!(ask(&Authority::new("example.net"), &foreign, NOW), Distrust::Unknown { .. }));
        assert!(matches!(ask(&authority, &admin, NOW + 3601), Distrust::Expired { .. }));
        assert!(matches!(ask(&authority, &admin, NOW - 3600 - SKEW - 1), Distrust::NotYet { .. }));
        assert!(judge(&[authority.issue(&admin).0], &bundle, NOW - 3600 - SKEW).is_ok());
        for path in ["/host/1", "/role/root", "/role/admin/x"] {
            let id = format!("spiffe://example.org{path}");
            assert!(matches!(ask(&authority, &Leaf::of(&id), NOW), Distrust::NoRole { .. }), "{path}");
        }
        for broken in [
            Leaf { uris: &[], ..admin },
            Leaf { uris: &["spiffe://example.org/role/admin", "spiffe://example.org/role/reader"], ..admin },
            Leaf { uris: &["spiffe://example.org"], ..admin },
            Leaf { uris: &["https://example.org/role/admin"], ..admin },
            Leaf { is_ca: true, ..admin },
        ] {
            let distrust = ask(&authority, &broken, NOW);
            assert!(matches!(distrust, Distrust::NoSvid(_)) && !distrust.may_be_told(), "{distrust}");
        }
        assert!(matches!(judge(&[], &bundle, NOW), Err(Distrust::NoSvid(_))));
        assert!(matches!(judge(&[vec![0x30, 0x80].into()], &bundle, NOW), Err(Distrust::NoSvid(_))));
    }

    #[test]
    fn a_server_is_no_client_and_a_host_no_admin() {
        let authority = Authority::new(DOMAIN);
        let bundle = authority.bundle(DOMAIN);
        let admin = Leaf::of("spiffe://example.org/role/admin");
        let server = Leaf { is_client: false, ..admin };
        assert!(matches!(judge(&[authority.issue(&server).0], &bundle, NOW), Err(Distrust::Unknown { .. })));
        // One that was signed by a leaf is signed by nobody.
        let (leaf, issuer) = authority.issue_with_key(&admin);
        let below = issuer.issue(&admin).0;
        assert!(matches!(judge(&[below, leaf], &bundle, NOW), Err(Distrust::Unknown { .. })));
        // An authority between is fine when it comes along.
        let (between, issuer) = authority.between();
        let below = issuer.issue(&admin).0;
        assert!(judge(&[below.clone(), between], &bundle, NOW).is_ok());
        assert!(matches!(judge(&[below], &bundle, NOW), Err(Distrust::Unknown { .. })));
    }
}
