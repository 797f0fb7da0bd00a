//! SPIRE's messages as the agent's values. What a server sends is checked like anything else that comes from outside.

use lepton_spiffe::{Bundle, CertificateDer, JwtAuthority, JwtSvid, PublicKey, Selector, SpiffeId};
use lepton_spiffe_api::spire::api::types;

use crate::authority::{AuthorityError, Chain, Entry, Tainted};

fn bad(what: impl std::fmt::Display) -> AuthorityError {
    AuthorityError::Refused(format!("the server's answer is no good: {what}"))
}

fn id(given: Option<types::Spiffeid>) -> Result<SpiffeId, AuthorityError> {
    let given = given.ok_or_else(|| bad("a SPIFFE ID is missing"))?;
    let domain = given.trust_domain.parse().map_err(bad)?;
    SpiffeId::new(domain, &given.path).map_err(bad)
}

/// An entry; the name of the entry and what is wrong with it else.
pub(super) fn entry(given: types::Entry) -> Result<Entry, (String, AuthorityError)> {
    let name = given.id.clone();
    let read = || {
        let mut entry = Entry {
            id: given.id,
            spiffe_id: id(given.spiffe_id)?,
            selectors: given
                .selectors
                .iter()
                .map(|it| Selector::new(&it.r#type, &it.value).map_err(bad))
                .collect::<Result<_, _>>()?,
            federates_with: Default::default(),
            dns_names: given.dns_names,
            x509_ttl: given.x509_svid_ttl.into(),
            jwt_ttl: given.jwt_svid_ttl.into(),
            hint: given.hint,
            created_at: given.created_at,
            revision: given.revision_number,
        };
        for name in &given.federates_with {
            entry.federates_with.insert(name.parse().map_err(bad)?);
        }
        if entry.id.is_empty() || entry.selectors.is_empty() {
            return Err(bad("an entry has no name or no selectors"));
        }
        Ok(entry)
    };
    read().map_err(|error| (name, error))
}

/// A chain of certificates.
pub(super) fn chain(given: Option<types::X509svid>) -> Result<Chain, AuthorityError> {
    let given = given.ok_or_else(|| bad("an SVID is missing"))?;
    if given.cert_chain.is_empty() {
        return Err(bad("an SVID has no certificate"));
    }
    Ok(given.cert_chain.into_iter().map(CertificateDer::from).collect())
}

/// A bundle. A key that cannot be read voids itself only: servers of other versions may have other kinds.
pub(super) fn bundle(given: types::Bundle) -> Result<(Bundle, Tainted), AuthorityError> {
    let mut tainted = Tainted::default();
    let mut bundle = Bundle::empty(given.trust_domain.parse().map_err(bad)?);
    for certificate in given.x509_authorities {
        let der = CertificateDer::from(certificate.asn1);
        if certificate.tainted {
            tainted.x509.push(der.clone());
        }
        let _ = bundle.add(der);
    }
    for key in given.jwt_authorities {
        if key.tainted {
            tainted.jwt.insert(key.key_id.clone());
        }
        if let Ok(public) = PublicKey::from_spki(&key.public_key) {
            let expires_at = (key.expires_at > 0).then_some(key.expires_at);
            bundle.jwt_authorities.insert(key.key_id, JwtAuthority { key: public, expires_at });
        }
    }
    bundle.sequence = Some(given.sequence_number);
    bundle.refresh_hint = u64::try_from(given.refresh_hint).ok().filter(|hint| *hint > 0);
    if bundle.x509_authorities.is_empty() {
        return Err(bad(format!("the bundle of {} has no authority", bundle.trust_domain)));
    }
    Ok((bundle, tainted))
}

/// A token.
pub(super) fn jwt(given: Option<types::Jwtsvid>, entry: &Entry) -> Result<JwtSvid, AuthorityError> {
    let given = given.ok_or_else(|| bad("a JWT-SVID is missing"))?;
    let mut svid = JwtSvid::read_unverified(&given.token).map_err(bad)?;
    if svid.id != entry.spiffe_id {
        return Err(bad(format!("a JWT-SVID of {} was asked for", entry.spiffe_id)));
    }
    svid.hint.clone_from(&entry.hint);
    Ok(svid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> types::Entry {
        types::Entry {
            id: "a".to_owned(),
            spiffe_id: Some(types::Spiffeid { trust_domain: "td".to_owned(), path: "/web".to_owned() }),
            selectors: vec![types::Selector { r#type: "unix".to_owned(), value: "uid:0".to_owned() }],
            federates_with: vec!["spiffe://other".to_owned()],
            ..Default::default()
        }
    }

    #[test]
    fn entries() {
        let read = entry(given()).unwrap();
        assert_eq!(read.spiffe_id.to_string(), "spiffe://td/web");
        assert_eq!(read.federates_with.first().unwrap().as_str(), "other");
        type Change = fn(&mut types::Entry);
        let changes: [Change; 5] = [
            |it| it.spiffe_id = None,
            |it| it.selectors.clear(),
            |it| it.selectors[0].value.clear(),
            |it| it.federates_with.push("A/b".to_owned()),
            |it| it.spiffe_id.as_mut().unwrap().path = "web".to_owned(),
        ];
        for change in changes {
            let mut entry_given = given();
            change(&mut entry_given);
            assert_eq!(entry(entry_given).unwrap_err().0, "a");
        }
    }

    #[test]
    fn bundles_without_authorities_are_none() {
        let given = types::Bundle { trust_domain: "td".to_owned(), ..Default::default() };
        assert!(bundle(given).unwrap_err().to_string().contains("has no authority"));
        assert!(chain(Some(types::X509svid::default())).is_err());
    }
}
