//! Looks at what the API holds of a set: the declared objects and those that its source applied before. Reads only.

use std::collections::BTreeSet;

use clos_resources::names::{LABEL_SOURCE, SYSTEM_NAMESPACE};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Client;
use kube::core::ApiResource;
use serde_json::Value;

use crate::api;
use crate::kinds::Kind;
use crate::set::{DesiredSet, ObjectKey};
use crate::sync::{Inventory, InventoryError, Observed};

/// Why the API could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The objects of a kind.
    #[error("cannot list the objects of kind {kind}")]
    List {
        /// The kind.
        kind: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// One object.
    #[error("cannot read {key}")]
    Get {
        /// The object.
        key: ObjectKey,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// The inventory is there and is none. Nothing is pruned by guesswork.
    #[error("{key} is damaged; delete it to start a new one, which prunes nothing of the old one")]
    Inventory {
        /// The `ConfigMap`.
        key: ObjectKey,
        /// What is wrong with it.
        #[source]
        source: InventoryError,
    },
}

/// Reads what a plan for `desired` needs to know. With a source this is one list for each kind and one read for each declared
/// object that the source has not applied yet.
pub(crate) async fn observe(
    client: &Client,
    desired: &DesiredSet,
    source: Option<&str>,
) -> Result<Observed, ObserveError> {
    let mut observed = Observed::default();
    if let Some(source) = source {
        let config_map = inventory(client, source).await?;
        (observed.held, observed.confirmed) = Inventory::guard(&config_map);
        if !config_map.is_null() {
            observed.inventory = Inventory::parse(&config_map).map_err(|error| {
                let key = inventory_key(source);
                ObserveError::Inventory { key, source: error }
            })?;
        }
        let selector = format!("{LABEL_SOURCE}={source}");
        let mut lists = Vec::new();
        for kind in kinds(desired, &observed.inventory) {
            lists.push(list(client, kind, &selector));
        }
        for (kind, objects) in api::all(lists).await? {
            observed.live.extend(
                objects
                    .into_iter()
                    .map(|object| (key_of(kind, &object), object)),
            );
        }
    }
    let mut reads = Vec::new();
    for (key, wanted) in &desired.objects {
        if !observed.live.contains_key(key) {
            reads.push(read(client, &wanted.kind, key));
        }
    }
    let found = api::all(reads).await?;
    observed.live.extend(found.into_iter().flatten());
    Ok(observed)
}

/// The kinds of the declared and the formerly applied objects. A kind that is not served any more has no objects either.
fn kinds<'a>(desired: &'a DesiredSet, inventory: &Inventory) -> Vec<&'a Kind> {
    let keys = desired.objects.keys().chain(inventory.0.keys());
    let names: BTreeSet<(&str, &str)> = keys
        .map(|key| (key.group.as_str(), key.kind.as_str()))
        .collect();
    names
        .into_iter()
        .filter_map(|(group, name)| kind(desired, group, name))
        .collect()
}

async fn list<'k>(
    client: &Client,
    kind: &'k Kind,
    selector: &str,
) -> Result<(&'k Kind, Vec<Value>), ObserveError> {
    match api::list(client, kind, selector).await {
        Ok(objects) => Ok((kind, objects)),
        Err(source) => Err(ObserveError::List {
            kind: kind.resource.kind.clone(),
            source,
        }),
    }
}

async fn read(
    client: &Client,
    kind: &Kind,
    key: &ObjectKey,
) -> Result<Option<(ObjectKey, Value)>, ObserveError> {
    match api::get(client, kind, key).await {
        Ok(found) => Ok(found.map(|object| (key.clone(), object))),
        Err(source) => Err(ObserveError::Get {
            key: key.clone(),
            source,
        }),
    }
}

/// The kind of declared objects, or of objects that were declared once.
fn kind<'a>(desired: &'a DesiredSet, group: &str, name: &str) -> Option<&'a Kind> {
    let declared = desired
        .objects
        .iter()
        .find(|(key, _)| key.group == group && key.kind == name)
        .map(|(_, wanted)| &wanted.kind);
    declared.or_else(|| desired.kinds.of_group(group, name))
}

/// Which of the namespaces do not exist.
pub(crate) async fn missing_namespaces(
    client: &Client,
    names: &BTreeSet<String>,
) -> Result<BTreeSet<String>, ObserveError> {
    let keys = names
        .iter()
        .map(|name| ObjectKey::new("", "Namespace", None, name));
    let missing = missing(client, &namespace_kind(), keys.collect()).await?;
    Ok(missing.into_iter().map(|key| key.name).collect())
}

/// Which of these objects of one kind do not exist.
pub(crate) async fn missing(
    client: &Client,
    kind: &Kind,
    mut keys: BTreeSet<ObjectKey>,
) -> Result<BTreeSet<ObjectKey>, ObserveError> {
    let found = api::all(keys.iter().map(|key| read(client, kind, key)).collect()).await?;
    for (key, _) in found.into_iter().flatten() {
        keys.remove(&key);
    }
    Ok(keys)
}

/// The `ConfigMap` of a source; null when there is none.
async fn inventory(client: &Client, source: &str) -> Result<Value, ObserveError> {
    let found = read(client, &config_map_kind(), &inventory_key(source)).await?;
    Ok(found.map(|(_, config_map)| config_map).unwrap_or_default())
}

/// The `ConfigMap` that holds a source's inventory.
pub(crate) fn inventory_key(source: &str) -> ObjectKey {
    ObjectKey::new(
        "",
        "ConfigMap",
        Some(SYSTEM_NAMESPACE),
        &Inventory::config_map(source),
    )
}

pub(crate) fn config_map_kind() -> Kind {
    Kind {
        resource: ApiResource::erase::<ConfigMap>(&()),
        namespaced: true,
    }
}

pub(crate) fn namespace_kind() -> Kind {
    Kind {
        resource: ApiResource::erase::<Namespace>(&()),
        namespaced: false,
    }
}

fn key_of(kind: &Kind, object: &Value) -> ObjectKey {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    ObjectKey::new(
        &kind.resource.group,
        &kind.resource.kind,
        metadata["namespace"].as_str(),
        name,
    )
}
