//! Signature algorithms of JWT-SVIDs (JWT-SVID section 2.1) and who verifies them.

use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::JwtSvidError;
use crate::{Curve, PublicKey};

/// What a token may be signed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Es384,
    Es512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
}

impl Algorithm {
    /// The algorithm of that name, when a JWT-SVID may have it: neither `none` nor one with a shared key.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            _ => return None,
        })
    }

    /// Whether `key` has signed it so. A key of another kind has not.
    pub(super) fn verify(
        self,
        key: &PublicKey,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtSvidError> {
        let ecdsa = |wanted: Curve, algorithm: &'static signature::EcdsaVerificationAlgorithm| match key {
            PublicKey::Ec { curve, point } if *curve == wanted => {
                UnparsedPublicKey::new(algorithm, point).verify(message, signature).is_ok()
            }
            _ => false,
        };
        let rsa = |parameters: &'static RsaParameters| match key {
            PublicKey::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            PublicKey::Ec { .. } => false,
        };
        let is_good = match self {
            Self::Es256 => ecdsa(Curve::P256, &ECDSA_P256_SHA256_FIXED),
            Self::Es384 => ecdsa(Curve::P384, &ECDSA_P384_SHA384_FIXED),
            Self::Es512 => return Err(JwtSvidError::Es512),
            Self::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512),
        };
        if is_good { Ok(()) } else { Err(JwtSvidError::Signature) }
    }
}
