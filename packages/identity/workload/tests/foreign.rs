//! A client that others wrote: the crate `spiffe`, unchanged.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not what they call")]

mod support;

use lepton_workload_api::attest::{Attestors, unix::Unix};
use spiffe::{JwtSource, WorkloadApiClient, X509Source};
use support::{Authority, Running, SOON};
use tokio::time::timeout;

fn start() -> Running {
    Running::new(Attestors::new().with(Unix::default()))
}

fn own() -> String {
    format!("unix:uid:{}", rustix::process::getuid().as_raw())
}

fn endpoint(running: &Running) -> String {
    format!("unix://{}", running.socket().display())
}

#[tokio::test]
async fn a_source_follows_rotations() {
    let running = start();
    let id = running.cache.register("/web", "main", &[&own()]);
    running.cache.federate(Authority::new("other.example"));
    // The source tries again and again what is wrong; this says it.
    let client = WorkloadApiClient::connect_to(endpoint(&running)).await.unwrap();
    assert_eq!(client.fetch_x509_context().await.unwrap().svids().len(), 1);
    let source = X509Source::builder().endpoint(endpoint(&running)).build();
    let source = timeout(SOON, source).await.unwrap().unwrap();
    let svid = source.svid().unwrap();
    assert_eq!((svid.spiffe_id().to_string(), svid.hint()), (id.to_string(), Some("main")));
    assert_eq!(source.bundle_set().unwrap().len(), 2);
    let mut updates = source.updated();
    running.cache.rotate();
    timeout(SOON, updates.changed()).await.unwrap().unwrap();
    assert_ne!(source.svid().unwrap().leaf(), svid.leaf());
    timeout(SOON, source.shutdown()).await.unwrap();
}

#[tokio::test]
async fn tokens_are_fetched_and_validated() {
    let running = start();
    let id = running.cache.register("/web", "", &[&own()]);
    let source =
        timeout(SOON, JwtSource::builder().endpoint(endpoint(&running)).build()).await.unwrap().unwrap();
    let svid = source.fetch_jwt_svid(["a", "b"]).await.unwrap();
    assert_eq!(
        (svid.spiffe_id().to_string(), svid.audience()),
        (id.to_string(), &["a".to_owned(), "b".to_owned()][..])
    );
    let domain = spiffe::TrustDomain::new("example.org").unwrap();
    let bundles = source.bundle_set().unwrap();
    assert!(bundles.get(&domain).unwrap().find_jwt_authority(svid.key_id()).is_some());

    let client = WorkloadApiClient::connect_to(endpoint(&running)).await.unwrap();
    let good = client.validate_jwt_token("b", svid.token()).await.unwrap();
    assert_eq!(good.spiffe_id().to_string(), id.to_string());
    assert!(client.validate_jwt_token("c", svid.token()).await.unwrap_err().is_invalid_argument());
}

#[tokio::test]
async fn who_is_not_registered_learns_that() {
    let running = start();
    let client = WorkloadApiClient::connect_to(endpoint(&running)).await.unwrap();
    let error = timeout(SOON, client.fetch_x509_svid()).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no identity issued");
    let error = timeout(SOON, client.fetch_jwt_svid(["a"], None)).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "no identity issued");
}
