//! Carries a plan out: what is created and changed first, by rank, then what goes; at the end the source's inventory. Stopped
//! anywhere, it is simply planned again: every step is found done or undone. Not here: what to do (`sync`).

use std::collections::BTreeMap;
use std::fmt;

use clos_resources::names::{LABEL_SOURCE, SYSTEM_NAMESPACE};
use clos_resources::removals::Removals;
use futures::{StreamExt as _, stream};
use kube::Client;
use serde_json::{Value, json};

use crate::api::{self, CONCURRENCY, Mode};
use crate::observe::{config_map_kind, inventory_key, namespace_kind};
use crate::prepare::Prepared;
use crate::set::ObjectKey;
use crate::sync::{HELD, Inventory, Step, SyncAction, uid};

/// What became of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It exists now.
    Created,
    /// It was changed.
    Configured,
    /// It was as declared.
    Unchanged,
    /// It was deleted.
    Pruned,
    /// It stays, and belongs to no source any more.
    Released,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Pruned => "pruned",
            Self::Released => "released",
        })
    }
}

/// A step that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The object's kind is not served any more.
    #[error("{0} is of a kind that the server does not know any more")]
    Kind(ObjectKey),
    /// The API refused or could not be reached.
    #[error("cannot carry out: {action}")]
    Call {
        /// The step in words.
        action: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The objects were applied and the record of them was not.
    #[error("cannot write the inventory {key}")]
    Inventory {
        /// The `ConfigMap`.
        key: ObjectKey,
        /// Why.
        #[source]
        source: kube::Error,
    },
}

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Report {
    /// Every object that is as it shall be now, and how it came to that.
    pub outcomes: BTreeMap<ObjectKey, Outcome>,
    /// What could not be done; planning again tries again.
    pub failures: Vec<ApplyError>,
    uids: BTreeMap<ObjectKey, String>,
}

impl Report {
    /// How many objects had this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.outcomes
            .values()
            .filter(|found| **found == outcome)
            .count()
    }

    fn note(
        &mut self,
        key: &ObjectKey,
        result: Result<(Outcome, Option<String>), ApplyError>,
        progress: &mut Progress<'_>,
    ) {
        match result {
            Ok((outcome, uid)) => {
                progress(key, Ok(outcome));
                self.outcomes.insert(key.clone(), outcome);
                self.uids.extend(uid.map(|uid| (key.clone(), uid)));
            }
            Err(error) => {
                progress(key, Err(&error));
                self.failures.push(error);
            }
        }
    }
}

/// Is told of every object when it is done with.
pub type Progress<'a> = dyn FnMut(&ObjectKey, Result<Outcome, &ApplyError>) + Send + 'a;

/// Carries a plan out. One step that fails does not keep the others of its rank from being taken; ranks above it wait for the
/// next time, and nothing is pruned then.
pub async fn apply(
    client: &Client,
    prepared: &Prepared<'_>,
    progress: &mut Progress<'_>,
) -> Report {
    let Prepared { plan, source, .. } = prepared;
    let mut report = Report::default();
    for (key, uid) in &plan.unchanged {
        report.note(key, Ok((Outcome::Unchanged, Some(uid.clone()))), progress);
    }
    let (writes, removals): (Vec<&SyncAction>, Vec<&SyncAction>) = plan
        .actions
        .iter()
        .partition(|action| matches!(action.step, Step::Create(_) | Step::Patch(_)));
    for rank in writes.chunk_by(|a, b| a.key.rank() == b.key.rank()) {
        let steps: Vec<_> = rank
            .iter()
            .map(|action| carry_out(client, prepared, action))
            .collect();
        let mut steps = stream::iter(steps).buffer_unordered(CONCURRENCY);
        while let Some((key, result)) = steps.next().await {
            report.note(key, result, progress);
        }
        if !report.failures.is_empty() {
            break;
        }
    }
    // What replaces them must be there before things go.
    if report.failures.is_empty() {
        for action in removals {
            let (key, result) = carry_out(client, prepared, action).await;
            report.note(key, result, progress);
        }
    }
    if let Some(source) = source {
        let inventory = inventory_after(prepared, &report, source);
        if inventory != prepared.observed.inventory {
            #[cfg(feature = "failpoints")]
            clos_failpoints::before("write inventory");
            if let Err(error) = write_inventory(client, source, &inventory).await {
                report.failures.push(ApplyError::Inventory {
                    key: inventory_key(source),
                    source: error,
                });
            }
            #[cfg(feature = "failpoints")]
            clos_failpoints::after("write inventory");
        }
    }
    report
}

async fn carry_out<'a>(
    client: &Client,
    prepared: &Prepared<'_>,
    action: &'a SyncAction,
) -> (&'a ObjectKey, Result<(Outcome, Option<String>), ApplyError>) {
    let key = &action.key;
    let Prepared {
        desired, observed, ..
    } = prepared;
    let declared = desired.objects.get(key).map(|wanted| &wanted.kind);
    let Some(kind) = declared.or_else(|| desired.kinds.of_group(&key.group, &key.kind)) else {
        return (key, Err(ApplyError::Kind(key.clone())));
    };
    #[cfg(feature = "failpoints")]
    let place = match &action.step {
        Step::Create(_) | Step::Patch(_) => "apply object",
        Step::Prune { .. } => "prune object",
        Step::Release(_) => "release object",
    };
    #[cfg(feature = "failpoints")]
    clos_failpoints::before(place);
    let result = match &action.step {
        Step::Create(object) => {
            let created =
                api::create(client, kind, key.namespace.as_deref(), object, Mode::Write).await;
            created.map(|object| (Outcome::Created, Some(uid(&object))))
        }
        Step::Patch(patch) => {
            api::patch(client, kind, key, patch, Mode::Write)
                .await
                .map(|object| {
                    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
                    let same = observed
                        .live
                        .get(key)
                        .is_some_and(|live| version(live) == version(&object));
                    (
                        if same {
                            Outcome::Unchanged
                        } else {
                            Outcome::Configured
                        },
                        Some(uid(&object)),
                    )
                })
        }
        Step::Prune { uid } => api::delete(client, kind, key, uid)
            .await
            .map(|()| (Outcome::Pruned, None)),
        Step::Release(patch) => api::patch(client, kind, key, patch, Mode::Write)
            .await
            .map(|_| (Outcome::Released, None)),
    };
    #[cfg(feature = "failpoints")]
    clos_failpoints::after(place);
    (
        key,
        result.map_err(|source| ApplyError::Call {
            action: action.to_string(),
            source,
        }),
    )
}

/// What the source has applied now: the declared objects that are there, and what was applied before and is still to be pruned.
fn inventory_after(prepared: &Prepared<'_>, report: &Report, source: &str) -> Inventory {
    let Prepared {
        desired, observed, ..
    } = prepared;
    let kept = observed.inventory.0.iter().filter(|(key, uid)| {
        let gone = matches!(
            report.outcomes.get(*key),
            Some(Outcome::Pruned | Outcome::Released)
        );
        let ours = observed.live.get(*key).is_some_and(|live| {
            live["metadata"]["uid"] == json!(uid)
                && live["metadata"]["labels"][LABEL_SOURCE] == json!(source)
        });
        !gone && (ours || desired.objects.contains_key(*key))
    });
    let mut inventory: BTreeMap<ObjectKey, String> =
        kept.map(|(key, uid)| (key.clone(), uid.clone())).collect();
    inventory.extend(
        report
            .uids
            .iter()
            .map(|(key, uid)| (key.clone(), uid.clone())),
    );
    Inventory(inventory)
}

/// Reports in a source's inventory what is held back until a person confirms it.
pub(crate) async fn report_held(
    client: &Client,
    source: &str,
    held: &Removals,
) -> Result<(), ApplyError> {
    let (kind, key) = (config_map_kind(), inventory_key(source));
    let failed = |error| ApplyError::Inventory {
        key: inventory_key(source),
        source: error,
    };
    let found = api::get(client, &kind, &key).await.map_err(failed)?;
    let (reported, _) = Inventory::guard(&found.unwrap_or_default());
    if reported.as_ref() == Some(held) {
        return Ok(());
    }
    let text = serde_json::to_string(held).expect("numbers and text are always JSON");
    let patch = json!({ "data": { HELD: text } });
    let written = api::patch(client, &kind, &key, &patch, Mode::Write).await;
    written.map(drop).map_err(failed)
}

async fn write_inventory(client: &Client, source: &str, inventory: &Inventory) -> kube::Result<()> {
    let (kind, key) = (config_map_kind(), inventory_key(source));
    match api::patch(client, &kind, &key, &inventory.patch(), Mode::Write).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    let config_map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": key.name, "namespace": SYSTEM_NAMESPACE },
        "data": inventory.data(),
    });
    match api::create(
        client,
        &kind,
        key.namespace.as_deref(),
        &config_map,
        Mode::Write,
    )
    .await
    {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(error),
    }
    let namespace: Value = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM_NAMESPACE } });
    match api::create(client, &namespace_kind(), None, &namespace, Mode::Write).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(error),
    }
    api::create(
        client,
        &kind,
        key.namespace.as_deref(),
        &config_map,
        Mode::Write,
    )
    .await
    .map(drop)
}
