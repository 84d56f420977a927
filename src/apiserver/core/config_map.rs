//! `v1` `ConfigMap`: text and bytes by name, freely changeable unless declared immutable.

use serde_json::{Value, json};

use super::{Outline, definition as document};
use crate::registry::Strategy;
use crate::status::Cause;

pub(super) const STRATEGY: Strategy = Strategy {
    validate,
    ..Strategy::BUILT_IN
};

pub(super) fn definition() -> Value {
    let outline = Outline {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        short_names: &["cm"],
        scope: "Namespaced",
        properties: json!({
            "data": { "type": "object", "additionalProperties": { "type": "string" }, "description": "Text by name." },
            "binaryData": {
                "type": "object",
                "additionalProperties": { "type": "string", "format": "byte" },
                "description": "Bytes by name, in base64. A name may not stand in data as well.",
            },
            "immutable": { "type": "boolean", "description": "Whether data can no longer be changed." },
        }),
        selectable: &[],
        status: false,
    };
    document(&outline, "Configuration that containers read.")
}

fn validate(new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) {
    keys(new, "data", causes);
    keys(new, "binaryData", causes);
    let binary = new.get("binaryData").and_then(Value::as_object);
    for name in new
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|data| data.keys())
    {
        if binary.is_some_and(|binary| binary.contains_key(name)) {
            let detail = "duplicate of key present in data";
            causes.push(Cause::invalid_text(
                format!("binaryData[{name}]"),
                name,
                detail,
            ));
        }
    }
    frozen(new, old, &["data", "binaryData"], causes);
}

/// The names in a map of contents must be usable as file names.
pub(super) fn keys(object: &Value, field: &str, causes: &mut Vec<Cause>) {
    for name in object
        .get(field)
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.keys())
    {
        let usable = !name.is_empty()
            && name.len() <= 253
            && !name.starts_with("..")
            && name != "."
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !usable {
            let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.', at most 253 of them, \
                          and be neither '.' nor begin with '..'";
            causes.push(Cause::invalid_text(
                format!("{field}[{name}]"),
                name,
                detail,
            ));
        }
    }
}

/// What was declared immutable stays so, and its fields with it.
pub(super) fn frozen(new: &Value, old: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|old| old.get("immutable") == Some(&Value::Bool(true))) else {
        return;
    };
    for field in std::iter::once(&"immutable").chain(fields) {
        if new.get(*field) != old.get(*field) {
            causes.push(Cause::forbidden(
                field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
}
