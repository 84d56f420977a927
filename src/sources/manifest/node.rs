//! YAML and JSON text as values that remember where they stand. Not here: what the values mean (`object`).

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::resume_unwind;
use std::thread;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Location, MessageFormatter as _, Options, Spanned, UserMessageFormatter};

use super::position::{Place, Position, Positions};

/// How many documents one file may hold.
const MAX_DOCUMENTS: usize = 10_000;
/// How many values one file may hold, those that aliases repeat included.
const MAX_NODES: usize = 250_000;
/// How deep values may be nested; Kubernetes objects stay far below.
const MAX_DEPTH: usize = 64;
/// How often one file may refer to an anchor.
const MAX_ALIASES: usize = 1_000;

/// The stack that reads values nested that deep, with room to spare in unoptimised builds.
const STACK: usize = 16 * 1024 * 1024;

/// A value of a document, with the place of everything in it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) positions: Positions,
    /// Fields that stand more than once, by their paths below this value.
    pub(super) duplicates: Vec<Duplicate>,
}

/// A field that stands twice in one mapping.
#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) path: String,
    pub(super) at: Position,
    pub(super) first: Position,
}

/// Text that is no YAML, and where the reader gave up.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) at: Option<Position>,
    pub(super) message: String,
}

/// Reads all documents of a file; empty ones are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    // Deep nesting is recursion: on a stack of its own it never meets the caller's end.
    let read = || serde_saphyr::from_multiple_with_options(text, options());
    let result = thread::scope(|scope| {
        let reader = thread::Builder::new()
            .name("manifest".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, read)?;
        Ok(reader.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    match result {
        Ok(documents) => documents.map_err(|error| SyntaxError {
            at: error.location().map(|location| position(&location)),
            message: sentence(&error),
        }),
        Err(error) => Err(thread_failed(&error)),
    }
}

fn thread_failed(error: &io::Error) -> SyntaxError {
    SyntaxError {
        at: None,
        message: format!("cannot be read now: {error}"),
    }
}

/// As kubectl reads manifests: YAML 1.1 booleans and octal numbers, merge keys; with budgets that no honest manifest meets.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_merge_keys: MAX_ALIASES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES / 5,
            max_replay_stack_depth: 16,
        },
        // Handed on, so that every one of them can be reported.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        reject_unsupported_tags: true,
        emit_comments: false,
        // Snippets would show what stands in Secrets.
        with_snippet: false,
    }
}

/// The error's sentence without the place, which stands in front of it; control characters are made visible.
fn sentence(error: &serde_saphyr::Error) -> String {
    let text = UserMessageFormatter
        .format_message(error.without_snippet())
        .into_owned();
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_debug().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

fn position(location: &Location) -> Position {
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Position {
        line: narrow(location.line()),
        column: narrow(location.column()),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        // An alias is mended where its anchor stands.
        let at = position(&spanned.defined);
        let Content {
            value,
            inner,
            duplicates,
        } = spanned.value;
        Ok(Self {
            value,
            positions: Positions { at, inner },
            duplicates,
        })
    }
}

/// A node without its own place.
struct Content {
    value: Value,
    inner: Place,
    duplicates: Vec<Duplicate>,
}

impl Content {
    fn scalar(value: Value) -> Self {
        Self {
            value,
            inner: Place::Scalar,
            duplicates: Vec::new(),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::scalar(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::scalar(Value::Number(value.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        let number = Number::from_f64(value)
            .ok_or_else(|| E::custom("infinity and NaN are no numbers in an object"))?;
        Ok(Content::scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::scalar(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::scalar(Value::String(value)))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let (mut values, mut positions, mut duplicates) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(item) = items.next_element::<Node>()? {
            let here = format!("[{}]", values.len());
            duplicates.extend(
                item.duplicates
                    .into_iter()
                    .map(|duplicate| duplicate.below(&here)),
            );
            values.push(item.value);
            positions.push(item.positions);
        }
        Ok(Content {
            value: Value::Array(values),
            inner: Place::Items(positions),
            duplicates,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Content, A::Error> {
        let (mut values, mut positions, mut duplicates) = (
            Map::new(),
            BTreeMap::<Box<str>, Positions>::new(),
            Vec::new(),
        );
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            // Names are text, whatever else `on` or `80` might mean as values.
            let (at, name) = (position(&key.defined), key.value);
            let field = fields.next_value::<Node>()?;
            duplicates.extend(
                field
                    .duplicates
                    .into_iter()
                    .map(|duplicate| duplicate.below(&name)),
            );
            // A field is looked for where its name stands: the value may begin on a later line.
            let place = Positions {
                at,
                inner: field.positions.inner,
            };
            if let Some(first) = positions.get(name.as_str()) {
                duplicates.push(Duplicate {
                    path: name.clone(),
                    at,
                    first: first.at,
                });
            }
            values.insert(name.clone(), field.value);
            positions.insert(name.into_boxed_str(), place);
        }
        Ok(Content {
            value: Value::Object(values),
            inner: Place::Fields(sorted(positions)),
            duplicates,
        })
    }
}

/// The places of fields as they are kept: there are many, and a tree has room for more.
pub(super) fn sorted(fields: BTreeMap<Box<str>, Positions>) -> Vec<(Box<str>, Positions)> {
    fields.into_iter().collect()
}

impl Duplicate {
    fn below(mut self, parent: &str) -> Self {
        let dot = if self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{parent}{dot}{}", self.path);
        self
    }
}
