//! What a folder makes, held against the verifier that hosts and people use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lepton_config::MachineConfig;
use lepton_spiffe::{Purpose, verify};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};

use super::*;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

fn made() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(&dir.path().join("lab"), &"example.org".parse().unwrap(), NOW).unwrap();
    (dir, folder)
}

fn operators(folder: &Folder) -> Bundle {
    let text = fs::read(folder.certificate(OPERATORS)).unwrap();
    Bundle::from_pem("example.org".parse().unwrap(), &text).unwrap()
}

/// The machine config of a fragment.
fn config(text: &str) -> MachineConfig {
    let parsed = lepton_config::parse("host.toml", text);
    assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
    parsed.config
}

/// What a host shows: a certificate of its own, and those that lead to the bundle.
fn shown_by_host(text: &str, id: &str) -> Vec<CertificateDer<'static>> {
    let authority = config(text).identity.authority.unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(authority.certificate.as_str().as_bytes())
        .map(|certificate| certificate.unwrap())
        .collect();
    let issuer =
        Issuer::from_ca_cert_der(&chain[0], KeyPair::from_pem(authority.key.as_str()).unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = time::OffsetDateTime::from_unix_timestamp(NOW - HOUR).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(NOW + HOUR).unwrap();
    let own = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
    // The last one is the bundle's.
    std::iter::once(own).chain(chain[..chain.len() - 1].iter().cloned()).collect()
}

#[test]
fn people_lead_to_operators_for_as_long_as_they_should() {
    let (_dir, folder) = made();
    let entry = folder.issue(Role::Reader, "8h".parse().unwrap(), NOW, &folder).unwrap();
    assert_eq!(entry.id.to_string(), "spiffe://example.org/role/reader");
    assert_eq!((entry.not_before, entry.not_after), (NOW - 60, NOW + 8 * HOUR));

    let svid = folder.identity(Role::Reader).unwrap().svid;
    let peer = verify(&svid.chain, &operators(&folder), Purpose::Client, NOW).unwrap();
    assert_eq!(peer.id, entry.id);
    assert!(verify(&svid.chain, &operators(&folder), Purpose::Client, NOW + 9 * HOUR).is_err());
    // A person is no server, and no host.
    assert!(verify(&svid.chain, &operators(&folder), Purpose::Server, NOW).is_err());
    assert!(verify(&svid.chain, &folder.bundle().unwrap(), Purpose::Client, NOW).is_err());
}

#[test]
fn hosts_lead_to_hosts_and_never_to_operators() {
    let (_dir, folder) = made();
    let text = fs::read_to_string(folder.fragment_path()).unwrap();
    let chain = shown_by_host(&text, "spiffe://example.org/host/a");
    assert_eq!(chain.len(), 2);
    let peer = verify(&chain, &folder.bundle().unwrap(), Purpose::Server, NOW).unwrap();
    assert_eq!(peer.id.path(), "/host/a");
    // Whoever has a host's authority makes itself an administrator, and nobody believes it.
    let thief = shown_by_host(&text, "spiffe://example.org/role/admin");
    assert!(verify(&thief, &operators(&folder), Purpose::Client, NOW).is_err());
}

#[test]
fn a_fragment_is_a_machine_config() {
    let (_dir, folder) = made();
    let text = folder.fragment("30d".parse().unwrap(), NOW).unwrap();
    let config = config(&text);
    assert_eq!(config.identity.trust_domain.unwrap().to_string(), "example.org");
    let listen: Vec<String> = config.host.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["[::]:7443"]);
    let believed = Bundle::from_pem(
        "example.org".parse().unwrap(),
        config.host.trust_bundle.unwrap().as_str().as_bytes(),
    );
    assert_eq!(believed.unwrap(), operators(&folder));
    // Keys of authorities that sign people and hosts stay in the folder.
    for name in [OPERATORS, HOSTS] {
        let key = fs::read_to_string(folder.key(name)).unwrap();
        assert!(!text.contains(key.lines().nth(1).unwrap()), "{name}");
    }
    // Each has an authority of its own, which ends when it should.
    assert_ne!(*text, *folder.fragment("30d".parse().unwrap(), NOW).unwrap());
    let chain = shown_by_host(&text, "spiffe://example.org/host/a");
    assert_eq!(Certificate::read(&chain[1]).unwrap().not_after, NOW + 30 * 24 * HOUR);
}

#[test]
fn a_folder_for_somebody_else_has_what_it_takes_and_no_more() {
    let (dir, folder) = made();
    let other = Folder::at(dir.path().join("for-ann"));
    folder.issue(Role::Operator, Lifetime::PERSON, NOW, &other).unwrap();
    let mut names: Vec<_> = walkdir::WalkDir::new(other.path())
        .min_depth(1)
        .into_iter()
        .map(|it| it.unwrap().file_name().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["hosts.pem", "operator.pem"]);
    assert_eq!(other.bundle().unwrap(), folder.bundle().unwrap());
    assert_eq!(other.identity(Role::Operator).unwrap().svid.id.path(), "/role/operator");
    assert!(matches!(other.issue(Role::Admin, Lifetime::PERSON, NOW, &other), Err(FolderError::File(_))));
    let ids: Vec<_> = folder.entries().unwrap().into_iter().map(|it| it.id.to_string()).collect();
    assert_eq!(ids, ["spiffe://example.org", "spiffe://example.org"]);
    assert_eq!(other.entries().unwrap().len(), 2);
}

#[test]
fn keys_are_their_owners_alone() {
    let (_dir, folder) = made();
    folder.issue(Role::Admin, Lifetime::PERSON, NOW, &folder).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in
        [folder.key(OPERATORS), folder.key(HOSTS), folder.fragment_path(), folder.identity_path(Role::Admin)]
    {
        assert_eq!(mode(path.clone()), 0o600, "{}", path.display());
    }
    assert_eq!(mode(folder.path().to_owned()), 0o700);
    assert!(!format!("{:?}", folder.identity(Role::Admin).unwrap()).contains("PRIVATE"));
}

#[test]
fn what_goes_wrong_is_said() {
    let (dir, folder) = made();
    let domain: TrustDomain = "example.org".parse().unwrap();
    assert!(matches!(Folder::create(folder.path(), &domain, NOW), Err(FolderError::Exists(_))));
    // No certificate outlives its authority, and none comes of one that is over.
    let late = NOW + Lifetime::AUTHORITY.seconds() - HOUR;
    let entry = folder.issue(Role::Admin, Lifetime::PERSON, late, &folder).unwrap();
    assert_eq!(entry.not_after, NOW + Lifetime::AUTHORITY.seconds());
    let over = folder.issue(Role::Admin, Lifetime::PERSON, late + HOUR, &folder);
    assert!(matches!(over, Err(FolderError::Authority { source: AuthorityError::Over, .. })));
    // The key of another folder.
    let other = Folder::create(&dir.path().join("other"), &domain, NOW).unwrap();
    fs::copy(other.key(OPERATORS), folder.key(OPERATORS)).unwrap();
    let mixed = folder.issue(Role::Admin, Lifetime::PERSON, NOW, &folder);
    assert!(matches!(mixed, Err(FolderError::Authority { source: AuthorityError::OtherKey, .. })));
    // A person is no authority.
    fs::copy(folder.identity_path(Role::Admin), folder.certificate(HOSTS)).unwrap();
    assert!(matches!(folder.bundle(), Err(FolderError::Bundle { .. })));
    fs::write(folder.certificate(HOSTS), "nothing").unwrap();
    assert!(matches!(folder.bundle(), Err(FolderError::Certificate { .. })));
}
