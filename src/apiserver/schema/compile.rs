//! Making nodes from JSON: every keyword is read with its type checked, and what structural schemas lack is refused.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::format::Format;
use super::node::{Additional, Junctors, Limits, ListType, Node, Type};
use super::{Findings, SchemaError};
use crate::status::{Cause, FieldPath};

impl Node {
    /// The node of a schema document that stands at `path`, as `spec.ports[]`.
    pub(super) fn compile(schema: &Value, path: &str) -> Result<Self, SchemaError> {
        let Value::Object(schema) = schema else {
            return Err(SchemaError::Keyword {
                path: shown_path(path),
                keyword: "schema",
                expected: "an object",
            });
        };
        let reader = Reader { schema, path };
        reader.refuse(&[
            "$ref",
            "definitions",
            "dependencies",
            "patternProperties",
            "additionalItems",
            "deprecated",
        ])?;
        if reader.flag("uniqueItems")? {
            return Err(reader.unsupported("uniqueItems"));
        }
        reader.check_map_type()?;
        let types = reader.types()?;
        let mut node = Self {
            format: reader.format(&types)?,
            types,
            nullable: reader.flag("nullable")?,
            default: schema.get("default").cloned(),
            properties: reader.properties()?,
            additional: reader.additional()?,
            items: reader.node("items", "[]")?.map(Box::new),
            required: reader.texts("required")?,
            enumeration: reader.list("enum")?.to_vec(),
            preserve_unknown: reader.flag("x-kubernetes-preserve-unknown-fields")?,
            embedded: reader.flag("x-kubernetes-embedded-resource")?,
            list_type: reader.list_type()?,
            limits: reader.limits()?,
            junctors: reader.junctors()?,
        };
        node.complete_default(path)?;
        Ok(node)
    }

    /// A default that lacks nested defaults is completed here once instead of in every object.
    fn complete_default(&mut self, path: &str) -> Result<(), SchemaError> {
        let Some(mut default) = self.default.take() else {
            return Ok(());
        };
        let mut findings = Findings::default();
        let root = FieldPath::Root;
        let place = if path.is_empty() {
            root
        } else {
            root.child(path)
        };
        self.admit(&mut default, &place, &mut findings);
        let mistakes: Vec<String> = findings
            .causes
            .iter()
            .map(Cause::to_string)
            .chain(findings.unknown.iter().map(ToString::to_string))
            .collect();
        if !mistakes.is_empty() {
            return Err(SchemaError::Default {
                path: shown_path(path),
                mistakes: mistakes.join(", "),
            });
        }
        // A null default of a field that may not be null would be dropped and filled in for ever.
        self.default = Some(default).filter(|default| self.nullable || !default.is_null());
        Ok(())
    }
}

/// The keywords that are bounds.
const LIMITS: [&str; 12] = [
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
];

/// Typed access to the keywords of one schema object.
struct Reader<'a> {
    schema: &'a Map<String, Value>,
    path: &'a str,
}

impl<'a> Reader<'a> {
    fn refuse(&self, keywords: &[&'static str]) -> Result<(), SchemaError> {
        match keywords
            .iter()
            .find(|keyword| self.schema.contains_key(**keyword))
        {
            Some(keyword) => Err(self.unsupported(keyword)),
            None => Ok(()),
        }
    }

    fn types(&self) -> Result<Vec<Type>, SchemaError> {
        if self.flag("x-kubernetes-int-or-string")? {
            return Ok(vec![Type::Integer, Type::String]);
        }
        match self.text("type")? {
            None | Some("") => Ok(Vec::new()),
            Some(name) => Type::parse(name)
                .map(|kind| vec![kind])
                .ok_or_else(|| self.wrong("type", "a JSON type")),
        }
    }

    /// Formats nobody checks are ignored, as a genuine server does.
    fn format(&self, types: &[Type]) -> Result<Option<Format>, SchemaError> {
        let name = self.text("format")?;
        Ok(name.and_then(|name| Format::parse(name, types)))
    }

    fn properties(&self) -> Result<BTreeMap<String, Node>, SchemaError> {
        let Some(properties) = self.schema.get("properties") else {
            return Ok(BTreeMap::new());
        };
        let Value::Object(properties) = properties else {
            return Err(self.wrong("properties", "an object"));
        };
        properties
            .iter()
            .map(|(name, schema)| {
                let path = if self.path.is_empty() {
                    name.clone()
                } else {
                    format!("{}.{name}", self.path)
                };
                Ok((name.clone(), Node::compile(schema, &path)?))
            })
            .collect()
    }

    fn additional(&self) -> Result<Additional, SchemaError> {
        match self.schema.get("additionalProperties") {
            None | Some(Value::Bool(false)) => Ok(Additional::None),
            Some(Value::Bool(true)) => Ok(Additional::Any),
            Some(schema) => {
                let node = Node::compile(schema, &format!("{}[*]", self.path))?;
                Ok(Additional::Node(Box::new(node)))
            }
        }
    }

    fn list_type(&self) -> Result<ListType, SchemaError> {
        match self.text("x-kubernetes-list-type")? {
            None | Some("atomic") => Ok(ListType::Atomic),
            Some("set") => Ok(ListType::Set),
            Some("map") => {
                let keys = self.texts("x-kubernetes-list-map-keys")?;
                if keys.is_empty() {
                    return Err(
                        self.wrong("x-kubernetes-list-map-keys", "a list with at least one key")
                    );
                }
                Ok(ListType::Map(keys))
            }
            Some(_) => Err(self.wrong("x-kubernetes-list-type", "one of atomic, set, map")),
        }
    }

    /// Whether an object is owned whole or field by field matters to owners alone; here only the word is checked.
    fn check_map_type(&self) -> Result<(), SchemaError> {
        match self.text("x-kubernetes-map-type")? {
            None | Some("granular" | "atomic") => Ok(()),
            Some(_) => Err(self.wrong("x-kubernetes-map-type", "one of granular, atomic")),
        }
    }

    fn limits(&self) -> Result<Option<Box<Limits>>, SchemaError> {
        if !LIMITS
            .iter()
            .any(|keyword| self.schema.contains_key(*keyword))
        {
            return Ok(None);
        }
        let pattern = self.text("pattern")?.filter(|pattern| !pattern.is_empty());
        let pattern =
            pattern
                .map(Regex::new)
                .transpose()
                .map_err(|source| SchemaError::Pattern {
                    path: shown_path(self.path),
                    source,
                })?;
        Ok(Some(Box::new(Limits {
            minimum: self.number("minimum")?,
            exclusive_minimum: self.flag("exclusiveMinimum")?,
            maximum: self.number("maximum")?,
            exclusive_maximum: self.flag("exclusiveMaximum")?,
            multiple_of: self.number("multipleOf")?,
            min_length: self.count("minLength")?,
            max_length: self.count("maxLength")?,
            pattern,
            min_items: self.count("minItems")?,
            max_items: self.count("maxItems")?,
            min_properties: self.count("minProperties")?,
            max_properties: self.count("maxProperties")?,
        })))
    }

    fn junctors(&self) -> Result<Option<Box<Junctors>>, SchemaError> {
        let junctors = Junctors {
            all_of: self.nodes("allOf")?,
            any_of: self.nodes("anyOf")?,
            one_of: self.nodes("oneOf")?,
            not: self.node("not", ".not")?,
        };
        let empty = junctors.all_of.is_empty()
            && junctors.any_of.is_empty()
            && junctors.one_of.is_empty()
            && junctors.not.is_none();
        Ok(if empty {
            None
        } else {
            Some(Box::new(junctors))
        })
    }

    fn nodes(&self, keyword: &'static str) -> Result<Vec<Node>, SchemaError> {
        let branches = self.list(keyword)?.iter().enumerate();
        branches
            .map(|(index, schema)| {
                Node::compile(schema, &format!("{}.{keyword}[{index}]", self.path))
            })
            .collect()
    }

    fn node(&self, keyword: &'static str, step: &str) -> Result<Option<Node>, SchemaError> {
        self.schema
            .get(keyword)
            .map(|schema| Node::compile(schema, &format!("{}{step}", self.path)))
            .transpose()
    }

    fn text(&self, keyword: &'static str) -> Result<Option<&'a str>, SchemaError> {
        match self.schema.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(keyword, "text")),
        }
    }

    fn texts(&self, keyword: &'static str) -> Result<Vec<String>, SchemaError> {
        let texts = self.list(keyword)?.iter();
        texts
            .map(|text| {
                text.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| self.wrong(keyword, "a list of texts"))
            })
            .collect()
    }

    fn list(&self, keyword: &'static str) -> Result<&'a [Value], SchemaError> {
        match self.schema.get(keyword) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(self.wrong(keyword, "a list")),
        }
    }

    fn flag(&self, keyword: &'static str) -> Result<bool, SchemaError> {
        match self.schema.get(keyword) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(keyword, "true or false")),
        }
    }

    fn number(&self, keyword: &'static str) -> Result<Option<f64>, SchemaError> {
        match self.schema.get(keyword) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(keyword, "a number")),
            },
        }
    }

    fn count(&self, keyword: &'static str) -> Result<Option<usize>, SchemaError> {
        // Generators write whole bounds as 1.0 now and then.
        let number = self.number(keyword)?;
        number
            .map(|number| {
                let whole =
                    number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
                let count = whole.then(|| format!("{number:.0}").parse().ok()).flatten();
                count.ok_or_else(|| self.wrong(keyword, "a whole number, zero or more"))
            })
            .transpose()
    }

    fn wrong(&self, keyword: &'static str, expected: &'static str) -> SchemaError {
        SchemaError::Keyword {
            path: shown_path(self.path),
            keyword,
            expected,
        }
    }

    fn unsupported(&self, keyword: &'static str) -> SchemaError {
        SchemaError::Unsupported {
            path: shown_path(self.path),
            keyword,
        }
    }
}

fn shown_path(path: &str) -> String {
    if path.is_empty() {
        "the schema's root".to_owned()
    } else {
        path.to_owned()
    }
}
