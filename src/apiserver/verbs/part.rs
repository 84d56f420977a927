//! The parts of an object that are written separately: what each may change, and what `metadata.generation` counts.
//! Whether the result is valid is judged in `admission`.

use serde_json::{Map, Value, json};

use crate::metadata;
use crate::registry::Kind;
use crate::status::ApiError;

/// The part of an object that a write may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    /// The status alone.
    Status,
    /// `spec.finalizers` of a namespace.
    Finalize,
}

impl Part {
    /// The part a path names, if the kind has it.
    pub(crate) fn of(kind: &Kind, subresource: Option<&str>) -> Option<Self> {
        match subresource {
            None => Some(Self::Main),
            Some("status") if kind.status => Some(Self::Status),
            Some("finalize") if kind.strategy.finalize => Some(Self::Finalize),
            Some(_) => None,
        }
    }
}

/// The old object with only the addressed part taken from the new one, and the server's own fields kept.
pub(super) fn isolate(
    kind: &Kind,
    part: Part,
    old: &Value,
    mut new: Value,
) -> Result<Value, ApiError> {
    match part {
        Part::Main => {
            for field in ["apiVersion", "kind"] {
                new[field] = old[field].clone();
            }
            if kind.status {
                replace(&mut new, "status", old.get("status"));
            }
            metadata::carry_over(&mut new, old)?;
            let server = metadata_of(&mut new);
            for field in ["resourceVersion", "managedFields"] {
                match old["metadata"].get(field) {
                    Some(value) => server.insert(field.to_owned(), value.clone()),
                    None => server.remove(field),
                };
            }
            Ok(new)
        }
        Part::Status => {
            let mut object = old.clone();
            replace(&mut object, "status", new.get("status"));
            Ok(object)
        }
        Part::Finalize => {
            let mut object = old.clone();
            object["spec"]["finalizers"] = new["spec"]["finalizers"]
                .as_array()
                .map_or_else(|| json!([]), |names| json!(names));
            Ok(object)
        }
    }
}

/// Whether anything differs that `metadata.generation` counts.
pub(super) fn declares_otherwise(kind: &Kind, new: &Value, old: &Value) -> bool {
    let declared = |object: &Value| -> Vec<(String, Value)> {
        let fields = object.as_object().into_iter().flatten();
        let counted =
            fields.filter(|(name, _)| *name != "metadata" && !(kind.status && *name == "status"));
        counted
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    declared(new) != declared(old)
}

/// The metadata of an object, made where there is none.
pub(super) fn metadata_of(object: &mut Value) -> &mut Map<String, Value> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"]
        .as_object_mut()
        .expect("it was just made an object where it was none")
}

fn replace(object: &mut Value, field: &str, value: Option<&Value>) {
    match value {
        Some(value) => object[field] = value.clone(),
        None => remove(object, field),
    }
}

/// Takes a field out of an object.
pub(super) fn remove(object: &mut Value, field: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kinds;

    #[test]
    fn each_part_changes_only_what_is_its_own() {
        let kinds = kinds().unwrap();
        let namespaces = kinds
            .iter()
            .find(|kind| kind.plural == "namespaces")
            .unwrap();
        let object = |label: &str, phase: &str, finalizer: &str| {
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": "a", "uid": "u", "resourceVersion": "1", "labels": { "l": label } },
                "spec": { "finalizers": [finalizer] },
                "status": { "phase": phase },
            })
        };
        let (old, new) = (object("old", "old", "old"), object("new", "new", "new"));
        for (part, expected) in [
            (Part::Main, object("new", "old", "new")),
            (Part::Status, object("old", "new", "old")),
            (Part::Finalize, object("old", "old", "new")),
        ] {
            assert_eq!(
                isolate(namespaces, part, &old, new.clone()).unwrap(),
                expected,
                "{part:?}"
            );
        }
        assert!(declares_otherwise(namespaces, &new, &old));
        assert!(!declares_otherwise(
            namespaces,
            &object("new", "new", "old"),
            &old
        ));
    }
}
