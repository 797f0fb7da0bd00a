//! Where a scenario takes place: a folder of its own, servers in it, a factory that gives hosts certificates.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use super::programs::Programs;
use super::server::{Server, Setup};

/// The place of a scenario; all of it goes with this.
pub(crate) struct Field {
    pub(crate) programs: Programs,
    folder: tempfile::TempDir,
    factories: RefCell<u32>,
}

impl Field {
    pub(crate) fn new(programs: &Programs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Workloads of other users pass through it.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { programs: programs.clone(), folder, factories: RefCell::new(0) }
    }

    /// A folder, made when it is not there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A server of its own.
    pub(crate) fn server(&self, name: &str, setup: Setup) -> Server {
        Server::start(&self.programs.spire, &self.folder(name), setup)
    }

    /// A server beside another one, of the same trust domain.
    pub(crate) fn server_beside(&self, name: &str, other: &Server, setup: Setup) -> Server {
        Server::start_with_store(&self.programs.spire, &self.folder(name), &other.store(), setup)
    }

    /// An authority of certificates that hosts are made with.
    pub(crate) fn factory(&self) -> Factory {
        *self.factories.borrow_mut() += 1;
        Factory::new(self.folder("factories").join(format!("{}.pem", self.factories.borrow())))
    }
}

/// Gives hosts certificates.
pub(crate) struct Factory {
    issuer: Issuer<'static, KeyPair>,
    /// A file with its certificate.
    pub(crate) bundle: PathBuf,
}

/// A certificate of a host, in PEM.
pub(crate) struct Card {
    pub(crate) certificate: String,
    pub(crate) key: String,
    /// SHA-1 of the certificate, by which SPIRE calls the host.
    pub(crate) fingerprint: String,
}

impl Factory {
    fn new(bundle: PathBuf) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = named("Factory");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(&bundle, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), bundle }
    }

    /// A certificate for a server at 127.0.0.1.
    pub(crate) fn server(&self) -> Card {
        let mut params = named("server");
        params.subject_alt_names = vec![SanType::IpAddress(Ipv4Addr::LOCALHOST.into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.card(params)
    }

    /// A certificate for a host.
    pub(crate) fn certificate(&self, name: &str) -> Card {
        let mut params = named(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        self.card(params)
    }

    fn card(&self, params: CertificateParams) -> Card {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, certificate.der());
        Card { certificate: certificate.pem(), key: key.serialize_pem(), fingerprint: hex(digest.as_ref()) }
    }
}

fn named(common: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common);
    params
}

/// The digest in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves a text to everybody who asks; gives the URL.
pub(crate) fn serve_once_and_again(text: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/bundle.pem", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A request of a GET fits into one read, and a client that sends more is none of ours.
            let _ = stream.read(&mut [0; 4096]);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
        }
    });
    url
}
