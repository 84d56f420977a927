//! A kind's schema as it is published: what `kubectl explain` would leave unsaid is put where it shows it.

use serde_json::{Map, Value};

use super::reference::{INT_OR_STRING, reference};

/// Rewrites a schema and everything below it: a default is told in the description, and a number-or-text refers to the
/// type whose name says so.
pub(super) fn publish(schema: &mut Value) {
    let Value::Object(schema) = schema else {
        return;
    };
    tell_default(schema);
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true))
        && !schema.contains_key("allOf")
    {
        schema.insert(
            "allOf".to_owned(),
            Value::Array(vec![reference(INT_OR_STRING)]),
        );
    }
    for (keyword, below) in schema {
        match (keyword.as_str(), below) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(publish),
            ("items" | "additionalProperties", below) => publish(below),
            _ => {}
        }
    }
}

/// `Defaults to 1.` after the description. Empty objects stand for defaults further down, which tell themselves.
fn tell_default(schema: &mut Map<String, Value>) {
    let told = match schema.get("default") {
        None | Some(Value::Null) => return,
        Some(Value::Object(fields)) if fields.is_empty() => return,
        Some(Value::String(text)) => format!("Defaults to {text}."),
        Some(other) => format!("Defaults to {other}."),
    };
    let description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let description = if description.is_empty() {
        told
    } else {
        format!("{description}\n{told}")
    };
    schema.insert("description".to_owned(), Value::String(description));
}
