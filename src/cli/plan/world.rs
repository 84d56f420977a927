//! The objects as they would be once everything declared was applied, and which Services that concerns. Pure; reading them is in `read`.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::desired::{Values, references};
use clos_resources::{Group, Instance, Port, Service};
use kube::ResourceExt;

/// Namespace and name.
pub(super) type Place = (String, String);

/// Everything that the plans depend on, but the engine.
#[derive(Default)]
pub(super) struct World {
    /// Services, those that are declared as they would be.
    pub(super) services: BTreeMap<Place, Service>,
    /// Groups, those that are declared as they would be.
    pub(super) groups: BTreeMap<Place, Group>,
    /// Instances as they are.
    pub(super) instances: Vec<Instance>,
    /// Ports as they are.
    pub(super) ports: BTreeMap<String, Port>,
    /// Data of `Secret`s and `ConfigMap`s by namespace, those that are declared as they would be.
    pub(super) values: BTreeMap<String, Values>,
    /// The Host that new Instances are for.
    pub(super) host: String,
}

/// What is declared and can change containers, by place.
#[derive(Default)]
pub(super) struct DeclaredPlaces {
    /// All declared Services.
    pub(super) services: BTreeSet<Place>,
    /// Declared Groups that applying would change.
    pub(super) groups: BTreeSet<Place>,
    /// Declared `Secret`s that applying would change.
    pub(super) secrets: BTreeSet<Place>,
    /// Declared `ConfigMap`s that applying would change.
    pub(super) config_maps: BTreeSet<Place>,
}

/// Where an object is.
pub(super) fn place<K: ResourceExt>(object: &K) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

impl World {
    /// The Services that applying can change: the declared ones, those of changed Groups, and those that take values from changed `Secret`s
    /// and `ConfigMap`s.
    pub(super) fn concerned(&self, declared: &DeclaredPlaces) -> Vec<&Service> {
        let is_concerned = |(place, service): &(&Place, &Service)| {
            let (namespace, _) = place;
            let takes_values = || {
                self.instances_of(service).into_iter().any(|instance| {
                    let references = references(&instance.spec.container);
                    references.secrets.iter().any(|name| {
                        declared
                            .secrets
                            .contains(&(namespace.clone(), name.clone()))
                    }) || references.config_maps.iter().any(|name| {
                        declared
                            .config_maps
                            .contains(&(namespace.clone(), name.clone()))
                    })
                })
            };
            declared.services.contains(*place)
                || declared
                    .groups
                    .contains(&(namespace.clone(), service.spec.group.clone()))
                || takes_values()
        };
        self.services
            .iter()
            .filter(is_concerned)
            .map(|(_, service)| service)
            .collect()
    }

    /// The Instances of a Service's name, as they are.
    pub(super) fn instances_of(&self, service: &Service) -> Vec<&Instance> {
        let (namespace, name) = (service.namespace(), service.name_any());
        let named = |instance: &&Instance| {
            instance.namespace() == namespace && instance.spec.service == name
        };
        self.instances.iter().filter(named).collect()
    }

    /// The Group of a Service.
    pub(super) fn group_of(&self, service: &Service) -> Option<&Group> {
        self.groups.get(&(
            service.namespace().unwrap_or_default(),
            service.spec.group.clone(),
        ))
    }

    /// All Services of the group of a Service, itself included.
    pub(super) fn siblings(&self, service: &Service) -> Vec<Service> {
        let of_group = |other: &&Service| {
            other.namespace() == service.namespace() && other.spec.group == service.spec.group
        };
        self.services.values().filter(of_group).cloned().collect()
    }
}
