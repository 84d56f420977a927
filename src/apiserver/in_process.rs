//! The API as a service within the process: the transport of a `kube::Client` that needs no socket. Not here: what is
//! answered.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use clos_auth::Identity;
use http::Request;
use tower::{BoxError, Service};

use crate::State;
use crate::filters;

/// The API as one identity sees it.
#[derive(Clone)]
pub struct InProcess {
    state: Arc<State>,
    identity: Identity,
}

impl InProcess {
    pub(crate) fn new(state: Arc<State>, identity: Identity) -> Self {
        Self { state, identity }
    }
}

impl<B> Service<Request<B>> for InProcess
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.identity.clone());
        let state = Arc::clone(&self.state);
        Box::pin(async move { Ok(filters::chain(state, request).await) })
    }
}
