//! A proxy between clos and a container engine, in the process of a test, that fails as it is told: it delays, hangs, refuses, cuts, and
//! loses, doubles, mixes and floods events. It counts what clos asks, and how long clos waits. It knows nothing of clos. Connections that
//! change their protocol (attach, exec) are not passed on.
//!
//! In reading order: [`Proxy`]; `operation` (what a request is), `rule` (which request fails how), `record` (what was asked),
//! `forward` (one request), `events` (the event stream).
#![expect(
    clippy::unwrap_used,
    reason = "what fails here fails the test that asked for it"
)]

mod events;
mod forward;
mod operation;
mod record;
mod rule;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use operation::Operation;
pub use rule::{Armed, EventFault, Fault, Flood, Rule};

use record::Record;
use rule::Rules;

const SOCKET: &str = "engine.sock";

/// A proxy with a socket of its own. When it is dropped, its connections are cut and the socket is gone.
pub struct Proxy {
    shared: Arc<Shared>,
    folder: TempDir,
    runtime: Option<Runtime>,
}

/// What all connections share.
struct Shared {
    engine: PathBuf,
    rules: Rules,
    record: Record,
    /// What goes on without a client that waits for it.
    tasks: TaskTracker,
    /// Cancelled to cut the event streams that are open, and then replaced.
    cut_events: Mutex<CancellationToken>,
}

impl Proxy {
    /// A proxy before the engine that listens on this socket. Without rules it passes everything on.
    pub fn start(engine: impl AsRef<Path>) -> Self {
        let shared = Arc::new(Shared {
            engine: engine.as_ref().to_owned(),
            rules: Rules::default(),
            record: Record::default(),
            tasks: TaskTracker::new(),
            cut_events: Mutex::default(),
        });
        let folder = TempDir::with_prefix("clos-proxy-").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join(SOCKET)).unwrap()
        };
        let accepting = accept(listener, Arc::clone(&shared));
        shared.tasks.spawn_on(accepting, runtime.handle());
        Self {
            shared,
            folder,
            runtime: Some(runtime),
        }
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    /// Its address, as engines' addresses are written.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// From now on this rule holds, before those that were armed earlier.
    pub fn arm(&self, rule: Rule) -> Armed {
        self.shared.rules.arm(rule)
    }

    /// No rule holds any more. Requests that a rule keeps waiting go on.
    pub fn disarm_all(&self) {
        self.shared.rules.disarm_all();
    }

    /// Cuts the event streams that are open now: rules for event streams befall only those that begin.
    pub fn cut_events(&self) {
        std::mem::take(&mut *self.shared.cut_events.lock().unwrap()).cancel();
    }

    /// How often this was asked.
    pub fn count(&self, operation: Operation) -> u64 {
        self.shared.record.count(operation)
    }

    /// How often anything was asked that changes something.
    pub fn changes(&self) -> u64 {
        let all = Operation::ALL.into_iter();
        all.filter(|operation| operation.changes())
            .map(|operation| self.count(operation))
            .sum()
    }

    /// The longest time that a request of this kind was left open, those that are open now included.
    pub fn longest(&self, operation: Operation) -> Duration {
        self.shared.record.longest(operation)
    }

    /// How many lines of event streams the client took.
    pub fn events_taken(&self) -> u64 {
        self.shared.record.events_taken()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let serve = service_fn(|request| forward::serve(request, Arc::clone(&shared)));
            // A connection that is cut on purpose ends with an error.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), serve)
                .await;
        });
        while connections.try_join_next().is_some() {}
    }
}
