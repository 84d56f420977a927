//! What a source has applied: every object with its UID, kept in a `ConfigMap`. Only what is in here can be pruned, because labels
//! are copied too easily.

use std::collections::BTreeMap;

use clos_resources::names::ANNOTATION_CONFIRMED_REMOVALS;
use clos_resources::removals::Removals;
use serde_json::{Value, json};

use crate::set::ObjectKey;

/// The entry of the `ConfigMap`'s data.
const ENTRY: &str = "objects";
/// The entry that reports removals that are held back, as JSON.
pub const HELD: &str = "held";

/// The objects that a source applied, with their UIDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(pub BTreeMap<ObjectKey, String>);

/// A `ConfigMap` that holds no inventory. It must not be taken for an empty one.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The entry is missing.
    #[error("the inventory has no entry \"{ENTRY}\"")]
    Missing,
    /// The entry is no JSON of the right shape.
    #[error("the inventory cannot be read")]
    Json(#[source] serde_json::Error),
    /// A line names no object.
    #[error("the inventory names the object \"{0}\", which is no group/kind/namespace/name")]
    Key(String),
}

impl Inventory {
    /// The name of a source's `ConfigMap`.
    pub fn config_map(source: &str) -> String {
        format!("source-{source}")
    }

    /// Reads a `ConfigMap`.
    pub fn parse(config_map: &Value) -> Result<Self, InventoryError> {
        let text = config_map["data"][ENTRY]
            .as_str()
            .ok_or(InventoryError::Missing)?;
        let entries: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(InventoryError::Json)?;
        entries
            .into_iter()
            .map(|(text, uid)| {
                let key = key(&text).ok_or(InventoryError::Key(text))?;
                Ok((key, uid))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What a `ConfigMap` reports as held back, and the token that a person has confirmed.
    pub fn guard(config_map: &Value) -> (Option<Removals>, Option<String>) {
        let held = config_map["data"][HELD].as_str();
        let annotations = &config_map["metadata"]["annotations"];
        (
            held.and_then(|text| serde_json::from_str(text).ok()),
            annotations[ANNOTATION_CONFIRMED_REMOVALS]
                .as_str()
                .map(str::to_owned),
        )
    }

    /// The merge patch that writes this inventory. What was held back or confirmed before is over with it.
    pub fn patch(&self) -> Value {
        let mut data = self.data();
        data[HELD] = Value::Null;
        json!({ "metadata": { "annotations": { ANNOTATION_CONFIRMED_REMOVALS: null } }, "data": data })
    }

    /// The `data` of the `ConfigMap`.
    pub fn data(&self) -> Value {
        let entries: BTreeMap<String, &String> =
            self.0.iter().map(|(key, uid)| (text(key), uid)).collect();
        json!({ ENTRY: serde_json::to_string(&entries).expect("text is always JSON") })
    }
}

/// `clos.dev/Service/default/web`, `/Namespace//shop`.
fn text(key: &ObjectKey) -> String {
    format!(
        "{}/{}/{}/{}",
        key.group,
        key.kind,
        key.namespace.as_deref().unwrap_or_default(),
        key.name
    )
}

fn key(text: &str) -> Option<ObjectKey> {
    let mut parts = text.splitn(4, '/');
    let (group, kind, namespace, name) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if kind.is_empty() || name.is_empty() {
        return None;
    }
    Some(ObjectKey::new(
        group,
        kind,
        (!namespace.is_empty()).then_some(namespace),
        name,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_survives_being_written_and_read() {
        let inventory = Inventory(BTreeMap::from([
            (
                ObjectKey::new("", "Namespace", None, "shop"),
                "u1".to_owned(),
            ),
            (
                ObjectKey::new("clos.dev", "Service", Some("shop"), "web"),
                "u2".to_owned(),
            ),
        ]));
        let config_map = json!({ "data": inventory.data() });
        assert_eq!(Inventory::parse(&config_map).unwrap(), inventory);
    }

    #[test]
    fn i8_a_broken_inventory_is_not_an_empty_one() {
        for config_map in [
            json!({}),
            json!({"data": {"objects": "{"}}),
            json!({"data": {"objects": "{\"web\":\"u\"}"}}),
        ] {
            assert!(Inventory::parse(&config_map).is_err(), "{config_map}");
        }
    }
}
