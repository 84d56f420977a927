//! Choosing objects by their labels and fields. What to do with the chosen ones is the callers' matter.

mod field;
mod label;
mod lexer;
#[cfg(test)]
mod tests;

pub(crate) use field::{FieldSelector, SelectableField};
pub(crate) use label::LabelSelector;
