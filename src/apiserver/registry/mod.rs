//! The kinds that are served, each as data: names, scope, verbs, schema, subresources, selectable fields and the few
//! hooks in which a kind differs from a custom resource. Not here: what is done with them (`verbs`, `storage`), and
//! the built-in kinds' own documents (`core`).

mod kind;
mod strategy;

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use kind::KindError;
pub(crate) use kind::{Kind, Scale, lookup};
pub(crate) use strategy::{Conversion, Strategy};

/// Every kind, in the order in which they were registered. There are a dozen, so a lookup is a walk.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    kinds: Vec<Arc<Kind>>,
}

impl Registry {
    /// The built-in kinds and those of the given definitions.
    pub(crate) fn new(crds: &[CustomResourceDefinition]) -> Result<Self, KindError> {
        let mut registry = Self::default();
        for kind in crate::core::kinds()? {
            registry.add(kind);
        }
        for crd in crds {
            registry.add(Kind::from_definition(crd, Strategy::CUSTOM)?);
        }
        Ok(registry)
    }

    /// The kind that is served at a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.kinds
            .iter()
            .find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
    }

    /// Every kind.
    pub(crate) fn kinds(&self) -> &[Arc<Kind>] {
        &self.kinds
    }

    fn add(&mut self, kind: Kind) {
        self.kinds.push(Arc::new(kind));
    }
}
