//! Field selectors: `metadata.name=web,spec.host!=a`. Which fields a kind offers is the kind's matter.

use std::fmt;

use serde_json::Value;

use crate::status::ApiError;

/// A field that may be selected by: its label in the query and where its value stands in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelectableField {
    label: String,
    path: Vec<String>,
}

/// What an object's fields must be like; all terms hold. The empty selector chooses everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    field: SelectableField,
    equal: bool,
    value: String,
}

impl SelectableField {
    /// A field whose label is its place, as `involvedObject.name`; a leading dot is allowed.
    pub(crate) fn new(place: &str) -> Self {
        let place = place.trim_start_matches('.');
        Self::labelled(place, place)
    }

    /// A field with a label of its own, as `source` for `source.component`.
    pub(crate) fn labelled(label: &str, place: &str) -> Self {
        Self {
            label: label.to_owned(),
            path: place.split('.').map(str::to_owned).collect(),
        }
    }
}

impl FieldSelector {
    /// Reads a selector as it stands in a query. Besides `metadata.name` and `metadata.namespace` the fields in
    /// `selectable` may be used; any other, and bad syntax, is a 400.
    pub(crate) fn parse(text: &str, selectable: &[SelectableField]) -> Result<Self, ApiError> {
        let parts = split_unescaped(text);
        let terms = parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| {
                let (label, equal, value) = split_term(part).ok_or_else(|| {
                    ApiError::bad_request(format!(
                        "invalid selector: '{text}'; can't understand '{part}'"
                    ))
                })?;
                let field = match label {
                    "metadata.name" | "metadata.namespace" => SelectableField::new(label),
                    _ => selectable
                        .iter()
                        .find(|field| field.label == label)
                        .cloned()
                        .ok_or_else(|| {
                            ApiError::bad_request(format!("field label not supported: {label}"))
                        })?,
                };
                Ok(Term {
                    field,
                    equal,
                    value: unescape(value)?,
                })
            });
        Ok(Self {
            terms: terms.collect::<Result<_, ApiError>>()?,
        })
    }

    /// True when every object is chosen.
    pub(crate) fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one value `label` must have, when the selector says so: a watch for one name reads one object.
    pub(crate) fn exact(&self, label: &str) -> Option<&str> {
        let term = self
            .terms
            .iter()
            .find(|term| term.equal && term.field.label == label);
        term.map(|term| term.value.as_str())
    }

    /// Whether the object's fields fulfil all terms. An absent field counts as empty text.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| {
            let steps = &term.field.path;
            let value = steps.iter().try_fold(object, |value, step| value.get(step));
            let same = match value {
                None | Some(Value::Null) => term.value.is_empty(),
                Some(Value::String(text)) => *text == term.value,
                Some(other) => format!("{other}") == term.value,
            };
            same == term.equal
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{}{operator}{}", term.field.label, escape(&term.value))?;
        }
        Ok(())
    }
}

/// The parts between commas that no backslash protects.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (index, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// The label, whether equality is asked, and the value, split at the first operator.
fn split_term(part: &str) -> Option<(&str, bool, &str)> {
    let (index, operator) = part.char_indices().find_map(|(index, _)| {
        let operators = ["!=", "==", "="];
        let found = operators
            .into_iter()
            .find(|operator| part[index..].starts_with(operator));
        found.map(|operator| (index, operator))
    })?;
    Some((
        &part[..index],
        operator != "!=",
        &part[index + operator.len()..],
    ))
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace(',', r"\,")
        .replace('=', r"\=")
}

fn unescape(value: &str) -> Result<String, ApiError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => out.push(escaped),
                Some(other) => return Err(bad_escape(&format!("\\{other}"))),
                None => return Err(bad_escape("\\")),
            },
            ',' | '=' => {
                return Err(ApiError::bad_request(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn bad_escape(sequence: &str) -> ApiError {
    ApiError::bad_request(format!(
        "invalid field selector: invalid escape sequence: {sequence}"
    ))
}
