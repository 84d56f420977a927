//! Events, served as `v1` and as `events.k8s.io/v1` from one storage: recorders write the one, people read the other.
//! They are kept for an hour after their last change.

use serde_json::{Map, Value, json};

use super::{Outline, definition as document};
use crate::registry::{Conversion, Strategy};

/// How long an event is kept, in seconds.
const TTL_SECONDS: i64 = 3600;

/// `v1` Event, as it is stored.
pub(super) const CORE: Strategy = Strategy {
    is_report: true,
    ttl_seconds: Some(TTL_SECONDS),
    field_aliases: &[("source", "source.component")],
    ..Strategy::BUILT_IN
};

/// `events.k8s.io/v1` Event, stored as `v1`.
pub(super) const EVENTS: Strategy = Strategy {
    conversion: Some(Conversion {
        group: "",
        from_stored,
        to_stored,
    }),
    field_aliases: &[],
    ..CORE
};

/// The fields with two names: `v1` left, `events.k8s.io/v1` right.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

pub(super) fn core_definition() -> Value {
    let mut properties = shared();
    for (name, _) in RENAMED {
        properties.insert(name.to_owned(), property(name));
    }
    let outline = Outline {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        scope: "Namespaced",
        properties: Value::Object(properties),
        selectable: &[
            ".involvedObject.kind",
            ".involvedObject.namespace",
            ".involvedObject.name",
            ".involvedObject.uid",
            ".involvedObject.apiVersion",
            ".involvedObject.resourceVersion",
            ".involvedObject.fieldPath",
            ".reason",
            ".reportingComponent",
            ".type",
        ],
        status: false,
    };
    document(
        &outline,
        "Something that happened to an object, told to people.",
    )
}

pub(super) fn events_definition() -> Value {
    let mut properties = shared();
    for (core, name) in RENAMED {
        properties.insert(name.to_owned(), property(core));
    }
    let outline = Outline {
        group: "events.k8s.io",
        version: "v1",
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        scope: "Namespaced",
        properties: Value::Object(properties),
        selectable: &[
            ".regarding.kind",
            ".regarding.namespace",
            ".regarding.name",
            ".regarding.uid",
            ".regarding.apiVersion",
            ".regarding.resourceVersion",
            ".regarding.fieldPath",
            ".reason",
            ".reportingController",
            ".type",
        ],
        status: false,
    };
    document(
        &outline,
        "Something that happened to an object, told to people.",
    )
}

/// The properties that have one name in both versions.
fn shared() -> Map<String, Value> {
    let properties = json!({
        "action": { "type": "string", "description": "What was done or failed." },
        "eventTime": { "type": "string", "format": "date-time", "nullable": true, "description": "When it was first observed." },
        "reason": { "type": "string", "description": "Why, as one word." },
        "related": reference("A second object that has to do with it."),
        "reportingInstance": { "type": "string", "description": "Which instance of the reporter." },
        "series": { "type": "object", "description": "The run of equal events this one stands for.", "properties": {
            "count": { "type": "integer", "format": "int32" },
            "lastObservedTime": { "type": "string", "format": "date-time" },
        } },
        "type": { "type": "string", "description": "Normal or Warning." },
    });
    match properties {
        Value::Object(properties) => properties,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// The schema of a renamed property, by its `v1` name.
fn property(core: &str) -> Value {
    match core {
        "involvedObject" => reference("The object it is about."),
        "source" => json!({ "type": "object", "description": "Who reported it.", "properties": {
            "component": { "type": "string" },
            "host": { "type": "string" },
        } }),
        "firstTimestamp" | "lastTimestamp" => {
            json!({ "type": "string", "format": "date-time", "nullable": true, "description": "When it happened first and last." })
        }
        "count" => {
            json!({ "type": "integer", "format": "int32", "description": "How often it happened." })
        }
        _ => {
            json!({ "type": "string", "description": "What happened and who says so, for people." })
        }
    }
}

fn reference(description: &str) -> Value {
    json!({ "type": "object", "description": description, "properties": {
        "apiVersion": { "type": "string" },
        "fieldPath": { "type": "string" },
        "kind": { "type": "string" },
        "name": { "type": "string" },
        "namespace": { "type": "string" },
        "resourceVersion": { "type": "string" },
        "uid": { "type": "string" },
    } })
}

fn from_stored(event: &mut Value) {
    rename(event, "events.k8s.io/v1", |(core, events)| (core, events));
}

fn to_stored(event: &mut Value) {
    rename(event, "v1", |(core, events)| (events, core));
}

fn rename(
    event: &mut Value,
    api_version: &str,
    direction: fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = event.as_object_mut() else {
        return;
    };
    for pair in RENAMED {
        let (from, to) = direction(pair);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    fields.insert("apiVersion".to_owned(), json!(api_version));
}
