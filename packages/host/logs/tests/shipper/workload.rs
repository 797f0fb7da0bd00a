//! A Workload API that knows one workload, or nobody, as a test says.

use std::path::Path;
use std::pin::Pin;

use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};

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

/// The API, until this value is dropped.
pub(crate) struct Workload {
    given: watch::Sender<Option<api::X509svid>>,
    _runtime: tokio::runtime::Runtime,
}

impl Workload {
    /// Serves at a socket, and knows nobody yet.
    pub(crate) fn serve(socket: &Path) -> Self {
        let (given, changes) = watch::channel(None);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(socket).unwrap()
        };
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = SpiffeWorkloadApiServer::new(Workloads(changes.clone()));
                let service = hyper_util::service::TowerToHyperService::new(service);
                let io = hyper_util::rt::TokioIo::new(stream);
                let executor = hyper_util::rt::TokioExecutor::new();
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(executor).serve_connection(io, service),
                );
            }
        });
        Self { given, _runtime: runtime }
    }

    /// Gives an identity to whoever asks, and has asked.
    pub(crate) fn give(&self, svid: api::X509svid) {
        self.given.send_replace(Some(svid));
    }
}
