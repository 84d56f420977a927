//! Strategic merge patches for Kubernetes' own types. The kinds served here hold few lists that merge; they are the
//! table below, and every other list is one value.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::status::{ApiError, quoted};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// How the items of a merging list are told apart.
#[derive(Clone, Copy)]
enum Identity {
    /// By the item itself.
    Itself,
    /// By this field of it.
    Field(&'static str),
}

/// The lists that merge, by their place in the object.
const MERGING: [(&[&str], Identity); 3] = [
    (&["metadata", "finalizers"], Identity::Itself),
    (&["metadata", "ownerReferences"], Identity::Field("uid")),
    (&["status", "conditions"], Identity::Field("type")),
];

/// What `$patch` asks for.
enum Directive {
    Merge,
    Replace,
    Delete,
}

pub(super) fn apply(current: &Value, patch: Value) -> Result<Value, ApiError> {
    let (Value::Object(mut fields), Value::Object(patch)) = (current.clone(), patch) else {
        return Err(ApiError::bad_request("the patch must be a JSON object"));
    };
    merge_object(&mut fields, patch, &mut Vec::new())?;
    Ok(Value::Object(fields))
}

fn merge_object(
    fields: &mut Map<String, Value>,
    mut patch: Map<String, Value>,
    place: &mut Vec<String>,
) -> Result<(), ApiError> {
    match directive(&mut patch)? {
        Directive::Merge => {}
        Directive::Delete => {
            fields.clear();
            return Ok(());
        }
        Directive::Replace => fields.clear(),
    }
    if let Some(keep) = patch.remove(RETAIN_KEYS) {
        retain(fields, &patch, &keep)?;
    }
    let mut removals = take_prefixed(&mut patch, DELETE_FROM)?;
    let mut orders = take_prefixed(&mut patch, ELEMENT_ORDER)?;
    for (name, value) in patch {
        place.push(name);
        let name = place.last().map(String::as_str).unwrap_or_default();
        match (value, identity(place)) {
            (Value::Null, _) => {
                fields.remove(name);
            }
            (Value::Object(change), _) => {
                let mut merged = match fields.remove(name) {
                    Some(Value::Object(present)) => present,
                    _ => Map::new(),
                };
                let name = name.to_owned();
                merge_object(&mut merged, change, place)?;
                fields.insert(name, Value::Object(merged));
            }
            (Value::Array(items), Some(identity)) => {
                let mut list = take_list(fields, name);
                let name = name.to_owned();
                remove_listed(&mut list, removals.remove(&name));
                let named = merge_list(&mut list, items, identity, place)?;
                reorder(&mut list, orders.remove(&name), &named, identity);
                fields.insert(name, Value::Array(list));
            }
            (value, _) => {
                fields.insert(name.to_owned(), value);
            }
        }
        place.pop();
    }
    // Lists that only lose items or change their order have no entry of their own.
    for (name, listed) in removals {
        let mut list = take_list(fields, &name);
        remove_listed(&mut list, Some(listed));
        if !list.is_empty() {
            fields.insert(name, Value::Array(list));
        }
    }
    for (name, order) in orders {
        place.push(name.clone());
        if let (Some(identity), Some(Value::Array(list))) = (identity(place), fields.get_mut(&name))
        {
            reorder(list, Some(order), &[], identity);
        }
        place.pop();
    }
    Ok(())
}

/// Lays the changes over the list; returns the identities of the items they named.
fn merge_list(
    list: &mut Vec<Value>,
    changes: Vec<Value>,
    identity: Identity,
    place: &mut Vec<String>,
) -> Result<Vec<Value>, ApiError> {
    let mut named = Vec::new();
    let replaces = changes
        .iter()
        .any(|change| change.get(PATCH).is_some_and(|word| word == "replace"));
    if replaces {
        list.clear();
    }
    for change in changes {
        let Value::Object(mut change) = change else {
            if let (Identity::Field(key), _) = (identity, &change) {
                return Err(ApiError::bad_request(format!(
                    "items of {} must be objects with the field {}",
                    place.join("."),
                    quoted(key)
                )));
            }
            if !list.contains(&change) {
                list.push(change.clone());
            }
            named.push(change);
            continue;
        };
        match directive(&mut change)? {
            // The marker of a replaced list is an item of its own.
            Directive::Replace => {}
            Directive::Delete => {
                let wanted = item_identity(&Value::Object(change), identity, place)?;
                list.retain(|item| identity_of(item, identity) != Some(&wanted));
            }
            Directive::Merge => {
                let wanted = item_identity(&Value::Object(change.clone()), identity, place)?;
                let position = list
                    .iter()
                    .position(|item| identity_of(item, identity) == Some(&wanted));
                let mut merged = match position.map(|position| list[position].take()) {
                    Some(Value::Object(present)) => present,
                    _ => Map::new(),
                };
                merge_object(&mut merged, change, place)?;
                match position {
                    Some(position) => list[position] = Value::Object(merged),
                    None => list.push(Value::Object(merged)),
                }
                named.push(wanted);
            }
        }
    }
    Ok(named)
}

/// Puts the items the client ordered in that order; the others keep their places between them.
fn reorder(list: &mut [Value], order: Option<Vec<Value>>, named: &[Value], identity: Identity) {
    let Some(order) = order else {
        return;
    };
    let wanted: Vec<Value> = order
        .iter()
        .filter_map(|item| identity_of(item, identity).or(Some(item)).cloned())
        .collect();
    let rank = |item: &Value| {
        let own = identity_of(item, identity)?;
        wanted.iter().position(|wanted| wanted == own)
    };
    let ordered = |item: &Value| {
        rank(item).is_some() || identity_of(item, identity).is_some_and(|own| named.contains(own))
    };
    let places: Vec<usize> = (0..list.len())
        .filter(|index| ordered(&list[*index]))
        .collect();
    let mut items: Vec<Value> = places.iter().map(|index| list[*index].clone()).collect();
    items.sort_by_key(|item| rank(item).unwrap_or(usize::MAX));
    for (place, item) in places.into_iter().zip(items) {
        list[place] = item;
    }
}

/// `$retainKeys` drops what the list does not name; a patch must not set what it drops.
fn retain(
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    keep: &Value,
) -> Result<(), ApiError> {
    let Value::Array(keep) = keep else {
        return Err(ApiError::bad_request(
            "$retainKeys must be a list of field names",
        ));
    };
    let kept = |name: &str| keep.iter().any(|key| key == name);
    if let Some(name) = patch
        .keys()
        .find(|name| !name.starts_with('$') && !kept(name))
    {
        return Err(ApiError::bad_request(format!(
            "the patch sets {} but $retainKeys does not list it",
            quoted(name)
        )));
    }
    fields.retain(|name, _| kept(name));
    Ok(())
}

fn directive(patch: &mut Map<String, Value>) -> Result<Directive, ApiError> {
    match patch.remove(PATCH) {
        None => Ok(Directive::Merge),
        Some(Value::String(word)) => match word.as_str() {
            "merge" => Ok(Directive::Merge),
            "replace" => Ok(Directive::Replace),
            "delete" => Ok(Directive::Delete),
            other => Err(ApiError::bad_request(format!(
                "unknown $patch directive {}; it is one of merge, replace, delete",
                quoted(other)
            ))),
        },
        Some(_) => Err(ApiError::bad_request(
            "$patch must be one of merge, replace, delete",
        )),
    }
}

fn take_prefixed(
    patch: &mut Map<String, Value>,
    prefix: &str,
) -> Result<BTreeMap<String, Vec<Value>>, ApiError> {
    let names: Vec<String> = patch
        .keys()
        .filter(|name| name.starts_with(prefix))
        .cloned()
        .collect();
    let taken = names.into_iter().map(|name| match patch.remove(&name) {
        Some(Value::Array(list)) => Ok((name[prefix.len()..].to_owned(), list)),
        _ => Err(ApiError::bad_request(format!("{name} must be a list"))),
    });
    taken.collect()
}

fn take_list(fields: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match fields.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn remove_listed(list: &mut Vec<Value>, listed: Option<Vec<Value>>) {
    if let Some(listed) = listed {
        list.retain(|item| !listed.contains(item));
    }
}

fn identity(place: &[String]) -> Option<Identity> {
    let found = MERGING
        .iter()
        .find(|(path, _)| path.len() == place.len() && path.iter().zip(place).all(|(a, b)| a == b));
    found.map(|(_, identity)| *identity)
}

fn identity_of(item: &Value, identity: Identity) -> Option<&Value> {
    match identity {
        Identity::Itself => Some(item),
        Identity::Field(key) => item.get(key),
    }
}

fn item_identity(item: &Value, identity: Identity, place: &[String]) -> Result<Value, ApiError> {
    identity_of(item, identity).cloned().ok_or_else(|| {
        let key = match identity {
            Identity::Itself => "",
            Identity::Field(key) => key,
        };
        ApiError::bad_request(format!(
            "an item of {} lacks the field {} that tells items apart",
            place.join("."),
            quoted(key)
        ))
    })
}
