//! From a URL to the text of a machine config, or the reason why not.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::connect::Timed;
use crate::url::{Url, UrlError, Wanted};
use crate::{http, tls};

/// Name of a fetched config in messages.
pub const SOURCE: &str = "url";
/// Longest config in bytes: it must fit into one request of the control protocol with every character escaped.
pub const MAX_BYTES: u64 = 120 * 1024;
/// How often a server may send us elsewhere.
const MAX_REDIRECTS: usize = 5;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The host has no address, or no DNS server answers.
    #[error("cannot find an address of {host}: {source}")]
    Resolve {
        /// Its name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The connection broke, or took too long.
    #[error("the exchange failed: {0}")]
    Exchange(#[source] io::Error),
    /// The host cannot be in a certificate.
    #[error("no certificate can name the host {0:?}")]
    Name(String),
    /// There is nothing to check a certificate with.
    #[error(
        "https needs certificate roots, and {0:?} has none (*.pem, *.crt): bring them with [[files]] in another source, \
         or use http with #sha256=DIGEST behind the URL"
    )]
    NoRoots(PathBuf),
    /// TLS cannot be set up.
    #[cfg(feature = "tls")]
    #[error("cannot set up TLS: {0}")]
    Tls(#[source] rustls::Error),
    /// There is no TLS.
    #[error("this image cannot speak https: use http with #sha256=DIGEST behind the URL")]
    NoTls,
    /// The server does not speak HTTP/1.
    #[error("the answer cannot be read: {0}")]
    NotHttp(&'static str),
    /// The server has no such thing.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// A redirect without end, or to where it must not lead.
    #[error("the server's redirect is not followed: {0}")]
    Redirect(String),
    /// It is too large.
    #[error("the config is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// It is something else than was asked for.
    #[error("the config has the sha256 {found}, not the one behind the URL")]
    Digest {
        /// What it has.
        found: String,
    },
    /// It is no machine config.
    #[error("this is no machine config: {0}")]
    NotConfig(String),
}

impl From<UrlError> for FetchError {
    fn from(error: UrlError) -> Self {
        Self::Redirect(error.to_string())
    }
}

/// Fetches a config within `limit`; certificate roots are in the folder `roots`.
pub fn fetch(wanted: &Wanted, roots: &Path, limit: Duration) -> Result<String, FetchError> {
    let body = download(&wanted.url, roots, Instant::now() + limit)?;
    if let Some(pin) = wanted.sha256 {
        let found = Sha256::digest(&body);
        if found[..] != pin {
            let text = found.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            return Err(FetchError::Digest { found: text });
        }
    }
    // Mistakes in a config cost what they are in, here as everywhere; something else altogether is not handed on.
    let parsed = lepton_config::parse_bytes(SOURCE, &body);
    match parsed.problems.first() {
        Some(problem) if parsed.config.is_empty() => Err(FetchError::NotConfig(problem.to_string())),
        _ => Ok(String::from_utf8(body).expect("what is not UTF-8 is no machine config")),
    }
}

fn download(url: &Url, roots: &Path, deadline: Instant) -> Result<Vec<u8>, FetchError> {
    let mut url = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let stream = Timed::connect(&url, deadline)?;
        let answer = if url.is_tls {
            http::get(tls::wrap(stream, &url.host, roots)?, &url, MAX_BYTES)?
        } else {
            http::get(stream, &url, MAX_BYTES)?
        };
        let location = match (answer.status, answer.location) {
            (200, _) => return Ok(answer.body),
            (301 | 302 | 303 | 307 | 308, Some(location)) => location,
            (status, _) => return Err(FetchError::Status(status)),
        };
        let next = url.redirected(&location)?;
        if url.is_tls && !next.is_tls {
            return Err(FetchError::Redirect(format!("{next} is not https")));
        }
        url = next;
    }
    Err(FetchError::Redirect(format!("more than {MAX_REDIRECTS} one after the other")))
}
