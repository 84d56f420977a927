//! `v1` Secret: bytes by name in base64, with `stringData` as the writable short form in text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::config_map::{frozen, keys};
use super::{Outline, definition as document};
use crate::registry::Strategy;
use crate::status::Cause;

pub(super) const STRATEGY: Strategy = Strategy {
    prepare_for_create: prepare,
    prepare_for_update: |new, _| prepare(new),
    validate,
    ..Strategy::BUILT_IN
};

/// The sum of all values, as Kubernetes limits it.
const MAX_BYTES: usize = 1024 * 1024;

pub(super) fn definition() -> Value {
    let outline = Outline {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        short_names: &[],
        scope: "Namespaced",
        properties: json!({
            "data": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Bytes by name, in base64.",
            },
            "stringData": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Text by name, merged into data on a write and never read back.",
            },
            "type": { "type": "string", "description": "What the secret is for; it cannot be changed." },
            "immutable": { "type": "boolean", "description": "Whether data can no longer be changed." },
        }),
        selectable: &[".type"],
        status: false,
    };
    document(
        &outline,
        "Passwords, keys and other contents that few may read.",
    )
}

fn prepare(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(text)) = fields.remove("stringData") {
        let data = fields.entry("data").or_insert_with(|| json!({}));
        for (name, value) in text {
            if let Value::String(value) = value {
                data[name] = Value::String(STANDARD.encode(value));
            }
        }
    }
    if fields
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        fields.insert("type".to_owned(), json!("Opaque"));
    }
}

fn validate(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    keys(new, "data", causes);
    let mut total = 0;
    for (name, value) in new
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        match STANDARD.decode(value.as_str().unwrap_or_default()) {
            Ok(bytes) => total += bytes.len(),
            // The value is a secret, even when it is malformed: it is not repeated.
            Err(_) => causes.push(Cause::new(
                crate::status::CauseReason::FieldValueInvalid,
                format!("data[{name}]"),
                "Invalid value: must be base64; give text in stringData instead",
            )),
        }
    }
    if total > MAX_BYTES {
        causes.push(Cause::too_long("data", MAX_BYTES));
    }
    if let Some(old) = old
        && old.get("type") != new.get("type")
    {
        causes.push(Cause::invalid(
            "type",
            new.get("type").unwrap_or(&Value::Null),
            "field is immutable",
        ));
    }
    frozen(new, old, &["data"], causes);
}
