//! One step of a synchronisation as data: one call to the API, and why.

use std::fmt;

use serde_json::Value;

use crate::set::ObjectKey;

/// One call to the API and its reason. Prints as a line of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncAction {
    /// The object it is about.
    pub key: ObjectKey,
    /// What is done.
    pub step: Step,
    /// Why.
    pub cause: Cause,
}

/// What is done with an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// It is created as it stands here.
    Create(Value),
    /// It is changed by this merge patch.
    Patch(Value),
    /// It is deleted, if it is still the one with this UID.
    Prune {
        /// The UID.
        uid: String,
    },
    /// It stays, and the marks of its source are taken off by this merge patch.
    Release(Value),
}

/// Why a step is taken. Names fields, never values: those may be secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It is declared and does not exist.
    New,
    /// Declared fields differ, or fields are declared no more.
    Differs {
        /// Fields whose value is not the declared one.
        changed: Vec<String>,
        /// Fields that were declared before and are not now.
        removed: Vec<String>,
        /// Whether the object had been made by somebody else and is taken over.
        taken_over: bool,
    },
    /// It was applied by this source and is declared no more.
    NotDeclared,
    /// It is declared no more, and removing it would remove what others put into it.
    HoldsOthers,
}

impl fmt::Display for SyncAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.step {
            Step::Create(_) => "create",
            Step::Patch(_) => "change",
            Step::Prune { .. } => "delete",
            Step::Release(_) => "release",
        };
        write!(f, "{verb} {}: {}", self.key, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("is declared and does not exist"),
            Self::Differs {
                changed,
                removed,
                taken_over,
            } => {
                let mut parts = Vec::new();
                if *taken_over {
                    parts.push("was made by hand and is taken over".to_owned());
                }
                if !changed.is_empty() {
                    parts.push(format!(
                        "{} {} not as declared",
                        shortened(changed),
                        if changed.len() == 1 { "is" } else { "are" }
                    ));
                }
                if !removed.is_empty() {
                    parts.push(format!(
                        "{} {} no longer declared",
                        shortened(removed),
                        if removed.len() == 1 { "is" } else { "are" }
                    ));
                }
                if parts.is_empty() {
                    parts.push("other fields are declared than before".to_owned());
                }
                f.write_str(&parts.join("; "))
            }
            Self::NotDeclared => f.write_str("is no longer declared"),
            Self::HoldsOthers => f.write_str(
                "is no longer declared, and stays because others may live in it; delete it by hand",
            ),
        }
    }
}

/// The first few names of a long list.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
