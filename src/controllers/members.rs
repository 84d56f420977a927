//! Which Services belong to which Group and who depends on whom: kept as Services change, so that one change costs what it concerns and
//! not what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clos_resources::Service;
use tokio::sync::watch;

use crate::cache::place;
use crate::pairs::Pairs;

/// A namespace and a name in it.
type Place = (String, String);

/// The index, by Groups and by Services.
#[derive(Debug, Default)]
pub(crate) struct Members {
    tables: Mutex<Tables>,
    /// Whether it was ever rebuilt.
    filled: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Tables {
    /// By Group, then by name.
    groups: BTreeMap<Place, BTreeMap<String, Arc<Service>>>,
    /// The same Services, as they are in `groups`.
    services: BTreeMap<Place, Arc<Service>>,
    /// Names of the Services that declare a dependency on one, whether it exists or not.
    dependents: Pairs<Place, String>,
}

impl Members {
    /// Puts a Service in, or its newer state.
    pub(crate) fn put(&self, service: Arc<Service>) {
        self.tables().put(service);
    }

    /// Takes a Service out.
    pub(crate) fn remove(&self, service: &Service) {
        self.tables().remove(&place(service));
    }

    /// Forgets everything and begins with these.
    pub(crate) fn rebuild(&self, services: impl IntoIterator<Item = Arc<Service>>) {
        let mut tables = Tables::default();
        for service in services {
            tables.put(service);
        }
        *self.tables() = tables;
        self.filled.send_replace(true);
    }

    /// Waits until every Service that there was at the start is in it: until then Groups would look as if Services were missing.
    pub(crate) async fn filled(&self) {
        let mut filled = self.filled.subscribe();
        // The sender is ours, so it is not gone.
        let _ = filled.wait_for(|filled| *filled).await;
    }

    /// The Services of a Group, in order of their names.
    pub(crate) fn of(&self, group: &(String, String)) -> Vec<Arc<Service>> {
        let tables = self.tables();
        let members = tables.groups.get(group).into_iter().flatten();
        members.map(|(_, service)| Arc::clone(service)).collect()
    }

    /// The Services that depend on this one, directly or by others, in order of their names. It is one of them when they go in a circle.
    pub(crate) fn dependents(&self, service: &Service) -> BTreeSet<String> {
        let tables = self.tables();
        let (namespace, name) = place(service);
        let mut found = BTreeSet::new();
        let mut next = vec![name];
        while let Some(name) = next.pop() {
            for dependent in tables.dependents.of((namespace.clone(), name)) {
                if found.insert(dependent.clone()) {
                    next.push(dependent.clone());
                }
            }
        }
        found
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn put(&mut self, service: Arc<Service>) {
        let at = place(&*service);
        self.remove(&at);
        let (namespace, name) = at.clone();
        for dependency in &service.spec.depends_on {
            let on = (namespace.clone(), dependency.service.clone());
            self.dependents.insert(on, name.clone());
        }
        let group = (namespace, service.spec.group.clone());
        let members = self.groups.entry(group).or_default();
        members.insert(name, Arc::clone(&service));
        self.services.insert(at, service);
    }

    fn remove(&mut self, at: &Place) {
        let Some(before) = self.services.remove(at) else {
            return;
        };
        let (namespace, name) = at;
        let group = (namespace.clone(), before.spec.group.clone());
        if let Some(members) = self.groups.get_mut(&group) {
            members.remove(name);
            if members.is_empty() {
                self.groups.remove(&group);
            }
        }
        for dependency in &before.spec.depends_on {
            let on = (namespace.clone(), dependency.service.clone());
            self.dependents.remove(on, name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::ResourceExt;
    use serde_json::json;

    use super::*;

    fn service(name: &str, group: &str, depends_on: &[&str]) -> Arc<Service> {
        let depends_on: Vec<_> = depends_on
            .iter()
            .map(|on| json!({ "service": on }))
            .collect();
        let service: Service = serde_json::from_value(json!({
            "apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": { "namespace": "default", "name": name },
            "spec": { "group": group, "image": "web:1", "dependsOn": depends_on },
        }))
        .unwrap();
        Arc::new(service)
    }

    fn of(members: &Members, group: &str) -> Vec<String> {
        let group = ("default".to_owned(), group.to_owned());
        let found = members.of(&group);
        found.iter().map(|service| service.name_any()).collect()
    }

    fn dependents(members: &Members, name: &str) -> Vec<String> {
        let found = members.dependents(&service(name, "shop", &[]));
        found.into_iter().collect()
    }

    #[test]
    fn a_service_that_moves_to_another_group_is_in_that_one_only() {
        let members = Members::default();
        members.put(service("web", "shop", &[]));
        members.put(service("db", "shop", &[]));
        assert_eq!(of(&members, "shop"), ["db", "web"]);
        members.put(service("web", "blog", &[]));
        assert_eq!(of(&members, "shop"), ["db"]);
        assert_eq!(of(&members, "blog"), ["web"]);
        members.remove(&service("web", "blog", &[]));
        assert_eq!(of(&members, "blog"), [""; 0]);
    }

    #[test]
    fn dependents_are_found_through_others_and_before_what_they_depend_on_exists() {
        let members = Members::default();
        members.put(service("web", "shop", &["api"]));
        members.put(service("api", "shop", &["db"]));
        members.put(service("mail", "shop", &[]));
        assert_eq!(dependents(&members, "db"), ["api", "web"]);
        assert_eq!(dependents(&members, "web"), [""; 0]);
        members.put(service("api", "shop", &[]));
        assert_eq!(dependents(&members, "db"), [""; 0]);
    }

    #[test]
    fn in_a_circle_everybody_depends_on_everybody() {
        let members = Members::default();
        members.put(service("a", "shop", &["b"]));
        members.put(service("b", "shop", &["a"]));
        assert_eq!(dependents(&members, "a"), ["a", "b"]);
    }

    #[test]
    fn rebuilding_forgets_who_is_gone() {
        let members = Members::default();
        members.put(service("web", "shop", &["db"]));
        members.rebuild([service("db", "shop", &[])]);
        assert_eq!(of(&members, "shop"), ["db"]);
        assert_eq!(dependents(&members, "db"), [""; 0]);
    }
}
