//! The embedded Kubernetes API: real clients talk to it over TLS, clos' own controllers in process, and both go the
//! same way.
//!
//! In reading order: `server` accepts connections and `in_process` does without, `filters` is the chain every request goes through, `caller` says who asks, `request` reads
//! what it asks for, `audit` records it, `endpoints` answers what is no resource (health, discovery, schemas, reviews, backups), `registry` and
//! `core` say which kinds there are, `verbs` does what is asked with any of them, `watch` follows changes, `storage`
//! lays objects on the store. Pure functions they share: `status` (errors and their HTTP codes), `schema`, `cel` and
//! `metadata` (what an object may be), `patch`, `selector`, `table`, `discovery`, `openapi`. Beside the requests:
//! `bootstrap` (what must exist) and `maintenance` (what must not grow).

mod audit;
mod bootstrap;
mod caller;
mod cel;
mod core;
mod discovery;
mod endpoints;
mod filters;
mod in_process;
mod maintenance;
mod metadata;
mod openapi;
mod patch;
mod registry;
mod request;
mod schema;
mod selector;
mod server;
mod status;
mod storage;
mod table;
mod verbs;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use axum::Router;
use clos_audit::Journal;
use clos_auth::Identity;
use clos_store::Store;
use clos_telemetry::Metrics;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::registry::Registry;
use crate::storage::Storage;

pub use bootstrap::StartError;
pub use in_process::InProcess;
pub use maintenance::Retention;
pub use registry::KindError;
pub use server::{Limits, ServeError};

/// Whether the server should be sent requests; `Err` is the reason why not, in words.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What an API server is made of.
pub struct ApiServerConfig {
    /// Where objects lie.
    pub store: Store,
    /// Where changes and denials are told.
    pub journal: Journal,
    /// The kinds beside the built-in ones.
    pub crds: Vec<CustomResourceDefinition>,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// Whether the rest of the process is ready, for `/readyz`.
    pub readiness: Readiness,
    /// Counts requests, and is served as `/metrics`.
    pub metrics: Metrics,
    /// How much history is kept.
    pub retention: Retention,
}

/// The embedded Kubernetes API. Clones are the same server.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<State>,
}

/// What all requests share.
pub(crate) struct State {
    registry: Registry,
    storage: Storage,
    journal: Journal,
    clock: fn() -> Timestamp,
    readiness: Readiness,
    metrics: Metrics,
    retention: Retention,
    documents: endpoints::Documents,
    /// Where backups are made before they are sent.
    backups: OnceLock<PathBuf>,
}

impl ApiServer {
    /// Compiles the kinds and makes what must exist: the namespaces `default`, `kube-system` and `clos-system`, and the
    /// definitions. What exists already is not written again.
    pub async fn new(config: ApiServerConfig) -> Result<Self, StartError> {
        let registry = Registry::new(&config.crds).map_err(StartError::Kind)?;
        let seal = bootstrap::seal(&config.store).await?;
        let documents = endpoints::Documents::of(&registry);
        let state = Arc::new(State {
            documents,
            registry,
            storage: Storage::new(config.store, &seal),
            journal: config.journal,
            clock: config.clock,
            readiness: config.readiness,
            metrics: config.metrics,
            retention: config.retention,
            backups: OnceLock::new(),
        });
        bootstrap::populate(&state, &config.crds).await?;
        Ok(Self { state })
    }

    /// The whole API as a service. Who asks is the [`Identity`] in the request's extensions; a request without one is
    /// anonymous.
    pub fn router(&self) -> Router {
        let state = Arc::clone(&self.state);
        Router::new().fallback(move |request| filters::chain(Arc::clone(&state), request))
    }

    /// From now on backups can be asked for. Each is made in `folder`, on the disk and without a name as soon as it is whole; what a crash
    /// leaves there can be removed. After the first call, further calls change nothing.
    pub fn offer_backups(&self, folder: &Path) {
        // A second folder would only be another place for the same.
        let _ = self.state.backups.set(folder.to_owned());
    }

    /// A client that is `identity`, without a socket in between. Must be called within a tokio runtime.
    pub fn client(&self, identity: Identity) -> kube::Client {
        kube::Client::new(self.in_process(identity), "default")
    }

    /// The service behind [`ApiServer::client`], for layers of one's own.
    pub fn in_process(&self, identity: Identity) -> InProcess {
        InProcess::new(Arc::clone(&self.state), identity)
    }

    /// Serves on `listener` until `cancellation`; `tls` is read for each new connection.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: channel::Receiver<Arc<ServerConfig>>,
        limits: Limits,
        cancellation: CancellationToken,
    ) -> Result<(), ServeError> {
        server::serve(Arc::clone(&self.state), listener, tls, limits, cancellation).await
    }

    /// Compacts history and removes expired events until `cancellation`. An idle server writes nothing.
    pub async fn maintain(&self, cancellation: CancellationToken) {
        maintenance::run(&self.state, cancellation).await;
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("kinds", &self.state.registry.kinds().len())
            .finish_non_exhaustive()
    }
}
