//! `apiextensions.k8s.io/v1` `CustomResourceDefinition`, read-only: the definitions are part of the program and stand in
//! the store so that clients can list and watch them.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::{Outline, definition as document};
use crate::registry::Strategy;

pub(super) const STRATEGY: Strategy = Strategy {
    read_only: true,
    strategic_merge: false,
    ..Strategy::BUILT_IN
};

pub(super) fn definition() -> Value {
    let outline = Outline {
        group: "apiextensions.k8s.io",
        version: "v1",
        kind: "CustomResourceDefinition",
        plural: "customresourcedefinitions",
        short_names: &["crd", "crds"],
        scope: "Cluster",
        properties: json!({
            "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Names, scope, schema and columns of the kind." },
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true, "description": "Whether the kind is served." },
        }),
        selectable: &[],
        status: false,
    };
    document(&outline, "The definition of a kind.")
}

/// A definition as it is read back: served, its names accepted since `now`.
pub(crate) fn established(
    crd: &CustomResourceDefinition,
    now: Timestamp,
) -> Result<Value, serde_json::Error> {
    let mut object = serde_json::to_value(crd)?;
    object["spec"]["conversion"] = json!({ "strategy": "None" });
    let spec = &object["spec"];
    let versions: Vec<Value> = spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|version| version["storage"] == true)
        .map(|version| version["name"].clone())
        .collect();
    let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now.to_string() });
    let status = json!({
        "acceptedNames": spec["names"],
        "storedVersions": versions,
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the kind is served"),
        ],
    });
    object["status"] = status;
    Ok(object)
}
