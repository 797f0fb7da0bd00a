//! The host's X.509-SVID as client certificate, from a Workload API that gives another one later.

use std::pin::Pin;
use std::sync::Arc;

use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::host::{Host, until, write_lines};
use crate::receiver::Receiver;
use crate::streams::Trust;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A Workload API that knows one workload, or nobody.
struct Workloads(Known);

type Known = watch::Receiver<Option<api::X509svid>>;

/// What a channel holds, and whatever comes into it.
struct Changes {
    receiver: Option<Known>,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Known>> + Send>>>,
}

impl Stream for Changes {
    type Item = Result<api::X509svidResponse, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        if let Some(mut receiver) = self.receiver.take() {
            let svid = receiver.borrow_and_update().clone();
            self.waiting = Some(Box::pin(async move { receiver.changed().await.ok().map(|()| receiver) }));
            let answer = svid.map(|svid| api::X509svidResponse { svids: vec![svid], ..Default::default() });
            let denied = || Status::permission_denied("no identity issued");
            return std::task::Poll::Ready(Some(answer.ok_or_else(denied)));
        }
        let Some(waiting) = &mut self.waiting else { return std::task::Poll::Ready(None) };
        match waiting.as_mut().poll(context) {
            std::task::Poll::Pending => std::task::Poll::Pending,
            std::task::Poll::Ready(None) => std::task::Poll::Ready(None),
            std::task::Poll::Ready(receiver) => {
                self.receiver = receiver;
                self.poll_next(context)
            }
        }
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Workloads {
    type FetchX509SVIDStream = Answers<api::X509svidResponse>;
    type FetchX509BundlesStream = Answers<api::X509BundlesResponse>;
    type FetchJWTBundlesStream = Answers<api::JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<api::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        assert_eq!(request.metadata().get("workload.spiffe.io").unwrap(), "true");
        let changes = Changes { receiver: Some(self.0.clone()), waiting: None };
        Ok(Response::new(Box::pin(changes)))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn fetch_jwtsvid(
        &self,
        _: Request<api::JwtsvidRequest>,
    ) -> Result<Response<api::JwtsvidResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<api::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[test]
fn the_svid_is_shown() {
    // The trust domain, and a destination that lets its members in alone.
    let mut of_ca = CertificateParams::new(Vec::new()).unwrap();
    of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(of_ca, KeyPair::generate().unwrap()).unwrap();
    let issue = || {
        let id = "spiffe://example.org/host/edge-1";
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id).unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        api::X509svid {
            spiffe_id: id.to_owned(),
            x509_svid: certificate.der().to_vec(),
            x509_svid_key: key.serialize_der(),
            bundle: ca.der().to_vec(),
            hint: String::new(),
        }
    };
    let trust = Trust::new();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let members =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivatePkcs8KeyDer::from(trust.key.clone());
    let config = config.with_client_cert_verifier(members).with_single_cert(trust.chain.clone(), key.into());
    let receiver = Receiver::tls(Arc::new(config.unwrap()));

    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'tls://{}'\ntrust-bundle = '''{}'''\nidentity = true\n",
        receiver.address, trust.pem
    ));
    let (sender, changes) = watch::channel(None);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = {
        let _entered = runtime.enter();
        UnixListener::bind(host.path("workload.sock")).unwrap()
    };
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = SpiffeWorkloadApiServer::new(Workloads(changes.clone()));
            let service = hyper_util::service::TowerToHyperService::new(service);
            let io = hyper_util::rt::TokioIo::new(stream);
            let executor = hyper_util::rt::TokioExecutor::new();
            tokio::spawn(hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service));
        }
    });
    write_lines(&host.log(), 0..10);
    host.start();
    until("it waits for an identity", || host.said().contains("no X.509-SVID for the service logs"));
    assert_eq!(receiver.connections(), 0, "nothing is sent without one");
    let first = issue();
    sender.send_replace(Some(first.clone()));
    until("all lines", || receiver.lines().len() == 10);
    assert_eq!(*receiver.clients.lock().unwrap(), [first.x509_svid]);
    // The next connection shows what is the SVID then.
    let second = issue();
    sender.send_replace(Some(second.clone()));
    std::thread::sleep(std::time::Duration::from_secs(1));
    receiver.manners.break_after.store(1, std::sync::atomic::Ordering::Relaxed);
    write_lines(&host.log(), 10..11);
    until("it broke off", || host.figure("connected", "central") == 0);
    receiver.manners.break_after.store(0, std::sync::atomic::Ordering::Relaxed);
    write_lines(&host.log(), 11..12);
    until("the second one was shown", || receiver.clients.lock().unwrap().last() == Some(&second.x509_svid));
    host.stop();
}
