//! What it takes to run the controllers, and running them until they are asked to stop. Which parts there are is in `parts`.

use std::sync::Arc;
use std::time::Duration;

use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_engine::Engine;
use clos_telemetry::Metrics;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::gc::resources::Kinds;
use crate::parts::Parts;
use crate::tasks::{RunError, Tasks};

/// How the controllers are to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this machine's Host object: a DNS label, see [`crate::host_name`].
    pub host: String,
    /// The installation: the UID of the namespace `kube-system`. Containers without it in their labels are never touched.
    pub installation: String,
    /// How many calls the engine gets at the same time, at least 1; pulls and stops, which only wait, are counted apart.
    pub concurrency: usize,
    /// The time between full lists of the engine's containers.
    pub relist: Duration,
    /// Whether nobody but clos serves the API. A real Kubernetes cluster collects its own garbage and ends its own namespaces, by its
    /// own rules; doing it a second time would delete what is not ours to delete.
    pub standalone: bool,
    /// What time it is.
    pub clock: fn() -> Timestamp,
}

/// The controllers and what they work with.
pub struct Controllers {
    /// How they are to run.
    pub config: Config,
    /// A client for each of them, by its identity: what each does is audited under its own name.
    pub client: Box<dyn Fn(Identity) -> Client + Send + Sync>,
    /// The engine of this machine.
    pub engine: Arc<dyn Engine>,
    /// Where each pass that acted is recorded.
    pub journal: Journal,
    /// Where passes, drift and engine calls are counted.
    pub metrics: Metrics,
    /// Whether what is declared is known: a source may bring what is newer than the store. Until then nothing that is there is stopped or
    /// removed.
    pub declared: watch::Receiver<bool>,
    /// Is told the values of Secrets before they are used, and masks them in what is told.
    pub redactor: Redactor,
}

impl Config {
    /// A configuration for a machine on its own with the usual bounds: 8 calls at a time, a full list each minute.
    pub fn new(host: String, installation: String, clock: fn() -> Timestamp) -> Self {
        Self {
            host,
            installation,
            concurrency: 8,
            relist: Duration::from_mins(1),
            standalone: true,
            clock,
        }
    }
}

impl Controllers {
    /// Runs until `stop`; then nothing new begins, calls to the engine that have begun end, and containers stay as they are.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        let kinds = if self.config.standalone {
            let client = (self.client)(Identity::component("controller:gc"));
            let found = Kinds::discover(&client).await;
            Some(found.map_err(RunError::Discover)?)
        } else {
            None
        };
        let mut tasks = Tasks::new(stop);
        Parts::new(&self, &tasks.stop).start(&mut tasks, kinds);
        tasks.finish().await
    }
}
