//! The pass that changes an object: defaults in, unknown fields and nulls out, and every value judged on the way.
//! Judging itself is in `check`.

use serde_json::{Map, Value};

use super::Findings;
use super::list::check_unique;
use super::node::{Additional, Node};
use crate::status::{Cause, FieldPath};

/// The fields every object has, which belong to the API rather than to the schema.
const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Node {
    /// Admits a whole object; its `apiVersion`, `kind` and `metadata` are kept as they are.
    pub(super) fn admit_object(&self, object: &mut Value, findings: &mut Findings) {
        let path = FieldPath::Root;
        if let Value::Object(fields) = object {
            self.admit_fields(fields, true, &path, findings);
            if let (Some(node), Some(metadata)) =
                (self.properties.get("metadata"), fields.get("metadata"))
            {
                node.check(metadata, &path.child("metadata"), &mut findings.causes);
            }
        }
        self.check_here(object, &path, &mut findings.causes);
    }

    /// Admits one field of an object and looks at nothing else.
    pub(super) fn admit_field(&self, name: &str, object: &mut Value, findings: &mut Findings) {
        let Value::Object(fields) = object else {
            return;
        };
        let path = FieldPath::Root;
        let Some(node) = self.field(name) else {
            if fields.remove(name).is_some() {
                findings.drop_field(&path, name, std::iter::empty());
            }
            return;
        };
        node.fill(fields, name);
        let Some(value) = fields.get_mut(name) else {
            return;
        };
        if node.drops(value) {
            fields.remove(name);
        } else {
            node.admit(value, &path.child(name), findings);
        }
    }

    /// Admits a value below the root.
    pub(super) fn admit(&self, value: &mut Value, path: &FieldPath<'_>, findings: &mut Findings) {
        match value {
            Value::Object(fields) => {
                self.admit_fields(fields, self.embedded, path, findings);
                if self.embedded {
                    require_type(fields, path, &mut findings.causes);
                }
            }
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    for (index, item) in list.iter_mut().enumerate() {
                        items.replace_null(item);
                        items.admit(item, &path.index(index), findings);
                    }
                }
                check_unique(list, &self.list_type, path, &mut findings.causes);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.check_here(value, path, &mut findings.causes);
    }

    fn admit_fields(
        &self,
        fields: &mut Map<String, Value>,
        keep_meta: bool,
        path: &FieldPath<'_>,
        findings: &mut Findings,
    ) {
        for (name, node) in &self.properties {
            if !(keep_meta && META_FIELDS.contains(&name.as_str())) {
                node.fill(fields, name);
            }
        }
        fields.retain(|name, value| {
            if keep_meta && META_FIELDS.contains(&name.as_str()) {
                return true;
            }
            let Some(node) = self.field(name) else {
                let kept = self.preserve_unknown || matches!(self.additional, Additional::Any);
                if !kept {
                    findings.drop_field(path, name, self.properties.keys().map(String::as_str));
                }
                return kept;
            };
            node.replace_null(value);
            if node.drops(value) {
                return false;
            }
            node.admit(value, &path.child(name), findings);
            true
        });
    }

    /// Puts the default in where the field is absent or is a null that may not stand there.
    fn fill(&self, fields: &mut Map<String, Value>, name: &str) {
        let Some(default) = &self.default else {
            return;
        };
        match fields.get_mut(name) {
            None => {
                fields.insert(name.to_owned(), default.clone());
            }
            Some(value) => self.replace_null(value),
        }
    }

    fn replace_null(&self, value: &mut Value) {
        if let (Some(default), true) = (&self.default, self.drops(value)) {
            *value = default.clone();
        }
    }

    /// Whether the value is a null that may not stand here: such a field counts as absent.
    fn drops(&self, value: &Value) -> bool {
        value.is_null() && !self.nullable
    }
}

/// An embedded object must say what it is.
fn require_type(fields: &Map<String, Value>, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
    for name in ["apiVersion", "kind"] {
        if fields
            .get(name)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            causes.push(Cause::required(path.child(name), "must not be empty"));
        }
    }
}
