//! Which objects of a collection a request is about: its name, label selector and field selector together.
//! How selectors are read and what they mean is in `selector`.

use clos_store::Entry;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Call;
use crate::registry::Kind;
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::ApiError;
use crate::storage::{Object, place_of_key};

/// The objects a request chooses.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

/// As much of a stored object as label selectors look at.
#[derive(Deserialize)]
struct Head {
    metadata: Value,
}

impl Selection {
    /// Reads the selectors of a request.
    pub(super) fn of(call: &Call) -> Result<Self, ApiError> {
        let text = |name: &str| call.query.get(name).unwrap_or_default().to_owned();
        let fields = FieldSelector::parse(&text("fieldSelector"), &call.kind.selectable)?;
        Ok(Self {
            name: call
                .request
                .name
                .clone()
                .or_else(|| fields.exact("metadata.name").map(ToOwned::to_owned)),
            labels: LabelSelector::parse(&text("labelSelector"))?,
            fields,
        })
    }

    /// Whether every object is chosen.
    pub(super) fn is_everything(&self) -> bool {
        self.name.is_none() && self.labels.is_everything() && self.fields.is_everything()
    }

    /// Whether this object is chosen.
    pub(super) fn matches(&self, kind: &Kind, entry: &Entry) -> Result<bool, ApiError> {
        if let Some(name) = &self.name
            && place_of_key(kind, &entry.key).1 != name
        {
            return Ok(false);
        }
        if self.fields.is_everything() {
            if self.labels.is_everything() {
                return Ok(true);
            }
            // Labels stand in the metadata: the rest need not be built.
            let head: Head = serde_json::from_slice(&entry.value).map_err(ApiError::internal)?;
            return Ok(self.labels.matches(&json!({ "metadata": head.metadata })));
        }
        let object = Object::Stored(entry.clone()).into_value(kind)?;
        Ok(self.labels.matches(&object) && self.fields.matches(&object))
    }
}
