//! Which of the two services a call is for, by its path. A router for the web would bring a hundred times this.

use std::convert::Infallible;
use std::task::{Context, Poll};

use lepton_cri::v1::image_service_server::{ImageServiceServer, SERVICE_NAME as IMAGES};
use lepton_cri::v1::runtime_service_server::{RuntimeServiceServer, SERVICE_NAME as RUNTIME};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service as Tower, http};

use super::{Service, deadline};

/// Largest message: a list of many containers with their annotations; kubelet's own limit.
const LARGEST: usize = 16 << 20;

/// All calls.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    runtime: RuntimeServiceServer<Service>,
    images: ImageServiceServer<Service>,
}

impl Calls {
    pub(crate) fn new(service: &Service) -> Self {
        let runtime = RuntimeServiceServer::new(service.clone());
        let images = ImageServiceServer::new(service.clone());
        Self {
            runtime: runtime.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST),
            images: images.max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST),
        }
    }
}

impl Tower<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let deadline = deadline::of(request.headers());
        let answer = match request.uri().path().trim_start_matches('/').split('/').next() {
            Some(RUNTIME) => self.runtime.call(request),
            Some(IMAGES) => self.images.call(request),
            _ => Box::pin(async { Ok(Status::unimplemented("there is no such service").into_http()) }),
        };
        match deadline {
            Some(deadline) => Box::pin(deadline::within(deadline, answer)),
            None => answer,
        }
    }
}
