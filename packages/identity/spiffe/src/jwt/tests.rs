//! Tokens of ours and of others, and each mistake alone.

use serde_json::json;

use super::*;
use crate::testing::{Authority, Leaf, NOW};
use crate::{Curve, JwtAuthority, PublicKey};

struct Issued {
    signer: JwtSigner,
    bundle: Bundle,
}

impl Issued {
    fn new() -> Self {
        let authority = Authority::new();
        let signer = JwtSigner::new(&authority.issue(&Leaf::WEB).1).unwrap();
        let mut bundle = authority.bundle();
        let key = JwtAuthority { key: signer.public_key().clone(), expires_at: None };
        bundle.jwt_authorities.insert(signer.key_id().to_owned(), key);
        Self { signer, bundle }
    }

    fn verify(&self, token: &str) -> Result<JwtSvid, JwtSvidError> {
        JwtSvid::verify(
            token,
            "audience",
            |name| (name == &self.bundle.trust_domain).then_some(&self.bundle),
            NOW,
        )
        .map(|(svid, _)| svid)
    }

    /// A token with this header and these claims, signed as it should be.
    fn token(&self, header: &Value, claims: &Value) -> String {
        let encoded = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        self.signer.sign_text(format!("{}.{}", encoded(header), encoded(claims))).unwrap()
    }

    fn refused(&self, change: impl FnOnce(&mut Value, &mut Value)) -> JwtSvidError {
        let mut header = json!({ "alg": "ES256", "kid": self.signer.key_id(), "typ": "JWT" });
        let mut claims = json!({ "sub": "spiffe://example.org/web", "aud": ["audience"], "exp": NOW + 60 });
        assert!(self.verify(&self.token(&header, &claims)).is_ok());
        change(&mut header, &mut claims);
        self.verify(&self.token(&header, &claims)).unwrap_err()
    }
}

#[test]
fn ours() {
    let issued = Issued::new();
    let id: SpiffeId = "spiffe://example.org/web".parse().unwrap();
    let audience = ["other".to_owned(), "audience".to_owned()];
    let svid = issued.signer.sign(&id, &audience, NOW, NOW + 300).unwrap();
    assert_eq!(issued.verify(svid.token.expose()).unwrap(), svid);
    assert_eq!(JwtSvid::read_unverified(svid.token.expose()).unwrap(), svid);
    assert!(!format!("{svid:?}").contains(&svid.token.expose()[..20]));
    let other = Issued::new();
    let refused = other.verify(svid.token.expose()).unwrap_err();
    assert!(matches!(refused, JwtSvidError::UnknownKey(_)), "{refused}");
}

#[test]
fn mistakes() {
    let issued = Issued::new();
    let remove = |value: &mut Value, name: &str| drop(value.as_object_mut().unwrap().remove(name));
    type Change<'a> = Box<dyn FnOnce(&mut Value, &mut Value) + 'a>;
    let rows: Vec<(Change<'_>, &str)> = vec![
        (Box::new(|header, _| header["alg"] = json!("none")), "no JWT-SVID may be"),
        (Box::new(|header, _| header["alg"] = json!("HS256")), "no JWT-SVID may be"),
        (Box::new(|header, _| header["alg"] = json!("ES384")), "signature is wrong"),
        (Box::new(|header, _| header["alg"] = json!("RS256")), "signature is wrong"),
        (Box::new(|header, _| header["alg"] = json!("ES512")), "ES512"),
        (Box::new(|header, _| header["typ"] = json!("at+jwt")), "type JWT or JOSE"),
        (Box::new(|header, _| header["crit"] = json!(["exp"])), "critical extensions"),
        (Box::new(|header, _| remove(header, "kid")), "names no key"),
        (Box::new(|header, _| header["kid"] = json!("")), "names no key"),
        (Box::new(|header, _| header["kid"] = json!("x")), "does not have the key"),
        (Box::new(|_, claims| remove(claims, "sub")), "no claim sub"),
        (Box::new(|_, claims| claims["sub"] = json!("joe")), "begins with spiffe://"),
        (
            Box::new(|_, claims| claims["sub"] = json!("spiffe://other/a")),
            "no bundle of the trust domain other",
        ),
        (Box::new(|_, claims| remove(claims, "aud")), "no claim aud"),
        (Box::new(|_, claims| claims["aud"] = json!([])), "no claim aud"),
        (Box::new(|_, claims| claims["aud"] = json!(["audience", 1])), "no claim aud"),
        (Box::new(|_, claims| claims["aud"] = json!("Audience")), "not for the audience"),
        (Box::new(|_, claims| remove(claims, "exp")), "no claim exp"),
        (Box::new(|_, claims| claims["exp"] = json!("1")), "no claim exp"),
        (Box::new(|_, claims| claims["exp"] = json!(1e300)), "no claim exp"),
        (Box::new(|_, claims| claims["exp"] = json!(NOW - 60)), "has expired"),
        (Box::new(|_, claims| claims["nbf"] = json!(NOW + 61)), "not valid yet"),
        (Box::new(|_, claims| claims["iat"] = json!(NOW + 61)), "not valid yet"),
    ];
    for (change, said) in rows {
        let refused = issued.refused(change).to_string();
        assert!(refused.contains(said), "{refused}: {said}");
    }
}

#[test]
fn forms() {
    let issued = Issued::new();
    for bad in ["", ".", "..", "a.b.c", "e30.e30.", "e30.e30", "W10.W10.AA", "e30=.e30=.AA"] {
        assert!(issued.verify(bad).is_err(), "{bad}");
    }
    assert_eq!(issued.verify(&"a".repeat(70_000)), Err(JwtSvidError::Malformed));
    let good = issued.token(
        &json!({ "alg": "ES256", "kid": issued.signer.key_id() }),
        &json!({ "sub": "spiffe://example.org/web", "aud": "audience", "exp": NOW as f64 - 0.5 }),
    );
    assert_eq!(issued.verify(&good).unwrap().audience, ["audience"], "one audience, no typ, a fraction");
    assert!(issued.verify(&format!("{good}.")).is_err());
    assert!(issued.verify(&format!(".{good}")).is_err());
    assert!(issued.verify(&good.replace('.', " .")).is_err());
}

/// Tokens that openssl has signed.
#[test]
fn others() {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let bundle =
        Bundle::from_jwks("example.org".parse().unwrap(), vectors["jwks"].to_string().as_bytes()).unwrap();
    let tokens = vectors["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 7);
    for token in tokens {
        let token = token.as_str().unwrap();
        let (svid, claims) = JwtSvid::verify(token, "audience", |_| Some(&bundle), 1990).unwrap();
        assert_eq!((&*svid.id.to_string(), claims.len()), ("spiffe://example.org/web", 3));
        let changed = token.replacen('.', ".A", 1);
        assert!(JwtSvid::verify(&changed, "audience", |_| Some(&bundle), 1990).is_err());
        let expired = JwtSvid::verify(token, "audience", |_| Some(&bundle), 2060).unwrap_err();
        assert_eq!(expired, JwtSvidError::Expired);
    }
}

/// RFC 7515 appendix A.3.
#[test]
fn of_the_rfc() {
    let number = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    let x = number("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU");
    let y = number("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    let key = PublicKey::ec_of_coordinates(Curve::P256, &x, &y).unwrap();
    let text = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature =
        number("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q");
    Algorithm::of_name("ES256").unwrap().verify(&key, text.as_bytes(), &signature).unwrap();
    assert!(Algorithm::Es256.verify(&key, &text.as_bytes()[1..], &signature).is_err());
}
