//! Certificates, keys and kubeconfigs of a cluster, made anew for each one.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use lepton_builder::digest::Digest;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};

use super::ClusterError;
use super::field::SERVER;

/// Whoever is in this group may do everything.
const MASTERS: &str = "system:masters";
/// The API server as pods and people call it.
const SERVER_NAMES: [&str; 4] =
    ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"];
const SERVER_ADDRESSES: [&str; 3] = [SERVER, "10.96.0.1", "127.0.0.1"];
/// Clients of the API server: file, user, group.
const CLIENTS: [(&str, &str, Option<&str>); 3] = [
    ("admin", "admin", Some(MASTERS)),
    ("kube-controller-manager", "system:kube-controller-manager", None),
    ("kube-scheduler", "system:kube-scheduler", None),
];

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for the host name `name` that nobody vouches for, and its key, both PEM.
pub fn self_signed(name: &str) -> Result<(String, String), ClusterError> {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()])?;
    Ok((certified.cert.pem(), certified.signing_key.serialize_pem()))
}

/// Writes everything into `folder`, also a kubeconfig for the node `spare`; gives the digest of the authority's public key as
/// machine configs have it.
pub(super) fn write(folder: &Path, spare: &str) -> Result<String, ClusterError> {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(ClusterError::file("write", &path))
    };
    let authority = Authority::new("cluster")?;
    put("ca.pem", &authority.pem)?;
    put("ca.key", &authority.issuer.key().serialize_pem())?;
    let mut names = Vec::new();
    for name in SERVER_NAMES {
        names.push(SanType::DnsName(name.try_into()?));
    }
    for address in SERVER_ADDRESSES {
        names.extend(address.parse::<IpAddr>().ok().map(SanType::IpAddress));
    }
    let (certificate, key) =
        authority.leaf("kube-apiserver", None, names, ExtendedKeyUsagePurpose::ServerAuth)?;
    // Nodes know the authority by its digest and take it from what the server shows.
    put("server.pem", &(certificate + &authority.pem))?;
    put("server.key", &key)?;
    let client = |user: &str, group: Option<&str>| {
        authority.leaf(user, group, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    };
    let (certificate, key) = client("kube-apiserver-kubelet-client", Some(MASTERS))?;
    put("kubelet-client.pem", &certificate)?;
    put("kubelet-client.key", &key)?;
    for (name, user, group) in CLIENTS {
        let (certificate, key) = client(user, group)?;
        put(&format!("{name}.kubeconfig"), &kubeconfig(&authority.pem, &certificate, &key))?;
    }
    let (certificate, key) = client(&format!("system:node:{spare}"), Some("system:nodes"))?;
    put(&format!("{spare}.kubeconfig"), &kubeconfig(&authority.pem, &certificate, &key))?;
    // Programs that serve a part of the API believe the API server because of another authority.
    let front = Authority::new("front proxy")?;
    put("front-proxy-ca.pem", &front.pem)?;
    let (certificate, key) =
        front.leaf("front-proxy-client", None, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
    put("front-proxy-client.pem", &certificate)?;
    put("front-proxy-client.key", &key)?;
    let accounts = KeyPair::generate()?;
    put("service-accounts.key", &accounts.serialize_pem())?;
    put("service-accounts.pub", &accounts.public_key_pem())?;
    Ok(format!("sha256:{}", Digest::of(&authority.issuer.key().subject_public_key_info())))
}

impl Authority {
    fn new(name: &str) -> Result<Self, ClusterError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = subject(name, None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    fn leaf(
        &self,
        user: &str,
        group: Option<&str>,
        names: Vec<SanType>,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<(String, String), ClusterError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = subject(user, group);
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
    }
}

/// User and group as the API server reads them.
fn subject(common: &str, organization: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(organization) = organization {
        name.push(DnType::OrganizationName, organization);
    }
    name.push(DnType::CommonName, common);
    name
}

/// A kubeconfig, which is JSON as well as YAML.
fn kubeconfig(ca: &str, certificate: &str, key: &str) -> String {
    let encoded = |text: &str| base64(text.as_bytes());
    let document = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lepton", "cluster": {
            "server": format!("https://{SERVER}:6443"), "certificate-authority-data": encoded(ca) } }],
        "users": [{ "name": "user", "user": {
            "client-certificate-data": encoded(certificate), "client-key-data": encoded(key) } }],
        "contexts": [{ "name": "lepton", "context": { "cluster": "lepton", "user": "user" } }],
        "current-context": "lepton",
    });
    format!("{document:#}\n")
}

/// RFC 4648 section 4.
pub(super) fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_programs_are_given_is_there_and_signed_by_the_authority_of_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let digest = write(folder.path(), "node-3").unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        assert_eq!(digest, format!("sha256:{}", Digest::of(&key.subject_public_key_info())));
        assert!(read("server.pem").ends_with(&read("ca.pem")));
        let admin: serde_json::Value = serde_json::from_str(&read("admin.kubeconfig")).unwrap();
        let cluster = &admin["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://192.0.2.1:6443");
        assert_eq!(cluster["certificate-authority-data"], base64(read("ca.pem").as_bytes()));
        let node: serde_json::Value = serde_json::from_str(&read("node-3.kubeconfig")).unwrap();
        assert_eq!(node["clusters"], admin["clusters"]);
        assert!(read("service-accounts.pub").starts_with("-----BEGIN PUBLIC KEY-----"));
    }
}
