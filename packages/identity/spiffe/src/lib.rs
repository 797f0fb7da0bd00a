//! SPIFFE for a host's agent: IDs and trust domains, X.509-SVIDs, JWT-SVIDs, trust bundles and selectors.
//!
//! Everything here is a function of its arguments: nothing reads a file, a socket or the clock. Times are seconds since
//! 1970 ([`UnixSeconds`]). Keys and tokens never appear in `Debug` or in errors, and are overwritten when they are dropped.
#![forbid(unsafe_code)]

mod bundle;
mod der;
pub mod fuzz;
mod jwt;
mod key;
mod public_key;
mod selector;
mod spiffe_id;
#[cfg(test)]
mod testing;
mod trust_domain;
mod x509;

pub use bundle::{Bundle, BundleError, JwtAuthority};
pub use jwt::{JwtSigner, JwtSvid, JwtSvidError};
pub use key::{PrivateKey, Secret};
pub use public_key::{Curve, PublicKey, PublicKeyError};
pub use selector::{Selector, SelectorError};
pub use spiffe_id::{SpiffeId, SpiffeIdError};
pub use trust_domain::{TrustDomain, TrustDomainError};
pub use x509::{Certificate, CertificateError, Peer, Purpose, X509Svid, X509SvidError, verify};

/// Certificates in DER.
pub use rustls_pki_types::CertificateDer;

/// Seconds since 1970-01-01 00:00 UTC.
pub type UnixSeconds = i64;
