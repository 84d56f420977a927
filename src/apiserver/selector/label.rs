//! Label selectors: `app=web,tier in (a,b),!legacy`.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::lexer::{Token, TokenKind, tokens};
use crate::metadata::{label_key, label_value};
use crate::status::{ApiError, Cause, FieldPath};

/// What an object's labels must be like; all requirements hold. The empty selector chooses everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Exists,
    Absent,
    Equals(String),
    NotEquals(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    /// Reads a selector as it stands in a query; a bad one is a 400 that says where reading stopped.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let parser = Parser {
            tokens: tokens(text),
            position: 0,
        };
        let mut requirements = parser.selector().map_err(ApiError::bad_request)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { requirements })
    }

    /// True when every object is chosen.
    pub(crate) fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether the object's `metadata.labels` fulfil all requirements.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        if self.requirements.is_empty() {
            return true;
        }
        let labels = object
            .get("metadata")
            .and_then(|metadata| metadata.get("labels"));
        let label = |key: &str| {
            labels
                .and_then(|labels| labels.get(key))
                .and_then(Value::as_str)
        };
        self.requirements
            .iter()
            .all(|requirement| requirement.condition.holds(label(&requirement.key)))
    }
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Equals(wanted) => value == Some(wanted),
            Self::NotEquals(unwanted) => value != Some(unwanted),
            Self::In(wanted) => value.is_some_and(|value| wanted.contains(value)),
            Self::NotIn(unwanted) => !value.is_some_and(|value| unwanted.contains(value)),
            Self::Greater(bound) => number(value).is_some_and(|number| number > *bound),
            Self::Less(bound) => number(value).is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let listed = |values: &BTreeSet<String>| {
            values
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        match &self.condition {
            Condition::Exists => f.write_str(key),
            Condition::Absent => write!(f, "!{key}"),
            Condition::Equals(value) => write!(f, "{key}={value}"),
            Condition::NotEquals(value) => write!(f, "{key}!={value}"),
            Condition::In(values) => write!(f, "{key} in ({})", listed(values)),
            Condition::NotIn(values) => write!(f, "{key} notin ({})", listed(values)),
            Condition::Greater(bound) => write!(f, "{key}>{bound}"),
            Condition::Less(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn selector(mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            let next = self.peek();
            match value_kind(&next) {
                TokenKind::End => return Ok(requirements),
                TokenKind::Identifier | TokenKind::Not => {}
                _ => {
                    return Err(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        next.text
                    ));
                }
            }
            let requirement = self.requirement();
            requirements
                .push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
            let separator = self.take();
            match separator.kind {
                TokenKind::End => return Ok(requirements),
                TokenKind::Comma => {
                    let next = self.peek();
                    if !matches!(value_kind(&next), TokenKind::Identifier | TokenKind::Not) {
                        return Err(format!(
                            "found '{}', expected: identifier after ','",
                            next.text
                        ));
                    }
                }
                _ => {
                    return Err(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        separator.text
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.take();
        let negated = token.kind == TokenKind::Not;
        if negated {
            token = self.take();
        }
        if value_kind(&token) != TokenKind::Identifier {
            return Err(format!("found '{}', expected: identifier", token.text));
        }
        let key = token.text;
        refuse(FieldPath::Root, &key, &label_key(&key))?;
        if negated {
            return Ok(Requirement {
                key,
                condition: Condition::Absent,
            });
        }
        if matches!(self.peek().kind, TokenKind::End | TokenKind::Comma) {
            return Ok(Requirement {
                key,
                condition: Condition::Exists,
            });
        }
        let operator = self.take();
        let condition = match operator.kind {
            TokenKind::Equals => Condition::Equals(self.exact_value(&key)?),
            TokenKind::NotEquals => Condition::NotEquals(self.exact_value(&key)?),
            TokenKind::Greater => Condition::Greater(self.bound(&key)?),
            TokenKind::Less => Condition::Less(self.bound(&key)?),
            TokenKind::In => Condition::In(self.values(&key)?),
            TokenKind::NotIn => Condition::NotIn(self.values(&key)?),
            TokenKind::End
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Comma
            | TokenKind::Not
            | TokenKind::Identifier => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    operator.text
                ));
            }
        };
        Ok(Requirement { key, condition })
    }

    fn exact_value(&mut self, key: &str) -> Result<String, String> {
        let value = self.value()?;
        refuse_value(key, &value)?;
        Ok(value)
    }

    /// The word after an operator; none is the empty value.
    fn value(&mut self) -> Result<String, String> {
        if matches!(self.peek().kind, TokenKind::End | TokenKind::Comma) {
            return Ok(String::new());
        }
        let token = self.take();
        if value_kind(&token) == TokenKind::Identifier {
            Ok(token.text)
        } else {
            Err(format!("found '{}', expected: identifier", token.text))
        }
    }

    fn bound(&mut self, key: &str) -> Result<i64, String> {
        let value = self.value()?;
        let malformed = refuse_value(key, &value).err();
        match (value.parse(), malformed) {
            (Ok(bound), None) => Ok(bound),
            (Ok(_), Some(malformed)) => Err(malformed),
            (Err(_), malformed) => {
                let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                let values = FieldPath::Child(&FieldPath::Root, "values");
                let not_integer = Cause::invalid_text(values.index(0), &value, detail);
                Err(malformed.map_or_else(
                    || not_integer.to_string(),
                    |malformed| format!("[{not_integer}, {malformed}]"),
                ))
            }
        }
    }

    /// `(a,b)`. Empty places count as the empty value: `(a,)` also chooses objects whose label is empty.
    fn values(&mut self, key: &str) -> Result<BTreeSet<String>, String> {
        let open = self.take();
        if open.kind != TokenKind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let mut values = BTreeSet::new();
        let mut expects_value = true;
        loop {
            let token = self.take();
            match value_kind(&token) {
                TokenKind::Identifier if expects_value => {
                    refuse_value(key, &token.text)?;
                    values.insert(token.text);
                    expects_value = false;
                }
                TokenKind::Comma => {
                    if expects_value {
                        values.insert(String::new());
                    }
                    expects_value = true;
                }
                TokenKind::Close => {
                    if expects_value {
                        values.insert(String::new());
                    }
                    return Ok(values);
                }
                _ if expects_value => {
                    let closing = if values.is_empty() {
                        ", ')' or identifier"
                    } else {
                        ", or identifier"
                    };
                    return Err(format!("found '{}', expected: ','{closing}", token.text));
                }
                _ => return Err(format!("found '{}', expected: ',' or ')'", token.text)),
            }
        }
    }

    fn peek(&self) -> Token {
        self.tokens[self.position.min(self.tokens.len() - 1)].clone()
    }

    /// The next token; the end is never passed.
    fn take(&mut self) -> Token {
        let token = self.peek();
        self.position += 1;
        token
    }
}

/// The kind of a token where a key or value stands: there `in` and `notin` are ordinary words.
fn value_kind(token: &Token) -> TokenKind {
    match token.kind {
        TokenKind::In | TokenKind::NotIn => TokenKind::Identifier,
        other => other,
    }
}

fn refuse_value(key: &str, value: &str) -> Result<(), String> {
    let values = FieldPath::Child(&FieldPath::Root, "values");
    let place = values.index(0);
    refuse(place.key(key), value, &label_value(value))
}

fn refuse(path: FieldPath<'_>, text: &str, wrong: &[String]) -> Result<(), String> {
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Cause::invalid_text(path, text, &wrong.join("; ")).to_string())
}

fn number(value: Option<&str>) -> Option<i64> {
    value.and_then(|value| value.parse().ok())
}
