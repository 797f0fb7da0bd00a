//! A Workload API that gives out what the test says.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use lepton_spiffe_api::workload as api;
use lepton_spiffe_api::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};

type Given = watch::Receiver<api::X509svidResponse>;

struct Workload(Given);

/// Serves on a socket, for as long as the runtime lives.
pub(crate) fn serve(socket: &Path, given: Given) {
    let incoming = Incoming(UnixListener::bind(socket).unwrap());
    let service = SpiffeWorkloadApiServer::new(Workload(given));
    tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
}

struct Incoming(UnixListener);

impl Stream for Incoming {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

pub(crate) struct Updates<T>(mpsc::Receiver<T>);

impl<T> Stream for Updates<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|update| update.map(Ok))
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Workload {
    type FetchX509SVIDStream = Updates<api::X509svidResponse>;
    type FetchX509BundlesStream = Updates<api::X509BundlesResponse>;
    type FetchJWTBundlesStream = Updates<api::JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<api::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        if request.metadata().get("workload.spiffe.io").is_none_or(|value| value != "true") {
            return Err(Status::invalid_argument("security header missing from request"));
        }
        let (sender, receiver) = mpsc::channel(1);
        let mut given = self.0.clone();
        tokio::spawn(async move {
            loop {
                let now = given.borrow_and_update().clone();
                if sender.send(now).await.is_err() || given.changed().await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Updates(receiver)))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn fetch_jwtsvid(
        &self,
        _: Request<api::JwtsvidRequest>,
    ) -> Result<Response<api::JwtsvidResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<api::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
