//! Rules in CEL (`x-kubernetes-validations`): compiled once with the schema, evaluated on every create and update. The
//! structure of objects is judged before, in `schema`.

mod rule;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use serde_json::Value;
use thiserror::Error;

use crate::schema::{Findings, ListType, Node, Schema};
use crate::status::{Cause, CauseReason, FieldPath};
use rule::Rule;

/// All rules of one version of one kind. Immutable; share it beside its schema.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    root: RuleNode,
}

/// Why a CRD's rules cannot be served. A mistake of whoever wrote the CRD.
#[derive(Debug, Error)]
pub(crate) enum RuleError {
    /// `x-kubernetes-validations` is no list of rules.
    #[error("{path}: x-kubernetes-validations is not a list of rules")]
    Malformed {
        /// The schema node, as `spec.ports[]`; empty for the root.
        path: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// An expression is no CEL.
    #[error("{path}: cannot compile the rule {expression:?}")]
    Compile {
        /// The schema node.
        path: String,
        /// The rule or message expression.
        expression: String,
        /// What the parser says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A rule says something that has no meaning here.
    #[error("{path}: the rule {expression:?} cannot be used: {why}")]
    Meaning {
        /// The schema node.
        path: String,
        /// The rule.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The rules at one schema node and below it; nodes without any rule are left out.
#[derive(Debug, Default)]
struct RuleNode {
    rules: Vec<Rule>,
    properties: BTreeMap<String, Self>,
    additional: Option<Box<Self>>,
    items: Option<Box<Self>>,
}

impl Rules {
    /// Compiles every rule in an `openAPIV3Schema`.
    pub(crate) fn compile(schema: &Value) -> Result<Self, RuleError> {
        let root = RuleNode::compile(schema, "", true)?;
        Ok(Self {
            root: root.unwrap_or_default(),
        })
    }

    /// Evaluates the rules on an admitted object. `old` is the object before an update: rules about the transition hold
    /// only then. What the schema found before may keep some rules from being evaluated; then one more cause says so.
    pub(crate) fn check(
        &self,
        schema: &Schema,
        object: &Value,
        old: Option<&Value>,
        findings: &mut Findings,
    ) {
        let visit = Visit {
            rules: &self.root,
            node: Some(schema.root()),
            value: object,
            old,
        };
        visit.judge(&FieldPath::Root, findings);
    }

    /// The same for one top-level field only, as `status`. Rules at the root are not evaluated.
    pub(crate) fn check_field(
        &self,
        field: &str,
        schema: &Schema,
        object: &Value,
        old: Option<&Value>,
        findings: &mut Findings,
    ) {
        if let (Some(rules), Some(value)) = (self.root.properties.get(field), object.get(field)) {
            let visit = Visit {
                rules,
                node: schema.root().field(field),
                value,
                old: old.and_then(|old| old.get(field)),
            };
            visit.judge(&FieldPath::Root.child(field), findings);
        }
    }
}

/// What is found on the walk, and what the rules must not look at.
struct Judgement<'a> {
    causes: &'a mut Vec<Cause>,
    /// The paths of values that a rule could stumble over.
    wrong: Vec<String>,
    /// Whether a rule was not evaluated because of them.
    skipped: bool,
}

/// Where a value stands to those that are wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Soundness {
    /// Nothing is wrong with it.
    Sound,
    /// Something below it is wrong.
    Partly,
    /// It is wrong itself.
    Wrong,
}

impl Judgement<'_> {
    fn soundness(&self, path: &FieldPath<'_>) -> Soundness {
        if self.wrong.is_empty() {
            return Soundness::Sound;
        }
        let path = path.to_string();
        let mut soundness = Soundness::Sound;
        for wrong in &self.wrong {
            match wrong.strip_prefix(&path) {
                Some("") => return Soundness::Wrong,
                Some(rest) if rest.starts_with(['.', '[']) => soundness = Soundness::Partly,
                Some(_) | None => {}
            }
        }
        soundness
    }
}

impl RuleNode {
    /// `None` when there is no rule here nor below. `correlatable` says whether an old value can be found for the
    /// values here: items of atomic lists have none.
    fn compile(schema: &Value, path: &str, correlatable: bool) -> Result<Option<Self>, RuleError> {
        let rules = Rule::compile_all(schema, path, correlatable)?;
        let mut properties = BTreeMap::new();
        let inner = correlatable
            && schema
                .get("x-kubernetes-map-type")
                .is_none_or(|kind| kind != "atomic");
        for (name, schema) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let place = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            if let Some(node) = Self::compile(schema, &place, inner)? {
                properties.insert(name.clone(), node);
            }
        }
        let additional = match schema.get("additionalProperties") {
            Some(schema @ Value::Object(_)) => Self::compile(schema, &format!("{path}[*]"), inner)?,
            _ => None,
        };
        let by_key = correlatable
            && schema
                .get("x-kubernetes-list-type")
                .is_some_and(|kind| kind == "map");
        let items = match schema.get("items") {
            Some(schema) => Self::compile(schema, &format!("{path}[]"), by_key)?,
            None => None,
        };
        let node = Self {
            rules,
            properties,
            additional: additional.map(Box::new),
            items: items.map(Box::new),
        };
        Ok(if node.is_empty() { None } else { Some(node) })
    }

    fn is_empty(&self) -> bool {
        self.rules.is_empty()
            && self.properties.is_empty()
            && self.additional.is_none()
            && self.items.is_none()
    }
}

/// One value on the walk: its rules, its schema, and what it was before.
#[derive(Clone, Copy)]
struct Visit<'a> {
    rules: &'a RuleNode,
    node: Option<&'a Node>,
    value: &'a Value,
    old: Option<&'a Value>,
}

impl Visit<'_> {
    /// Walks from here, and says so when rules could not be evaluated.
    fn judge(&self, path: &FieldPath<'_>, findings: &mut Findings) {
        if self.rules.is_empty() {
            return;
        }
        let mut judgement = Judgement {
            wrong: findings.in_the_way_of_rules(),
            causes: &mut findings.causes,
            skipped: false,
        };
        self.run(path, &mut judgement);
        if judgement.skipped {
            let message = "Invalid value: null: some validation rules were not checked because the object was invalid; \
                           correct the existing errors to complete validation";
            let cause = Cause::new(CauseReason::FieldValueInvalid, FieldPath::Root, message);
            findings.causes.push(cause);
        }
    }

    fn run(&self, path: &FieldPath<'_>, judgement: &mut Judgement<'_>) {
        let old = self.old.filter(|old| !old.is_null());
        let soundness = match path {
            FieldPath::Root if !judgement.wrong.is_empty() => Soundness::Partly,
            path => judgement.soundness(path),
        };
        // A rule about a value that may be null belongs to the schema around it.
        if !self.rules.rules.is_empty() && !self.value.is_null() {
            if soundness == Soundness::Sound {
                let rules = &self.rules.rules;
                rule::evaluate(rules, self.node, self.value, old, path, judgement.causes);
            } else {
                judgement.skipped = true;
            }
        }
        if soundness == Soundness::Wrong {
            // The list or map may be too long to look at each of its items.
            judgement.skipped = true;
            return;
        }
        match self.value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let below = match (self.rules.properties.get(name), &self.rules.additional) {
                        (Some(rules), _) => Some((rules, path.child(name))),
                        (None, Some(rules)) => Some((&**rules, path.key(name))),
                        (None, None) => None,
                    };
                    if let Some((rules, path)) = below {
                        let visit = Visit {
                            rules,
                            node: self.node.and_then(|node| node.field(name)),
                            value,
                            old: old.and_then(|old| old.get(name)),
                        };
                        visit.run(&path, judgement);
                    }
                }
            }
            Value::Array(list) => {
                let Some(rules) = &self.rules.items else {
                    return;
                };
                let keys = self.node.map(Node::list_type);
                for (index, value) in list.iter().enumerate() {
                    let visit = Visit {
                        rules,
                        node: self.node.and_then(Node::items),
                        value,
                        old: old.and_then(|old| same_item(old, keys, value)),
                    };
                    visit.run(&path.index(index), judgement);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The item of the old list with the same keys.
fn same_item<'o>(old: &'o Value, list_type: Option<&ListType>, item: &Value) -> Option<&'o Value> {
    let Some(ListType::Map(keys)) = list_type else {
        return None;
    };
    let old = old.as_array()?;
    old.iter()
        .find(|candidate| keys.iter().all(|key| candidate.get(key) == item.get(key)))
}
