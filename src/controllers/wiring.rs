//! Who is woken when what changes: every edge between kinds in one place. A wake too many costs a look; a missing one would cost
//! correctness, so a watch that begins again wakes everybody it feeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clos_audit::Redactor;
use clos_engine::events::{EngineEvent, Happened};
use clos_plan::desired::references;
use clos_resources::conditions::{self, Reason};
use clos_resources::lifecycle::Dependency;
use clos_resources::{Group, Instance, Port, Service, names};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use crate::cache::{Cache, Change, place};
use crate::index::{Index, Interest, values_owner};
use crate::instance::memory::Memory;
use crate::members::Members;
use crate::wake::Waker;

/// Everybody who can be woken, and what it takes to know whom to wake.
#[derive(Clone)]
pub(crate) struct Wiring {
    /// The caches.
    pub(crate) cache: Cache,
    /// All namespaces.
    pub(crate) namespaces: Store<Namespace>,
    /// Which Instances care about what.
    pub(crate) index: Arc<Index>,
    /// Which Services belong together.
    pub(crate) members: Arc<Members>,
    /// What is forgotten with an Instance.
    pub(crate) memory: Arc<Memory>,
    /// What is secret; the values that the last Instance took are forgotten with it.
    pub(crate) redactor: Redactor,
    /// Wakes Services.
    pub(crate) wake_services: Waker<Service>,
    /// Wakes Instances.
    pub(crate) wake_instances: Waker<Instance>,
    /// Wakes Groups.
    pub(crate) wake_groups: Waker<Group>,
    /// Wakes Ports.
    pub(crate) wake_ports: Waker<Port>,
    /// Wakes namespaces.
    pub(crate) wake_namespaces: Waker<Namespace>,
}

/// What of each object was seen last, to tell a change that matters from one that does not.
struct Seen<F>(BTreeMap<(String, String), F>);

impl<F: PartialEq> Seen<F> {
    fn changed(&mut self, object: (String, String), now: F) -> bool {
        self.0.get(&object) != Some(&now) && {
            self.0.insert(object, now);
            true
        }
    }
}

impl Wiring {
    /// The engine's state became known or unknown.
    pub(crate) fn engine_changed(&self) {
        self.wake_instances.wake_all(&self.cache.instances);
        self.wake_groups.wake_all(&self.cache.groups);
        self.wake_ports.wake_all(&self.cache.ports);
    }

    /// Something happened on the engine to what is not an Instance's own: whoever says that it is in the way, or that an image is missing, looks
    /// whether that is over.
    pub(crate) fn engine_told(&self, event: &EngineEvent) {
        match event {
            EngineEvent::Freed { id } => self.freed(id),
            EngineEvent::Container(event)
                if matches!(
                    event.what,
                    Happened::Died { .. } | Happened::Destroyed | Happened::Changed
                ) =>
            {
                self.freed(&event.id);
            }
            EngineEvent::Image { name } => {
                let name = name.as_deref().map(image_name);
                self.waiting(|instance, ready| {
                    let missing = [Reason::ImagePullFailed, Reason::ImageArchMismatch];
                    let same =
                        name.is_none_or(|name| name == image_name(&instance.spec.container.image));
                    same && missing.iter().any(|reason| ready.reason == reason.as_str())
                });
            }
            EngineEvent::Container(_)
            | EngineEvent::Connected
            | EngineEvent::Lost { .. }
            | EngineEvent::Overflow => {}
        }
    }

    /// A container may have given back a port or a name.
    fn freed(&self, id: &str) {
        // So much of an id stands in messages.
        let Some(id) = id.get(..12) else {
            return;
        };
        self.waiting(|_, ready| {
            let in_the_way = [Reason::PortConflict, Reason::NameConflict];
            in_the_way
                .iter()
                .any(|reason| ready.reason == reason.as_str())
                && ready.message.contains(id)
        });
    }

    /// Wakes the Instances that say by their `Ready` condition that they wait for it.
    fn waiting(&self, so: impl Fn(&Instance, &Condition) -> bool) {
        let waits = |instance: &Instance| {
            let status = instance.status.as_ref();
            let ready = status.and_then(|status| conditions::ready(&status.conditions));
            ready.is_some_and(|ready| so(instance, ready))
        };
        for instance in self.cache.instances.state_filter(waits) {
            self.memory
                .heard
                .something(&instance.uid().unwrap_or_default());
            self.wake_instances.wake(ObjectRef::from_obj(&*instance));
        }
    }

    /// Services: themselves, their Group, and who depends on them.
    pub(crate) fn services(self) -> impl FnMut(Change<'_, Service>) + Send {
        let mut seen: Seen<Vec<Dependency>> = Seen(BTreeMap::new());
        move |change| match change {
            Change::One(service) => {
                let name = ObjectRef::from_obj(service);
                if let Some(kept) = self.cache.services.get(&name) {
                    self.members.put(kept);
                }
                self.wake_services.wake(name);
                self.around_service(service);
                if seen.changed(place(service), service.spec.depends_on.clone()) {
                    self.dependents(service);
                }
            }
            Change::Gone(service) => {
                seen.0.remove(&place(service));
                self.around_service(service);
                self.dependents(service);
                self.members.remove(service);
            }
            Change::All => {
                self.members.rebuild(self.cache.services.state());
                self.wake_services.wake_all(&self.cache.services);
                self.wake_groups.wake_all(&self.cache.groups);
                self.wake_instances.wake_all(&self.cache.instances);
            }
        }
    }

    /// Instances: themselves when more than their status changed, their Service, and who depends on it.
    pub(crate) fn instances(self) -> impl FnMut(Change<'_, Instance>) + Send {
        let mut seen: Seen<(Option<String>, Option<i64>, Vec<String>)> = Seen(BTreeMap::new());
        move |change| match change {
            Change::One(instance) => {
                self.index.put(instance);
                // The deletion timestamp counts into the generation.
                let now = (
                    instance.uid(),
                    instance.metadata.generation,
                    instance.finalizers().to_vec(),
                );
                if seen.changed(place(instance), now) {
                    self.wake_instances.wake(ObjectRef::from_obj(instance));
                }
                self.around_instance(instance);
            }
            Change::Gone(instance) => {
                self.index.remove(instance);
                seen.0.remove(&place(instance));
                let uid = instance.uid().unwrap_or_default();
                self.memory.forget(&uid);
                self.forget_values(instance);
                self.around_instance(instance);
                self.wake_groups.wake_named(
                    &instance.namespace().unwrap_or_default(),
                    &instance.spec.group,
                );
                let held = |port: &Port| {
                    port.spec
                        .holder
                        .as_ref()
                        .is_some_and(|holder| holder.uid == uid)
                };
                for port in self.cache.ports.state_filter(held) {
                    self.wake_ports.wake(ObjectRef::from_obj(&*port));
                }
            }
            Change::All => {
                let instances = self.cache.instances.state();
                self.index
                    .rebuild(instances.iter().map(|instance| &**instance));
                self.wake_instances.wake_all(&self.cache.instances);
                self.wake_services.wake_all(&self.cache.services);
                self.wake_groups.wake_all(&self.cache.groups);
                self.wake_ports.wake_all(&self.cache.ports);
            }
        }
    }

    /// Groups: themselves, and their Services when more than the Group's status changed.
    pub(crate) fn groups(self) -> impl FnMut(Change<'_, Group>) + Send {
        let mut seen: Seen<(Option<String>, Option<i64>, Option<String>)> = Seen(BTreeMap::new());
        move |change| match change {
            Change::One(group) => {
                self.wake_groups.wake(ObjectRef::from_obj(group));
                let restarted = group
                    .annotations()
                    .get(names::ANNOTATION_RESTARTED_AT)
                    .cloned();
                if seen.changed(
                    place(group),
                    (group.uid(), group.metadata.generation, restarted),
                ) {
                    self.services_in(&place(group));
                }
            }
            Change::Gone(group) => {
                seen.0.remove(&place(group));
                self.services_in(&place(group));
            }
            Change::All => {
                self.wake_groups.wake_all(&self.cache.groups);
                self.wake_services.wake_all(&self.cache.services);
            }
        }
    }

    /// Ports: themselves, and the Instances that hold or want them.
    pub(crate) fn ports(self) -> impl FnMut(Change<'_, Port>) + Send {
        move |change| match change {
            Change::One(port) => {
                self.wake_ports.wake(ObjectRef::from_obj(port));
                self.interested(&Interest::Port(port.name_any()));
            }
            Change::Gone(port) => self.interested(&Interest::Port(port.name_any())),
            Change::All => {
                self.wake_ports.wake_all(&self.cache.ports);
                self.wake_instances.wake_all(&self.cache.instances);
            }
        }
    }

    /// Secrets: the Instances that take values from them, and their Services.
    pub(crate) fn secrets(self) -> impl FnMut(Change<'_, PartialObjectMeta<Secret>>) + Send {
        self.values(Interest::Secret)
    }

    /// `ConfigMaps`: the Instances that take values from them, and their Services.
    pub(crate) fn config_maps(self) -> impl FnMut(Change<'_, PartialObjectMeta<ConfigMap>>) + Send {
        self.values(Interest::ConfigMap)
    }

    /// Namespaces: themselves.
    pub(crate) fn namespaces(self) -> impl FnMut(Change<'_, Namespace>) + Send {
        move |change| match change {
            Change::One(namespace) => self.wake_namespaces.wake(ObjectRef::from_obj(namespace)),
            Change::Gone(_) => {}
            Change::All => self.wake_namespaces.wake_all(&self.namespaces),
        }
    }

    /// Something in a namespace went: if the namespace is being deleted, it may be empty now.
    pub(crate) fn gone_from(&self, namespace: &str) {
        let name = ObjectRef::new(namespace);
        let ending = self
            .namespaces
            .get(&name)
            .is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some());
        if ending {
            self.wake_namespaces.wake(name);
        }
    }

    /// Forgets the secret values that an Instance took which is gone, except those that others take.
    fn forget_values(&self, instance: &Instance) {
        let namespace = instance.namespace().unwrap_or_default();
        for name in references(&instance.spec.container).secrets {
            let owner = values_owner(&namespace, &name);
            let interest = Interest::Secret(namespace.clone(), name);
            if self.index.interested(&interest).is_empty() {
                self.redactor.forget(&owner);
            }
        }
    }

    fn values<K: Resource>(
        self,
        interest: fn(String, String) -> Interest,
    ) -> impl FnMut(Change<'_, K>) + Send {
        move |change| match change {
            Change::One(object) | Change::Gone(object) => {
                let (namespace, name) = place(object);
                let interest = interest(namespace, name);
                self.interested(&interest);
                self.services_of(&interest);
            }
            Change::All => {
                self.wake_instances.wake_all(&self.cache.instances);
                self.wake_services.wake_all(&self.cache.services);
            }
        }
    }

    /// The Services of the Instances that care. One without any looks when it makes its first.
    fn services_of(&self, interest: &Interest) {
        let interested = self.index.interested(interest);
        let instances = interested.iter().filter_map(|(namespace, name)| {
            let name = ObjectRef::new(name).within(namespace);
            self.cache.instances.get(&name)
        });
        let services: BTreeSet<(String, String)> = instances
            .map(|instance| {
                (
                    instance.namespace().unwrap_or_default(),
                    instance.spec.service.clone(),
                )
            })
            .collect();
        for (namespace, name) in services {
            self.wake_services.wake_named(&namespace, &name);
        }
    }

    fn around_service(&self, service: &Service) {
        let (namespace, name) = place(service);
        self.wake_groups.wake_named(&namespace, &service.spec.group);
        self.interested(&Interest::DependsOn(namespace, name));
    }

    fn around_instance(&self, instance: &Instance) {
        let namespace = instance.namespace().unwrap_or_default();
        self.wake_services
            .wake_named(&namespace, &instance.spec.service);
        self.interested(&Interest::DependsOn(
            namespace,
            instance.spec.service.clone(),
        ));
    }

    /// A changed dependency may make or break a circle for everybody who depends on the service.
    fn dependents(&self, service: &Service) {
        let namespace = service.namespace().unwrap_or_default();
        for name in self.members.dependents(service) {
            self.wake_services.wake_named(&namespace, &name);
        }
    }

    fn services_in(&self, group: &(String, String)) {
        for service in self.members.of(group) {
            self.wake_services.wake(ObjectRef::from_obj(&*service));
        }
    }

    fn interested(&self, interest: &Interest) {
        for (namespace, name) in self.index.interested(interest) {
            self.wake_instances.wake_named(&namespace, &name);
        }
    }
}

/// The last part of an image's name, without registry, tag and digest, which may be left out or written in several ways.
fn image_name(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map_or(last, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::image_name;

    #[test]
    fn an_image_is_known_again_however_its_name_is_written() {
        for image in [
            "web",
            "web:1",
            "docker.io/library/web:latest",
            "localhost:5000/web@sha256:0f0f",
        ] {
            assert_eq!(image_name(image), "web");
        }
    }
}
