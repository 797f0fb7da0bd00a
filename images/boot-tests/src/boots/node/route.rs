//! Requests from outside reach the pods that answer for a host name: in turn, with and without TLS, and without a gap
//! when one of the pods goes.

use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::{ADDRESS, PATIENCE, Shell, machine_with};
use crate::Context;
use crate::context::TestError;
use crate::guest::Guest;

/// The host name that the pods answer for.
const HOST: &str = "app.example";

/// What the machine config says beside pods: an address, and a certificate in front of them.
fn config(chain: &str, key: &str) -> String {
    format!(
        r#"
hostname = "edge-1"

[[network.links]]
match = {{ name = "eth0" }}
addresses = ["{ADDRESS}/24"]

[[route.certificates]]
hosts = ["{HOST}"]
chain = """
{chain}"""
key = """
{key}"""

[[pods]]
route = "{HOST}"
manifest = """
{stays}"""
"#,
        stays = manifest("stays", "")
    )
}

/// A pod that serves its own name, and its answer to requests that take long.
fn manifest(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}{annotations}}}
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: httpd
    image: localhost/busybox:1
    command: [sh, -c, 'mkdir /www; echo page of $(hostname) > /www/index.html; exec httpd -f -p 8080 -h /www']
    ports: [{{containerPort: 8080}}]
    readinessProbe: {{httpGet: {{path: /index.html, port: 8080}}, periodSeconds: 1}}
"
    )
}

/// An authority's certificate, and a chain and a key for [`HOST`] that it vouches for.
fn certificate() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "authority of the test");
    authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![HOST.to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let chain = params.signed_by(&key, &authority)?;
    Ok((authority.pem(), chain.pem(), key.serialize_pem()))
}

pub(in crate::boots) fn route(cx: &Context) -> Result<(), TestError> {
    let (authority, chain, key) = certificate().map_err(|error| TestError::Refused {
        judge: "the maker of certificates",
        reason: error.to_string(),
    })?;
    let machine = machine_with(cx, &config(&chain, &key))?;
    let mut guest = Guest::start(&machine, &cx.tools, cx.limit * PATIENCE)?;
    guest.wait_ready()?;

    // One instance, then a second one that a person adds with an annotation.
    let ask = format!("busybox wget -q -T 10 -O - --header 'Host: {HOST}' http://{ADDRESS}/");
    guest.until("the first instance answers", &format!("{ask} | grep -x 'page of stays-edge-1'"))?;
    let goes = manifest("goes", &format!(", annotations: {{lepton.route/host: {HOST}}}"));
    let mut shell = Shell { guest: &mut guest, count: 0 };
    shell.run(&format!("printf '{}' > /var/lib/lepton/pods/goes.yaml", escaped(&goes)))?;
    guest.until("the second instance answers", &format!("{ask} | grep -x 'page of goes-edge-1'"))?;

    // In turn: of ten requests each gets five.
    let ten = format!("for i in 0 1 2 3 4 5 6 7 8 9; do {ask}; done > pages; sort pages | uniq -c");
    let counts = guest.until("requests are answered", &ten)?;
    let is_fair =
        ["5 page of goes-edge-1", "5 page of stays-edge-1"].iter().all(|line| counts.contains(line));
    guest.require(is_fair, || format!("both instances get five of ten requests, not\n{counts}"))?;

    // A name that no pod has, and the same pods behind TLS.
    let other = guest
        .there(&format!("busybox wget -T 10 -O - --header 'Host: other.example' http://{ADDRESS}/ 2>&1"))?;
    guest.require(other.output.contains("404"), || {
        format!("a name without pods is not found, not {}", other.output)
    })?;
    let tls = format!(
        "cat > ca.pem <<'EOF'\n{authority}\nEOF\nprintf 'GET / HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: close\\r\\n\\r\\n' | \
         openssl s_client -quiet -ign_eof -connect {ADDRESS}:443 -servername {HOST} -verify_hostname {HOST} \
         -verify_return_error -CAfile ca.pem | grep 'page of'"
    );
    guest.until("a client that knows the authority is answered over TLS", &tls)?;

    // A pod goes while requests come: none fails.
    let stream = format!(
        "rm -f end failed; (while ! test -e end; do {ask} || echo failed >> failed; done > stream 2>&1) & "
    );
    guest.there(&format!("{stream} sleep 0"))?;
    let mut shell = Shell { guest: &mut guest, count: 100 };
    shell.run("rm /var/lib/lepton/pods/goes.yaml")?;
    shell.until("the pod is gone", "! lepton ctr ps -a | grep goes")?;
    let seen = guest.there(
        "touch end; sleep 2; wc -l < stream; cat failed 2>&1 || true; sort stream | uniq -c; ! test -e failed",
    )?;
    guest.require(seen.is_success, || format!("no request is lost while a pod goes:\n{}", seen.output))?;
    let after = guest.there(&format!("for i in 1 2 3 4; do {ask}; done | sort | uniq -c"))?;
    let is_one = after.output.trim() == "4 page of stays-edge-1";
    guest
        .require(is_one, || format!("the instance that is left gets all requests, not\n{}", after.output))?;
    Ok(guest.power_off()?)
}

/// For `printf '…'` of a shell.
fn escaped(text: &str) -> String {
    text.replace('%', "%%").replace('\'', "'\\''").replace('\n', "\\n")
}
