//! The parts of an SPDX 2.3 document in its JSON form that we write, and nothing of what they are filled with.

use serde::Serialize;

use crate::digest::Digest;

/// For what is not known: SPDX 2.3 section 4.6.
pub(super) const NO_ASSERTION: &str = "NOASSERTION";

/// A document (section 6).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub spdx_version: &'static str,
    pub data_license: &'static str,
    #[serde(rename = "SPDXID")]
    pub id: &'static str,
    pub name: String,
    pub document_namespace: String,
    pub creation_info: CreationInfo,
    pub packages: Vec<Package>,
    pub files: Vec<File>,
    pub relationships: Vec<Relationship>,
}

/// Who made the document, and of when it is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreationInfo {
    pub created: String,
    pub creators: Vec<String>,
}

/// A package (section 7).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Package {
    #[serde(rename = "SPDXID")]
    pub id: String,
    pub name: String,
    pub version_info: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_file_name: Option<String>,
    pub supplier: String,
    pub download_location: &'static str,
    pub files_analyzed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_verification_code: Option<VerificationCode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<Checksum>,
    pub license_concluded: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub license_info_from_files: Vec<String>,
    pub license_declared: String,
    pub copyright_text: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub external_refs: Vec<ExternalRef>,
    pub primary_package_purpose: &'static str,
}

/// Section 7.9.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerificationCode {
    pub package_verification_code_value: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub package_verification_code_excluded_files: Vec<String>,
}

/// A file (section 8).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    #[serde(rename = "SPDXID")]
    pub id: String,
    pub file_name: String,
    pub checksums: Vec<Checksum>,
    pub license_concluded: String,
    pub license_info_in_files: Vec<String>,
    pub copyright_text: &'static str,
}

/// A checksum of a package or file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checksum {
    pub algorithm: &'static str,
    pub checksum_value: String,
}

/// Another identifier of a package (section 7.21).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExternalRef {
    pub reference_category: &'static str,
    pub reference_type: &'static str,
    pub reference_locator: String,
}

/// A relationship (section 11).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Relationship {
    pub spdx_element_id: String,
    pub relationship_type: &'static str,
    pub related_spdx_element: String,
}

impl Package {
    /// A package of which only the necessary is known.
    pub(super) fn new(id: String, name: &str, version: &str, supplier: &str, purpose: &'static str) -> Self {
        Self {
            id,
            name: name.to_owned(),
            version_info: version.to_owned(),
            package_file_name: None,
            supplier: format!("Organization: {supplier}"),
            download_location: NO_ASSERTION,
            files_analyzed: false,
            package_verification_code: None,
            checksums: Vec::new(),
            license_concluded: NO_ASSERTION.to_owned(),
            license_info_from_files: Vec::new(),
            license_declared: NO_ASSERTION.to_owned(),
            copyright_text: NO_ASSERTION,
            comment: None,
            external_refs: Vec::new(),
            primary_package_purpose: purpose,
        }
    }

    /// With the licence that its authors declare.
    pub(super) fn declared(mut self, license: &str) -> Self {
        license.clone_into(&mut self.license_declared);
        self
    }

    /// With a package URL.
    pub(super) fn purl(self, purl: String) -> Self {
        self.external("PACKAGE-MANAGER", "purl", purl)
    }

    /// With another identifier.
    pub(super) fn external(mut self, category: &'static str, kind: &'static str, locator: String) -> Self {
        self.external_refs.push(ExternalRef {
            reference_category: category,
            reference_type: kind,
            reference_locator: locator,
        });
        self
    }

    /// With the digest of its file.
    pub(super) fn sha256(mut self, digest: Option<Digest>) -> Self {
        self.checksums.extend(digest.map(Checksum::sha256));
        self
    }
}

impl Checksum {
    pub(super) fn sha256(digest: Digest) -> Self {
        Self { algorithm: "SHA256", checksum_value: digest.to_string() }
    }
}

/// `SPDXRef-` and what section 3.2 of the specification allows of `text`.
pub(super) fn reference(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' };
    format!("SPDXRef-{}", text.chars().map(plain).collect::<String>())
}

/// A relationship between two elements.
pub(super) fn relation(from: &str, kind: &'static str, to: &str) -> Relationship {
    Relationship {
        spdx_element_id: from.to_owned(),
        relationship_type: kind,
        related_spdx_element: to.to_owned(),
    }
}
