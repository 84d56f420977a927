//! Where a kind differs from a custom resource: hooks as plain functions. Not here: the hooks themselves (`core`).

use serde_json::Value;

use crate::metadata::NameRule;
use crate::status::Cause;

/// The hooks and switches of a kind.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a difference between kinds that is independent of the others"
)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strategy {
    /// What its objects may be called.
    pub(crate) names: NameRule,
    /// Completes a new object before it is validated.
    pub(crate) prepare_for_create: fn(&mut Value),
    /// Completes a changed object before it is validated; the second is the stored one.
    pub(crate) prepare_for_update: fn(&mut Value, &Value),
    /// Finds what the schema cannot say; the second is the stored object of an update.
    pub(crate) validate: fn(&Value, Option<&Value>, &mut Vec<Cause>),
    /// Whether an update may come without a resource version and then overwrites whatever there is.
    pub(crate) unconditional_update: bool,
    /// Whether `metadata.generation` counts the changes of everything but metadata and status.
    pub(crate) generation: bool,
    /// Whether only the server itself writes objects of this kind.
    pub(crate) read_only: bool,
    /// Whether strategic merge patches are understood, as for the kinds Kubernetes builds in.
    pub(crate) strategic_merge: bool,
    /// Whether a delete first waits for `spec.finalizers` to be emptied by the `finalize` subresource.
    pub(crate) finalize: bool,
    /// The names of objects that are never deleted, because the server itself counts on them.
    pub(crate) permanent: &'static [&'static str],
    /// Whether objects of the kind are themselves reports or signs of life, so that their writing by a component of
    /// this process is no act to be audited.
    pub(crate) is_report: bool,
    /// For how many seconds objects are kept after their last change; `None` is for ever.
    pub(crate) ttl_seconds: Option<i64>,
    /// Fields that selectors name by another name than their place, with that place.
    pub(crate) field_aliases: &'static [(&'static str, &'static str)],
    /// How objects are stored, when not as they are served.
    pub(crate) conversion: Option<Conversion>,
}

/// A kind that is stored as another kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Conversion {
    /// The group below which the objects are stored; empty for the core group.
    pub(crate) group: &'static str,
    /// Turns a stored object into one of this kind.
    pub(crate) from_stored: fn(&mut Value),
    /// Turns an object of this kind into the stored one.
    pub(crate) to_stored: fn(&mut Value),
}

impl Strategy {
    /// A custom resource: everything about it stands in its definition.
    pub(crate) const CUSTOM: Self = Self {
        names: NameRule::Subdomain,
        prepare_for_create: |_| {},
        prepare_for_update: |_, _| {},
        validate: |_, _, _| {},
        unconditional_update: false,
        generation: true,
        read_only: false,
        strategic_merge: false,
        finalize: false,
        permanent: &[],
        is_report: false,
        ttl_seconds: None,
        field_aliases: &[],
        conversion: None,
    };

    /// A kind of the core group: no generation, strategic merge, updates without a resource version.
    pub(crate) const BUILT_IN: Self = Self {
        unconditional_update: true,
        generation: false,
        strategic_merge: true,
        ..Self::CUSTOM
    };
}
