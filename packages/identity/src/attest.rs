//! Node attestors: how a host proves to a server which host it is. One file each.

mod join_token;
mod x509pop;

pub(crate) use join_token::JoinTokenAttestor;
pub(crate) use x509pop::X509popAttestor;

/// Why a host cannot prove itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AttestError {
    /// The server asks what this attestor does not answer.
    #[error("{0}: the server asks something that is no part of it")]
    Challenge(&'static str),
    /// What the machine config gives for it.
    #[error("identity.{key}: {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A signature.
    #[error("{0}: cannot sign: the system has no random numbers")]
    Sign(&'static str),
}

/// How a host proves itself.
pub(crate) trait NodeAttestor: Send + Sync + std::fmt::Debug {
    /// Its name, which server and agent share.
    fn name(&self) -> &'static str;

    /// What the server gets first.
    fn payload(&self) -> Result<Vec<u8>, AttestError>;

    /// The answer to what the server asks then.
    fn respond(&self, challenge: &[u8]) -> Result<Vec<u8>, AttestError>;

    /// Whether it works more than once.
    fn can_repeat(&self) -> bool;
}
