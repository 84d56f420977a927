//! The kinds that are built in, one file each: a definition document as a custom resource has it, and the hooks in
//! which Kubernetes treats the kind differently. A new kind is one file and one line here.

mod config_map;
mod custom_resource_definition;
mod event;
mod lease;
mod namespace;
mod secret;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use crate::registry::{Kind, KindError, Strategy};

pub(crate) use custom_resource_definition::established;

/// Every built-in kind.
pub(crate) fn kinds() -> Result<Vec<Kind>, KindError> {
    [
        (namespace::definition(), namespace::STRATEGY),
        (config_map::definition(), config_map::STRATEGY),
        (secret::definition(), secret::STRATEGY),
        (event::core_definition(), event::CORE),
        (event::events_definition(), event::EVENTS),
        (lease::definition(), lease::STRATEGY),
        (
            custom_resource_definition::definition(),
            custom_resource_definition::STRATEGY,
        ),
    ]
    .into_iter()
    .map(|(document, strategy)| built_in(document, strategy))
    .collect()
}

fn built_in(document: Value, strategy: Strategy) -> Result<Kind, KindError> {
    let definition: CustomResourceDefinition =
        serde_json::from_value(document).map_err(KindError::BuiltIn)?;
    Kind::from_definition(&definition, strategy)
}

/// What differs between the definition documents of two kinds.
struct Outline {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    scope: &'static str,
    /// The properties beside `apiVersion`, `kind` and `metadata`.
    properties: Value,
    selectable: &'static [&'static str],
    status: bool,
}

/// The definition document of a built-in kind.
fn definition(outline: &Outline, description: &str) -> Value {
    let mut properties = outline.properties.clone();
    properties["apiVersion"] = json!({ "type": "string" });
    properties["kind"] = json!({ "type": "string" });
    properties["metadata"] = json!({ "type": "object" });
    let selectable: Vec<Value> = outline
        .selectable
        .iter()
        .map(|path| json!({ "jsonPath": path }))
        .collect();
    json!({
        "metadata": { "name": format!("{}.{}", outline.plural, outline.group) },
        "spec": {
            "group": outline.group,
            "scope": outline.scope,
            "names": {
                "kind": outline.kind,
                "plural": outline.plural,
                "singular": outline.kind.to_lowercase(),
                "shortNames": outline.short_names,
            },
            "versions": [{
                "name": outline.version,
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "description": description, "properties": properties } },
                "selectableFields": selectable,
                "subresources": if outline.status { json!({ "status": {} }) } else { json!({}) },
            }],
        },
    })
}

#[cfg(test)]
mod tests;
