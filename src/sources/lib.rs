//! Where desired state comes from: folders and files of YAML become objects of the API.
//!
//! In reading order: [`manifest`] reads files, each object with the place of its fields; [`kinds`] asks the API what exists;
//! [`set`] puts the objects together; [`observe`] looks at what the API holds; [`sync`] plans, purely, what has to change;
//! [`check`] has the API judge the plan as a dry run; [`mod@prepare`] does these three; [`mod@apply`] carries the plan out;
//! [`directory`] does all of that for a folder, again and again. `api` holds the calls they share.

mod api;
pub mod apply;
pub mod check;
pub mod directory;
pub mod kinds;
pub mod manifest;
pub mod observe;
pub mod prepare;
pub mod set;
pub mod sync;

pub use apply::{Outcome, Report, apply};
pub use directory::{Directory, Scan, SourceStatus};
pub use kinds::Kinds;
pub use manifest::{Manifests, Mistake, Mistakes};
pub use prepare::{PrepareError, Prepared, prepare};
pub use set::{DesiredSet, ObjectKey};
pub use sync::{Refusal, SyncOptions, SyncPlan};
