//! The API on a socket: accepts TLS connections, reads who the peer is from its certificate, and serves HTTP/1.1 or 2,
//! with limits that keep slow or many clients from starving the others. Not here: what is answered (`filters`).

mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::State;

/// The pause after a failed accept; it doubles up to `LONGEST_PAUSE` while accepts keep failing.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The bounds of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many connections are open at once; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take for the TLS handshake, for its first request, and for the head of each one.
    pub patience: Duration,
    /// How long requests in flight may take to finish once the server is told to stop.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            patience: Duration::from_secs(10),
            grace: Duration::from_secs(10),
        }
    }
}

/// Why serving ended before it was told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listening socket does not say its address: it is unusable.
    #[error("the listening socket cannot be used")]
    Listener(#[source] io::Error),
}

/// Serves until `cancellation`; then accepts nothing more, ends watches, lets requests in flight finish within the
/// grace period and closes. `tls` is read for each new connection, so that a renewed certificate comes into use.
pub(crate) async fn serve(
    state: Arc<State>,
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    limits: Limits,
    cancellation: CancellationToken,
) -> Result<(), ServeError> {
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    tracing::info!(%address, "serving the Kubernetes API");
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        tokio::select! {
            biased;
            () = cancellation.cancelled() => break,
            Some(ended) = connections.join_next() => note(ended),
            accepted = accept(&listener, &permits) => match accepted {
                Ok((stream, remote, permit)) => {
                    pause = SHORTEST_PAUSE;
                    let config = Arc::clone(&tls.borrow());
                    let (state, cancellation) = (Arc::clone(&state), cancellation.clone());
                    connections.spawn(async move {
                        connection::serve(state, stream, remote, config, limits.patience, cancellation).await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors: trying again at once would only burn the processor.
                    tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections, pausing");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            },
        }
    }
    drop(listener);
    let deadline = Instant::now() + limits.grace;
    while let Ok(Some(ended)) = timeout_at(deadline, connections.join_next()).await {
        note(ended);
    }
    if !connections.is_empty() {
        tracing::warn!(
            connections = connections.len(),
            "closing connections whose requests did not finish in time"
        );
        connections.shutdown().await;
    }
    Ok(())
}

/// Waits for a free place first, so that what cannot be served stays in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, permit))
}

/// Errors of the one connection that was to be accepted, not of the listener.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task ended unexpectedly");
    }
}
