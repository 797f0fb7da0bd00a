//! Files as they should be, also in folders of others.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use lepton_spiffe::{CertificateDer, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::*;

fn identity() -> (X509Svid, Bundle) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.subject_alt_names = vec![SanType::URI("spiffe://example.org/web".try_into().unwrap())];
    let leaf = params.signed_by(&key, &root).unwrap();
    let chain = vec![CertificateDer::from(leaf.der().to_vec())];
    let mut bundle = Bundle::empty("example.org".parse().unwrap());
    bundle.add(CertificateDer::from(root.der().to_vec())).unwrap();
    (X509Svid::new(chain, PrivateKey::from_pkcs8(key.serialize_der()), "").unwrap(), bundle)
}

fn target(folder: &Path) -> Target {
    Target {
        certificate: folder.join("cert.pem"),
        key: folder.join("key.pem"),
        bundle: Some(folder.join("bundle.pem")),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mode: 0o440,
    }
}

fn names(folder: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "it is sorted")]
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_change_when_the_identity_does() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder.path().join("web"));
    let (svid, bundle) = identity();
    assert!(target.deliver(&svid, &bundle).unwrap());
    let made = fs::metadata(folder.path().join("web")).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (target.uid, 0o750));
    assert_eq!(names(&folder.path().join("web")), ["bundle.pem", "cert.pem", "key.pem"]);
    for (path, text) in [
        (&target.certificate, svid.chain_pem()),
        (&target.key, svid.key_pem().to_string()),
        (target.bundle.as_ref().unwrap(), bundle.to_pem()),
    ] {
        assert_eq!(fs::read_to_string(path).unwrap(), text);
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o440);
    }
    // The same again is no change; another mode, or bytes of somebody else's, are.
    let inode = fs::metadata(&target.key).unwrap().ino();
    assert!(!target.deliver(&svid, &bundle).unwrap());
    assert_eq!(fs::metadata(&target.key).unwrap().ino(), inode);
    fs::set_permissions(&target.key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(target.deliver(&svid, &bundle).unwrap());
    assert_eq!(fs::metadata(&target.key).unwrap().mode() & 0o7777, 0o440);
    fs::write(folder.path().join("web/.key.pem.lepton-new"), "left").unwrap();
    let (svid, bundle) = identity();
    assert!(target.deliver(&svid, &bundle).unwrap());
    assert_eq!(fs::read_to_string(&target.key).unwrap(), *svid.key_pem());

    target.remove().unwrap();
    assert_eq!(names(&folder.path().join("web")), [""; 0]);
    target.remove().unwrap();
}

#[test]
fn a_key_that_was_removed_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(folder.path());
    let (svid, bundle) = identity();
    target.deliver(&svid, &bundle).unwrap();
    // Whoever still has the file sees nothing in it.
    fs::hard_link(&target.key, folder.path().join("kept")).unwrap();
    target.remove().unwrap();
    let kept = fs::read(folder.path().join("kept")).unwrap();
    assert!(!kept.is_empty() && kept.iter().all(|byte| *byte == 0));
}

#[test]
fn links_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("file"), "untouched").unwrap();
    let (svid, bundle) = identity();
    // A folder on the way.
    symlink(&elsewhere, folder.path().join("web")).unwrap();
    let error = target(&folder.path().join("web")).deliver(&svid, &bundle).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    let error = target(&folder.path().join("web/below")).deliver(&svid, &bundle).unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(names(&elsewhere), ["file"]);
    // The names themselves, and that which is written first.
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    for name in ["cert.pem", "key.pem", ".key.pem.lepton-new", ".cert.pem.lepton-new"] {
        symlink(elsewhere.join("file"), own.join(name)).unwrap();
    }
    target(&own).deliver(&svid, &bundle).unwrap();
    assert_eq!(names(&own), ["bundle.pem", "cert.pem", "key.pem"]);
    assert!(fs::symlink_metadata(own.join("key.pem")).unwrap().is_file());
    fs::remove_file(own.join("key.pem")).unwrap();
    symlink(elsewhere.join("file"), own.join("key.pem")).unwrap();
    target(&own).remove().unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "untouched");
    assert_eq!(names(&own), [""; 0]);
}

#[test]
fn failures_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (svid, bundle) = identity();
    let mut bad = target(folder.path());
    fs::create_dir(folder.path().join("is-folder")).unwrap();
    fs::write(folder.path().join("is-folder/file"), "").unwrap();
    bad.key = folder.path().join("is-folder");
    assert!(bad.deliver(&svid, &bundle).unwrap_err().to_string().starts_with("cannot rename a file to"));
    assert_eq!(names(folder.path()), ["bundle.pem", "cert.pem", "is-folder"]);
    let missing = target(&folder.path().join("missing/web"));
    let error = missing.deliver(&svid, &bundle).unwrap_err();
    assert_eq!((error.what, error.source.kind()), ("open the folder of", io::ErrorKind::NotFound));
    let relative = target(Path::new("web"));
    assert_eq!(relative.deliver(&svid, &bundle).unwrap_err().source.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_pair_that_does_not_match_is_put_right() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(folder.path());
    let (old, bundle) = identity();
    target.deliver(&old, &bundle).unwrap();
    let key = fs::read(&target.key).unwrap();
    let (new, bundle) = identity();
    target.deliver(&new, &bundle).unwrap();
    // As if the host had stopped between two renames.
    fs::set_permissions(&target.key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&target.key, key).unwrap();
    fs::set_permissions(&target.key, fs::Permissions::from_mode(0o440)).unwrap();
    assert!(target.deliver(&new, &bundle).unwrap());
    assert_eq!(fs::read_to_string(&target.key).unwrap(), *new.key_pem());
}
