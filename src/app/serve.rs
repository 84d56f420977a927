//! One standalone server: made in one order, run as one task set in which any end that nobody asked for stops the process, and stopped in
//! the reverse order. What the tasks do is in their crates.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clos_apiserver::{ApiServer, ApiServerConfig, Limits, Retention, StartError};
use clos_audit::{Journal, Redactor, Sink};
use clos_auth::Identity;
use clos_controllers::{Controllers, host_name};
use clos_engine::Engine;
use clos_engine::docker::DockerEngine;
use clos_engine::engine::Info;
use clos_sources::Directory;
use clos_sources::directory::Timing;
use clos_store::{Health, OpenError, Options, Store};
use clos_telemetry::Metrics;
use clos_telemetry::metrics::StoreTotals;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::credentials::{Credentials, CredentialsError};
use crate::listen::{ListenError, bind};
use crate::notice::Notice;
use crate::readiness::Readiness;
use crate::upkeep;

/// The audit file is replaced when it has this many bytes.
const AUDIT_FILE_BYTES: u64 = 64 << 20;
/// So many full audit files are kept.
const AUDIT_FILES: usize = 4;

/// Why a server did not start, or ended though nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The engine does not answer.
    #[error("{source}. Start Docker, or set --engine or DOCKER_HOST")]
    Engine {
        /// What the engine's address answered; its text is the sentence's beginning.
        source: clos_engine::Error,
    },
    /// The port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A folder of YAML does not exist or is none.
    #[error("{} is not a folder that can be read; give --dir a folder of YAML", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The data directory.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Certificates and the kubeconfig.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The API.
    #[error("the API could not be set up")]
    Api(#[source] StartError),
    /// The API was set up and does not answer.
    #[error("the API does not answer")]
    OwnClient(#[source] kube::Error),
    /// A part ended.
    #[error("{part} ended without being asked to")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why, when it said so.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// A part panicked.
    #[error("a part of the server panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Runs a server until `stop`. `tell` gets what is worth telling whoever started it.
pub async fn serve(
    config: Config,
    clock: fn() -> Timestamp,
    tell: impl Fn(Notice) + Send + Sync + Clone + 'static,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let begun = Instant::now();
    let engine =
        DockerEngine::connect(&config.engine).map_err(|source| ServeError::Engine { source })?;
    let info = engine
        .info()
        .await
        .map_err(|source| ServeError::Engine { source })?;
    let folders = check_folders(&config.dirs)?;
    let listener = bind(config.listen, async |port| {
        engine.publishers(port).await.unwrap_or_default()
    })
    .await?;
    let address = listener.local_addr().unwrap_or(config.listen);

    let store = Store::open(&config.data_dir, Options::default())?;
    tell(Notice::Starting {
        data_dir: config.data_dir.clone(),
        engine: info.engine.clone(),
    });
    let (credentials, first) = Credentials::open(
        &config.data_dir,
        &config.kubeconfig,
        address,
        &info.hostname,
        clock(),
    )?;
    credentials.keep_kubeconfig(clock())?;
    let (tls, tls_now) = watch::channel(credentials.tls(clock())?);
    if first {
        tell(Notice::Created {
            kubeconfig: config.kubeconfig.clone(),
        });
    }
    let url = credentials.url().to_owned();

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

    let mut tasks = Tasks::new(stop.clone());
    let serving = api.clone();
    tasks.add("the API server", |stop| async move {
        Ok(serving
            .serve(listener, tls_now, Limits::default(), stop)
            .await?)
    });
    tell(Notice::Listening {
        url,
        kubeconfig: config.kubeconfig.clone(),
    });
    let maintained = api.clone();
    tasks.add("the API's maintenance", |stop| async move {
        maintained.maintain(stop).await;
        Ok(())
    });
    tasks.add("the certificates' renewal", |stop| {
        upkeep::renew(credentials, tls, clock, stop).map(Ok)
    });
    let (forgetting, max_records) = (journal.clone(), config.audit_records);
    tasks.add("the audit journal's retention", |stop| {
        upkeep::forget(forgetting, max_records, clock, stop).map(Ok)
    });
    let failed = store.clone();
    tasks.add("the store", |stop| async move {
        match stop.run_until_cancelled(failed.failed()).await {
            None => Ok(()),
            Some(failure) => Err(Box::from(failure.to_string())),
        }
    });
    tasks.add(
        "the controllers",
        controllers(
            &config,
            &api,
            engine,
            &info,
            installation,
            &journal,
            redactor,
            &metrics,
            clock,
        ),
    );
    for folder in folders {
        let client = api.client(Identity::component("source"));
        add_source(
            &mut tasks,
            folder,
            config.confirm_removals,
            client,
            &readiness,
            clock,
            tell.clone(),
        );
    }
    let sink = Sink {
        path: config.data_dir.join("audit.log"),
        max_bytes: AUDIT_FILE_BYTES,
        keep: AUDIT_FILES,
    };
    // The file is closed last, so that it holds what the others did when they stopped.
    let copied = CancellationToken::new();
    let (exported, until) = (journal.clone(), copied.clone());
    let mut export = JoinSet::new();
    export.spawn(async move { exported.export(sink, until).await });

    if stop
        .run_until_cancelled(readiness.until_ready())
        .await
        .is_some()
    {
        tell(Notice::Ready {
            took: begun.elapsed(),
        });
    }
    let ended = tasks.run(|| tell(Notice::Stopping)).await;
    if let Err(error) = journal.flush_noops().await {
        tracing::warn!(error = %clos_telemetry::Chain(&error), "passes without anything to do could not be recorded");
    }
    copied.cancel();
    export.join_all().await;
    ended
}

fn check_folders(dirs: &[PathBuf]) -> Result<Vec<PathBuf>, ServeError> {
    for folder in dirs {
        std::fs::read_dir(folder).map_err(|source| ServeError::Folder {
            folder: folder.clone(),
            source,
        })?;
    }
    Ok(dirs.to_vec())
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

#[expect(
    clippy::too_many_arguments,
    reason = "the composition root hands the parts to each other"
)]
fn controllers(
    config: &Config,
    api: &ApiServer,
    engine: DockerEngine,
    info: &Info,
    installation: String,
    journal: &Journal,
    redactor: Redactor,
    metrics: &Metrics,
    clock: fn() -> Timestamp,
) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, PartResult> + use<> {
    let mut told = clos_controllers::Config::new(host_name(&info.hostname), installation, clock);
    told.concurrency = config.concurrency;
    told.relist = config.relist;
    let api = api.clone();
    let controllers = Controllers {
        config: told,
        client: Box::new(move |identity| api.client(identity)),
        engine: Arc::new(engine),
        journal: journal.clone(),
        redactor,
        metrics: metrics.clone(),
    };
    |stop| async move { Ok(controllers.run(stop).await?) }.boxed()
}

/// A folder of YAML, and a task that tells how it is whenever that changes.
fn add_source(
    tasks: &mut Tasks,
    folder: PathBuf,
    confirm_removals: bool,
    client: Client,
    readiness: &Readiness,
    clock: fn() -> Timestamp,
    tell: impl Fn(Notice) + Send + 'static,
) {
    let directory = Directory {
        name: source_name(&folder),
        path: folder.clone(),
        allow_empty: confirm_removals,
        allow_many: confirm_removals,
        timing: Timing::default(),
        clock,
    };
    let part = format!("source {}", folder.display());
    readiness.wait_for(&part, "not looked at yet");
    let (status, mut changes) = watch::channel(directory.initial_status());
    tasks.add("a source", |stop| {
        directory.run(client, status, stop).map(Ok)
    });
    let readiness = readiness.clone();
    tasks.add("a source's report", |stop| async move {
        let mut told = String::new();
        while stop
            .run_until_cancelled(changes.changed())
            .await
            .is_some_and(|changed| changed.is_ok())
        {
            let status = changes.borrow_and_update().clone();
            let mistakes: String = status
                .mistakes
                .iter()
                .map(|mistake| format!("\n{mistake}"))
                .collect();
            let state = format!("{status}{mistakes}");
            if state != told {
                tell(Notice::Source {
                    folder: folder.clone(),
                    state: state.clone(),
                });
                told = state;
            }
            if status.has_looked() {
                readiness.ready(&part);
            }
        }
        // The sender ends with the source, and that one tells why.
        stop.cancelled().await;
        Ok(())
    });
}

/// The name that a folder's objects carry: its last component as a DNS label.
fn source_name(folder: &Path) -> String {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let last = absolute
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let label: String = last
        .chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '-'
            }
        })
        .take(50)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "folder".to_owned()
    } else {
        label.to_owned()
    }
}

type PartResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The task set: whatever ends without being asked to stops everything.
struct Tasks {
    set: JoinSet<(&'static str, PartResult)>,
    stop: CancellationToken,
}

impl Tasks {
    fn new(stop: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            stop,
        }
    }

    fn add<F>(&mut self, part: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = PartResult> + Send + 'static,
    {
        let task = task(self.stop.clone());
        self.set.spawn(task.map(move |ended| (part, ended)));
    }

    /// Waits for all to end; the first failure is the answer. `stopping` is called once, when the end begins.
    async fn run(mut self, stopping: impl FnOnce()) -> Result<(), ServeError> {
        let mut first = None;
        let mut stopping = Some(stopping);
        loop {
            let ended = tokio::select! {
                ended = self.set.join_next() => ended,
                () = self.stop.cancelled(), if stopping.is_some() => {
                    if let Some(stopping) = stopping.take() {
                        stopping();
                    }
                    continue;
                }
            };
            let failure = match ended {
                None => return first.map_or(Ok(()), Err),
                Some(Err(panic)) => Some(ServeError::Panicked(panic)),
                Some(Ok((part, Err(source)))) => Some(ServeError::Ended {
                    part,
                    source: Some(source),
                }),
                Some(Ok((part, Ok(())))) if !self.stop.is_cancelled() => {
                    Some(ServeError::Ended { part, source: None })
                }
                Some(Ok((_, Ok(())))) => None,
            };
            if failure.is_some() && first.is_none() {
                first = failure;
                self.stop.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_after_its_folder() {
        assert_eq!(source_name(Path::new("/srv/My Shop")), "my-shop");
        assert_eq!(source_name(Path::new("/")), "folder");
    }

    #[tokio::test]
    async fn a_part_that_ends_unasked_stops_the_others_and_is_named() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.add("the patient one", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.add("the hasty one", |_| async { Ok(()) });
        let error = tasks.run(|| {}).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hasty one ended without being asked to"
        );
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_not_a_silence() {
        let mut tasks = Tasks::new(CancellationToken::new());
        tasks.add("the unlucky one", |_| async { panic!("bad luck") });
        assert!(matches!(
            tasks.run(|| {}).await,
            Err(ServeError::Panicked(_))
        ));
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_is_none_to_complain_of() {
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(stop.clone());
        tasks.add("the patient one", |stop| async move {
            stop.cancelled().await;
            Ok(())
        });
        stop.cancel();
        let mut said = false;
        tasks.run(|| said = true).await.unwrap();
        assert!(said);
    }
}
