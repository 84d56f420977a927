//! Deletion, decided from values: what a delete does to an object with finalizers, and when the last of them lets it
//! go. Not here: carrying it out, and the garbage collection of dependents, which is a controller's work.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::registry::Kind;
use crate::status::ApiError;

/// The finalizer by which dependents are removed before their owner.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer by which dependents lose their owner.
const ORPHAN: &str = "orphan";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They are removed afterwards.
    Background,
    /// They are removed first.
    Foreground,
    /// They stay.
    Orphan,
}

/// The options of a delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    /// The object must have this UID.
    pub(crate) uid: Option<String>,
    /// The object must be at this resource version.
    pub(crate) resource_version: Option<String>,
    /// What becomes of dependents; absent leaves the object's own finalizers to decide.
    pub(crate) propagation: Option<Propagation>,
    /// Whether nothing is really removed.
    pub(crate) dry_run: bool,
}

/// What a delete does to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// Nothing holds it.
    Remove,
    /// Finalizers hold it: it becomes this.
    Mark(Value),
    /// It is being deleted already.
    Pending,
}

/// 403 when the object of this name is never deleted.
pub(crate) fn refuse_permanent(kind: &Kind, name: &str) -> Result<(), ApiError> {
    if !kind.strategy.permanent.contains(&name) {
        return Ok(());
    }
    let why = format!("this {} may not be deleted", kind.singular);
    Err(ApiError::forbidden(&kind.group, &kind.plural, name, &why))
}

/// What deleting `object` at `now` does; 403 when it is never deleted, 409 when a precondition does not hold.
pub(crate) fn mark(
    kind: &Kind,
    object: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Deletion, ApiError> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    refuse_permanent(kind, name)?;
    for (what, wanted, field) in [
        ("UID", &options.uid, "uid"),
        (
            "ResourceVersion",
            &options.resource_version,
            "resourceVersion",
        ),
    ] {
        let actual = metadata[field].as_str().unwrap_or_default();
        if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != actual) {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {actual}"
            );
            return Err(ApiError::conflict(&kind.group, &kind.plural, name, &why));
        }
    }
    let before: Vec<&str> = metadata["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let wanted = match options.propagation {
        None => None,
        Some(Propagation::Background) => Some(None),
        Some(Propagation::Foreground) => Some(Some(FOREGROUND)),
        Some(Propagation::Orphan) => Some(Some(ORPHAN)),
    };
    let mut finalizers = before.clone();
    if let Some(wanted) = wanted {
        finalizers.retain(|name| !matches!(*name, FOREGROUND | ORPHAN) || Some(*name) == wanted);
        if let Some(wanted) = wanted.filter(|wanted| !finalizers.contains(wanted)) {
            finalizers.push(wanted);
        }
    }
    let terminating = metadata.get("deletionTimestamp").is_some();
    if finalizers.is_empty() && !held(kind, object) {
        return Ok(Deletion::Remove);
    }
    if terminating && finalizers == before {
        return Ok(Deletion::Pending);
    }
    let mut marked = object.clone();
    if !finalizers.is_empty() || !before.is_empty() {
        marked["metadata"]["finalizers"] = json!(finalizers);
    }
    if !terminating {
        marked["metadata"]["deletionTimestamp"] = json!(seconds(now));
        marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        if let Some(generation) = metadata["generation"].as_i64() {
            marked["metadata"]["generation"] = json!(generation + 1);
        }
        if kind.strategy.finalize {
            marked["status"]["phase"] = json!("Terminating");
        }
    }
    Ok(Deletion::Mark(marked))
}

/// Whether an object that is being deleted has lost its last finalizer with a change, and goes.
pub(crate) fn release(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata.get("deletionTimestamp").is_some()
        && metadata["finalizers"].as_array().is_none_or(Vec::is_empty)
        && !held(kind, object)
}

/// A moment as objects write it: whole seconds.
pub(crate) fn seconds(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Whether `spec.finalizers` keeps a namespace.
fn held(kind: &Kind, object: &Value) -> bool {
    kind.strategy.finalize
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::kinds;

    fn kind(plural: &str) -> Kind {
        kinds()
            .unwrap()
            .into_iter()
            .find(|kind| kind.plural == plural)
            .unwrap()
    }

    fn noon() -> Timestamp {
        "2026-01-01T12:00:00.9Z".parse().unwrap()
    }

    fn propagate(propagation: Propagation) -> DeleteOptions {
        DeleteOptions {
            propagation: Some(propagation),
            ..DeleteOptions::default()
        }
    }

    #[test]
    fn a_delete_says_by_finalizers_what_becomes_of_dependents() {
        let maps = kind("configmaps");
        for (before, options, after) in [
            (
                json!([]),
                propagate(Propagation::Foreground),
                Some(json!(["foregroundDeletion"])),
            ),
            (
                json!(["a/b"]),
                propagate(Propagation::Orphan),
                Some(json!(["a/b", "orphan"])),
            ),
            (
                json!(["orphan", "a/b"]),
                propagate(Propagation::Foreground),
                Some(json!(["a/b", "foregroundDeletion"])),
            ),
            (json!(["orphan"]), propagate(Propagation::Background), None),
            (
                json!(["orphan"]),
                DeleteOptions::default(),
                Some(json!(["orphan"])),
            ),
            (json!([]), DeleteOptions::default(), None),
        ] {
            let object = json!({ "metadata": { "name": "a", "finalizers": before } });
            let deletion = mark(&maps, &object, &options, noon()).unwrap();
            let finalizers = match &deletion {
                Deletion::Mark(object) => Some(object["metadata"]["finalizers"].clone()),
                Deletion::Remove | Deletion::Pending => None,
            };
            assert_eq!(finalizers, after, "{before} {options:?}");
        }
    }

    #[test]
    fn a_precondition_that_does_not_hold_is_a_conflict() {
        let maps = kind("configmaps");
        let object = json!({ "metadata": { "name": "a", "uid": "1", "resourceVersion": "7" } });
        for (uid, version, allowed) in [
            (Some("1"), Some("7"), true),
            (Some("2"), None, false),
            (None, Some("6"), false),
        ] {
            let options = DeleteOptions {
                uid: uid.map(ToOwned::to_owned),
                resource_version: version.map(ToOwned::to_owned),
                ..DeleteOptions::default()
            };
            assert_eq!(
                mark(&maps, &object, &options, noon()).is_ok(),
                allowed,
                "{options:?}"
            );
        }
    }

    #[test]
    fn a_namespace_is_held_by_its_own_finalizers() {
        let namespaces = kind("namespaces");
        let object =
            json!({ "metadata": { "name": "a" }, "spec": { "finalizers": ["kubernetes"] } });
        let Deletion::Mark(mut marked) =
            mark(&namespaces, &object, &DeleteOptions::default(), noon()).unwrap()
        else {
            panic!("it is held");
        };
        assert_eq!(marked["status"]["phase"], "Terminating");
        assert_eq!(
            marked["metadata"]["deletionTimestamp"],
            "2026-01-01T12:00:00Z"
        );
        assert!(!release(&namespaces, &marked));
        assert_eq!(
            mark(&namespaces, &marked, &DeleteOptions::default(), noon()).unwrap(),
            Deletion::Pending
        );
        marked["spec"]["finalizers"] = json!([]);
        assert!(release(&namespaces, &marked));
    }

    proptest! {
        #[test]
        fn deleting_twice_is_deleting_once(finalizers in prop::collection::vec("[a-c]/[a-c]|orphan|foregroundDeletion", 0..4), choice in 0..4) {
            let maps = kind("configmaps");
            let propagation = match choice {
                0 => None,
                1 => Some(Propagation::Background),
                2 => Some(Propagation::Foreground),
                _ => Some(Propagation::Orphan),
            };
            let options = DeleteOptions { propagation, ..DeleteOptions::default() };
            let object = json!({ "metadata": { "name": "a", "generation": 1, "finalizers": finalizers } });
            if let Deletion::Mark(marked) = mark(&maps, &object, &options, noon()).unwrap() {
                prop_assert!(!release(&maps, &marked), "what is marked is held");
                prop_assert_eq!(mark(&maps, &marked, &options, noon()).unwrap(), Deletion::Pending);
            }
        }
    }
}
