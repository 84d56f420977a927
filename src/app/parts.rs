//! What a server is made of, each made once and in this order: the engine is asked first and the port is bound before anything is
//! written, so that a start that must fail leaves nothing behind.

use std::path::PathBuf;
use std::sync::Arc;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_controllers::{Controllers, host_name};
use clos_engine::Engine;
use clos_engine::docker::DockerEngine;
use clos_engine::engine::Info;
use clos_store::{Health, Options, Store};
use clos_telemetry::Metrics;
use clos_telemetry::metrics::StoreTotals;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::error::ServeError;
use crate::listen::bind;
use crate::notice::Notice;
use crate::readiness::Readiness;

/// The parts that tasks share.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) api: ApiServer,
    pub(crate) readiness: Readiness,
    engine: DockerEngine,
    info: Info,
    metrics: Metrics,
    redactor: Redactor,
    installation: String,
}

/// What the API's socket needs.
pub(crate) struct Front {
    pub(crate) listener: TcpListener,
    pub(crate) credentials: Credentials,
    pub(crate) tls: watch::Sender<Arc<ServerConfig>>,
}

impl Parts {
    /// Makes everything, and tells what is worth telling.
    pub(crate) async fn make(
        config: Config,
        clock: fn() -> Timestamp,
        tell: &impl Fn(Notice),
    ) -> Result<(Self, Front), ServeError> {
        let no_engine = |source| ServeError::Engine { source };
        let engine = DockerEngine::connect(&config.engine).map_err(no_engine)?;
        let info = engine.info().await.map_err(no_engine)?;
        check_folders(&config.dirs)?;
        let holders = async |port| engine.publishers(port).await.unwrap_or_default();
        let listener = bind(config.listen, holders).await?;
        let store = Store::open(&config.data_dir, Options::default())?;
        tell(Notice::Starting {
            data_dir: config.data_dir.clone(),
            engine: info.engine.clone(),
        });
        let front = Front::make(&config, listener, &info.hostname, clock(), tell)?;

        let metrics = Metrics::new();
        let totals = store.clone();
        metrics.watch_store(move || totals_of(&totals));
        let redactor = Redactor::default();
        let journal = Journal::new(store.clone(), redactor.clone(), clock);
        let readiness = Readiness::new();
        let (ready, writable) = (readiness.clone(), store.clone());
        let api = ApiServer::new(ApiServerConfig {
            store: store.clone(),
            journal: journal.clone(),
            crds: clos_resources::crds(),
            clock,
            readiness: Arc::new(move || takes_writes(&writable).and_then(|()| ready.check())),
            metrics: metrics.clone(),
            retention: Retention::default(),
        })
        .await
        .map_err(ServeError::Api)?;
        let installation = installation(api.client(Identity::component("app")))
            .await
            .map_err(ServeError::OwnClient)?;
        let parts = Self {
            config,
            clock,
            store,
            journal,
            api,
            readiness,
            engine,
            info,
            metrics,
            redactor,
            installation,
        };
        Ok((parts, front))
    }

    /// The controllers, over everything else.
    pub(crate) fn controllers(self) -> Controllers {
        let host = host_name(&self.info.hostname);
        let mut config = clos_controllers::Config::new(host, self.installation, self.clock);
        config.concurrency = self.config.concurrency;
        config.relist = self.config.relist;
        let api = self.api;
        Controllers {
            config,
            client: Box::new(move |identity| api.client(identity)),
            engine: Arc::new(self.engine),
            journal: self.journal,
            redactor: self.redactor,
            metrics: self.metrics,
        }
    }
}

impl Front {
    fn make(
        config: &Config,
        listener: TcpListener,
        hostname: &str,
        now: Timestamp,
        tell: &impl Fn(Notice),
    ) -> Result<Self, ServeError> {
        let address = listener.local_addr().unwrap_or(config.listen);
        let kubeconfig = &config.kubeconfig;
        let (credentials, first) =
            Credentials::open(&config.data_dir, kubeconfig, address, hostname, now)?;
        credentials.keep_kubeconfig(now)?;
        let tls = watch::Sender::new(credentials.tls(now)?);
        if first {
            tell(Notice::Created {
                kubeconfig: kubeconfig.clone(),
            });
        }
        tell(Notice::Listening {
            url: credentials.url().to_owned(),
            kubeconfig: kubeconfig.clone(),
        });
        Ok(Self {
            listener,
            credentials,
            tls,
        })
    }
}

fn check_folders(dirs: &[PathBuf]) -> Result<(), ServeError> {
    for folder in dirs {
        std::fs::read_dir(folder).map_err(|source| ServeError::Folder {
            folder: folder.clone(),
            source,
        })?;
    }
    Ok(())
}

fn totals_of(store: &Store) -> StoreTotals {
    let stats = store.stats();
    StoreTotals {
        commits: stats.commits,
        failed_commits: stats.failed_commits,
        writes: stats.writes,
        commit_time: stats.commit_time,
    }
}

fn takes_writes(store: &Store) -> Result<(), String> {
    match store.health() {
        Health::Writable => Ok(()),
        Health::NoSpace => Err("store: the disk is full; free some space".to_owned()),
        Health::Failed(failure) => Err(format!("store: {failure}")),
    }
}

/// What makes containers this installation's: the UID of the namespace `kube-system`, as other Kubernetes tools identify a cluster.
async fn installation(client: Client) -> Result<String, kube::Error> {
    let namespace = Api::<Namespace>::all(client).get("kube-system").await?;
    Ok(namespace.uid().unwrap_or_default())
}
