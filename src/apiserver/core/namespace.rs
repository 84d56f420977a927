//! `v1` Namespace: the room objects live in. Its deletion waits for `spec.finalizers`, which a controller empties
//! through the `finalize` subresource once nothing is left inside.

use serde_json::{Value, json};

use super::{Outline, definition as document};
use crate::metadata::NameRule;
use crate::registry::Strategy;

/// Namespaces that tools, or clos itself, count on. The UID of `kube-system` is what makes containers this installation's: a new one
/// of that name would know none of them.
const PERMANENT: [&str; 5] = [
    "default",
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "clos-system",
];

pub(super) const STRATEGY: Strategy = Strategy {
    names: NameRule::Label,
    prepare_for_create,
    prepare_for_update,
    finalize: true,
    permanent: &PERMANENT,
    ..Strategy::BUILT_IN
};

pub(super) fn definition() -> Value {
    let outline = Outline {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        short_names: &["ns"],
        scope: "Cluster",
        properties: json!({
            "spec": { "type": "object", "properties": {
                "finalizers": { "type": "array", "items": { "type": "string" }, "description": "Who must act before it goes away." },
            } },
            "status": { "type": "object", "properties": {
                "phase": { "type": "string", "description": "Active or Terminating." },
                "conditions": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                    "description": "What is known about its removal.",
                    "items": { "type": "object", "required": ["type", "status"], "properties": {
                        "type": { "type": "string" },
                        "status": { "type": "string" },
                        "reason": { "type": "string" },
                        "message": { "type": "string" },
                        "lastTransitionTime": { "type": "string", "format": "date-time" },
                    } },
                },
            } },
        }),
        selectable: &[".status.phase"],
        status: true,
    };
    document(
        &outline,
        "A room for objects, so that names need to be unique only within it.",
    )
}

fn prepare_for_create(namespace: &mut Value) {
    namespace["status"] = json!({ "phase": "Active" });
    let spec = &mut namespace["spec"];
    let mut finalizers = spec["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|name| name == "kubernetes") {
        finalizers.push(json!("kubernetes"));
    }
    *spec = json!({ "finalizers": finalizers });
    // Every namespace can be selected by its name, which label selectors could not do otherwise.
    let name = namespace["metadata"]["name"].clone();
    namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}

/// The finalizers change only through the subresource; the name label cannot be lost.
fn prepare_for_update(new: &mut Value, old: &Value) {
    match old.get("spec") {
        Some(spec) => new["spec"] = spec.clone(),
        None => drop(new.as_object_mut().and_then(|fields| fields.remove("spec"))),
    }
    let name = new["metadata"]["name"].clone();
    new["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
}
