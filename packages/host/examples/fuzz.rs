//! Gives the parsers that meet callers bytes that nobody would write: `fuzz certificates|words|programs|lists SECONDS
//! [NUMBER]`. The seeds are good ones; each run changes some of their bytes, cuts them, or repeats parts. A number printed
//! with a failure repeats the run, but for the keys, which are new each time.

use std::io::{Error, Result, Write};
use std::time::{Duration, Instant};

use lepton_host::fuzz;
use lepton_host_api::v1::exec_request::Message;
use lepton_host_api::v1::{ExecRequest, ExecStart, WindowSize};
use lepton_spiffe::{Bundle, CertificateDer};
use prost::Message as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

const USAGE: &str = "usage: fuzz certificates|words|programs|lists SECONDS [NUMBER]";
const WORDS: [&str; 5] =
    ["/lepton.host.v1.Host/Status", "/lepton.host.v1.Host/Exec", "/role/admin", "/role/reader", "99999999S"];
const LOG: &[u8] = b"2026-11-29T10:20:30.123456789Z stdout F one\n2026-11-29T10:20:31Z stderr P two\n";
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
    programs: Vec<Vec<u8>>,
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
        let leaf = params("spiffe://example.org/role/admin", false)?.signed_by(&key, &below)?.der().to_vec();
        let mut bundle = Bundle::empty("example.org".parse()?);
        bundle.add(anchor)?;
        let start =
            ExecStart { command: vec!["/bin/sh".to_owned(), "-c".to_owned()], ..ExecStart::default() };
        let messages = [
            Message::Start(start),
            Message::Stdin(b"input".to_vec()),
            Message::Size(WindowSize { columns: 80, rows: 24 }),
        ];
        let programs = messages.map(|message| ExecRequest { message: Some(message) }.encode_to_vec()).into();
        Ok(Self { leaf, between, bundle, programs })
    }

    fn run(&self, target: &str, random: &mut Random) -> Result<usize> {
        let mut bytes = match target {
            "certificates" => self.leaf.clone(),
            "words" => WORDS[random.below(WORDS.len())].into(),
            "programs" => self.programs[random.below(self.programs.len())].clone(),
            "lists" if random.below(2) == 0 => LOG.to_vec(),
            "lists" => [&self.leaf[..], &self.between].concat(),
            _ => return Err(Error::other(USAGE)),
        };
        random.change(&mut bytes);
        Ok(match target {
            "certificates" => {
                fuzz::certificate(&bytes, std::slice::from_ref(&self.between), &self.bundle, NOW)
            }
            "words" => fuzz::words(&String::from_utf8_lossy(&bytes)),
            "programs" => fuzz::program(&bytes),
            _ => fuzz::lists(&bytes),
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
