//! Certificates as they should be, and each mistake alone.

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};

use super::*;
use crate::testing::{Authority, Leaf, NOW};
use crate::{Bundle, PrivateKey};

const CA: Leaf<'_> = Leaf {
    uris: &["spiffe://example.org"],
    ca: true,
    usages: &[KeyUsagePurpose::KeyCertSign],
    purposes: &[],
    ..Leaf::WEB
};

#[test]
fn a_good_one() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue(&Leaf::WEB);
    let svid = X509Svid::new(vec![certificate.clone()], key, "a").unwrap();
    assert_eq!(svid.id.to_string(), "spiffe://example.org/web");
    assert_eq!((svid.lifetime(), svid.not_after, &*svid.hint), (7200, NOW + 3600, "a"));
    assert_eq!(svid.dns_names, ["web.example"]);
    assert!(svid.serial.bytes().all(|digit| digit.is_ascii_digit()), "{}", svid.serial);
    assert_eq!(svid.chain_der(), certificate.to_vec());
    assert!(!format!("{svid:?}").contains(&format!("{:?}", &svid.key.as_der()[..8])));
    for purpose in [Purpose::Client, Purpose::Server] {
        let peer = verify(&svid.chain, &authority.bundle(), purpose, NOW).unwrap();
        assert_eq!(peer.id, svid.id);
    }
    let pem = svid.chain_pem() + &authority.bundle().to_pem();
    let read = Bundle::from_pem("example.org".parse().unwrap(), authority.bundle().to_pem().as_bytes());
    assert_eq!(read.unwrap(), authority.bundle());
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(svid.key_pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    assert!(svid.key_pem().lines().all(|line| line.len() <= 64));
}

#[test]
fn mistakes_of_a_leaf() {
    let authority = Authority::new();
    let sign = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let crl = [KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign];
    let rows: [(Leaf<'_>, &str); 9] = [
        (Leaf { uris: &[], ..Leaf::WEB }, "has 0"),
        (Leaf { uris: &["spiffe://example.org/a", "spiffe://example.org/b"], ..Leaf::WEB }, "has 2"),
        (Leaf { uris: &["spiffe://example.org/a", "https://example.org"], ..Leaf::WEB }, "has 2"),
        (Leaf { uris: &["https://example.org/a"], ..Leaf::WEB }, "begins with spiffe://"),
        (Leaf { uris: &["spiffe://example.org"], ..Leaf::WEB }, "has no path"),
        (Leaf { ca: true, ..Leaf::WEB }, "it is an authority"),
        (Leaf { usages: &sign, ..Leaf::WEB }, "keyCertSign"),
        (Leaf { usages: &crl, ..Leaf::WEB }, "cRLSign"),
        (Leaf { usages: &[], ..Leaf::WEB }, "lacks digitalSignature"),
    ];
    for (leaf, said) in rows {
        let (certificate, key) = authority.issue(&leaf);
        let refused = verify(std::slice::from_ref(&certificate), &authority.bundle(), Purpose::Server, NOW)
            .unwrap_err();
        assert!(refused.to_string().contains(said), "{refused}");
        assert_eq!(X509Svid::new(vec![certificate], key, "").unwrap_err(), refused);
    }
}

#[test]
fn what_no_bundle_leads_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let bundle = authority.bundle();
    let refused = |chain: &[crate::CertificateDer<'_>], now| {
        verify(chain, &bundle, Purpose::Client, now).unwrap_err().to_string()
    };
    let (certificate, _) = stranger.issue(&Leaf::WEB);
    assert!(refused(&[certificate], NOW).contains("no authority of the bundle has signed it"));
    let (certificate, _) = authority.issue(&Leaf::WEB);
    assert!(refused(std::slice::from_ref(&certificate), NOW + 3601).contains("expired"));
    assert!(refused(&[certificate], NOW - 3601).contains("is the clock right?"));
    let (certificate, _) = authority.issue(&Leaf { uris: &["spiffe://other.example/web"], ..Leaf::WEB });
    assert!(refused(&[certificate], NOW).contains("not of the trust domain example.org"));
    let (certificate, _) =
        authority.issue(&Leaf { purposes: &[ExtendedKeyUsagePurpose::ServerAuth], ..Leaf::WEB });
    assert!(!refused(&[certificate], NOW).is_empty());
    assert_eq!(verify(&[], &bundle, Purpose::Client, NOW), Err(X509SvidError::Empty));
    let empty = Bundle::empty("example.org".parse().unwrap());
    let (certificate, _) = authority.issue(&Leaf::WEB);
    assert!(verify(&[certificate], &empty, Purpose::Client, NOW).is_err());
}

#[test]
fn authorities_between() {
    let root = Authority::new();
    let between = root.below(&CA);
    let (certificate, key) = between.issue(&Leaf::WEB);
    let chain = vec![certificate, between.certificate.clone()];
    verify(&chain, &root.bundle(), Purpose::Server, NOW).unwrap();
    X509Svid::new(chain.clone(), key.clone(), "").unwrap();
    assert!(verify(&chain[..1], &root.bundle(), Purpose::Server, NOW).is_err());

    // Somebody's leaf signs another one.
    let leaf = root.below(&Leaf::WEB);
    let (certificate, key) = leaf.issue(&Leaf { uris: &["spiffe://example.org/admin"], ..Leaf::WEB });
    let chain = vec![certificate, leaf.certificate.clone()];
    assert!(verify(&chain, &root.bundle(), Purpose::Server, NOW).is_err());
    let refused = X509Svid::new(chain, key, "").unwrap_err();
    assert_eq!(refused, X509SvidError::Certificate(CertificateError::NoAuthority));
    let mut bundle = root.bundle();
    assert!(bundle.add(leaf.certificate).is_err(), "a leaf is no anchor");
}

#[test]
fn keys_of_others() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue(&Leaf::WEB);
    let (_, other) = authority.issue(&Leaf::WEB);
    for key in [other, PrivateKey::from_pkcs8(vec![0; 16])] {
        let refused = X509Svid::new(vec![certificate.clone()], key, "").unwrap_err();
        assert!(matches!(refused, X509SvidError::Key(_)), "{refused}");
    }
}
