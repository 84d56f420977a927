//! What a server is made of, each made once and in this order: the engine is asked first and the port is bound before anything is
//! written, so that a start that must fail leaves nothing behind.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_controllers::Controllers;
use clos_engine::Engine;
use clos_engine::docker::DockerEngine;
use clos_store::{Health, Options, Store};
use clos_telemetry::Metrics;
use clos_telemetry::metrics::StoreTotals;
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::credentials::Credentials;
use crate::error::ServeError;
use crate::installation::{self, Alone};
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
    host: String,
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
    ) -> Result<(Self, Front, Alone), ServeError> {
        let no_engine = |error| match error {
            clos_engine::Error::Unreachable { .. } => ServeError::NoEngine(error),
            other => ServeError::Engine(other),
        };
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

        let metrics = Metrics::new();
        let totals = store.clone();
        metrics.watch_store(move || totals_of(&totals));
        let redactor = Redactor::default();
        let journal = Journal::new(store.clone(), redactor.clone(), clock);
        let readiness = Readiness::new();
        let (ready, writable) = (readiness.clone(), store.clone());
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("fill store");
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
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("fill store");
        api.offer_backups(&backups_under_way(&config.data_dir));
        let client = api.client(Identity::component("app"));
        let installation = installation::id(client.clone())
            .await
            .map_err(ServeError::OwnClient)?;
        let alone = Alone::with(&installation)?;
        let host = installation::host(client, &info.hostname)
            .await
            .map_err(ServeError::OwnClient)?;
        // Written when nothing can keep the server from starting any more.
        let front = Front::make(&config, listener, &info.hostname, clock(), tell)?;
        let parts = Self {
            config,
            clock,
            store,
            journal,
            api,
            readiness,
            engine,
            host,
            metrics,
            redactor,
            installation,
        };
        Ok((parts, front, alone))
    }

    /// The controllers, over everything else. `declared` tells them when the sources have said what is declared.
    pub(crate) fn controllers(self, declared: watch::Receiver<bool>) -> Controllers {
        let mut config = clos_controllers::Config::new(self.host, self.installation, self.clock);
        config.concurrency = self.config.concurrency;
        config.relist = self.config.relist;
        let api = self.api;
        Controllers {
            config,
            client: Box::new(move |identity| api.client(identity)),
            engine: Arc::new(self.engine),
            journal: self.journal,
            declared,
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
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("make credentials");
        let (credentials, first) =
            Credentials::open(&config.data_dir, kubeconfig, address, hostname, now)?;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("make credentials");
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

/// The folder in which backups are made before they are sent. What a crash left there goes; that it cannot go keeps no server from starting.
fn backups_under_way(data_dir: &Path) -> PathBuf {
    let folder = data_dir.join("backups-under-way");
    match std::fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(folder = %folder.display(), %error, "what a crash left of a backup cannot be removed");
        }
        Ok(()) | Err(_) => {}
    }
    folder
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
        Health::ReadOnly => {
            Err("store: the data directory is read-only; make it writable".to_owned())
        }
        Health::Failed(failure) => Err(format!("store: {failure}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_left_of_a_backup_is_removed_at_the_next_start() {
        let data = tempfile::tempdir().unwrap();
        let folder = backups_under_way(data.path());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join(".half.partial"), "secrets").unwrap();
        assert_eq!(backups_under_way(data.path()), folder);
        assert!(!folder.exists());
    }

    #[test]
    fn a_folder_of_yaml_that_is_none_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("web.yaml");
        std::fs::write(&file, "").unwrap();
        assert!(check_folders(&[folder.path().to_owned()]).is_ok());
        for wrong in [file, folder.path().join("missing")] {
            let error = check_folders(&[folder.path().to_owned(), wrong.clone()]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "{} is not a folder that can be read; give --dir a folder of YAML",
                    wrong.display()
                )
            );
        }
    }
}
