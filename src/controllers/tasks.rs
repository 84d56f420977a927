//! The task set: every part of the controllers is a task in it, and any end that nobody asked for ends them all. What the tasks do is not
//! here.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cache::NeverFilled;
use crate::gate::Gate;

/// Why the controllers ended though nobody asked them to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API did not tell its resources.
    #[error("cannot ask the API for its resources")]
    Discover(#[source] kube::Error),
    /// One part ended.
    #[error("the {part} controller ended without being asked to")]
    Ended {
        /// Which.
        part: &'static str,
        /// Why, when it said so.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// One part panicked.
    #[error("a controller panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// Waits until the cache holds everything there is, and the engine was asked for the first time: before that, things only seem to be missing.
pub(crate) fn ready(
    filled: &Filled,
    gate: Option<&Arc<Gate>>,
) -> impl Future<Output = Result<(), NeverFilled>> + Send + use<> {
    let (filled, gate) = (filled.clone(), gate.cloned());
    async move {
        filled.await?;
        if let Some(gate) = gate {
            gate.asked().await;
        }
        Ok(())
    }
}

/// The cache holds everything there is. Shared, because a store wakes only the last of those who wait for it.
pub(crate) type Filled = Shared<BoxFuture<'static, Result<(), NeverFilled>>>;

/// How a task ended.
pub(crate) type PartResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// The task set.
pub(crate) struct Tasks {
    set: JoinSet<(&'static str, PartResult)>,
    /// Ends all of them.
    pub(crate) stop: CancellationToken,
}

impl Tasks {
    /// An empty set, ended by `stop`.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            stop,
        }
    }

    /// Adds a task.
    pub(crate) fn add(
        &mut self,
        part: &'static str,
        task: impl Future<Output = PartResult> + Send + 'static,
    ) {
        let task: BoxFuture<'static, PartResult> = task.boxed();
        self.set.spawn(task.map(move |ended| (part, ended)));
    }

    /// A task that begins when something is ready.
    pub(crate) fn add_after<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
        &mut self,
        part: &'static str,
        ready: impl Future<Output = Result<(), NeverFilled>> + Send + 'static,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.add(part, async move {
            tokio::select! {
                // Who is asked to stop before the caches are filled did not lose them.
                biased;
                () = stop.cancelled() => return Ok(()),
                ready = ready => ready?,
            }
            task.await.map_err(Into::into)
        });
    }

    /// Waits for the end of all. The first that ends unasked stops the others.
    pub(crate) async fn finish(mut self) -> Result<(), RunError> {
        let mut first = Ok(());
        while let Some(ended) = self.set.join_next().await {
            let asked = self.stop.is_cancelled();
            let ended = match ended {
                Err(panic) => Err(RunError::Panicked(panic)),
                Ok((part, Err(source))) => Err(RunError::Ended {
                    part,
                    source: Some(source),
                }),
                Ok((part, Ok(()))) if !asked => Err(RunError::Ended { part, source: None }),
                Ok((_, Ok(()))) => Ok(()),
            };
            if first.is_ok() {
                first = ended;
            }
            if first.is_err() {
                self.stop.cancel();
            }
        }
        first
    }
}
