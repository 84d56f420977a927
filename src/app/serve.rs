//! One standalone server: made in one order, run as one task set, and stopped in the reverse order. What is made once is in `parts`,
//! what the parts do is in their crates.

use std::time::Instant;

use clos_apiserver::Limits;
use clos_audit::Sink;
use clos_auth::Identity;
use clos_telemetry::Chain;
use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::descriptors;
use crate::error::{ServeError, StoreLost};
use crate::notice::Notice;
use crate::parts::{Front, Parts};
use crate::source::{add_source, first_look};
use crate::tasks::Tasks;
use crate::upkeep;

/// The audit file is replaced when it has this many bytes.
const AUDIT_FILE_BYTES: u64 = 64 << 20;
/// So many full audit files are kept.
const AUDIT_FILES: usize = 4;

/// Runs a server until `stop`. `tell` gets what is worth telling whoever started it.
pub async fn serve(
    config: Config,
    clock: fn() -> Timestamp,
    tell: impl Fn(Notice) + Send + Sync + Clone + 'static,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let begun = Instant::now();
    let limits = descriptors::share(Limits::default(), descriptors::raise());
    // Held until everything else has ended.
    let (parts, front, _alone) = Parts::make(config, clock, &tell).await?;
    // The file is closed last, so that it holds what the others did when they stopped.
    let copied = CancellationToken::new();
    let mut export = JoinSet::new();
    let (journal, until) = (parts.journal.clone(), copied.clone());
    let sink = Sink {
        path: parts.config.data_dir.join("audit.log"),
        max_bytes: AUDIT_FILE_BYTES,
        keep: AUDIT_FILES,
    };
    export.spawn(async move { journal.export(sink, until).await });

    let mut tasks = Tasks::new(stop);
    add_front(&mut tasks, &parts, front, limits);
    let journal = parts.journal.clone();
    add_loops(&mut tasks, parts, begun, &tell);
    let ended = tasks.run(|| tell(Notice::Stopping)).await;

    if let Err(error) = journal.record_kept().await {
        let events = journal.kept();
        tracing::warn!(error = %Chain(&error), events, "what was done while the disk was full could not be recorded");
    }
    if let Err(error) = journal.flush_noops().await {
        tracing::warn!(error = %Chain(&error), "passes without anything to do could not be recorded");
    }
    copied.cancel();
    export.join_all().await;
    ended
}

/// What others see of the server: the API on its socket, and what keeps it in shape.
fn add_front(tasks: &mut Tasks, parts: &Parts, front: Front, limits: Limits) {
    let Front {
        listener,
        credentials,
        tls,
    } = front;
    let clock = parts.clock;
    let (api, tls_now) = (parts.api.clone(), tls.subscribe());
    tasks.add("the API server", |stop| async move {
        Ok(api.serve(listener, tls_now, limits, stop).await?)
    });
    let api = parts.api.clone();
    tasks.add("the API's maintenance", |stop| async move {
        api.maintain(stop).await;
        Ok(())
    });
    tasks.add("the certificates' renewal", |stop| {
        upkeep::renew(credentials, tls, clock, stop).map(Ok)
    });
    let (journal, max_records) = (parts.journal.clone(), parts.config.audit_records);
    tasks.add("the audit journal's retention", |stop| {
        upkeep::forget(journal, max_records, clock, stop).map(Ok)
    });
    let journal = parts.journal.clone();
    tasks.add("the audit journal's catching up", |stop| async move {
        journal.catch_up(stop).await;
        Ok(())
    });
    let store = parts.store.clone();
    let path = parts.config.data_dir.join("store.redb");
    tasks.add("the store", |stop| async move {
        match stop.run_until_cancelled(store.failed()).await {
            None => Ok(()),
            Some(source) => Err(StoreLost { path, source }.into()),
        }
    });
}

/// What makes the world match: the controllers and the sources, and who tells when all of them are up.
fn add_loops(
    tasks: &mut Tasks,
    parts: Parts,
    begun: Instant,
    tell: &(impl Fn(Notice) + Send + Sync + Clone + 'static),
) {
    for folder in &parts.config.dirs {
        let client = parts.api.client(Identity::component("source"));
        add_source(
            tasks,
            folder,
            client,
            &parts.readiness,
            parts.clock,
            tell.clone(),
        );
    }
    let (declared, known) = watch::channel(false);
    let readiness = parts.readiness.clone();
    tasks.add("the sources' first look", |stop| async move {
        stop.run_until_cancelled(first_look(&readiness, &declared))
            .await;
        stop.cancelled().await;
        Ok(())
    });
    let (readiness, tell) = (parts.readiness.clone(), tell.clone());
    tasks.add("the report of readiness", |stop| async move {
        if stop
            .run_until_cancelled(readiness.until_ready())
            .await
            .is_some()
        {
            tell(Notice::Ready {
                took: begun.elapsed(),
            });
        }
        stop.cancelled().await;
        Ok(())
    });
    let controllers = parts.controllers(known);
    tasks.add("the controllers", |stop| async move {
        Ok(controllers.run(stop).await?)
    });
}
