//! What a certificate says of itself. Nothing here believes it: signatures are for `verify.rs`.

use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use crate::{PublicKey, PublicKeyError, SpiffeId, SpiffeIdError, UnixSeconds};

/// The facts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// URIs of its subject alternative name.
    pub uris: Vec<String>,
    /// DNS names of its subject alternative name.
    pub dns_names: Vec<String>,
    /// Whether it may sign others (basic constraints).
    pub is_ca: bool,
    /// Its key usage, if it has that extension.
    pub usage: Option<Usage>,
    /// From when on it is good.
    pub not_before: UnixSeconds,
    /// Until when it is good.
    pub not_after: UnixSeconds,
    /// Its serial number, decimal.
    pub serial: String,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
}

/// The bits of a key usage extension that SPIFFE names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// `digitalSignature`.
    pub digital_signature: bool,
    /// `keyCertSign`.
    pub key_cert_sign: bool,
    /// `cRLSign`.
    pub crl_sign: bool,
}

/// Why a certificate is no good as what it is used for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The bytes are no certificate.
    #[error("this is no X.509 certificate in DER")]
    Malformed,
    /// An extension is there twice, or is no good.
    #[error("an extension of the certificate is there twice or cannot be read")]
    Extension,
    /// A leaf names exactly one SPIFFE ID.
    #[error("an X.509-SVID has exactly one URI, and this certificate has {0}")]
    Uris(usize),
    /// The URI is no SPIFFE ID.
    #[error("the URI of the certificate: {0}")]
    Id(#[from] SpiffeIdError),
    /// The ID of a leaf names a workload.
    #[error("{0} has no path: such an ID is for authorities only")]
    NoPath(SpiffeId),
    /// A leaf signs no certificates.
    #[error("the certificate may sign others, which no X.509-SVID may: {0}")]
    Signs(&'static str),
    /// A leaf proves itself by signing.
    #[error("the certificate's key usage lacks digitalSignature")]
    NoSignature,
    /// An authority says so.
    #[error("it is no authority: basic constraints or key usage do not let it sign")]
    NoAuthority,
    /// Its key.
    #[error("the certificate's key: {0}")]
    Key(#[from] PublicKeyError),
}

impl Certificate {
    /// Reads one certificate.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateError::Malformed);
        }
        let extension = CertificateError::Extension;
        let mut facts = Self {
            uris: Vec::new(),
            dns_names: Vec::new(),
            is_ca: false,
            usage: None,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            serial: parsed.tbs_certificate.serial.to_string(),
            public_key: parsed.public_key().raw.to_owned(),
        };
        for (place, one) in parsed.extensions().iter().enumerate() {
            if parsed.extensions().iter().take(place).any(|before| before.oid == one.oid) {
                return Err(extension);
            }
            match one.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => facts.is_ca = constraints.ca,
                ParsedExtension::KeyUsage(usage) => {
                    facts.usage = Some(Usage {
                        digital_signature: usage.digital_signature(),
                        key_cert_sign: usage.key_cert_sign(),
                        crl_sign: usage.crl_sign(),
                    });
                }
                ParsedExtension::SubjectAlternativeName(names) => {
                    for name in &names.general_names {
                        match name {
                            GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
                            GeneralName::DNSName(name) => facts.dns_names.push((*name).to_owned()),
                            GeneralName::Invalid(..) => return Err(extension),
                            _ => {}
                        }
                    }
                }
                ParsedExtension::ParseError { .. } => return Err(extension),
                _ => {}
            }
        }
        Ok(facts)
    }

    /// The SPIFFE ID of a leaf, by the rules of X509-SVID sections 2, 4 and 5.2.
    pub fn leaf_id(&self) -> Result<SpiffeId, CertificateError> {
        let [uri] = self.uris.as_slice() else { return Err(CertificateError::Uris(self.uris.len())) };
        let id: SpiffeId = uri.parse()?;
        if id.path().is_empty() {
            return Err(CertificateError::NoPath(id));
        }
        if self.is_ca {
            return Err(CertificateError::Signs("it is an authority"));
        }
        match self.usage {
            Some(usage) if usage.key_cert_sign => Err(CertificateError::Signs("keyCertSign")),
            Some(usage) if usage.crl_sign => Err(CertificateError::Signs("cRLSign")),
            Some(usage) if usage.digital_signature => Ok(id),
            _ => Err(CertificateError::NoSignature),
        }
    }

    /// Whether it is one that signs: X509-SVID sections 4.1 and 4.3.
    pub fn check_authority(&self) -> Result<(), CertificateError> {
        let signs = self.usage.is_none_or(|usage| usage.key_cert_sign);
        if self.is_ca && signs { Ok(()) } else { Err(CertificateError::NoAuthority) }
    }

    /// Its public key.
    pub fn key(&self) -> Result<PublicKey, CertificateError> {
        Ok(PublicKey::from_spki(&self.public_key)?)
    }
}
