//! Looks for mistakes in the set as a whole (`whole`), and lets the API judge a plan without carrying it out: every step that writes is made as a dry run, and what the API finds wrong
//! comes back with the place in the file.
//!
//! Objects of a namespace that is declared itself and does not exist yet are judged as if they lay in `default`, because a server
//! takes no object into a namespace that is not there. Everything about the object is found out that way; what a policy of the
//! new namespace may say against it is not.

mod whole;
mod words;

use std::collections::BTreeSet;

use kube::Client;
use serde_json::json;

use crate::api::{self, Mode};
use crate::manifest::{Declared, Mistake};
use crate::observe::{ObserveError, missing_namespaces};
use crate::set::{DesiredSet, ObjectKey};
use crate::sync::{Step, SyncAction, SyncPlan};

use words::mistakes_of;

/// Where objects are judged whose own namespace does not exist yet.
const STAND_IN: &str = "default";

/// Why a plan could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The namespaces could not be looked at.
    #[error("cannot look at the namespaces")]
    Namespaces(#[source] ObserveError),
    /// The groups could not be looked at.
    #[error("cannot look at the groups")]
    Groups(#[source] ObserveError),
    /// The API could not judge one object.
    #[error("cannot check {key}")]
    DryRun {
        /// The object.
        key: ObjectKey,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// What is wrong with the set as a whole, and what the API finds wrong with the steps of the plan that create or change an object.
/// Nothing is changed.
///
/// Whether each group exists is asked for a person only: what one source lacks, another one may be about to bring.
pub(crate) async fn check(
    client: &Client,
    desired: &DesiredSet,
    plan: &SyncPlan,
    source: Option<&str>,
) -> Result<Vec<Mistake>, CheckError> {
    let mut mistakes = whole::mistakes(desired);
    if source.is_none() {
        let of_missing = whole::missing_groups(client, desired).await;
        mistakes.extend(of_missing.map_err(CheckError::Groups)?);
    }
    let missing = missing_namespaces(client, &namespaces_of_new_objects(plan))
        .await
        .map_err(CheckError::Namespaces)?;
    let judged = api::all(
        plan.actions
            .iter()
            .map(|action| judge(client, desired, action, &missing))
            .collect(),
    )
    .await?;
    mistakes.extend(judged.into_iter().flatten());
    Ok(mistakes)
}

fn namespaces_of_new_objects(plan: &SyncPlan) -> BTreeSet<String> {
    let created = plan
        .actions
        .iter()
        .filter(|action| matches!(action.step, Step::Create(_)));
    created
        .filter_map(|action| action.key.namespace.clone())
        .collect()
}

async fn judge(
    client: &Client,
    desired: &DesiredSet,
    action: &SyncAction,
    missing: &BTreeSet<String>,
) -> Result<Vec<Mistake>, CheckError> {
    let key = &action.key;
    let Some(wanted) = desired.objects.get(key) else {
        return Ok(Vec::new());
    };
    let answer = match &action.step {
        Step::Prune { .. } | Step::Release(_) => return Ok(Vec::new()),
        Step::Patch(patch) => api::patch(client, &wanted.kind, key, patch, Mode::DryRun).await,
        Step::Create(object) => match key
            .namespace
            .as_ref()
            .filter(|namespace| missing.contains(*namespace))
        {
            None => {
                api::create(
                    client,
                    &wanted.kind,
                    key.namespace.as_deref(),
                    object,
                    Mode::DryRun,
                )
                .await
            }
            Some(namespace) if is_declared(desired, namespace) => {
                let mut object = object.clone();
                object["metadata"]["namespace"] = json!(STAND_IN);
                api::create(client, &wanted.kind, Some(STAND_IN), &object, Mode::DryRun).await
            }
            Some(namespace) => return Ok(vec![no_namespace(&wanted.declared, namespace)]),
        },
    };
    match answer {
        Ok(_) => Ok(Vec::new()),
        Err(kube::Error::Api(status)) => match status.code {
            // Somebody made or removed it since it was looked at, or another one of its name lies where it was judged.
            409 => Ok(Vec::new()),
            404 if matches!(action.step, Step::Patch(_)) => Ok(Vec::new()),
            400..=499 if !matches!(status.code, 401 | 408 | 429) => {
                Ok(mistakes_of(&wanted.declared, &status))
            }
            _ => Err(CheckError::DryRun {
                key: key.clone(),
                source: kube::Error::Api(status),
            }),
        },
        Err(source) => Err(CheckError::DryRun {
            key: key.clone(),
            source,
        }),
    }
}

fn is_declared(desired: &DesiredSet, namespace: &str) -> bool {
    desired
        .objects
        .contains_key(&ObjectKey::new("", "Namespace", None, namespace))
}

fn no_namespace(declared: &Declared, namespace: &str) -> Mistake {
    let message = format!(
        "there is no namespace \"{namespace}\"; declare it as a Namespace, or create it: kubectl create namespace {namespace}"
    );
    declared.mistake("metadata.namespace", message)
}
