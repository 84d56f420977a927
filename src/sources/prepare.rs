//! From a set to a plan that the API has judged: observe → plan → check. Nothing is changed here; only what went through here can
//! be applied.

use kube::Client;

use crate::check::{CheckError, check};
use crate::manifest::Mistakes;
use crate::observe::{ObserveError, observe};
use crate::set::DesiredSet;
use crate::sync::{Observed, Refusal, SyncOptions, SyncPlan, plan_sync};

/// A plan that is known to be good, with what it was made from.
#[derive(Debug)]
pub struct Prepared<'a> {
    pub(crate) desired: &'a DesiredSet,
    pub(crate) observed: Observed,
    pub(crate) plan: SyncPlan,
    pub(crate) source: Option<&'a str>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The server did not say what it holds.
    #[error("cannot see what the API holds")]
    Observe(#[from] ObserveError),
    /// The server could not judge what is declared.
    #[error("cannot have the declarations checked")]
    Check(#[from] CheckError),
    /// Something is wrong with what is declared, or too much would go.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Plans a synchronisation and has the API judge it. All mistakes are told at once: those of the files, those of the set and
/// those that the API finds.
pub async fn prepare<'a>(
    client: &Client,
    desired: &'a DesiredSet,
    options: &'a SyncOptions,
) -> Result<Prepared<'a>, PrepareError> {
    let source = options.source.as_deref();
    let observed = observe(client, desired, source).await?;
    let plan = plan_sync(desired, &observed, options)?;
    let mut mistakes = check(client, desired, &plan, source).await?;
    mistakes.extend(desired.mistakes.iter().chain(&plan.conflicts).cloned());
    match Mistakes::new(mistakes) {
        Some(mistakes) => Err(Refusal::from(mistakes).into()),
        None => Ok(Prepared {
            desired,
            observed,
            plan,
            source,
        }),
    }
}

impl Prepared<'_> {
    /// What has to be done.
    pub fn plan(&self) -> &SyncPlan {
        &self.plan
    }
}
