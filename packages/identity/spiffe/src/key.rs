//! Secrets in memory: shown to nobody, overwritten when dropped.

use std::fmt;

use rustls_pki_types::PrivatePkcs8KeyDer;
use zeroize::Zeroizing;

/// A private key in PKCS#8.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// The key with that PKCS#8 document.
    pub fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// The PKCS#8 document.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }

    /// As rustls wants it.
    pub fn to_pki(&self) -> PrivatePkcs8KeyDer<'_> {
        PrivatePkcs8KeyDer::from(self.as_der())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// A token: whoever has it is taken for somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret with that text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown() {
        assert_eq!(format!("{:?}", PrivateKey::from_pkcs8(b"key".to_vec())), "PrivateKey(..)");
        assert_eq!(format!("{:?}", Secret::new("token".to_owned())), "Secret(..)");
    }
}
