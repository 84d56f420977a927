//! Uniqueness of list items: sets by value, maps by their keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::node::ListType;
use crate::status::{Cause, FieldPath};

/// Appends a cause for each value or key combination that stands in the list more than once; the second place is
/// blamed. Linear in the list, apart from the sorting of keys.
pub(super) fn check_unique(
    list: &[Value],
    list_type: &ListType,
    path: &FieldPath<'_>,
    causes: &mut Vec<Cause>,
) {
    match list_type {
        ListType::Atomic => {}
        ListType::Set => duplicates(list.iter().cloned(), list.len(), path, causes),
        ListType::Map(keys) => {
            let stray = list
                .iter()
                .position(|item| !item.is_object() && !item.is_null());
            if let Some(index) = stray {
                let detail = "must be an object for an array of list-type map";
                causes.push(Cause::invalid(path.index(index), &list[index], detail));
                return;
            }
            duplicates(
                list.iter().map(|item| key_of(item, keys)),
                list.len(),
                path,
                causes,
            );
        }
    }
}

/// The key fields of an item; absent ones stay absent.
pub(super) fn key_of(item: &Value, keys: &[String]) -> Value {
    let present = keys
        .iter()
        .filter_map(|key| item.get(key).map(|value| (key.clone(), value.clone())));
    Value::Object(present.collect::<Map<_, _>>())
}

fn duplicates(
    identities: impl Iterator<Item = Value>,
    length: usize,
    path: &FieldPath<'_>,
    causes: &mut Vec<Cause>,
) {
    if length < 2 {
        return;
    }
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (index, identity) in identities.enumerate() {
        let times = seen.entry(identity.to_string()).or_insert(0);
        *times += 1;
        // The third and later ones add nothing the second has not said.
        if *times == 2 {
            causes.push(Cause::duplicate(path.index(index), &identity));
        }
    }
}
