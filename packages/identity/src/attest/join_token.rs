//! `join_token`: whoever has the token is the host. It is good once.

use lepton_spiffe::Secret;

use super::{AttestError, NodeAttestor};

/// A token of a server.
#[derive(Debug)]
pub(crate) struct JoinTokenAttestor(Secret);

impl JoinTokenAttestor {
    /// With that token. It lives in memory only.
    pub(crate) fn new(token: Secret) -> Self {
        Self(token)
    }
}

impl NodeAttestor for JoinTokenAttestor {
    fn name(&self) -> &'static str {
        "join_token"
    }

    fn payload(&self) -> Result<Vec<u8>, AttestError> {
        Ok(self.0.expose().as_bytes().to_vec())
    }

    fn respond(&self, _: &[u8]) -> Result<Vec<u8>, AttestError> {
        Err(AttestError::Challenge("join_token"))
    }

    fn can_repeat(&self) -> bool {
        false
    }
}
