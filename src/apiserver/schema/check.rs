//! Judging values against a node: types, bounds, formats, enums and combinations. Nothing is changed here.

use serde_json::{Map, Value, json};

use super::format::Format;
use super::node::{Junctors, Node, Type};
use crate::status::{Cause, CauseReason, FieldPath, quoted, shown};

impl Node {
    /// Judges a value and everything below it.
    pub(super) fn check(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if let Some(node) = self.field(name) {
                        node.check(value, &path.child(name), causes);
                    }
                }
            }
            Value::Array(list) => {
                if let Some(items) = &self.items {
                    for (index, item) in list.iter().enumerate() {
                        items.check(item, &path.index(index), causes);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        self.check_here(value, path, causes);
    }

    /// Judges a value without what is below it.
    pub(super) fn check_here(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        self.check_type(value, path, causes);
        if value.is_null() && self.nullable {
            return;
        }
        if let Some(junctors) = self.junctors.as_ref().filter(|_| !value.is_null()) {
            junctors.check(value, path, causes);
        }
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(_) => self.check_number(value, path, causes),
            Value::String(text) => self.check_text(text, path, causes),
            Value::Array(list) => self.check_length(list.len(), path, causes),
            Value::Object(fields) => self.check_object(fields, path, causes),
        }
        self.check_enum(value, path, causes);
    }

    fn check_type(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        let actual = Type::of(value);
        let accepted = match actual {
            Type::Null => {
                self.types.is_empty() || self.nullable || self.types.contains(&Type::Null)
            }
            Type::Integer => self.allows(Type::Integer) || self.allows(Type::Number),
            Type::Number => {
                self.allows(Type::Number) || (self.allows(Type::Integer) && is_whole(value))
            }
            Type::Boolean | Type::String | Type::Array | Type::Object => self.allows(actual),
        };
        if accepted {
            return;
        }
        let (expected, got) = match (self.format, actual) {
            (Some(format), Type::Integer) => (format.name().to_owned(), "int64"),
            (Some(format), Type::Number) => (format.name().to_owned(), "float64"),
            (Some(format), Type::Boolean | Type::Object) => (format.name().to_owned(), ""),
            (None, _) | (Some(_), Type::Null | Type::String | Type::Array) => {
                let names: Vec<&str> = self.types.iter().map(|kind| kind.name()).collect();
                (names.join(","), actual.name())
            }
        };
        let detail = format!(
            "{} in body must be of type {expected}: {}",
            named(path),
            quoted(got)
        );
        causes.push(Cause::type_invalid(path, &json!(got), &detail));
    }

    fn allows(&self, kind: Type) -> bool {
        self.types.is_empty() || self.types.contains(&kind)
    }

    fn check_number(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        let Some(number) = value.as_f64() else {
            return;
        };
        let in_range = match self.format {
            Some(Format::Int32) => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number),
            Some(Format::Float) => number.abs() <= f64::from(f32::MAX),
            _ => true,
        };
        if let (false, Some(format)) = (in_range, self.format) {
            let kind = if format == Format::Int32 {
                Type::Integer
            } else {
                Type::Number
            };
            let detail = format!(
                "Checked value must be of type {} with format {} in {}",
                kind.name(),
                format.name(),
                named(path)
            );
            causes.push(Cause::invalid(path, value, &detail));
        }
        let limits = self.limits();
        let mut broken = |rule: &str, bound: f64| {
            let detail = format!(
                "{} in body should be {rule} {}",
                named(path),
                shown(&json!(bound))
            );
            causes.push(Cause::invalid(path, value, &detail));
        };
        if let Some(factor) = limits.multiple_of {
            let quotient = if factor < 1.0 {
                1.0 / factor * number
            } else {
                number / factor
            };
            // Decimal factors as 0.1 have no exact quotient.
            if (quotient - quotient.round()).abs() > 1e-9 * quotient.abs().max(1.0) {
                broken("a multiple of", factor);
            }
        }
        if let Some(maximum) = limits.maximum {
            if limits.exclusive_maximum && number >= maximum {
                broken("less than", maximum);
            } else if number > maximum {
                broken("less than or equal to", maximum);
            }
        }
        if let Some(minimum) = limits.minimum {
            if limits.exclusive_minimum && number <= minimum {
                broken("greater than", minimum);
            } else if number < minimum {
                broken("greater than or equal to", minimum);
            }
        }
    }

    /// The first broken bound is told; the format is told besides.
    fn check_text(&self, text: &str, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        let limits = self.limits();
        if limits.max_length.is_some() || limits.min_length.is_some() || limits.pattern.is_some() {
            let length = text.chars().count();
            if let Some(max) = limits.max_length.filter(|max| length > *max) {
                causes.push(Cause::too_long(path, max));
            } else if let Some(min) = limits.min_length.filter(|min| length < *min) {
                let detail = format!(
                    "{} in body should be at least {min} chars long",
                    named(path)
                );
                causes.push(Cause::invalid_text(path, text, &detail));
            } else if let Some(pattern) = limits
                .pattern
                .as_ref()
                .filter(|pattern| !pattern.is_match(text))
            {
                let detail = format!("{} in body should match '{pattern}'", named(path));
                causes.push(Cause::invalid_text(path, text, &detail));
            }
        }
        if let Some(format) = self.format.filter(|format| !format.accepts_text(text)) {
            let detail = format!(
                "{} in body must be of type {}: {}",
                named(path),
                format.name(),
                quoted(text)
            );
            causes.push(Cause::type_invalid(path, &json!(text), &detail));
        }
    }

    fn check_length(&self, length: usize, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        if let Some(min) = self.limits().min_items.filter(|min| length < *min) {
            let detail = format!("{} in body should have at least {min} items", named(path));
            causes.push(Cause::invalid(path, &json!(length), &detail));
        }
        if let Some(max) = self.limits().max_items.filter(|max| length > *max) {
            causes.push(Cause::too_many(path, length, max));
        }
    }

    fn check_object(
        &self,
        fields: &Map<String, Value>,
        path: &FieldPath<'_>,
        causes: &mut Vec<Cause>,
    ) {
        let size = fields.len();
        if let Some(min) = self.limits().min_properties.filter(|min| size < *min) {
            let detail = format!(
                "{} in body should have at least {min} properties",
                named(path)
            );
            causes.push(Cause::invalid(path, &json!(size), &detail));
        }
        if let Some(max) = self.limits().max_properties.filter(|max| size > *max) {
            causes.push(Cause::too_many(path, size, max));
        }
        for name in self
            .required
            .iter()
            .filter(|name| !fields.contains_key(*name))
        {
            causes.push(Cause::required(path.child(name), ""));
        }
    }

    fn check_enum(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        if self.enumeration.is_empty()
            || self.enumeration.iter().any(|allowed| same(allowed, value))
        {
            return;
        }
        let supported: Vec<String> = self
            .enumeration
            .iter()
            .map(|allowed| {
                allowed
                    .as_str()
                    .map_or_else(|| allowed.to_string(), str::to_owned)
            })
            .collect();
        causes.push(Cause::not_supported(
            path,
            value,
            supported.iter().map(String::as_str),
        ));
    }
}

impl Junctors {
    fn check(&self, value: &Value, path: &FieldPath<'_>, causes: &mut Vec<Cause>) {
        let mut broken = |rule: String| {
            let detail = format!("{} must {rule}", quoted(&named(path)));
            causes.push(Cause::invalid(path, &json!(""), &detail));
        };
        let mut blamed = Vec::new();
        if !self.any_of.is_empty() {
            let (accepting, closest) = judge(&self.any_of, value, path);
            if accepting == 0 {
                broken("validate at least one schema (anyOf)".to_owned());
                blamed.extend(closest);
            }
        }
        if !self.one_of.is_empty() {
            let (accepting, closest) = judge(&self.one_of, value, path);
            if accepting == 0 {
                broken("validate one and only one schema (oneOf). Found none valid".to_owned());
                blamed.extend(closest);
            } else if accepting > 1 {
                broken(format!(
                    "validate one and only one schema (oneOf). Found {accepting} valid alternatives"
                ));
            }
        }
        if !self.all_of.is_empty() {
            let verdicts = self
                .all_of
                .iter()
                .map(|branch| verdict(branch, value, path));
            let failures: Vec<Vec<Cause>> =
                verdicts.filter(|verdict| !verdict.is_empty()).collect();
            if !failures.is_empty() {
                let none = if failures.len() == self.all_of.len() {
                    ". None validated"
                } else {
                    ""
                };
                blamed.extend(failures.into_iter().flatten());
                broken(format!("validate all the schemas (allOf){none}"));
            }
        }
        if self
            .not
            .as_ref()
            .is_some_and(|not| verdict(not, value, path).is_empty())
        {
            broken("not validate the schema (not)".to_owned());
        }
        causes.extend(blamed);
    }
}

/// How many branches accept the value, and the mistakes of the one that comes closest when none does: a branch for values
/// of another type is farther than any other.
fn judge(branches: &[Node], value: &Value, path: &FieldPath<'_>) -> (usize, Vec<Cause>) {
    let distance = |mistakes: &[Cause]| {
        let other_type = mistakes
            .iter()
            .any(|cause| cause.reason == CauseReason::FieldValueTypeInvalid);
        (other_type, mistakes.len())
    };
    let mut accepting = 0;
    let mut closest: Option<Vec<Cause>> = None;
    for branch in branches {
        let mistakes = verdict(branch, value, path);
        if mistakes.is_empty() {
            accepting += 1;
        } else if closest
            .as_ref()
            .is_none_or(|best| distance(&mistakes) < distance(best))
        {
            closest = Some(mistakes);
        }
    }
    (accepting, closest.unwrap_or_default())
}

fn verdict(branch: &Node, value: &Value, path: &FieldPath<'_>) -> Vec<Cause> {
    let mut mistakes = Vec::new();
    branch.check(value, path, &mut mistakes);
    mistakes
}

/// The path inside a sentence, where the root has no name.
fn named(path: &FieldPath<'_>) -> String {
    match path {
        FieldPath::Root => String::new(),
        FieldPath::Child(..) | FieldPath::Index(..) | FieldPath::Key(..) => path.to_string(),
    }
}

/// Whether a float is a whole number that JSON can carry exactly.
fn is_whole(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|number| number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_991.0)
}

/// Equality in which 2 and 2.0 are one number.
fn same(allowed: &Value, value: &Value) -> bool {
    match (allowed, value) {
        (Value::Number(allowed), Value::Number(value)) => {
            allowed == value || allowed.as_f64() == value.as_f64()
        }
        _ => allowed == value,
    }
}
