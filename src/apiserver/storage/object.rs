//! The bytes of one stored object: JSON with `apiVersion`, `kind` and `metadata` in front and without a resource
//! version, which is the store's revision and is spliced in on the way out. So an object is read and listed without
//! being parsed. Not here: keys and transactions.

use std::io::Write as _;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

/// Where the splice goes: the first occurrence, because only the two plain strings stand before it.
const METADATA: &[u8] = b"\"metadata\":{";

/// The text of an object with its resource version.
pub(crate) fn with_revision(stored: &[u8], revision: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(stored.len() + 44);
    write_with_revision(stored, revision, &mut text);
    text
}

/// Appends the text of an object with its resource version to `out`.
pub(crate) fn write_with_revision(stored: &[u8], revision: u64, out: &mut Vec<u8>) {
    let at = stored
        .windows(METADATA.len())
        .position(|window| window == METADATA)
        .map(|start| start + METADATA.len());
    let Some(at) = at else {
        out.extend_from_slice(stored);
        return;
    };
    out.extend_from_slice(&stored[..at]);
    write!(out, "\"resourceVersion\":\"{revision}\"").expect("writing to a Vec cannot fail");
    if stored.get(at) != Some(&b'}') {
        out.push(b',');
    }
    out.extend_from_slice(&stored[at..]);
}

/// The bytes to store for an object, whatever resource version it carries.
pub(crate) fn encode(object: &Value) -> Vec<u8> {
    serde_json::to_vec(&InFront(object)).expect("a Value has text keys only")
}

/// The object in stored bytes, with its resource version.
pub(crate) fn decode(stored: &[u8], revision: u64) -> Result<Value, serde_json::Error> {
    let mut object: Value = serde_json::from_slice(stored)?;
    object["metadata"]["resourceVersion"] = Value::String(revision.to_string());
    Ok(object)
}

/// Serialises an object with its head in front and without its resource version.
struct InFront<'a>(&'a Value);

impl Serialize for InFront<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else {
            return self.0.serialize(serializer);
        };
        let mut map = serializer.serialize_map(None)?;
        for name in ["apiVersion", "kind"] {
            if let Some(value) = fields.get(name) {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(metadata) = fields.get("metadata") {
            map.serialize_entry("metadata", &Without(metadata, &["resourceVersion"]))?;
        }
        for (name, value) in fields
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"))
        {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Serialises an object without the named fields.
struct Without<'a>(&'a Value, &'a [&'a str]);

impl Serialize for Without<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.0.as_object() else {
            return self.0.serialize(serializer);
        };
        serializer.collect_map(
            fields
                .iter()
                .filter(|(name, _)| !self.1.contains(&name.as_str())),
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_resource_version_is_the_revision_whatever_the_object_carries() {
        let object = json!({
            "aaa": { "metadata": { "resourceVersion": "9" } }, "apiVersion": "v1", "kind": "ConfigMap",
            "data": { "\"metadata\":{": "trap" }, "metadata": { "name": "x", "resourceVersion": "3" },
        });
        let stored = encode(&object);
        let text = String::from_utf8(with_revision(&stored, 12)).unwrap();
        assert_eq!(
            text,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"12","name":"x"},"aaa":{"metadata":{"resourceVersion":"9"}},"data":{"\"metadata\":{":"trap"}}"#
        );
    }

    proptest! {
        #[test]
        fn splicing_and_parsing_agree(name in ".{0,12}", kind in ".{0,12}", data in ".{0,30}", revision: u64) {
            let object = json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name }, "data": { data.clone(): data } });
            let stored = encode(&object);
            let spliced: Value = serde_json::from_slice(&with_revision(&stored, revision)).unwrap();
            prop_assert_eq!(&spliced, &decode(&stored, revision).unwrap());
            prop_assert_eq!(&encode(&spliced), &stored);
        }
    }
}
