//! The fields of `metadata` and their types. Values are judged in `rules`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::schema::{Findings, Schema, UnknownField};
use crate::status::{ApiError, Cause};

static SHAPE: LazyLock<Schema> = LazyLock::new(|| {
    let text = json!({ "type": "string" });
    let flag = json!({ "type": "boolean" });
    let number = json!({ "type": "integer", "format": "int64" });
    let time = json!({ "type": "string", "format": "date-time" });
    let texts = json!({ "type": "object", "additionalProperties": text });
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let owner = json!({ "type": "object", "properties": {
        "apiVersion": text, "kind": text, "name": text, "uid": text, "controller": flag, "blockOwnerDeletion": flag,
    }});
    let managed = json!({ "type": "object", "properties": {
        "manager": text, "operation": text, "apiVersion": text, "time": time, "fieldsType": text, "fieldsV1": open,
        "subresource": text,
    }});
    let metadata = json!({ "type": "object", "properties": {
        "name": text, "generateName": text, "namespace": text, "selfLink": text, "uid": text, "resourceVersion": text,
        "generation": number, "creationTimestamp": time, "deletionTimestamp": time,
        "deletionGracePeriodSeconds": number, "labels": texts, "annotations": texts,
        "ownerReferences": { "type": "array", "items": owner },
        "finalizers": { "type": "array", "items": text },
        "managedFields": { "type": "array", "items": managed },
    }});
    let schema = json!({ "type": "object", "properties": { "metadata": metadata } });
    Schema::compile(&schema).expect("a constant schema that the tests compile")
});

/// Drops nulls and unknown fields of `metadata` and gives the latter back. A field of the wrong type is a 400 that names
/// all of them.
pub(crate) fn admit(object: &mut Value) -> Result<Vec<UnknownField>, ApiError> {
    let mut findings = Findings::default();
    SHAPE.admit_field("metadata", object, &mut findings);
    if findings.causes.is_empty() {
        return Ok(findings.unknown);
    }
    let mistakes: Vec<String> = findings.causes.iter().map(Cause::to_string).collect();
    Err(ApiError::bad_request(mistakes.join(", ")))
}
