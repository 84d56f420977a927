//! What has to be done so that the API holds what is declared. Pure: what is declared, what was applied and what is there go in,
//! actions come out. Carrying them out is `apply`.

mod action;
mod fields;
mod inventory;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use clos_resources::names::LABEL_SOURCE;
use clos_resources::removals::{Removals, too_many};
use serde_json::{Value, json};

pub use action::{Cause, Step, SyncAction};
pub use fields::ANNOTATION_APPLIED_FIELDS;
pub use inventory::{HELD, Inventory, InventoryError};

use crate::kinds::holds_others;
use crate::manifest::{Declared, Mistake, Mistakes};
use crate::set::{DesiredSet, ObjectKey};
use fields::{Fields, annotation, difference};

/// How a set is synchronised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncOptions {
    /// The source's name: its objects carry it, and only they can be pruned. Without one, objects are applied and nothing more.
    pub source: Option<String>,
    /// Whether what the source applied and declares no more is deleted.
    pub prune: bool,
}

/// What the API holds, as far as a set is concerned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// The declared and the formerly applied objects that exist.
    pub live: BTreeMap<ObjectKey, Value>,
    /// What the source applied, by its own record.
    pub inventory: Inventory,
    /// The token of the removals that a person has confirmed.
    pub confirmed: Option<String>,
    /// The removals that are reported as held back.
    pub held: Option<Removals>,
}

/// What has to be done, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SyncPlan {
    /// The steps: first what is created and changed, by rank, then what goes, in the reverse order.
    pub actions: Vec<SyncAction>,
    /// Declared objects that are as declared, with their UIDs.
    pub unchanged: BTreeMap<ObjectKey, String>,
    /// Declared objects that are on their way out; they are made anew when they are gone.
    pub leaving: Vec<ObjectKey>,
    /// Declared objects that belong to another source. While there are any, nothing is applied.
    pub conflicts: Vec<Mistake>,
}

/// Why a set is not synchronised although each object could be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Something is wrong with the declarations.
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    /// Nothing is declared any more. An empty folder is more often a mistake than a wish, however little it declared.
    #[error(
        "nothing is declared any more, and {} objects were; nothing was changed. If they shall all go: clos confirm", .0.of
    )]
    Empty(Removals),
    /// Too much would go at once.
    #[error(
        "{} of {} objects are no longer declared, more than a quarter; nothing was changed. If they shall go: clos confirm", .0.count, .0.of
    )]
    Many(Removals),
}

/// Plans how the API comes to hold what is declared. A second plan after the first was carried out is empty. Of a set with
/// mistakes nothing is planned to go: what is missing in it may only be unreadable.
pub fn plan_sync(
    desired: &DesiredSet,
    observed: &Observed,
    options: &SyncOptions,
) -> Result<SyncPlan, Refusal> {
    let mut plan = SyncPlan::default();
    for (key, wanted) in &desired.objects {
        let Some(live) = observed.live.get(key) else {
            let object = marked(&wanted.declared.value, options.source.as_deref());
            plan.actions.push(SyncAction {
                key: key.clone(),
                step: Step::Create(object),
                cause: Cause::New,
            });
            continue;
        };
        if let Some(mistake) = owned_by_another(&wanted.declared, live, options.source.as_deref()) {
            plan.conflicts.push(mistake);
        } else if !live["metadata"]["deletionTimestamp"].is_null() {
            plan.leaving.push(key.clone());
        } else {
            match change(&wanted.declared.value, live, options.source.as_deref()) {
                Some((patch, cause)) => plan.actions.push(SyncAction {
                    key: key.clone(),
                    step: Step::Patch(patch),
                    cause,
                }),
                None => drop(plan.unchanged.insert(key.clone(), uid(live))),
            }
        }
    }
    let whole = desired.mistakes.is_empty() && plan.conflicts.is_empty();
    if let (Some(source), true) = (&options.source, options.prune && whole) {
        plan.actions.extend(prune(desired, observed, source)?);
    }
    Ok(plan)
}

/// The steps that take away what the source applied and does not declare any more.
fn prune(
    desired: &DesiredSet,
    observed: &Observed,
    source: &str,
) -> Result<Vec<SyncAction>, Refusal> {
    let applied = observed.inventory.0.len();
    let removals = |going: &mut dyn Iterator<Item = (&ObjectKey, &String)>| {
        let going = going.map(|(key, uid)| (format!("{key} {uid}"), key.to_string()));
        Removals::new(&going.collect(), applied, true)
    };
    let confirmed = |held: &Removals| observed.confirmed.as_ref() == Some(&held.token);
    if desired.objects.is_empty() && applied > 0 {
        let held = removals(&mut observed.inventory.0.iter());
        if !confirmed(&held) {
            return Err(Refusal::Empty(held));
        }
    }
    let undeclared = observed
        .inventory
        .0
        .iter()
        .rev()
        .filter(|(key, _)| !desired.objects.contains_key(*key));
    let actions: Vec<SyncAction> = undeclared
        .filter_map(|(key, uid)| {
            let live = observed.live.get(key)?;
            let ours = live["metadata"]["uid"] == json!(uid)
                && live["metadata"]["labels"][LABEL_SOURCE] == json!(source);
            let stays = live["metadata"]["deletionTimestamp"].is_null();
            (ours && stays).then(|| {
                if holds_others(&key.group, &key.kind) {
                    SyncAction {
                        key: key.clone(),
                        step: Step::Release(unmarked()),
                        cause: Cause::HoldsOthers,
                    }
                } else {
                    SyncAction {
                        key: key.clone(),
                        step: Step::Prune { uid: uid.clone() },
                        cause: Cause::NotDeclared,
                    }
                }
            })
        })
        .collect();
    let pruned: Vec<(&ObjectKey, &String)> = actions
        .iter()
        .filter_map(|action| match &action.step {
            Step::Prune { uid } => Some((&action.key, uid)),
            Step::Create(_) | Step::Patch(_) | Step::Release(_) => None,
        })
        .collect();
    // An empty set that was confirmed says clearly enough that everything shall go.
    if too_many(pruned.len(), applied) && !desired.objects.is_empty() {
        let held = removals(&mut pruned.into_iter());
        if !confirmed(&held) {
            return Err(Refusal::Many(held));
        }
    }
    Ok(actions)
}

/// The merge patch from what is there to what is declared, if there is anything to change.
fn change(declared: &Value, live: &Value, source: Option<&str>) -> Option<(Value, Cause)> {
    let applied = Fields::applied_to(live);
    let found = difference(&applied, declared, live);
    let metadata = &live["metadata"];
    let remembered = &metadata["annotations"][ANNOTATION_APPLIED_FIELDS];
    let owner = metadata["labels"][LABEL_SOURCE].as_str();
    let mut patch = Value::Object(found.patch);
    if applied != Fields::of(declared) {
        patch["metadata"]["annotations"][ANNOTATION_APPLIED_FIELDS] = annotation(declared);
    }
    if let Some(source) = source.filter(|source| owner != Some(source)) {
        patch["metadata"]["labels"][LABEL_SOURCE] = json!(source);
    }
    let anything = patch.as_object().is_some_and(|patch| !patch.is_empty());
    let taken_over = remembered.is_null() && owner.is_none();
    anything.then_some((
        patch,
        Cause::Differs {
            changed: found.changed,
            removed: found.removed,
            taken_over,
        },
    ))
}

/// An object of one source is not changed by another, nor by somebody who is none.
fn owned_by_another(declared: &Declared, live: &Value, source: Option<&str>) -> Option<Mistake> {
    let owner = live["metadata"]["labels"][LABEL_SOURCE]
        .as_str()
        .filter(|owner| Some(*owner) != source)?;
    Some(declared.mistake("", format!("is applied by the source \"{owner}\" already; change it there, or take it out there first")))
}

/// The object as it is created: with the source's name and the record of what was declared.
fn marked(declared: &Value, source: Option<&str>) -> Value {
    let mut object = declared.clone();
    object["metadata"]["annotations"][ANNOTATION_APPLIED_FIELDS] = annotation(declared);
    if let Some(source) = source {
        object["metadata"]["labels"][LABEL_SOURCE] = json!(source);
    }
    object
}

/// The merge patch that takes the marks off.
fn unmarked() -> Value {
    json!({ "metadata": { "labels": { LABEL_SOURCE: null }, "annotations": { ANNOTATION_APPLIED_FIELDS: null } } })
}

/// The UID of an object.
pub(crate) fn uid(object: &Value) -> String {
    object["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
