//! Keys of the host and its workloads, and what an authority is given to sign (PKCS#10).

use lepton_spiffe::PrivateKey;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key: {0}")]
pub(crate) struct KeyError(#[from] rcgen::Error);

/// A new P-256 key and a request for a certificate of it. What the certificate says, the authority decides.
pub(crate) fn request() -> Result<(PrivateKey, Vec<u8>), KeyError> {
    let pair = KeyPair::generate()?;
    let key = PrivateKey::from_pkcs8(pair.serialize_der());
    let mut params = CertificateParams::default();
    // SPIRE takes any subject but none.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
    params.distinguished_name.push(DnType::CountryName, "US");
    let request = params.serialize_request(&pair)?.der().to_vec();
    Ok((key, request))
}

/// A request for a certificate of a key that is there already.
pub(crate) fn request_for(key: &PrivateKey) -> Result<Vec<u8>, KeyError> {
    let pair = KeyPair::try_from(&rustls::pki_types::PrivateKeyDer::Pkcs8(key.to_pki()))?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "SPIRE");
    Ok(params.serialize_request(&pair)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new() {
        let ((first, one), (second, two)) = (request().unwrap(), request().unwrap());
        assert_ne!(first, second);
        assert_ne!(one, two);
        assert!(!request_for(&first).unwrap().is_empty());
    }
}
