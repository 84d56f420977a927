//! Which Instances care about which other objects: kept as Instances change, so that a changed Secret wakes its readers without a look
//! at everything else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use clos_plan::desired::references;
use clos_resources::{Instance, names};

use crate::cache::place;
use crate::pairs::Pairs;

/// A namespace and a name in it.
type Place = (String, String);

/// Something an Instance cares about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Interest {
    /// The Service it is a replica of, by namespace and name.
    ReplicaOf(String, String),
    /// A Service it depends on, by namespace and name.
    DependsOn(String, String),
    /// A Secret, by namespace and name.
    Secret(String, String),
    /// A `ConfigMap`, by namespace and name.
    ConfigMap(String, String),
    /// A Port, by name.
    Port(String),
}

/// The index. Instances are named by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Index(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    interests: BTreeMap<Place, Vec<Interest>>,
    interested: Pairs<Interest, Place>,
}

impl Index {
    /// Puts an Instance in, or its newer state.
    pub(crate) fn put(&self, instance: &Instance) {
        let mut tables = self.tables();
        let name = place(instance);
        tables.remove(&name);
        let interests = interests(instance);
        for interest in &interests {
            tables.interested.insert(interest.clone(), name.clone());
        }
        tables.interests.insert(name, interests);
    }

    /// Takes an Instance out.
    pub(crate) fn remove(&self, instance: &Instance) {
        self.tables().remove(&place(instance));
    }

    /// Forgets everything and begins with these.
    pub(crate) fn rebuild<'a>(&self, instances: impl IntoIterator<Item = &'a Instance>) {
        *self.tables() = Tables::default();
        for instance in instances {
            self.put(instance);
        }
    }

    /// The Instances that care, in order of their names.
    pub(crate) fn interested(&self, interest: &Interest) -> BTreeSet<Place> {
        self.tables()
            .interested
            .of(interest.clone())
            .cloned()
            .collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn remove(&mut self, name: &Place) {
        for interest in self.interests.remove(name).unwrap_or_default() {
            self.interested.remove(interest, name.clone());
        }
    }
}

/// The names of the Port objects that an Instance must hold.
pub(crate) fn port_names(instance: &Instance) -> BTreeSet<String> {
    let spec = &instance.spec;
    let named = spec.ports.iter().filter_map(|port| {
        port.host_port
            .map(|number| names::port(&spec.host, port.protocol, number))
    });
    named.collect()
}

/// Under which name the values of a Secret are known to be secret.
pub(crate) fn values_owner(namespace: &str, secret: &str) -> String {
    format!("Secret {namespace}/{secret}")
}

fn interests(instance: &Instance) -> Vec<Interest> {
    let (namespace, _) = place(instance);
    let within = |name: &String| (namespace.clone(), name.clone());
    let references = references(&instance.spec.container);
    let (of, service) = within(&instance.spec.service);
    let mut interests = vec![Interest::ReplicaOf(of, service)];
    for dependency in &instance.spec.depends_on {
        let (namespace, name) = within(&dependency.service);
        interests.push(Interest::DependsOn(namespace, name));
    }
    for (namespace, name) in references.secrets.iter().map(within) {
        interests.push(Interest::Secret(namespace, name));
    }
    for (namespace, name) in references.config_maps.iter().map(within) {
        interests.push(Interest::ConfigMap(namespace, name));
    }
    interests.extend(port_names(instance).into_iter().map(Interest::Port));
    interests
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn instance(name: &str, secret: &str) -> Instance {
        let reference = json!({ "secretKeyRef": { "name": secret, "key": "k" } });
        serde_json::from_value(json!({
            "apiVersion": "clos.dev/v1alpha1", "kind": "Instance", "metadata": { "namespace": "default", "name": name },
            "spec": {
                "service": "web", "group": "shop", "host": "box", "ordinal": 0, "revision": "r",
                "dependsOn": [{ "service": "db" }],
                "container": { "image": "web:1", "env": [{ "name": "K", "valueFrom": reference }] },
                "ports": [{ "protocol": "TCP", "hostIp": "127.0.0.1", "hostPort": 80, "containerPort": 80 }],
            },
        }))
        .unwrap()
    }

    fn names(index: &Index, interest: &Interest) -> Vec<String> {
        index
            .interested(interest)
            .into_iter()
            .map(|(_, name)| name)
            .collect()
    }

    fn secret(name: &str) -> Interest {
        Interest::Secret("default".to_owned(), name.to_owned())
    }

    #[test]
    fn an_instance_cares_about_its_service_its_dependencies_its_values_and_its_ports() {
        let index = Index::default();
        index.put(&instance("web-0", "a"));
        let within = |name: &str| ("default".to_owned(), name.to_owned());
        let (of, service) = within("web");
        assert_eq!(names(&index, &Interest::ReplicaOf(of, service)), ["web-0"]);
        let (of, service) = within("db");
        assert_eq!(names(&index, &Interest::DependsOn(of, service)), ["web-0"]);
        assert_eq!(names(&index, &secret("a")), ["web-0"]);
        assert_eq!(
            names(&index, &Interest::Port("box-tcp-80".to_owned())),
            ["web-0"]
        );
    }

    #[test]
    fn a_changed_instance_no_longer_cares_about_what_it_named_before() {
        let index = Index::default();
        index.put(&instance("web-0", "a"));
        index.put(&instance("web-0", "b"));
        assert_eq!(names(&index, &secret("a")), [""; 0]);
        assert_eq!(names(&index, &secret("b")), ["web-0"]);
        index.remove(&instance("web-0", "b"));
        assert_eq!(names(&index, &secret("b")), [""; 0]);
    }

    #[test]
    fn rebuilding_forgets_who_is_gone() {
        let index = Index::default();
        index.put(&instance("web-0", "a"));
        index.rebuild([&instance("web-1", "a")]);
        assert_eq!(names(&index, &secret("a")), ["web-1"]);
    }
}
