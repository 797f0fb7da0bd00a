//! Bytes in the agent's JSON files: base64, and overwritten when they are dropped, because they may be keys.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lepton_spiffe::PrivateKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bytes(..)")
    }
}

impl Bytes {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// As a PKCS#8 key.
    pub(crate) fn into_key(self) -> PrivateKey {
        PrivateKey::from_pkcs8(self.into_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(BASE64_STANDARD.encode(self.0.as_slice())))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        // The text is not shown.
        bytes.map(Self::new).map_err(|_| serde::de::Error::custom("it is no base64"))
    }
}
