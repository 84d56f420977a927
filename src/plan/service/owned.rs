//! Whose the Instances of a Service's name are: its own, nobody's that it can take over, or an earlier one's that has to go first.

use std::collections::BTreeSet;

use clos_resources::{Instance, Service, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use super::ServiceInput;

/// The Instances of a Service's name, sorted by whose they are.
pub(super) struct Owned<'a> {
    /// Its own, and those of its Group that belong to nobody: what `kubectl delete --cascade=orphan` left behind.
    pub(super) instances: Vec<&'a Instance>,
    /// The ordinals whose names are taken by others.
    pub(super) earlier: BTreeSet<u32>,
}

impl<'a> Owned<'a> {
    pub(super) fn of(input: &ServiceInput<'a>) -> Self {
        let (instances, others): (Vec<&Instance>, Vec<&Instance>) = input
            .instances
            .iter()
            .partition(|instance| is_own(input.service, instance));
        Self {
            instances,
            earlier: others
                .into_iter()
                .map(|instance| instance.spec.ordinal)
                .collect(),
        }
    }
}

fn is_own(service: &Service, instance: &Instance) -> bool {
    let metadata = &instance.metadata;
    if let Some(owner) = controller(instance) {
        return owner.uid == service.metadata.uid.as_deref().unwrap_or_default();
    }
    let named = names::instance(&instance.spec.service, instance.spec.ordinal);
    metadata.deletion_timestamp.is_none()
        && service.metadata.deletion_timestamp.is_none()
        && metadata.name.as_ref() == Some(&named)
        && instance.spec.group == service.spec.group
}

/// What owns an Instance.
pub(super) fn controller(instance: &Instance) -> Option<&OwnerReference> {
    let owners = instance.metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .find(|owner| owner.controller == Some(true))
}

/// A Service as the owner of its Instances.
pub(super) fn owner(service: &Service) -> OwnerReference {
    OwnerReference {
        api_version: Service::api_version(&()).into_owned(),
        kind: Service::kind(&()).into_owned(),
        name: service.metadata.name.clone().unwrap_or_default(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
