//! Field paths and causes: what exactly is wrong with which field, in the words API clients know. No HTTP here.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

/// A place in an object, held on the stack while a walk descends; it becomes text only when something is wrong.
/// Prints as `spec.ports[0].hostPort` and `spec.env[FOO]`; the empty path prints as `<nil>`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldPath<'a> {
    /// The object itself.
    Root,
    /// A named field of a structure.
    Child(&'a Self, &'a str),
    /// An element of a list.
    Index(&'a Self, usize),
    /// An entry of a map with free keys.
    Key(&'a Self, &'a str),
}

impl<'a> FieldPath<'a> {
    /// The field `name` below this place.
    pub(crate) fn child<'b>(&'b self, name: &'b str) -> FieldPath<'b>
    where
        'a: 'b,
    {
        FieldPath::Child(self, name)
    }

    /// The list element `index` below this place.
    pub(crate) fn index<'b>(&'b self, index: usize) -> FieldPath<'b>
    where
        'a: 'b,
    {
        FieldPath::Index(self, index)
    }

    /// The map entry `key` below this place.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> FieldPath<'b>
    where
        'a: 'b,
    {
        FieldPath::Key(self, key)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Root => Ok(()),
            FieldPath::Child(FieldPath::Root, name) => f.write_str(name),
            FieldPath::Child(parent, name) => {
                parent.write(f)?;
                write!(f, ".{name}")
            }
            FieldPath::Index(parent, index) => {
                parent.write(f)?;
                write!(f, "[{index}]")
            }
            FieldPath::Key(parent, key) => {
                parent.write(f)?;
                write!(f, "[{key}]")
            }
        }
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldPath::Root => f.write_str("<nil>"),
            FieldPath::Child(..) | FieldPath::Index(..) | FieldPath::Key(..) => self.write(f),
        }
    }
}

/// The machine-readable kind of a cause, spelled on the wire as its variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum CauseReason {
    /// A value is missing.
    FieldValueRequired,
    /// A value is malformed or out of bounds.
    FieldValueInvalid,
    /// A value stands twice where it must be unique.
    FieldValueDuplicate,
    /// A value is not one of the allowed ones.
    FieldValueNotSupported,
    /// A value is well-formed but not allowed here.
    FieldValueForbidden,
    /// A value has the wrong JSON type.
    FieldValueTypeInvalid,
    /// A string is too long.
    FieldValueTooLong,
    /// A list has too many items.
    FieldValueTooMany,
    /// The client asked for a resource version that does not exist yet.
    ResourceVersionTooLarge,
    /// The namespace is being deleted.
    NamespaceTerminating,
}

impl CauseReason {
    /// The words an error message begins with.
    fn label(self) -> &'static str {
        match self {
            Self::FieldValueRequired => "Required value",
            Self::FieldValueInvalid | Self::FieldValueTypeInvalid => "Invalid value",
            Self::FieldValueDuplicate => "Duplicate value",
            Self::FieldValueNotSupported => "Unsupported value",
            Self::FieldValueForbidden => "Forbidden",
            Self::FieldValueTooLong => "Too long",
            Self::FieldValueTooMany => "Too many",
            Self::ResourceVersionTooLarge => "Too large resource version",
            Self::NamespaceTerminating => "Terminating",
        }
    }

    /// The reason a CEL rule names, or `None` when it is not one of the four that a rule may use.
    pub(crate) fn of_rule(reason: &str) -> Option<Self> {
        match reason {
            "FieldValueRequired" => Some(Self::FieldValueRequired),
            "FieldValueInvalid" => Some(Self::FieldValueInvalid),
            "FieldValueDuplicate" => Some(Self::FieldValueDuplicate),
            "FieldValueForbidden" => Some(Self::FieldValueForbidden),
            _ => None,
        }
    }
}

/// One thing that is wrong with one field: an entry of `status.details.causes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    /// What kind of mistake it is.
    pub(crate) reason: CauseReason,
    /// The sentence without the field's path, as `Required value: give an image`.
    pub(crate) message: String,
    /// The field's path, as `spec.ports[0].hostPort`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) field: String,
}

impl Cause {
    /// A cause whose message is used as it is.
    pub(crate) fn new(
        reason: CauseReason,
        field: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self {
            reason,
            message: message.into(),
            field: field.to_string(),
        }
    }

    /// `Required value: DETAIL`.
    pub(crate) fn required(field: impl fmt::Display, detail: &str) -> Self {
        Self::plain(CauseReason::FieldValueRequired, &field, detail)
    }

    /// `Forbidden: DETAIL`.
    pub(crate) fn forbidden(field: impl fmt::Display, detail: &str) -> Self {
        Self::plain(CauseReason::FieldValueForbidden, &field, detail)
    }

    /// `Too long: may not be more than MAX bytes`.
    pub(crate) fn too_long(field: impl fmt::Display, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {unit}");
        Self::plain(CauseReason::FieldValueTooLong, &field, &detail)
    }

    /// `Too many: ACTUAL: must have at most MAX items`.
    pub(crate) fn too_many(field: impl fmt::Display, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        let message = format!("Too many: {actual}: must have at most {max} {unit}");
        Self::new(CauseReason::FieldValueTooMany, field, message)
    }

    /// `Invalid value: VALUE: DETAIL`.
    pub(crate) fn invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::valued(CauseReason::FieldValueInvalid, &field, value, detail)
    }

    /// `Invalid value: "TEXT": DETAIL`, for a value that is text.
    pub(crate) fn invalid_text(field: impl fmt::Display, text: &str, detail: &str) -> Self {
        let message = format!("Invalid value: {}: {detail}", quoted(text));
        Self::new(CauseReason::FieldValueInvalid, field, message)
    }

    /// `Invalid value: VALUE: DETAIL` for a value of the wrong JSON type.
    pub(crate) fn type_invalid(field: impl fmt::Display, value: &Value, detail: &str) -> Self {
        Self::valued(CauseReason::FieldValueTypeInvalid, &field, value, detail)
    }

    /// `Duplicate value: VALUE`.
    pub(crate) fn duplicate(field: impl fmt::Display, value: &Value) -> Self {
        Self::valued(CauseReason::FieldValueDuplicate, &field, value, "")
    }

    /// `Unsupported value: VALUE: supported values: "a", "b"`.
    pub(crate) fn not_supported<'v>(
        field: impl fmt::Display,
        value: &Value,
        supported: impl IntoIterator<Item = &'v str>,
    ) -> Self {
        let quoted: Vec<String> = supported.into_iter().map(quoted).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::valued(CauseReason::FieldValueNotSupported, &field, value, &detail)
    }

    /// What a failed rule says: `LABEL: VALUE: DETAIL` with the label of `reason`. The value is left out where it is not
    /// given and where its kind of cause has none.
    pub(crate) fn rule(
        reason: CauseReason,
        field: impl fmt::Display,
        value: Option<&Value>,
        detail: &str,
    ) -> Self {
        let unvalued = matches!(
            reason,
            CauseReason::FieldValueRequired | CauseReason::FieldValueForbidden
        );
        match value.filter(|_| !unvalued) {
            Some(value) => Self::valued(reason, &field, value, detail),
            None => Self::plain(reason, &field, detail),
        }
    }

    fn plain(reason: CauseReason, field: &dyn fmt::Display, detail: &str) -> Self {
        let mut message = reason.label().to_owned();
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self::new(reason, field, message)
    }

    fn valued(reason: CauseReason, field: &dyn fmt::Display, value: &Value, detail: &str) -> Self {
        let mut message = format!("{}: {}", reason.label(), shown(value));
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        Self::new(reason, field, message)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Text in double quotes, escaped the way Go's `%q` does: clients compare and print these messages.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.extend(format!("\\x{:02x}", u32::from(c)).chars()),
            c if c.is_control() => out.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as messages show it: text quoted, numbers plain, everything else as JSON.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => shown_float(float),
            Some(_) | None => number.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value
            .to_string()
            .replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026"),
    }
}

/// A float without a fraction loses its `.0`, and large ones get a signed exponent.
fn shown_float(float: f64) -> String {
    let magnitude = float.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        let text = format!("{float:e}");
        let Some((mantissa, exponent)) = text.split_once('e') else {
            return text;
        };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    float.to_string()
}
