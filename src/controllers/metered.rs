//! The engine with a bound on what is asked of it at the same time, and with every call timed. Shared by all controllers, so that a
//! hundred objects do not become a hundred calls. It decides nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use clos_engine::engine::{Done, Info, Listed, Progress, Scope};
use clos_engine::events::EngineEvent;
use clos_engine::logs::{LogLine, LogOptions};
use clos_engine::{Engine, Error};
use clos_plan::action::EngineAction;
use clos_plan::observed::{Network, Observed};
use clos_telemetry::Metrics;
use clos_telemetry::metrics::EngineResult;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Pulls and stops wait for a registry or a program, not for the engine: more of them may run, and they never hold up the others.
const WAITING_PER_WORKING: usize = 4;

/// An engine behind two bounds: one for calls that make the engine work, one for calls that only wait.
pub(crate) struct Metered {
    engine: Arc<dyn Engine>,
    working: Arc<Semaphore>,
    waiting: Semaphore,
    metrics: Metrics,
}

impl Metered {
    /// At most `concurrency` working calls at a time.
    pub(crate) fn new(engine: Arc<dyn Engine>, concurrency: usize, metrics: Metrics) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            engine,
            working: Arc::new(Semaphore::new(concurrency)),
            waiting: Semaphore::new(concurrency * WAITING_PER_WORKING),
            metrics,
        }
    }

    async fn timed<T>(
        &self,
        operation: &'static str,
        bound: &Semaphore,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let _permit = bound
            .acquire()
            .await
            .expect("the semaphores are never closed");
        let started = Instant::now();
        let answer = call.await;
        let result = match &answer {
            Ok(_) => EngineResult::Ok,
            Err(error) => result_of(error),
        };
        self.metrics
            .engine_call(operation, result, started.elapsed());
        answer
    }
}

/// A container's output that is being read: counted and timed when that ends, for whatever reason.
struct Reading {
    metrics: Metrics,
    started: Instant,
    result: EngineResult,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.metrics
            .engine_call("logs", self.result, self.started.elapsed());
    }
}

fn result_of(error: &Error) -> EngineResult {
    if error.leaves_unknown() {
        EngineResult::Unreachable
    } else {
        EngineResult::Refused
    }
}

impl Engine for Metered {
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>> {
        Box::pin(self.timed("info", &self.working, self.engine.info()))
    }

    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(self.timed("observe", &self.working, self.engine.observe(scope)))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(self.timed("list", &self.working, self.engine.list()))
    }

    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>> {
        let working: &Semaphore = &self.working;
        let (operation, bound) = match action {
            EngineAction::PullImage { .. } => ("pull_image", &self.waiting),
            EngineAction::StopContainer { .. } => ("stop_container", &self.waiting),
            EngineAction::CreateNetwork(_) => ("create_network", working),
            EngineAction::RemoveNetwork { .. } => ("remove_network", working),
            EngineAction::CreateVolume(_) => ("create_volume", working),
            EngineAction::CreateContainer(_) => ("create_container", working),
            EngineAction::StartContainer { .. } => ("start_container", working),
            EngineAction::UnpauseContainer { .. } => ("unpause_container", working),
            EngineAction::RemoveContainer { .. } => ("remove_container", working),
        };
        Box::pin(self.timed(operation, bound, self.engine.execute(action, progress)))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        self.engine.events()
    }

    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        let lines = self.engine.logs(container, options);
        if options.follow {
            return lines;
        }
        let (working, metrics) = (Arc::clone(&self.working), self.metrics.clone());
        let begun = async move {
            let permit = working.acquire_owned().await;
            let reading = Reading {
                metrics,
                started: Instant::now(),
                result: EngineResult::Ok,
                _permit: permit.expect("the semaphores are never closed"),
            };
            stream::unfold((lines, reading), |(mut lines, mut reading)| async move {
                let line = lines.next().await?;
                if let Err(error) = &line {
                    reading.result = result_of(error);
                }
                Some((line, (lines, reading)))
            })
        };
        stream::once(begun).flatten().boxed()
    }

    fn networks(&self) -> BoxFuture<'_, Result<Vec<Network>, Error>> {
        Box::pin(self.timed("networks", &self.working, self.engine.networks()))
    }

    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(self.timed("publishers", &self.working, self.engine.publishers(port)))
    }
}
