//! Structural schemas: compiled once from a CRD's `openAPIV3Schema`, then one pass over an object defaults, prunes and
//! validates it. Rules in CEL and the metadata of objects are not judged here.

mod admit;
mod check;
mod compile;
mod format;
mod list;
mod node;
mod suggest;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use crate::status::{Cause, FieldPath};

pub(crate) use format::Format;
pub(crate) use node::{ListType, Node, Type};
pub(crate) use suggest::suggest;

/// The compiled schema of one version of one kind. Immutable; share it behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Schema {
    root: Node,
}

/// What one pass over an object found: mistakes, and fields that were dropped because nobody declared them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Fields that were dropped, in the order of their paths.
    pub(crate) unknown: Vec<UnknownField>,
    /// Mistakes, in the order of the walk.
    pub(crate) causes: Vec<Cause>,
}

/// A field the schema does not know. Prints as the sentence clients get in a warning or a strict error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnknownField {
    /// Where it stood, as `spec.ports[0].hostport`.
    pub(crate) path: String,
    /// The known sibling it was most likely meant to be.
    pub(crate) meant: Option<String>,
}

/// Why a CRD's schema cannot be served. A mistake of whoever wrote the CRD, never of a user's object.
#[derive(Debug, Error)]
pub(crate) enum SchemaError {
    /// A keyword holds something of the wrong JSON type or out of range.
    #[error("{path}: {keyword} must be {expected}")]
    Keyword {
        /// The schema node, as `spec.ports[]`.
        path: String,
        /// The keyword, as `maxLength`.
        keyword: &'static str,
        /// What it should have been.
        expected: &'static str,
    },
    /// A keyword that structural schemas do not have.
    #[error("{path}: {keyword} is not allowed in a structural schema")]
    Unsupported {
        /// The schema node.
        path: String,
        /// The keyword.
        keyword: &'static str,
    },
    /// A `pattern` is no regular expression.
    #[error("{path}: pattern is not a regular expression")]
    Pattern {
        /// The schema node.
        path: String,
        /// What the expression's parser says.
        #[source]
        source: regex::Error,
    },
    /// A default breaks the schema it stands in.
    #[error("{path}: the default is invalid: {mistakes}")]
    Default {
        /// The schema node.
        path: String,
        /// Every mistake in it, one sentence after the other.
        mistakes: String,
    },
}

impl Schema {
    /// Compiles the `openAPIV3Schema` of a CRD version. Every default is checked against its own schema here, so that
    /// defaulting an object cannot make it invalid.
    pub(crate) fn compile(schema: &Value) -> Result<Self, SchemaError> {
        Node::compile(schema, "").map(|root| Self { root })
    }

    /// Fills defaults in, drops unknown fields and nulls, and validates, all in one walk. What was wrong is appended to
    /// `findings`; `apiVersion`, `kind` and `metadata` of the object are left alone. An object that passed is left
    /// unchanged by a second pass.
    pub(crate) fn admit(&self, object: &mut Value, findings: &mut Findings) {
        self.root.admit_object(object, findings);
    }

    /// The same for one top-level field only, as `status`: what stands elsewhere in the object is neither changed nor
    /// judged, so that an object made before the schema became stricter can still report its state.
    pub(crate) fn admit_field(&self, field: &str, object: &mut Value, findings: &mut Findings) {
        self.root.admit_field(field, object, findings);
    }

    /// The root node, for those who need the structure: field ownership and CEL.
    pub(crate) fn root(&self) -> &Node {
        &self.root
    }
}

impl Findings {
    /// The paths that a CEL rule could stumble over: wrong types, missing fields, values out of an enum and oversized
    /// ones keep the rules about them, and about what is around them, from being evaluated.
    pub(crate) fn in_the_way_of_rules(&self) -> Vec<String> {
        use crate::status::CauseReason as Reason;
        let in_the_way = self.causes.iter().filter(|cause| match cause.reason {
            Reason::FieldValueRequired
            | Reason::FieldValueNotSupported
            | Reason::FieldValueTypeInvalid
            | Reason::FieldValueTooLong
            | Reason::FieldValueTooMany => true,
            Reason::FieldValueInvalid
            | Reason::FieldValueDuplicate
            | Reason::FieldValueForbidden
            | Reason::ResourceVersionTooLarge
            | Reason::NamespaceTerminating => false,
        });
        in_the_way.map(|cause| cause.field.clone()).collect()
    }

    fn drop_field<'k>(
        &mut self,
        parent: &FieldPath<'_>,
        name: &str,
        known: impl Iterator<Item = &'k str>,
    ) {
        self.unknown.push(UnknownField {
            path: parent.child(name).to_string(),
            meant: suggest(name, known).map(str::to_owned),
        });
    }
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown field {}", crate::status::quoted(&self.path))?;
        match &self.meant {
            Some(meant) => write!(f, ", did you mean {}?", crate::status::quoted(meant)),
            None => Ok(()),
        }
    }
}
