//! X.509-SVIDs.

mod certificate;
mod svid;
#[cfg(test)]
mod tests;
mod verify;

pub use certificate::{Certificate, CertificateError};
pub use svid::{X509Svid, X509SvidError};
pub use verify::{Peer, Purpose, verify};
