//! Bundles of all kinds, read and written.

use super::*;
use crate::JwtSigner;
use crate::testing::{Authority, Leaf};

fn domain() -> TrustDomain {
    "example.org".parse().unwrap()
}

fn whole() -> Bundle {
    let authority = Authority::new();
    let mut bundle = authority.bundle();
    bundle.add(Authority::new().certificate).unwrap();
    bundle.add(authority.certificate.clone()).unwrap();
    assert_eq!(bundle.x509_authorities.len(), 2, "one is there once");
    let signer = JwtSigner::new(&authority.issue(&Leaf::WEB).1).unwrap();
    let key = JwtAuthority { key: signer.public_key().clone(), expires_at: None };
    bundle.jwt_authorities.insert(signer.key_id().to_owned(), key);
    let key = JwtAuthority { key: PublicKey::rsa(&[0xc5; 256], &[1, 0, 1]).unwrap(), expires_at: None };
    bundle.jwt_authorities.insert("rsa".to_owned(), key);
    bundle.sequence = Some(7);
    bundle.refresh_hint = Some(300);
    bundle
}

#[test]
fn jwks_there_and_back() {
    let bundle = whole();
    assert_eq!(Bundle::from_jwks(domain(), bundle.to_jwks().as_bytes()).unwrap(), bundle);
    let jwt = bundle.to_jwt_jwks();
    assert!(!jwt.contains("x5c") && !jwt.contains("use") && !jwt.contains("spiffe_"), "{jwt}");
    assert_eq!(jwt.matches("kid").count(), 2);
}

#[test]
fn jwks_of_others() {
    let read = |text: &str| Bundle::from_jwks(domain(), text.as_bytes());
    let none = read(r#"{"keys":null,"spiffe_sequence":1,"unknown":{}}"#).unwrap();
    assert_eq!((none.sequence, none.x509_authorities.len()), (Some(1), 0));
    let skipped = read(r#"{"keys":[{"kty":"OKP"},{"kty":"EC","use":"sig"},{"use":"other"}]}"#).unwrap();
    assert_eq!(skipped, Bundle::empty(domain()));
    for (bad, said) in [
        ("", "cannot be read as a JWK set"),
        ("[]", "it has no keys"),
        (r#"{"keys":{}}"#, "keys is no list"),
        (r#"{"keys":[],"spiffe_sequence":-1}"#, "spiffe_sequence is no number"),
        (r#"{"keys":[],"spiffe_refresh_hint":"5"}"#, "spiffe_refresh_hint is no number"),
        (r#"{"keys":[{"use":"x509-svid","kty":"EC"}]}"#, "key 1 of the trust bundle: it has no x5c"),
        (r#"{"keys":[{"use":"x509-svid","x5c":["AA==","AA=="]}]}"#, "exactly one certificate"),
        (r#"{"keys":[{"use":"x509-svid","x5c":["!"]}]}"#, "no base64"),
        (r#"{"keys":[{"use":"x509-svid","x5c":["AA=="]}]}"#, "no X.509 certificate"),
        (
            r#"{"keys":[{"use":"a"},{"use":"jwt-svid","kty":"EC"}]}"#,
            "key 2 of the trust bundle: it has no kid",
        ),
        (r#"{"keys":[{"use":"jwt-svid","kid":"a","kty":"oct","k":"AA"}]}"#, "neither EC nor RSA"),
        (r#"{"keys":[{"use":"jwt-svid","kid":"a","kty":"EC","crv":"secp256k1"}]}"#, "its curve is none of"),
        (
            r#"{"keys":[{"use":"jwt-svid","kid":"a","kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}"#,
            "out of bounds",
        ),
        (r#"{"keys":[{"use":"jwt-svid","kid":"a","kty":"RSA","n":"AQAB"}]}"#, "numbers is missing"),
    ] {
        let refused = read(bad).unwrap_err().to_string();
        assert!(refused.contains(said), "{bad}: {refused}");
    }
}

#[test]
fn pem() {
    let bundle = whole();
    let text = format!("a comment\n{}", bundle.to_pem());
    assert_eq!(
        Bundle::from_pem(domain(), text.as_bytes()).unwrap().x509_authorities,
        bundle.x509_authorities
    );
    assert_eq!(Bundle::from_pem(domain(), b"nothing"), Err(BundleError::Empty));
    let (leaf, _) = Authority::new().issue(&Leaf::WEB);
    let text = bundle.to_pem() + &super::pem("CERTIFICATE", &leaf);
    let refused = Bundle::from_pem(domain(), text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "certificate 3 of the trust bundle: it is no authority: basic constraints or key usage do not let it sign"
    );
}
