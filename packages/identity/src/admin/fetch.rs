//! SVIDs and bundles for root.

use lepton_identity_control::{Answer, BundleText, ErrorKind, Jwt, Text, X509};
use lepton_spiffe::{SpiffeId, TrustDomain, X509Svid};
use lepton_workload_api::JwtError;

use super::Admin;

fn id(text: Option<&str>) -> Result<Option<SpiffeId>, Answer> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error: lepton_spiffe::SpiffeIdError| {
        Answer::error(ErrorKind::BadRequest, error.to_string())
    })
}

fn none(only: Option<&SpiffeId>) -> Answer {
    let what = only.map_or_else(|| "no identity of a workload".to_owned(), |id| format!("no identity {id}"));
    Answer::error(ErrorKind::NotFound, format!("this host has {what}"))
}

impl Admin {
    pub(super) fn x509(&self, only: Option<&str>) -> Answer {
        let only = match id(only) {
            Ok(only) => only,
            Err(answer) => return answer,
        };
        let (cache, own) = (&self.shared.cache, self.shared.facts().own.clone());
        let now = self.shared.clock.now();
        let mut svids: Vec<_> = cache
            .show()
            .into_iter()
            .filter(|shown| match &only {
                Some(only) => shown.entry.spiffe_id == *only,
                None => !shown.entry.selectors.is_empty(),
            })
            .filter_map(|shown| shown.svid)
            .collect();
        if svids.is_empty() {
            // The host's own is had by its name only.
            svids.extend(own.filter(|svid| Some(&svid.id) == only.as_ref()));
        }
        svids.retain(|svid| now < svid.not_after);
        if svids.is_empty() {
            return none(only.as_ref());
        }
        Answer::X509(svids.iter().map(|svid| self.written(svid)).collect())
    }

    fn written(&self, svid: &X509Svid) -> X509 {
        let bundle = self.shared.cache.bundle_of(svid.id.trust_domain());
        X509 {
            spiffe_id: svid.id.to_string(),
            chain: svid.chain_pem(),
            key: Text::new(svid.key_pem().to_string()),
            bundle: bundle.map(|bundle| bundle.to_pem()).unwrap_or_default(),
            expires_at: svid.not_after,
            hint: svid.hint.clone(),
        }
    }

    pub(super) async fn jwt(&self, audience: &[String], only: Option<&str>) -> Answer {
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Answer::error(ErrorKind::BadRequest, "a JWT-SVID is for somebody: give an audience");
        }
        let only = match id(only) {
            Ok(only) => only,
            Err(answer) => return answer,
        };
        let entries = self.shared.cache.entries(only.as_ref());
        if entries.is_empty() {
            return none(only.as_ref());
        }
        let mut tokens = Vec::new();
        for entry in entries {
            match self.shared.cache.token(&entry, audience).await {
                Ok(svid) => tokens.push(Jwt {
                    spiffe_id: svid.id.to_string(),
                    token: Text::new(svid.token.expose().to_owned()),
                    expires_at: svid.expires_at,
                    hint: svid.hint,
                }),
                Err(error) => {
                    let kind = match error {
                        JwtError::NoIdentity => ErrorKind::NotFound,
                        JwtError::Unavailable(_) => ErrorKind::Unavailable,
                        _ => ErrorKind::Refused,
                    };
                    return Answer::error(kind, error.to_string());
                }
            }
        }
        Answer::Jwt(tokens)
    }

    pub(super) fn bundle(&self, domain: Option<&str>) -> Answer {
        let cache = &self.shared.cache;
        let bundle = match domain.map(str::parse::<TrustDomain>) {
            None => Some(cache.bundle()),
            Some(Ok(domain)) => cache.bundle_of(&domain),
            Some(Err(error)) => return Answer::error(ErrorKind::BadRequest, error.to_string()),
        };
        match bundle.filter(|bundle| !bundle.x509_authorities.is_empty()) {
            Some(bundle) => Answer::Bundle(BundleText {
                trust_domain: bundle.trust_domain.to_string(),
                pem: bundle.to_pem(),
                jwks: bundle.to_jwks(),
            }),
            None => Answer::error(ErrorKind::NotFound, "this host has no such trust bundle"),
        }
    }
}
