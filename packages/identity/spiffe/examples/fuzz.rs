//! Gives the parsers bytes that nobody would write: `fuzz names|certificates|bundles|tokens SECONDS [NUMBER]`. The seeds
//! are good ones; each run changes some of their bytes, cuts them, or repeats parts. A number printed with a failure
//! repeats the run, but for the keys, which are new each time.

use std::io::{Error, Result, Write};
use std::time::{Duration, Instant};

use lepton_spiffe::{Bundle, CertificateDer, JwtAuthority, JwtSigner, PrivateKey, fuzz};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

const USAGE: &str = "usage: fuzz names|certificates|bundles|tokens SECONDS [NUMBER]";
const NAMES: [&str; 4] =
    ["spiffe://example.org/web", "spiffe://example.org", "unix:uid:1000", "k8s:pod-label:app:web"];
/// Within the lifetimes of the seeds.
const NOW: i64 = 1_800_000_000;

/// A small generator that a number repeats (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("it is below a usize")
    }

    /// Changes bytes in a few places.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..self.below(5) {
            if bytes.is_empty() {
                return;
            }
            let at = self.below(bytes.len());
            let end = (at + self.below(32)).min(bytes.len());
            match self.below(7) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at + 1),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                5 => bytes[at] = b"{}[]\":,./-_="[self.below(12)],
                _ => bytes.insert(at, self.next().to_le_bytes()[0]),
            }
        }
    }
}

/// Good ones of each kind.
struct Seeds {
    leaf: Vec<u8>,
    between: CertificateDer<'static>,
    bundle: Bundle,
    token: String,
}

impl Seeds {
    fn new() -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let params = |uri: &str, ca: bool| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
            params.is_ca = if ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
            params.key_usages =
                vec![if ca { KeyUsagePurpose::KeyCertSign } else { KeyUsagePurpose::DigitalSignature }];
            Ok::<_, rcgen::Error>(params)
        };
        let (root, key) = (params("spiffe://example.org", true)?, KeyPair::generate()?);
        let anchor = root.self_signed(&key)?.der().clone();
        let root = Issuer::new(root, key);
        let (below, key) = (params("spiffe://example.org", true)?, KeyPair::generate()?);
        let between = below.signed_by(&key, &root)?.der().clone();
        let below = Issuer::new(below, key);
        let key = KeyPair::generate()?;
        let leaf = params("spiffe://example.org/web", false)?.signed_by(&key, &below)?.der().to_vec();
        let mut bundle = Bundle::empty("example.org".parse()?);
        bundle.add(anchor)?;
        let signer = JwtSigner::new(&PrivateKey::from_pkcs8(key.serialize_der())).ok_or("no P-256 key")?;
        let authority = JwtAuthority { key: signer.public_key().clone(), expires_at: None };
        bundle.jwt_authorities.insert(signer.key_id().to_owned(), authority);
        let id = "spiffe://example.org/web".parse()?;
        let svid = signer.sign(&id, &["audience".to_owned()], NOW - 10, NOW + 300).ok_or("no signature")?;
        Ok(Self { leaf, between, bundle, token: svid.token.expose().to_owned() })
    }

    fn run(&self, target: &str, random: &mut Random) -> Result<usize> {
        let mut bytes = match target {
            "names" => NAMES[random.below(NAMES.len())].into(),
            "certificates" => self.leaf.clone(),
            "bundles" if random.below(2) == 0 => self.bundle.to_jwks().into_bytes(),
            "bundles" => self.bundle.to_pem().into_bytes(),
            "tokens" => self.token.clone().into_bytes(),
            _ => return Err(Error::other(USAGE)),
        };
        random.change(&mut bytes);
        Ok(match target {
            "names" => fuzz::names(&String::from_utf8_lossy(&bytes)),
            "certificates" => {
                fuzz::certificate(&bytes, std::slice::from_ref(&self.between), &self.bundle, NOW)
            }
            "bundles" => fuzz::bundle(&bytes),
            _ => fuzz::token(&String::from_utf8_lossy(&bytes), &self.token, &self.bundle, NOW),
        })
    }
}

/// Tells which run failed.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "the failing run is number {}", self.0);
    }
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(seconds)) = (arguments.first(), number(1)) else {
        return Err(Error::other(USAGE));
    };
    let seeds = Seeds::new().map_err(|error| Error::other(error.to_string()))?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut good) = (number(2).unwrap_or(1), 0);
    let first = seed;
    while Instant::now() < end {
        let shown = Shown(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        good += seeds.run(target, &mut random)?;
        std::mem::forget(shown);
        seed += 1;
    }
    writeln!(std::io::stdout(), "{target}: {} runs, {good} good ones, no failure", seed - first)
}
