//! The public key of a certificate authority by its digest, as kubeadm pins it: SHA-256 of the SubjectPublicKeyInfo.

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

/// `sha256:` and the digest in hexadecimal digits; nothing for what is no certificate.
pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<String> {
    let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
    let digest = Sha256::digest(sequence(&anchor.subject_public_key_info));
    Some(format!("sha256:{}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

/// The contents of a DER SEQUENCE with tag and length before them.
fn sequence(contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let mut out = vec![0x30];
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = len.to_be_bytes();
            let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
            let bytes = &bytes[first..];
            out.push(0x80 | u8::try_from(bytes.len()).expect("a length has at most eight bytes"));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};

    use super::*;

    #[test]
    fn the_digest_is_that_of_the_whole_key_information() {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(Vec::<String>::new()).unwrap().self_signed(&key).unwrap();
        let want: String =
            Sha256::digest(key.subject_public_key_info()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(of(certificate.der()), Some(format!("sha256:{want}")));
        assert_eq!(of(&CertificateDer::from(vec![1, 2, 3])), None);
    }

    #[test]
    fn lengths() {
        assert_eq!(sequence(&[1, 2])[..2], [0x30, 2]);
        assert_eq!(sequence(&[0; 0x80])[..3], [0x30, 0x81, 0x80]);
        assert_eq!(sequence(&[0; 0x1234])[..4], [0x30, 0x82, 0x12, 0x34]);
    }
}
