//! Documents as objects: what every object must say of itself, lists taken apart, and what only the server may say left out.
//! Not here: which kinds exist (`kinds`) and what their fields mean (the API).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clos_resources::names::LABEL_SOURCE;
use serde_json::{Map, Value, json};

use super::mistake::Mistake;
use super::node::{Node, sorted};
use super::position::{Place, Positions};
use crate::sync::ANNOTATION_APPLIED_FIELDS;

/// The fields of `metadata` that the server writes: a manifest that was exported from a server still holds them.
const SERVER_METADATA: [&str; 9] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// One object as a user declared it, with the place of each of its fields.
#[derive(Debug, Clone)]
pub struct Declared {
    /// The file it stands in, as the user named it.
    pub file: Arc<Path>,
    /// The object without nulls and without what only the server writes.
    pub value: Value,
    positions: Positions,
}

impl Declared {
    /// The `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.value["apiVersion"].as_str().unwrap_or_default()
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.value["kind"].as_str().unwrap_or_default()
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// The namespace, if the object names one.
    pub fn namespace(&self) -> Option<&str> {
        self.value["metadata"]["namespace"].as_str()
    }

    /// Where the object begins, as `shop/web.yaml:14`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.positions.at.line)
    }

    /// A mistake in the field at `path`; the empty path means the object as a whole.
    pub fn mistake(&self, path: &str, message: impl Into<String>) -> Mistake {
        Mistake {
            file: self.file.to_path_buf(),
            line: Some(self.positions.of(path).line),
            object: Some(format!("{} {}", self.kind(), self.name())),
            path: (!path.is_empty()).then(|| path.to_owned()),
            message: message.into(),
        }
    }
}

/// Collects the objects and mistakes of one file.
pub(super) struct Reader<'a> {
    pub(super) file: Arc<Path>,
    pub(super) objects: &'a mut Vec<Declared>,
    pub(super) mistakes: &'a mut Vec<Mistake>,
}

impl Reader<'_> {
    /// Takes a document: an object, or a list of objects.
    pub(super) fn document(&mut self, node: Node) {
        for duplicate in node.duplicates {
            let about = about(&node.value);
            let message = format!(
                "stands twice, first in line {}; leave one out",
                duplicate.first.line
            );
            self.mistakes.push(Mistake {
                file: PathBuf::from(&*self.file),
                line: Some(duplicate.at.line),
                object: about,
                path: Some(duplicate.path),
                message,
            });
        }
        self.object(node.value, node.positions);
    }

    fn object(&mut self, value: Value, positions: Positions) {
        let Value::Object(mut fields) = value else {
            let found = shape(&value);
            return self.mistake(
                None,
                &positions,
                "",
                format!(
                    "an object is a mapping with apiVersion, kind and metadata; this is {found}"
                ),
            );
        };
        // `kind: List` of kubectl, and the typed lists that a server answers with.
        let is_list = fields
            .get("kind")
            .and_then(Value::as_str)
            .is_some_and(|kind| kind.ends_with("List"));
        if is_list && let Some(Value::Array(items)) = fields.get_mut("items") {
            let items = std::mem::take(items);
            for (index, item) in items.into_iter().enumerate() {
                let place = positions
                    .field("items")
                    .and_then(|items| items.item(index))
                    .unwrap_or(&positions)
                    .clone();
                self.object(item, place);
            }
            return;
        }
        let before = self.mistakes.len();
        let value = Value::Object(fields);
        self.demand(&value, &positions);
        if self.mistakes.len() > before {
            return;
        }
        let (value, positions) = cleaned(value, positions);
        let declared = Declared {
            file: Arc::clone(&self.file),
            value,
            positions,
        };
        self.refuse_our_own(&declared);
        self.objects.push(declared);
    }

    /// What every object must have.
    fn demand(&mut self, value: &Value, positions: &Positions) {
        let about = about(value);
        for (path, pointer, right) in [
            (
                "apiVersion",
                "/apiVersion",
                "give the group and version of the kind, such as clos.dev/v1alpha1",
            ),
            ("kind", "/kind", "give the kind, such as Service"),
            ("metadata.name", "/metadata/name", "give the object a name"),
        ] {
            match value.pointer(pointer) {
                Some(Value::String(text)) if !text.is_empty() => {}
                None | Some(Value::Null | Value::String(_)) => {
                    if path == "metadata.name"
                        && value
                            .get("metadata")
                            .is_some_and(|metadata| !metadata.is_object() && !metadata.is_null())
                    {
                        let found = shape(&value["metadata"]);
                        self.mistake(
                            about.clone(),
                            positions,
                            "metadata",
                            format!("is {found}; give a mapping with at least a name"),
                        );
                    } else {
                        self.mistake(
                            about.clone(),
                            positions,
                            path,
                            format!("is missing; {right}"),
                        );
                    }
                }
                Some(other) => self.mistake(
                    about.clone(),
                    positions,
                    path,
                    format!("is {}, not text; put it in quotes", shape(other)),
                ),
            }
        }
        let metadata = &value["metadata"];
        if !matches!(metadata["namespace"], Value::Null | Value::String(_)) {
            self.mistake(
                about.clone(),
                positions,
                "metadata.namespace",
                "is not text; put it in quotes".to_owned(),
            );
        }
        for field in ["labels", "annotations"] {
            let path = format!("metadata.{field}");
            match &metadata[field] {
                Value::Null => {}
                Value::Object(entries) => {
                    for (name, entry) in entries
                        .iter()
                        .filter(|(_, entry)| !entry.is_string() && !entry.is_null())
                    {
                        let message = format!("is {}, not text; put it in quotes", shape(entry));
                        self.mistake(about.clone(), positions, &format!("{path}.{name}"), message);
                    }
                }
                other => self.mistake(
                    about.clone(),
                    positions,
                    &path,
                    format!("is {}; give a mapping of names to text", shape(other)),
                ),
            }
        }
    }

    /// A copy of what a server holds must not claim to be applied already.
    fn refuse_our_own(&mut self, declared: &Declared) {
        for (field, name) in [
            ("labels", LABEL_SOURCE),
            ("annotations", ANNOTATION_APPLIED_FIELDS),
        ] {
            if declared.value["metadata"][field].get(name).is_some() {
                let mistake = declared.mistake(
                    &format!("metadata.{field}.{name}"),
                    "is written by clos alone; leave it out",
                );
                self.mistakes.push(mistake);
            }
        }
    }

    fn mistake(
        &mut self,
        object: Option<String>,
        positions: &Positions,
        path: &str,
        message: String,
    ) {
        self.mistakes.push(Mistake {
            file: PathBuf::from(&*self.file),
            line: Some(positions.of(path).line),
            object,
            path: (!path.is_empty()).then(|| path.to_owned()),
            message,
        });
    }
}

/// `Service web`, as far as the value says it.
fn about(value: &Value) -> Option<String> {
    let kind = value.get("kind")?.as_str()?;
    let name = value
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(Value::as_str);
    Some(name.map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}")))
}

fn shape(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

/// Leaves out what is not declared: nulls, `status`, and the metadata that the server writes. What a Secret holds as plain
/// text is put where the server puts it, so that it can be compared.
fn cleaned(mut value: Value, mut positions: Positions) -> (Value, Positions) {
    drop_nulls(&mut value);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in SERVER_METADATA {
                metadata.remove(field);
            }
        }
        if fields.get("kind") == Some(&json!("Secret"))
            && fields.get("apiVersion") == Some(&json!("v1"))
        {
            encode_text(fields, &mut positions);
        }
    }
    (value, positions)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `stringData` of a Secret as `data`, where its values win over those of the same name.
fn encode_text(fields: &mut Map<String, Value>, positions: &mut Positions) {
    let all_text = |entries: &Map<String, Value>| entries.values().all(Value::is_string);
    if !fields
        .get("stringData")
        .and_then(Value::as_object)
        .is_some_and(all_text)
        || fields.get("data").is_some_and(|data| !data.is_object())
    {
        return;
    }
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let data = fields.entry("data").or_insert_with(|| json!({}));
    for (name, text) in texts {
        data[name] = json!(STANDARD.encode(text.as_str().unwrap_or_default()));
    }
    if let Place::Fields(places) = &mut positions.inner {
        let mut fields = by_name(std::mem::take(places));
        if let Some(texts) = fields.remove("stringData") {
            let data = match (fields.remove("data"), texts) {
                (
                    Some(Positions {
                        at,
                        inner: Place::Fields(data),
                    }),
                    Positions {
                        inner: Place::Fields(texts),
                        ..
                    },
                ) => {
                    let mut both = by_name(data);
                    both.append(&mut by_name(texts));
                    let inner = Place::Fields(sorted(both));
                    Positions { at, inner }
                }
                (_, texts) => texts,
            };
            fields.insert("data".into(), data);
        }
        *places = sorted(fields);
    }
}

fn by_name(fields: Vec<(Box<str>, Positions)>) -> BTreeMap<Box<str>, Positions> {
    fields.into_iter().collect()
}
