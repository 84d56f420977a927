//! One connection from its TLS handshake to its end. Not here: accepting it and what is answered.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use clos_auth::{Identity, identity_of};
use http::Request;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::State;
use crate::filters::{self, Closing, Remote};

/// How often an idle HTTP/2 peer is asked whether it lives, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest head of an HTTP/1.1 request, in bytes. Room for the longest path (64 KiB) and tokens; more is answered with 431.
const LARGEST_HEAD: usize = 400 * 1024;

/// Serves one connection; what goes wrong with it concerns only its client and is logged for debugging.
pub(super) async fn serve(
    state: Arc<State>,
    stream: TcpStream,
    remote: SocketAddr,
    config: Arc<ServerConfig>,
    patience: Duration,
    cancellation: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %remote, "cannot switch off batching of small packets");
    }
    let handshake = tokio::select! {
        () = cancellation.cancelled() => return,
        handshake = timeout(patience, TlsAcceptor::from(config).accept(stream)) => handshake,
    };
    let stream = match handshake {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, %remote, "the TLS handshake failed"),
        Err(_) => return tracing::debug!(%remote, "the TLS handshake took too long"),
    };
    let identity = peer(&stream, remote);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let asked = Arc::new(AtomicBool::new(false));
    let service = service_fn({
        let (asked, cancellation) = (Arc::clone(&asked), cancellation.clone());
        move |request: Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            let extensions = request.extensions_mut();
            extensions.insert(Remote(remote.ip()));
            extensions.insert(Closing(cancellation.clone()));
            if let Some(identity) = &identity {
                extensions.insert(identity.clone());
            }
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(filters::chain(state, request).await) }
        }
    });
    let io = TokioIo::new(stream);
    let outcome = if http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let connection = pin!(builder.serve_connection(io, service));
        drive(
            connection,
            http2::Connection::graceful_shutdown,
            &asked,
            patience,
            &cancellation,
        )
        .await
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .max_header_size(LARGEST_HEAD)
            .header_read_timeout(patience);
        let connection = pin!(builder.serve_connection(io, service));
        drive(
            connection,
            http1::Connection::graceful_shutdown,
            &asked,
            patience,
            &cancellation,
        )
        .await
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, %remote, "the connection ended with an error");
    }
}

/// Runs a connection to its end, which comes soon after `cancellation`, or when no request comes at all.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    stop: fn(Pin<&mut C>),
    asked: &AtomicBool,
    patience: Duration,
    cancellation: &CancellationToken,
) -> hyper::Result<()> {
    let mut first = pin!(sleep(patience));
    let (mut waiting, mut stopping) = (true, false);
    loop {
        tokio::select! {
            outcome = connection.as_mut() => return outcome,
            () = first.as_mut(), if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    return Ok(());
                }
            }
            () = cancellation.cancelled(), if !stopping => {
                stopping = true;
                stop(connection.as_mut());
            }
        }
    }
}

/// Who the peer's certificate says it is; TLS has verified it. A certificate that names nobody makes nobody.
fn peer(stream: &TlsStream<TcpStream>, remote: SocketAddr) -> Option<Identity> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    match identity_of(certificate) {
        Ok(identity) => Some(identity),
        Err(error) => {
            tracing::warn!(%error, %remote, "a client certificate names nobody");
            None
        }
    }
}
