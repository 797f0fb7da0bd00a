//! Authorities of a machine config, good and bad.

use std::sync::Arc;

use lepton_spiffe::X509Svid;
use rcgen::{
    BasicConstraints, Certificate as Made, CertificateParams, DnType, IsCa, KeyUsagePurpose, SanType,
};

use super::super::{HOST, Local};
use super::*;
use crate::authority::{Authority as _, Csr};
use crate::clock::fake::{FakeClock, START};

const DAY: i64 = 86_400;

struct Ca {
    params: CertificateParams,
    pair: KeyPair,
    made: Made,
}

fn params(trust_domain: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names.push(SanType::URI(format!("spiffe://{trust_domain}").try_into().unwrap()));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let time = |seconds| time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    (params.not_before, params.not_after) = (time(START - DAY), time(START + 10 * DAY));
    params
}

fn root(trust_domain: &str) -> Ca {
    let (params, pair) = (params(trust_domain, "root"), KeyPair::generate().unwrap());
    let made = params.self_signed(&pair).unwrap();
    Ca { params, pair, made }
}

fn below(root: &Ca, params: CertificateParams) -> Ca {
    let pair = KeyPair::generate().unwrap();
    let made = params.signed_by(&pair, &Issuer::from_params(&root.params, &root.pair)).unwrap();
    Ca { params, pair, made }
}

fn texts(chain: &[&Ca], key: &KeyPair) -> AuthorityTexts {
    let certificate = chain.iter().map(|ca| ca.made.pem()).collect();
    AuthorityTexts { certificate, key: Secret::new(key.serialize_pem()) }
}

/// A certificate and its key, for a machine config.
pub(crate) fn example(trust_domain: &str) -> (String, String) {
    let root = root(trust_domain);
    (root.made.pem(), root.pair.serialize_pem())
}

struct Alone(tempfile::TempDir, Arc<FakeClock>);

impl Alone {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Arc::new(FakeClock::new()))
    }

    fn open(&self) -> Local {
        let path = self.0.path().join("local.json");
        Local::open(&path, &"example.org".parse().unwrap(), "a", self.1.clone()).unwrap()
    }

    fn refused(&self, texts: &AuthorityTexts) -> String {
        self.open().set_authority(texts).unwrap_err().to_string()
    }
}

async fn issue(local: &Local) -> Result<X509Svid, AuthorityError> {
    let (key, der) = keys::request().unwrap();
    let mut answers = local.x509(vec![Csr { entry: HOST.to_owned(), der }]).await.unwrap();
    Ok(X509Svid::new(answers.remove(0)?, key, "").unwrap())
}

#[tokio::test(start_paused = true)]
async fn others_verify_with_the_root_what_the_host_issues() {
    let alone = Alone::new();
    let root = root("example.org");
    let below = below(&root, params("example.org", "hosts"));
    let local = alone.open();
    let before = local.bundle();
    local.set_authority(&texts(&[&below, &root], &below.pair)).unwrap();
    let bundle = local.bundle();
    assert_eq!(bundle.x509_authorities, [root.made.der().clone()]);
    assert_eq!(bundle.jwt_authorities, before.jwt_authorities, "tokens are the host's own");
    assert_ne!(bundle.sequence, before.sequence);
    let svid = issue(&local).await.unwrap();
    assert_eq!(svid.chain.len(), 2);
    let known = Bundle::from_pem("example.org".parse().unwrap(), root.made.pem().as_bytes()).unwrap();
    verify(&svid.chain, &known, Purpose::Server, START).unwrap();
    // Nothing of it is kept: without it in the machine config the host is its own authority again.
    assert_eq!(alone.open().bundle().x509_authorities, before.x509_authorities);
}

#[tokio::test(start_paused = true)]
async fn a_root_alone_signs_itself_and_nothing_outlives_it() {
    let alone = Alone::new();
    let root = root("example.org");
    let local = alone.open();
    local.set_authority(&texts(&[&root], &root.pair)).unwrap();
    assert_eq!(issue(&local).await.unwrap().chain.len(), 1);
    alone.1.jump(10 * DAY - 60);
    assert_eq!(issue(&local).await.unwrap().not_after, START + 10 * DAY);
    alone.1.jump(120);
    let error = issue(&local).await.unwrap_err();
    assert!(error.to_string().starts_with("identity.authority has expired"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_others_would_not_believe_is_refused() {
    let alone = Alone::new();
    let root_a = root("example.org");
    let good = below(&root_a, params("example.org", "hosts"));
    let other = root("other.example");
    let stranger = root("example.org");
    let mut leaf = params("example.org", "leaf");
    leaf.is_ca = IsCa::NoCa;
    let leaf = below(&root_a, leaf);
    for (texts, said) in [
        (texts(&[&good, &root_a], &root_a.pair), "the key does not belong to the certificate"),
        (
            texts(&[&other], &other.pair),
            "it is of spiffe://other.example, not of the trust domain example.org",
        ),
        (texts(&[&good, &stranger], &good.pair), "is not verified by its last certificate"),
        (texts(&[&leaf, &root_a], &leaf.pair), "it is no authority"),
        (texts(&[], &good.pair), "there is no certificate"),
    ] {
        let error = alone.refused(&texts);
        assert!(error.starts_with("identity.authority: ") && error.contains(said), "{error}");
    }
    let mut bad = texts(&[&good, &root_a], &good.pair);
    bad.key = Secret::new("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n".to_owned());
    let error = alone.refused(&bad);
    assert!(error.contains("it is no P-256 key") && !error.contains("hunter2"), "{error}");
}
