//! Which fields a source declared, without their values, and the merge patch from what is there to what is declared. Fields that
//! were never declared belong to others and are left alone. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Annotation with the fields that were declared when the object was last applied. It holds names only: values may be secret.
pub const ANNOTATION_APPLIED_FIELDS: &str = "clos.dev/applied-fields";

/// The fields of one value. A list is replaced as a whole; its items are remembered so that a field that was taken out of an
/// item is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Fields {
    /// The fields of a mapping; a scalar has none.
    Map(BTreeMap<String, Self>),
    /// The items of a list.
    List(Vec<Self>),
    /// Nothing is known.
    #[default]
    Unknown,
}

impl Fields {
    /// The fields of a value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Object(fields) => Self::Map(
                fields
                    .iter()
                    .map(|(name, field)| (name.clone(), Self::of(field)))
                    .collect(),
            ),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                Self::Map(BTreeMap::new())
            }
        }
    }

    /// What an object says was declared when it was last applied; unknown when it says nothing that can be read.
    pub(crate) fn applied_to(live: &Value) -> Self {
        live["metadata"]["annotations"][ANNOTATION_APPLIED_FIELDS]
            .as_str()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    fn get(&self, name: &str) -> &Self {
        const UNKNOWN: &Fields = &Fields::Unknown;
        match self {
            Self::Map(fields) => fields.get(name).unwrap_or(UNKNOWN),
            Self::List(_) | Self::Unknown => UNKNOWN,
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let fields = match self {
            Self::Map(fields) => Some(fields),
            Self::List(_) | Self::Unknown => None,
        };
        fields
            .into_iter()
            .flat_map(BTreeMap::keys)
            .map(String::as_str)
    }
}

/// What has to change in an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Difference {
    /// A merge patch; an empty mapping when nothing has to change.
    pub(crate) patch: Map<String, Value>,
    /// Declared fields with another value or none.
    pub(crate) changed: Vec<String>,
    /// Fields that were declared and are not any more.
    pub(crate) removed: Vec<String>,
}

/// Compares what is declared with what is there, knowing which fields were declared before.
pub(crate) fn difference(applied: &Fields, declared: &Value, live: &Value) -> Difference {
    let mut found = Difference::default();
    if let Value::Object(declared) = declared {
        found.patch = found.compare(applied, declared, live, "");
    }
    found
}

impl Difference {
    /// The merge patch for one mapping, which lies at `place`.
    fn compare(
        &mut self,
        applied: &Fields,
        declared: &Map<String, Value>,
        live: &Value,
        place: &str,
    ) -> Map<String, Value> {
        let mut patch = Map::new();
        for (name, wanted) in declared {
            let here = join(place, name);
            let actual = live.get(name).unwrap_or(&Value::Null);
            let before = applied.get(name);
            if let (Value::Object(wanted), Value::Object(_)) = (wanted, actual) {
                let inner = self.compare(before, wanted, actual, &here);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            } else if !covers(wanted, actual) || lost_a_field(before, wanted) {
                patch.insert(name.clone(), wanted.clone());
                self.changed.push(here);
            }
        }
        for name in applied.names().filter(|name| !declared.contains_key(*name)) {
            let here = join(place, name);
            let Some(actual) = live.get(name).filter(|actual| !actual.is_null()) else {
                continue;
            };
            // Labels and annotations are everybody's: one that stops declaring any takes only its own away.
            if place == "metadata" && matches!(name, "labels" | "annotations") {
                let inner = self.compare(applied.get(name), &Map::new(), actual, &here);
                if !inner.is_empty() {
                    patch.insert(name.to_owned(), Value::Object(inner));
                }
            } else {
                patch.insert(name.to_owned(), Value::Null);
                self.removed.push(here);
            }
        }
        patch
    }
}

/// Whether everything declared is there; what is there besides does not matter.
fn covers(declared: &Value, live: &Value) -> bool {
    match (declared, live) {
        (Value::Object(declared), Value::Object(live)) => declared
            .iter()
            .all(|(name, wanted)| covers(wanted, live.get(name).unwrap_or(&Value::Null))),
        (Value::Array(declared), Value::Array(live)) => {
            declared.len() == live.len()
                && declared
                    .iter()
                    .zip(live)
                    .all(|(wanted, actual)| covers(wanted, actual))
        }
        // 2 and 2.0 are one number.
        (Value::Number(declared), Value::Number(live)) => {
            declared == live || declared.as_f64() == live.as_f64()
        }
        (declared, live) => declared == live,
    }
}

/// Whether an item of a list had a field declared that it has not any more. The list is as long as before, or it would not
/// cover what is there; one that grew or shrank is replaced anyway.
fn lost_a_field(applied: &Fields, declared: &Value) -> bool {
    match (applied, declared) {
        (Fields::Map(fields), Value::Object(declared)) => fields.iter().any(|(name, field)| {
            declared
                .get(name)
                .is_none_or(|declared| lost_a_field(field, declared))
        }),
        (Fields::List(items), Value::Array(declared)) => {
            items.len() == declared.len()
                && items
                    .iter()
                    .zip(declared)
                    .any(|(item, declared)| lost_a_field(item, declared))
        }
        (Fields::Map(fields), _) => !fields.is_empty(),
        (Fields::List(_) | Fields::Unknown, _) => false,
    }
}

/// The value of the annotation for what is declared.
pub(crate) fn annotation(declared: &Value) -> Value {
    let fields = serde_json::to_string(&Fields::of(declared)).expect("names are always JSON");
    json!(fields)
}

fn join(place: &str, name: &str) -> String {
    if place.is_empty() {
        name.to_owned()
    } else {
        format!("{place}.{name}")
    }
}
