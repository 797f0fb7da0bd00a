//! openssl: the versions, the certificates and the alerts of TLS.

use std::process::{Output, Stdio};

use crate::authority::Authority;
use crate::host::NAME;
use crate::tools::Tree;
use crate::{Site, said};

/// A handshake, and what is heard within a second of it.
fn s_client(tree: &Tree, site: &Site, words: &[&str]) -> Output {
    let mut command = tree.command("usr/bin/openssl");
    command.args(["s_client", "-connect", &site.host.address.to_string()]).arg("-CAfile").arg(site.hosts());
    command.args(["-servername", NAME, "-verify_hostname", NAME, "-verify_return_error"]).args(words);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It reads until its input ends; an alert about a certificate comes after the handshake.
    let input = child.stdin.take();
    std::thread::sleep(std::time::Duration::from_secs(1));
    drop(input);
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_certificates() {
    let Some(tree) = Tree::find() else { return };
    let site = Site::start().await;
    let pem = site.path("reader.pem").display().to_string();
    let own = ["-cert", &pem, "-key", &pem];
    let with = |words: &[&str]| s_client(&tree, &site, &[&own, words].concat());

    let good = with(&["-tls1_3", "-alpn", "h2"]);
    let text = said(&good);
    assert!(good.status.success(), "{text}");
    for line in [
        "Verify return code: 0 (ok)",
        "Verification: OK",
        &format!("Verified peername: {NAME}"),
        "New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384",
        "Peer signing digest: SHA256",
        "ALPN protocol: h2",
        "This TLS version forbids renegotiation.",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("New Session Ticket"), "sessions are not resumed:\n{text}");

    // Older versions end with an alert of the host.
    for (words, alert) in [
        (&["-tls1_2"][..], "alert protocol version"),
        (&["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert handshake failure"),
    ] {
        let old = with(words);
        assert!(!old.status.success(), "{words:?}: {}", said(&old));
        assert!(said(&old).contains("no peer certificate available"), "{words:?}: {}", said(&old));
        assert!(said(&old).contains(alert), "{words:?}: {}", said(&old));
    }
    // A protocol that it does not have ends with no_application_protocol (RFC 7301 section 3.2).
    let other = with(&["-alpn", "smtp"]);
    assert!(said(&other).contains("no application protocol"), "{}", said(&other));
    // Suites of TLS 1.3 are those of RFC 8446 without CCM.
    for suite in ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"] {
        let text = said(&with(&["-ciphersuites", suite]));
        assert!(text.contains(&format!("Cipher is {suite}")), "{text}");
    }
    let ccm = with(&["-ciphersuites", "TLS_AES_128_CCM_SHA256"]);
    assert!(said(&ccm).contains("alert handshake failure"), "{}", said(&ccm));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused() {
    let Some(tree) = Tree::find() else { return };
    let site = Site::start().await;
    // The alerts of docs/api.md, by their numbers of RFC 8446 section 6.
    let nobody = said(&s_client(&tree, &site, &["-tls1_3"]));
    assert!(nobody.contains("certificate required") && nobody.contains("SSL alert number 116"), "{nobody}");
    let write = |name: &str, pem: String| {
        let path = site.path(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let stranger = write("stranger.pem", Authority::new().client("spiffe://example.org/role/admin").pem);
    let unknown = said(&s_client(&tree, &site, &["-cert", &stranger, "-key", &stranger]));
    assert!(unknown.contains("alert unknown ca") && unknown.contains("SSL alert number 48"), "{unknown}");
    let web = write("web.pem", site.operators.client("https://example.org/role/admin").pem);
    let no_id = said(&s_client(&tree, &site, &["-cert", &web, "-key", &web]));
    assert!(no_id.contains("alert bad certificate") && no_id.contains("SSL alert number 42"), "{no_id}");
    // The other way round: a host of another authority, and one of another name.
    let pem = site.path("reader.pem").display().to_string();
    let own = ["-cert", &*pem, "-key", &*pem];
    let others = write("others.pem", Authority::new().pem);
    let other = s_client(&tree, &site, &[&own[..], &["-CAfile", &others]].concat());
    assert!(!other.status.success() && said(&other).contains("verify error"), "{}", said(&other));
    let name = s_client(&tree, &site, &[&own[..], &["-verify_hostname", "edge-2.example.org"]].concat());
    assert!(!name.status.success() && said(&name).contains("hostname mismatch"), "{}", said(&name));
}
