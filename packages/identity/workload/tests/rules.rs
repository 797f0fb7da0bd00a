//! What the SPIFFE Workload API says of each call, on a real socket, with this process as the caller.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod support;

use std::collections::BTreeMap;

use lepton_spiffe::{Bundle, CertificateDer, JwtSvid, PrivateKey, Purpose, X509Svid, verify};
use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lepton_workload_api::attest::{Attestors, unix::Unix};
use prost_types::value::Kind;
use support::{Authority, Running, SOON};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};

fn start() -> Running {
    Running::new(Attestors::new().with(Unix::default()))
}

/// The selector that this process has.
fn own() -> String {
    format!("unix:uid:{}", rustix::process::getuid().as_raw())
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<T, Status> {
    let message = timeout(SOON, stream.message()).await.expect("there is a message soon")?;
    Ok(message.expect("the stream goes on"))
}

#[tokio::test]
async fn without_the_header_there_is_nothing() {
    let running = start();
    running.cache.register("/web", "", &[&own()]);
    let mut client = SpiffeWorkloadApiClient::new(support::connect(&running.socket()).await);
    for value in [None, Some("false"), Some("TRUE"), Some("")] {
        let with = |mut metadata: tonic::metadata::MetadataMap| {
            if let Some(value) = value {
                metadata.insert("workload.spiffe.io", value.parse().unwrap());
            }
            metadata
        };
        macro_rules! call {
            ($name:ident, $message:expr) => {{
                let mut request = Request::new($message);
                *request.metadata_mut() = with(request.metadata().clone());
                let status = client.$name(request).await.map(drop).unwrap_err();
                assert_eq!(status.code(), Code::InvalidArgument, "{}", stringify!($name));
                assert_eq!(status.message(), "security header missing from request");
            }};
        }
        call!(fetch_x509svid, api::X509svidRequest {});
        call!(fetch_x509_bundles, api::X509BundlesRequest {});
        call!(fetch_jwt_bundles, api::JwtBundlesRequest {});
        call!(fetch_jwtsvid, api::JwtsvidRequest { audience: vec!["a".to_owned()], ..Default::default() });
        call!(
            validate_jwtsvid,
            api::ValidateJwtsvidRequest { audience: "a".to_owned(), svid: "a".to_owned() }
        );
    }
    assert_eq!(running.cache.watched(), 0);
    assert_eq!(running.seen.count(&["Refused", "InvalidArgument"]), 20);
}

#[tokio::test]
async fn who_has_no_identity_is_refused_everything() {
    let running = start();
    running.cache.register("/web", "", &["unix:uid:4294967294"]);
    let mut client = running.client().await;
    let denied = |status: Status| {
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no identity issued"));
    };
    denied(
        next(&mut client.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner())
            .await
            .unwrap_err(),
    );
    denied(
        next(&mut client.fetch_x509_bundles(api::X509BundlesRequest {}).await.unwrap().into_inner())
            .await
            .unwrap_err(),
    );
    denied(
        next(&mut client.fetch_jwt_bundles(api::JwtBundlesRequest {}).await.unwrap().into_inner())
            .await
            .unwrap_err(),
    );
    let request = api::JwtsvidRequest { audience: vec!["a".to_owned()], ..Default::default() };
    denied(client.fetch_jwtsvid(request).await.unwrap_err());
    let id = running.cache.register("/other", "", &["unix:uid:4294967294"]);
    let svid = running.cache.token(&id, "a", 300).token.expose().to_owned();
    denied(
        client
            .validate_jwtsvid(api::ValidateJwtsvidRequest { audience: "a".to_owned(), svid })
            .await
            .unwrap_err(),
    );
    let uid = format!("\"uid:{}\"", rustix::process::getuid().as_raw());
    assert_eq!(running.seen.count(&["Refused", "PermissionDenied", &uid]), 5, "{}", running.seen.all());
}

/// Reads a message as a client does.
fn read(message: &api::X509svidResponse) -> Vec<X509Svid> {
    let svids = message.svids.iter().map(|svid| {
        let chain = vec![CertificateDer::from(svid.x509_svid.clone())];
        let read =
            X509Svid::new(chain, PrivateKey::from_pkcs8(svid.x509_svid_key.clone()), &svid.hint).unwrap();
        assert_eq!(read.id.to_string(), svid.spiffe_id);
        let mut bundle = Bundle::empty(read.id.trust_domain().clone());
        bundle.add(CertificateDer::from(svid.bundle.clone())).unwrap();
        verify(&read.chain, &bundle, Purpose::Server, (read.not_before + read.not_after) / 2).unwrap();
        read
    });
    svids.collect()
}

#[tokio::test]
async fn each_rotation_is_a_message() {
    let running = start();
    let id = running.cache.register("/web", "main", &[&own()]);
    let mut stream =
        running.client().await.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    let first = next(&mut stream).await.unwrap();
    let [svid] = &read(&first)[..] else { panic!("one identity") };
    assert_eq!((&svid.id, &*svid.hint), (&id, "main"));
    assert!(first.crl.is_empty() && first.federated_bundles.is_empty());

    running.cache.rotate();
    let second = next(&mut stream).await.unwrap();
    assert_ne!(read(&second)[0].serial, svid.serial);

    // Another identity, and another bundle.
    running.cache.register("/admin", "", &[&own()]);
    assert_eq!(read(&next(&mut stream).await.unwrap()).len(), 2);
    let other = Authority::new("other.example");
    let other_bundle = other.bundle().x509_der();
    running.cache.federate(other);
    let message = next(&mut stream).await.unwrap();
    assert_eq!(
        message.federated_bundles,
        BTreeMap::from([("spiffe://other.example".to_owned(), other_bundle)])
    );

    // What says nothing new is no message; what comes next is the rotation.
    running.cache.repeat();
    tokio::task::yield_now().await;
    let before = message.svids[0].x509_svid.clone();
    running.cache.rotate();
    assert_ne!(next(&mut stream).await.unwrap().svids[0].x509_svid, before);
    assert_eq!(running.seen.count(&["Served", "FetchX509SVID"]), 5, "{}", running.seen.all());

    // What is registered no longer is no longer given.
    running.cache.clear();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn bundles_are_the_callers_and_change_alone() {
    let running = start();
    running.cache.register("/web", "", &[&own()]);
    let mut client = running.client().await;
    let mut x509 = client.fetch_x509_bundles(api::X509BundlesRequest {}).await.unwrap().into_inner();
    let mut jwt = client.fetch_jwt_bundles(api::JwtBundlesRequest {}).await.unwrap().into_inner();
    let own_bundle = running.cache.authority.bundle();
    let name = format!("spiffe://{}", running.cache.domain());
    assert_eq!(
        next(&mut x509).await.unwrap().bundles,
        BTreeMap::from([(name.clone(), own_bundle.x509_der())])
    );
    let bundles = next(&mut jwt).await.unwrap().bundles;
    let keys: serde_json::Value = serde_json::from_slice(&bundles[&name]).unwrap();
    assert_eq!(keys["keys"][0]["kid"], running.cache.authority.jwt.key_id());
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    // Rotated SVIDs are no news here; the next message is the federation.
    running.cache.rotate();
    tokio::task::yield_now().await;
    running.cache.federate(Authority::new("other.example"));
    assert_eq!(next(&mut x509).await.unwrap().bundles.len(), 2);
    assert_eq!(next(&mut jwt).await.unwrap().bundles.len(), 2);
    assert_eq!(running.seen.count(&["Served", "Bundles"]), 4, "{}", running.seen.all());
}

#[tokio::test]
async fn a_hint_belongs_to_one_identity() {
    let running = start();
    for (path, hint) in [("/a", "x"), ("/b", "x"), ("/c", ""), ("/d", "")] {
        running.cache.register(path, hint, &[&own()]);
    }
    let mut client = running.client().await;
    let mut stream = client.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    let paths =
        |ids: Vec<&str>| ids.iter().map(|id| id.rsplit('/').next().unwrap().to_owned()).collect::<String>();
    let message = next(&mut stream).await.unwrap();
    assert_eq!(paths(message.svids.iter().map(|svid| &*svid.spiffe_id).collect()), "acd");
    let request = api::JwtsvidRequest { audience: vec!["a".to_owned()], ..Default::default() };
    let message = client.fetch_jwtsvid(request).await.unwrap().into_inner();
    assert_eq!(paths(message.svids.iter().map(|svid| &*svid.spiffe_id).collect()), "acd");
    assert_eq!(message.svids[0].hint, "x");
}

#[tokio::test]
async fn tokens_are_for_an_audience() {
    let running = start();
    let web = running.cache.register("/web", "", &[&own()]);
    running.cache.register("/admin", "", &[&own()]);
    running.cache.register("/other", "", &["unix:uid:4294967294"]);
    let mut client = running.client().await;
    let mut fetch = async |audience: &[&str], id: &str| {
        let audience = audience.iter().map(|one| (*one).to_owned()).collect();
        client.fetch_jwtsvid(api::JwtsvidRequest { audience, spiffe_id: id.to_owned() }).await
    };
    for (audience, id, code) in [
        (&[][..], "", Code::InvalidArgument),
        (&[""], "", Code::InvalidArgument),
        (&["a"], "web", Code::InvalidArgument),
        (&["a"], "spiffe://example.org/other", Code::PermissionDenied),
        (&["a"], "spiffe://example.org/nobody", Code::PermissionDenied),
    ] {
        assert_eq!(fetch(audience, id).await.unwrap_err().code(), code, "{audience:?} {id}");
    }
    assert_eq!(fetch(&["a"; 65], "").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(fetch(&["a"], "").await.unwrap().into_inner().svids.len(), 2);
    let message = fetch(&["a", "b"], &web.to_string()).await.unwrap().into_inner();
    let [svid] = &message.svids[..] else { panic!("one token") };
    let bundle = running.cache.authority.bundle();
    let now = JwtSvid::read_unverified(&svid.svid).unwrap().issued_at.unwrap();
    let (read, _) = JwtSvid::verify(&svid.svid, "b", |_| Some(&bundle), now).unwrap();
    assert_eq!((read.id.to_string(), &svid.spiffe_id), (web.to_string(), &web.to_string()));
}

#[tokio::test]
async fn tokens_are_validated() {
    let running = start();
    let web = running.cache.register("/web", "", &[&own()]);
    let other = Authority::new("other.example");
    let foreign = "spiffe://other.example/peer".parse().unwrap();
    let stranger = Authority::new("stranger.example");
    let now = support_now();
    let sign = |authority: &Authority, id| {
        authority.jwt.sign(id, &["a".to_owned()], now, now + 300).unwrap().token.expose().to_owned()
    };
    let of_other = sign(&other, &foreign);
    running.cache.federate(other);
    let mut client = running.client().await;
    let mut validate = async |svid: &str, audience: &str| {
        let request = api::ValidateJwtsvidRequest { svid: svid.to_owned(), audience: audience.to_owned() };
        client.validate_jwtsvid(request).await.map(tonic::Response::into_inner)
    };
    let good = running.cache.token(&web, "a", 300).token.expose().to_owned();
    let answer = validate(&good, "a").await.unwrap();
    assert_eq!(answer.spiffe_id, web.to_string());
    let fields = answer.claims.unwrap().fields;
    assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), ["aud", "exp", "iat", "sub"]);
    assert_eq!(fields["sub"].kind, Some(Kind::StringValue(web.to_string())));
    assert!(matches!(&fields["aud"].kind, Some(Kind::ListValue(list)) if list.values.len() == 1));
    // Of others only what is known is passed on.
    let answer = validate(&of_other, "a").await.unwrap();
    assert_eq!(answer.spiffe_id, "spiffe://other.example/peer");
    assert_eq!(
        answer.claims.unwrap().fields.keys().map(String::as_str).collect::<Vec<_>>(),
        ["aud", "exp", "sub"]
    );

    let expired = running.cache.token(&web, "a", -90).token.expose().to_owned();
    let of_stranger = "spiffe://stranger.example/a".parse().unwrap();
    let unknown = sign(&stranger, &of_stranger);
    // Whoever signs for another trust domain than its own is nobody.
    let spoofed = sign(&stranger, &web);
    // The first character of the signature; the last one has bits that are nobody's.
    let at = good.rfind('.').unwrap() + 1;
    let other = if good[at..].starts_with('A') { 'B' } else { 'A' };
    let damaged = format!("{}{other}{}", &good[..at], &good[at + 1..]);
    for (svid, audience, said) in [
        (&*good, "", "audience must be specified"),
        ("", "a", "svid must be specified"),
        (&good, "b", "audience"),
        (&expired, "a", "expired"),
        (&unknown, "a", "no bundle"),
        (&spoofed, "a", "does not have the key"),
        (&damaged, "a", ""),
        ("a.b.c", "a", "no JWT"),
    ] {
        let status = validate(svid, audience).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
    assert!(!running.seen.all().contains(&good[..40]), "a token was shown");
}

fn support_now() -> i64 {
    // The cache's clock, by way of a token.
    let id = "spiffe://example.org/clock".parse().unwrap();
    let cache = support::Cache::new("example.org");
    cache.token(&id, "a", 300).expires_at - 300
}

#[tokio::test]
async fn a_caller_waits_until_registrations_are_known() {
    let running = start();
    running.cache.settle(false);
    let mut client = running.client().await;
    let mut stream = client.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    let early = timeout(std::time::Duration::from_millis(200), stream.message()).await;
    assert!(early.is_err(), "{early:?}");
    running.cache.register("/web", "", &[&own()]);
    assert_eq!(next(&mut stream).await.unwrap().svids.len(), 1);
    running.cache.settle(true);

    running.cache.clear();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::PermissionDenied);
    running.cache.register("/web", "", &[&own()]);
    let mut stream = client.fetch_x509svid(api::X509svidRequest {}).await.unwrap().into_inner();
    next(&mut stream).await.unwrap();
    running.cache.stop();
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_socket_that_was_left_is_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("workload.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let mut settings = lepton_workload_api::Settings::new(Attestors::new());
    settings.socket = socket.clone();
    let server = lepton_workload_api::Server::bind(settings).unwrap();
    assert_eq!(server.socket(), socket);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o666);
    std::os::unix::net::UnixStream::connect(&socket).unwrap();
}
