//! Entrances for `examples/fuzz.rs` and the tests: bytes of anyone, and what must hold for them. Not a part of the
//! interface.

use crate::{Bundle, Certificate, CertificateDer, JwtSvid, PublicKey, Purpose, Selector, SpiffeId, verify};

/// A text of anyone; how many kinds of name it is.
pub fn names(text: &str) -> usize {
    let id = text.parse::<SpiffeId>().inspect(|id| {
        assert_eq!(id.to_string(), text);
        assert!(text.len() <= 2048 && text.starts_with("spiffe://"));
        assert!(!id.path().ends_with('/') && !id.path().contains("//"));
    });
    let selector = text.parse::<Selector>().inspect(|selector| assert_eq!(selector.to_string(), text));
    usize::from(id.is_ok()) + usize::from(selector.is_ok())
}

/// Certificates of a peer, held against a bundle; whether they were verified.
pub fn certificate(bytes: &[u8], others: &[CertificateDer<'static>], bundle: &Bundle, now: i64) -> usize {
    let read = Certificate::read(bytes).ok();
    let mut chain = vec![CertificateDer::from(bytes.to_vec())];
    chain.extend_from_slice(others);
    let verified = verify(&chain, bundle, Purpose::Server, now);
    if let Ok(peer) = &verified {
        let read = read.as_ref().expect("what is verified can be read");
        assert_eq!(peer.certificate, *read);
        assert_eq!(read.leaf_id().as_ref(), Ok(&peer.id));
        assert_eq!(peer.id.trust_domain(), &bundle.trust_domain);
        assert!((read.not_before..=read.not_after).contains(&now));
    }
    if let Some(Ok(key)) = read.as_ref().map(Certificate::key) {
        assert_eq!(PublicKey::from_spki(&key.to_spki()).as_ref(), Ok(&key));
    }
    usize::from(verified.is_ok())
}

/// A bundle of anyone, as JWK set and as PEM; how many authorities it has. What is read is written so that it is read
/// again as the same.
pub fn bundle(bytes: &[u8]) -> usize {
    let domain = || "example.org".parse().expect("it is one");
    let mut count = 0;
    if let Ok(bundle) = Bundle::from_jwks(domain(), bytes) {
        count += bundle.x509_authorities.len() + bundle.jwt_authorities.len();
        let again = Bundle::from_jwks(domain(), bundle.to_jwks().as_bytes()).expect("it was written here");
        assert_eq!(again.jwt_authorities, bundle.jwt_authorities);
        assert_eq!((again.sequence, again.refresh_hint), (bundle.sequence, bundle.refresh_hint));
        assert!(again.x509_authorities.len() <= bundle.x509_authorities.len());
    }
    if let Ok(bundle) = Bundle::from_pem(domain(), bytes) {
        count += bundle.x509_authorities.len();
        let again = Bundle::from_pem(domain(), bundle.to_pem().as_bytes());
        assert_eq!(again.as_ref(), Ok(&bundle));
    }
    count
}

/// A token of anyone; whether it was verified. Only `good` may be.
pub fn token(text: &str, good: &str, bundle: &Bundle, now: i64) -> usize {
    let read = JwtSvid::read_unverified(text);
    let verified =
        JwtSvid::verify(text, "audience", |name| (*name == bundle.trust_domain).then_some(bundle), now);
    if let Ok((svid, _)) = &verified {
        assert_eq!(read.as_ref(), Ok(svid));
        // The last character of a base64 text may hold bits that say nothing; but none are let through.
        assert_eq!(text, good, "a changed token was believed");
    }
    usize::from(verified.is_ok())
}
