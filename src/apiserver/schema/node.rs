//! One node of a structural schema. It is made in `compile`; judging values is in `check` and `admit`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::format::Format;

/// A compiled schema node.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Allowed JSON types; empty allows any.
    pub(super) types: Vec<Type>,
    pub(super) nullable: bool,
    pub(super) format: Option<Format>,
    pub(super) default: Option<Value>,
    pub(super) properties: BTreeMap<String, Self>,
    pub(super) additional: Additional,
    pub(super) items: Option<Box<Self>>,
    pub(super) required: Vec<String>,
    pub(super) enumeration: Vec<Value>,
    pub(super) preserve_unknown: bool,
    pub(super) embedded: bool,
    pub(super) list_type: ListType,
    /// Most nodes have none.
    pub(super) limits: Option<Box<Limits>>,
    pub(super) junctors: Option<Box<Junctors>>,
}

/// JSON types as schemas name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    /// `null`
    Null,
    /// `boolean`
    Boolean,
    /// `integer`: a number without a fraction
    Integer,
    /// `number`
    Number,
    /// `string`
    String,
    /// `array`
    Array,
    /// `object`
    Object,
}

/// What a node says about keys that are none of its properties.
#[derive(Debug, Default)]
pub(super) enum Additional {
    /// Nothing: they are unknown.
    #[default]
    None,
    /// Anything goes.
    Any,
    /// Their values follow this schema.
    Node(Box<Node>),
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ListType {
    /// Not at all: the list is one value.
    #[default]
    Atomic,
    /// By their value; each occurs once.
    Set,
    /// By the values of these keys; each combination occurs once.
    Map(Vec<String>),
}

/// The bounds of numbers, texts, lists and objects.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) minimum: Option<f64>,
    pub(super) exclusive_minimum: bool,
    pub(super) maximum: Option<f64>,
    pub(super) exclusive_maximum: bool,
    pub(super) multiple_of: Option<f64>,
    pub(super) min_length: Option<usize>,
    pub(super) max_length: Option<usize>,
    pub(super) pattern: Option<Regex>,
    pub(super) min_items: Option<usize>,
    pub(super) max_items: Option<usize>,
    pub(super) min_properties: Option<usize>,
    pub(super) max_properties: Option<usize>,
}

/// Value validations that combine others. They judge and never change a value.
#[derive(Debug, Default)]
pub(super) struct Junctors {
    pub(super) all_of: Vec<Node>,
    pub(super) any_of: Vec<Node>,
    pub(super) one_of: Vec<Node>,
    pub(super) not: Option<Node>,
}

impl Node {
    /// The schema of the field or map entry `name`, or `None` when it has none of its own.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        match (self.properties.get(name), &self.additional) {
            (Some(node), _) => Some(node),
            (None, Additional::Node(node)) => Some(node),
            (None, Additional::None | Additional::Any) => None,
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        static NONE: LazyLock<Limits> = LazyLock::new(Limits::default);
        self.limits.as_deref().unwrap_or(&NONE)
    }

    /// The declared fields by name.
    pub(crate) fn properties(&self) -> &BTreeMap<String, Self> {
        &self.properties
    }

    /// The schema of a list's items.
    pub(crate) fn items(&self) -> Option<&Self> {
        self.items.as_deref()
    }

    /// How a list's items are told apart.
    pub(crate) fn list_type(&self) -> &ListType {
        &self.list_type
    }

    /// True when values have this one type.
    pub(crate) fn is_only(&self, kind: Type) -> bool {
        self.types == [kind]
    }

    /// The format, when the node has one that is checked.
    pub(crate) fn format(&self) -> Option<Format> {
        self.format
    }
}

impl Type {
    /// The name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// The type of a value. Integers beyond 64 bits with a sign count as numbers, as everywhere in Kubernetes.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) if number.is_i64() => Self::Integer,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }

    /// The type called `name`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let all = [
            Self::Null,
            Self::Boolean,
            Self::Integer,
            Self::Number,
            Self::String,
            Self::Array,
            Self::Object,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }
}
