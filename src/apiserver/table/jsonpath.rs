//! The part of `JSONPath` that CRD columns are written in: `.a.b`, `['a.b']`, `[0]`, `[*]` and
//! `[?(@.type=="Ready")]`.

use serde_json::Value;
use thiserror::Error;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct JsonPath(Vec<Step>);

/// What is wrong with a path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum JsonPathError {
    /// A name, bracket or filter was expected.
    #[error(
        "cannot read the path from {rest:?} on; a step is .name, ['name'], [0], [*] or [?(@.name==\"value\")]"
    )]
    Step {
        /// What is left of the path.
        rest: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Every,
    Filter {
        path: Vec<String>,
        equal: bool,
        value: Value,
    },
}

impl JsonPath {
    pub(super) fn parse(text: &str) -> Result<Self, JsonPathError> {
        let text = text.trim();
        let text = text
            .strip_prefix('{')
            .and_then(|inner| inner.strip_suffix('}'))
            .unwrap_or(text);
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let fail = || JsonPathError::Step {
                rest: rest.to_owned(),
            };
            let (step, after) = if let Some(after) = rest.strip_prefix('.') {
                let (name, after) = plain_name(after);
                if name.is_empty() {
                    // A lone dot is the object itself.
                    if !after.is_empty() {
                        return Err(fail());
                    }
                    break;
                }
                if name == "*" {
                    (Step::Every, after)
                } else {
                    (Step::Field(name), after)
                }
            } else if let Some(after) = rest.strip_prefix('[') {
                bracket(after).ok_or_else(fail)?
            } else if steps.is_empty() {
                let (name, after) = plain_name(rest);
                (Step::Field(name), after)
            } else {
                return Err(fail());
            };
            steps.push(step);
            rest = after;
        }
        Ok(Self(steps))
    }

    /// The first value the path leads to.
    pub(super) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        first(&self.0, value)
    }
}

fn first<'v>(steps: &[Step], value: &'v Value) -> Option<&'v Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    match step {
        Step::Field(name) => first(rest, value.get(name)?),
        Step::Index(index) => {
            let list = value.as_array()?;
            let index = match usize::try_from(*index) {
                Ok(index) => index,
                Err(_) => list
                    .len()
                    .checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?,
            };
            first(rest, list.get(index)?)
        }
        Step::Every => match value {
            Value::Array(list) => list.iter().find_map(|item| first(rest, item)),
            Value::Object(fields) => fields.values().find_map(|field| first(rest, field)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        },
        Step::Filter {
            path,
            equal,
            value: wanted,
        } => {
            let chosen = |item: &&Value| {
                let found = path.iter().try_fold(*item, |value, name| value.get(name));
                found.is_some_and(|found| (found == wanted) == *equal)
            };
            value
                .as_array()?
                .iter()
                .filter(chosen)
                .find_map(|item| first(rest, item))
        }
    }
}

/// A name up to the next dot or bracket; a backslash takes the special meaning from the letter after it.
fn plain_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '.' | '[' => return (name, &text[index..]),
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            letter => name.push(letter),
        }
    }
    (name, "")
}

/// What stands in brackets, and what follows them.
fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(filter) = text.strip_prefix("?(") {
        let end = end_of_filter(filter)?;
        let after = filter[end..].strip_prefix(")]")?;
        return Some((condition(&filter[..end])?, after));
    }
    if text.starts_with(['\'', '"']) {
        let (name, after) = quoted_text(text)?;
        return Some((Step::Field(name), after.strip_prefix(']')?));
    }
    let (inner, after) = text.split_once(']')?;
    match inner.trim() {
        "*" => Some((Step::Every, after)),
        index => Some((Step::Index(index.parse().ok()?), after)),
    }
}

/// Where the filter's closing `)]` stands, quotes respected.
fn end_of_filter(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ')') if text[index..].starts_with(")]") => return Some(index),
            _ => {}
        }
    }
    None
}

/// `@.a.b=="text"` or `@.a!=1`.
fn condition(text: &str) -> Option<Step> {
    let (left, equal, right) = match (text.split_once("=="), text.split_once("!=")) {
        (Some((left, right)), None) => (left, true, right),
        (None, Some((left, right))) => (left, false, right),
        // Both appear when one of them stands inside the quoted text.
        (Some((left, right)), Some((other, after))) => {
            if left.len() < other.len() {
                (left, true, right)
            } else {
                (other, false, after)
            }
        }
        (None, None) => return None,
    };
    let mut rest = left.trim().strip_prefix('@')?;
    let mut path = Vec::new();
    while let Some(after) = rest.strip_prefix('.') {
        let (name, after) = plain_name(after);
        path.push(name);
        rest = after;
    }
    if !rest.is_empty() || path.iter().any(String::is_empty) {
        return None;
    }
    let right = right.trim();
    let value = if right.starts_with(['\'', '"']) {
        let (text, after) = quoted_text(right)?;
        if !after.is_empty() {
            return None;
        }
        Value::String(text)
    } else {
        serde_json::from_str(right).ok()?
    };
    Some(Step::Filter { path, equal, value })
}

fn quoted_text(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next()?;
    let (inner, after) = text[1..].split_once(quote)?;
    Some((inner.to_owned(), after))
}
