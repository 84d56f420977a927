//! One look at a folder: read → desired → observe, plan and check → apply. Whatever woke it, it looks at the whole truth. Not here:
//! when to look (`mod`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::task::JoinError;

use super::scan::Scan;
use crate::apply::{ApplyError, Outcome, apply, report_held};
use crate::kinds::Kinds;
use crate::manifest::Manifests;
use crate::prepare::{PrepareError, prepare};
use crate::set::{DesiredSet, ObjectKey};
use crate::sync::{Refusal, Step, SyncOptions, SyncPlan};

/// Why the API does not hold what the folder declares.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The folder's reader broke down.
    #[error("the folder's reader ended unexpectedly")]
    Reader(#[source] JoinError),
    /// The folder changed while its removals were being made sure of; it is looked at again.
    #[error("the folder is changing")]
    Changing,
    /// The server did not say which kinds it knows.
    #[error("cannot ask the API which kinds it knows")]
    Discover(#[source] kube::Error),
    /// There is no good plan.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Too much would go, and that could not be told where it can be confirmed.
    #[error("cannot report removals that wait for a confirmation")]
    Report(#[source] ApplyError),
    /// Some steps failed.
    #[error("{failed} of {steps} steps failed")]
    Incomplete {
        /// How many.
        failed: usize,
        /// How many there were.
        steps: usize,
        /// The first failure.
        #[source]
        first: ApplyError,
    },
}

/// A look that ended well.
#[derive(Debug)]
pub(super) struct Pass {
    pub(super) digest: String,
    pub(super) objects: usize,
    pub(super) files: usize,
    /// What changed in the API, in order.
    pub(super) outcomes: Vec<(ObjectKey, Outcome)>,
    /// Whether it should be looked at again soon, because objects are on their way out.
    pub(super) unfinished: bool,
}

/// What is remembered of the last good folder, so that one that did not change is not taken apart again.
pub(super) struct Looker {
    folder: PathBuf,
    options: SyncOptions,
    settle: Duration,
    last: Option<(String, Arc<DesiredSet>)>,
}

impl Looker {
    pub(super) fn new(folder: PathBuf, options: SyncOptions, settle: Duration) -> Self {
        Self {
            folder,
            options,
            settle,
            last: None,
        }
    }

    /// Makes the API hold what the folder declares.
    pub(super) async fn look(&mut self, client: &Client) -> Result<Pass, PassError> {
        // 1. read
        let (digest, manifests) = self.read().await?;
        // 2. desired
        let desired = self.desired(client, &digest, manifests).await?;
        // 3. observe, plan and check
        let prepared = match prepare(client, &desired, &self.options).await {
            Ok(prepared) => prepared,
            Err(refused) => return Err(self.refused(client, refused).await),
        };
        if removes(prepared.plan()) {
            self.make_sure(&digest).await?;
        }
        // 4. apply
        let report = apply(client, &prepared, &mut |_, _| {}).await;
        let failed = report.failures.len();
        if let Some(first) = report.failures.into_iter().next() {
            return Err(PassError::Incomplete {
                failed,
                steps: prepared.plan().actions.len(),
                first,
            });
        }
        Ok(Pass {
            digest,
            objects: desired.objects.len(),
            files: desired.files,
            outcomes: report
                .outcomes
                .into_iter()
                .filter(|(_, outcome)| *outcome != Outcome::Unchanged)
                .collect(),
            unfinished: !prepared.plan().leaving.is_empty(),
        })
    }

    /// Tells what is held back where a person can confirm it.
    async fn refused(&self, client: &Client, refused: PrepareError) -> PassError {
        if let PrepareError::Refused(Refusal::Empty(held) | Refusal::Many(held)) = &refused
            && let Some(source) = &self.options.source
            && let Err(error) = report_held(client, source, held).await
        {
            return PassError::Report(error);
        }
        refused.into()
    }

    /// The folder's digest, and what stands in it if that is not known already.
    async fn read(&self) -> Result<(String, Option<Manifests>), PassError> {
        let folder = self.folder.clone();
        let known = self.last.as_ref().map(|(digest, _)| digest.clone());
        let read = move || {
            let scan = Scan::of([folder]);
            let digest = scan.digest();
            // A file that cannot be read has no content to compare.
            let unchanged = scan.unreadable_files().is_empty() && known.as_ref() == Some(&digest);
            (digest, (!unchanged).then(|| scan.manifests()))
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(PassError::Reader)
    }

    async fn desired(
        &mut self,
        client: &Client,
        digest: &str,
        manifests: Option<Manifests>,
    ) -> Result<Arc<DesiredSet>, PassError> {
        let desired = match (manifests, &self.last) {
            (None, Some((_, desired))) => return Ok(Arc::clone(desired)),
            (manifests, _) => {
                let kinds = Kinds::discover(client.clone())
                    .await
                    .map_err(PassError::Discover)?;
                Arc::new(DesiredSet::new(manifests.unwrap_or_default(), kinds))
            }
        };
        // What is wrong today may be right when the server has learnt another kind.
        self.last = desired
            .mistakes
            .is_empty()
            .then(|| (digest.to_owned(), Arc::clone(&desired)));
        Ok(desired)
    }

    /// Waits and reads the folder again before anything goes: somebody may be in the middle of writing it.
    async fn make_sure(&self, digest: &str) -> Result<(), PassError> {
        tokio::time::sleep(self.settle).await;
        match self.read().await? {
            (now, None) if now == digest => Ok(()),
            _ => Err(PassError::Changing),
        }
    }
}

fn removes(plan: &SyncPlan) -> bool {
    plan.actions
        .iter()
        .any(|action| matches!(action.step, Step::Prune { .. } | Step::Release(_)))
}
