//! The rules every object's `metadata` follows: names, labels, owners, finalizers, and what may not change. What an
//! object says besides is its schema's matter.

mod identity;
mod names;
mod rules;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use identity::{carry_over, claim_name, claim_namespace, generated_name};
pub(crate) use names::{label_key, label_value};
pub(crate) use rules::{NameRule, check_create, check_update, warnings};
pub(crate) use shape::admit;
