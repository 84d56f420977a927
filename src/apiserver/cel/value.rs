//! JSON values as CEL sees them: typed by the schema, with field names that CEL can spell.

use std::sync::Arc;
use std::thread::LocalKey;

use base64::Engine as _;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, Program, Value as CelValue};
use serde_json::Value;

use crate::schema::{Format, Node, Type};

thread_local! {
    /// CEL's own constructors of times and durations. What they refuse stays text.
    static CORE: Context<'static> = Context::default();
    static TIMESTAMP: Option<Program> = Program::compile("timestamp(text)").ok();
    static DURATION: Option<Program> = Program::compile("duration(text)").ok();
}

/// Words CEL keeps for itself; fields of these names are spelt `__word__`.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// A value below the root.
pub(super) fn to_cel(value: &Value, node: Option<&Node>) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(flag) => CelValue::Bool(*flag),
        Value::Number(number) => {
            let float = number.as_f64().unwrap_or_default();
            match (number.as_i64(), node) {
                (Some(_), Some(node)) if node.is_only(Type::Number) => CelValue::Float(float),
                (Some(integer), _) => CelValue::Int(integer),
                (None, Some(node)) if node.is_only(Type::Integer) => whole(float),
                (None, _) => CelValue::Float(float),
            }
        }
        Value::String(text) => text_to_cel(text, node.and_then(Node::format)),
        Value::Array(list) => {
            let items = node.and_then(Node::items);
            CelValue::List(Arc::new(
                list.iter().map(|item| to_cel(item, items)).collect(),
            ))
        }
        Value::Object(fields) => {
            let entries = fields.iter().filter_map(|(name, value)| {
                let key = match node {
                    Some(node) if node.properties().contains_key(name) => escape(name)?,
                    _ => name.clone(),
                };
                Some((key, to_cel(value, node.and_then(|node| node.field(name)))))
            });
            map(entries)
        }
    }
}

/// A whole object. Of its metadata rules see the name alone, as on every Kubernetes server.
pub(super) fn root_to_cel(value: &Value, node: Option<&Node>) -> CelValue {
    let Value::Object(fields) = value else {
        return to_cel(value, node);
    };
    let entries = fields.iter().filter_map(|(name, value)| {
        let converted = match (name.as_str(), value) {
            ("metadata", Value::Object(metadata)) => {
                let seen = ["name", "generateName"].into_iter();
                map(seen
                    .filter_map(|name| Some((name.to_owned(), to_cel(metadata.get(name)?, None)))))
            }
            _ => to_cel(value, node.and_then(|node| node.field(name))),
        };
        Some((escape(name)?, converted))
    });
    map(entries)
}

/// A field name as CEL spells it, or `None` when it cannot be spelt and stays invisible to rules.
pub(super) fn escape(name: &str) -> Option<String> {
    let begins_well =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.' | '-' | '/'));
    let spellable = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'));
    if !begins_well || !spellable {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    Some(
        name.replace("__", "__underscores__")
            .replace('.', "__dot__")
            .replace('-', "__dash__")
            .replace('/', "__slash__"),
    )
}

fn map(entries: impl Iterator<Item = (String, CelValue)>) -> CelValue {
    let entries = entries.map(|(name, value)| (Key::String(Arc::new(name)), value));
    CelValue::Map(Map {
        map: Arc::new(entries.collect()),
    })
}

fn text_to_cel(text: &str, format: Option<Format>) -> CelValue {
    let plain = || CelValue::String(Arc::new(text.to_owned()));
    match format {
        Some(Format::DateTime) => construct(text, &TIMESTAMP),
        Some(Format::Duration) => construct(text, &DURATION),
        Some(Format::Byte) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_or_else(|_| plain(), |bytes| CelValue::Bytes(Arc::new(bytes))),
        _ => plain(),
    }
}

fn construct(text: &str, constructor: &'static LocalKey<Option<Program>>) -> CelValue {
    let plain = CelValue::String(Arc::new(text.to_owned()));
    CORE.with(|core| {
        let mut context = core.new_inner_scope();
        context.add_variable_from_value("text", plain.clone());
        let made = constructor.with(|program| program.as_ref()?.execute(&context).ok());
        made.unwrap_or(plain)
    })
}

/// A float that stands for a whole number, as `2.0` for a field of type integer.
fn whole(float: f64) -> CelValue {
    format!("{float:.0}")
        .parse()
        .map_or(CelValue::Float(float), CelValue::Int)
}
