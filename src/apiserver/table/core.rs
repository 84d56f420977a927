//! The columns of Kubernetes' own kinds, which have no CRD to name them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, definition, name_definition};

/// A kind whose columns are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CoreColumns {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Secret.
    Secret,
    /// `v1` `ConfigMap`.
    ConfigMap,
    /// `v1` Event, and that of `events.k8s.io`.
    Event,
    /// `coordination.k8s.io/v1` Lease.
    Lease,
    /// `apiextensions.k8s.io/v1` `CustomResourceDefinition`.
    CustomResourceDefinition,
}

impl CoreColumns {
    /// The columns known for a kind, if any.
    pub(crate) fn of(group: &str, kind: &str) -> Option<Self> {
        match (group, kind) {
            ("", "Namespace") => Some(Self::Namespace),
            ("", "Secret") => Some(Self::Secret),
            ("", "ConfigMap") => Some(Self::ConfigMap),
            ("" | "events.k8s.io", "Event") => Some(Self::Event),
            ("coordination.k8s.io", "Lease") => Some(Self::Lease),
            ("apiextensions.k8s.io", "CustomResourceDefinition") => {
                Some(Self::CustomResourceDefinition)
            }
            _ => None,
        }
    }

    pub(super) fn definitions(self) -> Vec<Value> {
        let text = |name: &str, description: &str| definition(name, "string", "", description, 0);
        let wide = |name: &str, description: &str| definition(name, "string", "", description, 1);
        let age = text("Age", "The time since the object was made.");
        match self {
            Self::Namespace => vec![
                name_definition(0),
                text(
                    "Status",
                    "Whether the namespace is in use or being deleted.",
                ),
                age,
            ],
            Self::Secret => vec![
                name_definition(0),
                text("Type", "What the secret is for."),
                text("Data", "How many entries it holds."),
                age,
            ],
            Self::ConfigMap => vec![
                name_definition(0),
                text("Data", "How many entries it holds."),
                age,
            ],
            Self::Event => vec![
                text("Last Seen", "The time since it happened last."),
                text("Type", "Normal or Warning."),
                text("Reason", "Why it happened, in one word."),
                text("Object", "What it is about."),
                wide("Subobject", "The part of the object it is about."),
                wide("Source", "Who reports it."),
                text("Message", "What happened, in a sentence."),
                wide("First Seen", "The time since it happened first."),
                wide("Count", "How often it happened."),
                name_definition(1),
            ],
            Self::Lease => vec![
                name_definition(0),
                text("Holder", "Who holds the lease."),
                age,
            ],
            Self::CustomResourceDefinition => vec![
                name_definition(0),
                definition("Created At", "date", "", "When the definition was made.", 0),
            ],
        }
    }

    pub(super) fn cells(self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = json!(text(object, "/metadata/name"));
        let age = json!(age::since(text(object, "/metadata/creationTimestamp"), now));
        match self {
            Self::Namespace => vec![name, json!(text(object, "/status/phase")), age],
            Self::Secret => {
                let data = size(object, "/data");
                vec![name, json!(text(object, "/type")), json!(data), age]
            }
            Self::ConfigMap => {
                let data = size(object, "/data") + size(object, "/binaryData");
                vec![name, json!(data), age]
            }
            Self::Event => event(object, name, now),
            Self::Lease => vec![name, json!(text(object, "/spec/holderIdentity")), age],
            Self::CustomResourceDefinition => {
                vec![name, json!(text(object, "/metadata/creationTimestamp"))]
            }
        }
    }
}

/// An event of either API: the newer one has other names for the same things.
fn event(object: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let first_seen = first(
        object,
        &["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"],
    );
    let last_seen = first(
        object,
        &[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
        ],
    );
    let last_seen = if last_seen.is_empty() {
        first_seen
    } else {
        last_seen
    };
    let counts = ["/series/count", "/count", "/deprecatedCount"];
    let count = counts
        .iter()
        .find_map(|path| object.pointer(path)?.as_i64())
        .filter(|count| *count > 0);
    let involved = ["/involvedObject", "/regarding"]
        .iter()
        .find_map(|path| object.pointer(path));
    let part = |name: &str| {
        involved
            .and_then(|involved| involved.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let kind = part("kind").to_lowercase();
    let target = if part("name").is_empty() {
        kind
    } else {
        format!("{kind}/{}", part("name"))
    };
    let component = first(
        object,
        &[
            "/source/component",
            "/deprecatedSource/component",
            "/reportingComponent",
            "/reportingController",
        ],
    );
    let host = first(
        object,
        &[
            "/source/host",
            "/deprecatedSource/host",
            "/reportingInstance",
        ],
    );
    let source = if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    };
    vec![
        json!(age::since(last_seen, now)),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(target),
        json!(part("fieldPath")),
        json!(source),
        json!(first(object, &["/message", "/note"]).trim()),
        json!(age::since(first_seen, now)),
        json!(count.unwrap_or(1)),
        name,
    ]
}

fn first<'o>(object: &'o Value, paths: &[&str]) -> &'o str {
    let found = paths
        .iter()
        .map(|path| text(object, path))
        .find(|text| !text.is_empty());
    found.unwrap_or_default()
}

fn text<'o>(object: &'o Value, path: &str) -> &'o str {
    object
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn size(object: &Value, path: &str) -> usize {
    object
        .pointer(path)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}
