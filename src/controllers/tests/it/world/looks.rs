//! Looking at a machine and waiting until it is so: conditions of objects and containers, events, audit entries, and quiet.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use clos_audit::{Entry, Filter, Order};
use clos_plan::observed::{Container, ContainerState};
use clos_resources::{Host, Instance, Service};
use futures::{StreamExt, TryStreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{HOST, World};

/// Longer than anything takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

impl World {
    /// Waits until all objects of a kind are so.
    pub(crate) async fn until_all<K>(
        &self,
        api: Api<K>,
        what: &str,
        mut so: impl FnMut(&BTreeMap<String, K>) -> bool,
    ) where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let mut objects: BTreeMap<String, K> = BTreeMap::new();
        let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
        let waiting = async {
            loop {
                match events.next().await.unwrap().unwrap() {
                    watcher::Event::Init => objects.clear(),
                    watcher::Event::InitApply(object) => {
                        drop(objects.insert(object.name_any(), object));
                    }
                    watcher::Event::Apply(object) => {
                        objects.insert(object.name_any(), object);
                        if so(&objects) {
                            return;
                        }
                    }
                    watcher::Event::Delete(object) => {
                        objects.remove(&object.name_any());
                        if so(&objects) {
                            return;
                        }
                    }
                    watcher::Event::InitDone => {
                        if so(&objects) {
                            return;
                        }
                    }
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(
            came,
            "waited in vain for {what}\n{}\nobjects: {objects:#?}",
            self.shown()
        );
    }

    /// Waits until a Service is so.
    pub(crate) async fn until_service(&self, name: &str, mut so: impl FnMut(&Service) -> bool) {
        self.until_all(self.api::<Service>(), &format!("service {name}"), |all| {
            all.get(name).is_some_and(&mut so)
        })
        .await;
    }

    /// Waits until an Instance is so.
    pub(crate) async fn until_instance(&self, name: &str, mut so: impl FnMut(&Instance) -> bool) {
        self.until_all(self.api::<Instance>(), &format!("instance {name}"), |all| {
            all.get(name).is_some_and(&mut so)
        })
        .await;
    }

    /// Waits until the Host is so.
    pub(crate) async fn until_host(&self, mut so: impl FnMut(&Host) -> bool) {
        let api: Api<Host> = Api::all(self.client.clone());
        self.until_all(api, "the host", |all| all.get(HOST).is_some_and(&mut so))
            .await;
    }

    /// Waits until a Service is ready, and says so for its newest declaration.
    pub(crate) async fn ready(&self, name: &str) {
        self.until_service(name, |service| {
            reason(service) == "Ready" && is_current(service)
        })
        .await;
    }

    /// Waits until a Service says why it is not ready, or ready, in this word.
    pub(crate) async fn until_reason(&self, name: &str, wanted: &str) {
        self.until_service(name, |service| {
            reason(service) == wanted && is_current(service)
        })
        .await;
    }

    /// Waits until the containers are so.
    pub(crate) async fn until_containers(&self, what: &str, so: impl FnMut(&[Container]) -> bool) {
        let came = tokio::time::timeout(PATIENCE, self.engine.until(so))
            .await
            .is_ok();
        assert!(
            came,
            "waited in vain for {what}
{}",
            self.shown()
        );
    }

    fn shown(&self) -> String {
        format!(
            "engine: {:#?}\ncalls: {:#?}",
            self.engine.containers(),
            self.engine.calls()
        )
    }

    /// The running container of an Instance in `default`.
    pub(crate) fn container(&self, instance: &str) -> Container {
        self.engine
            .container(&format!("clos_default_{instance}"))
            .unwrap()
    }

    /// Waits until nobody does anything any more. That nothing happens is no condition that could be waited for: it is looked whether
    /// the store and the engine stay as they are while everybody who wants to do something gets the chance to.
    pub(crate) async fn settle(&self) {
        let seen = || (self.store.revision(), self.engine.calls().len());
        let mut before = seen();
        let mut quiet = 0;
        while quiet < 3 {
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            let now = seen();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
    }

    /// All reconcile events about an object of the namespace `default`, oldest first.
    pub(crate) async fn reconciles(&self, kind: &str, name: &str) -> Vec<Entry> {
        let object = clos_audit::ObjectRef::new("clos.dev", "v1alpha1", kind)
            .in_namespace("default")
            .named(name);
        let filter = Filter {
            object: Some(object),
            verb: Some("reconcile".to_owned()),
            ..Filter::default()
        };
        self.journal
            .query(filter, Order::Forwards, 10_000)
            .await
            .unwrap()
    }

    /// What Kubernetes Events say, as `reason: note`.
    pub(crate) async fn news(&self) -> Vec<String> {
        let api: Api<k8s_openapi::api::events::v1::Event> = self.api();
        let events = api.list(&kube::api::ListParams::default()).await.unwrap();
        events
            .items
            .into_iter()
            .map(|event| format!("{}: {}", event.reason.unwrap(), event.note.unwrap()))
            .collect()
    }

    /// Waits until a Kubernetes Event begins like this, as `reason: note`.
    pub(crate) async fn until_news(&self, beginning: &str) {
        let api: Api<k8s_openapi::api::events::v1::Event> = self.api();
        self.until_all(api, beginning, |all| {
            all.values().any(|event| {
                let (reason, note) = (event.reason.as_deref(), event.note.as_deref());
                format!("{}: {}", reason.unwrap(), note.unwrap()).starts_with(beginning)
            })
        })
        .await;
    }

    /// The next audit entry from now on that matches.
    pub(crate) async fn next_entry(
        &self,
        after: u64,
        mut wanted: impl FnMut(&Entry) -> bool,
    ) -> Entry {
        let entries = self
            .journal
            .follow(Filter::default(), after)
            .try_filter(|entry| std::future::ready(wanted(entry)));
        within("an audit event", Box::pin(entries).next())
            .await
            .unwrap()
            .unwrap()
    }
}

/// Waits for something that must come.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, future).await;
    came.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The reason of the Ready condition.
pub(crate) fn reason(service: &Service) -> &str {
    let conditions = service
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    clos_resources::conditions::ready(conditions).map_or("", |ready| ready.reason.as_str())
}

/// The message of the Ready condition of an Instance.
pub(crate) fn message(instance: &Instance) -> String {
    let conditions = instance
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    clos_resources::conditions::ready(conditions).map_or_else(String::new, |ready| {
        format!("{}: {}", ready.reason, ready.message)
    })
}

/// Whether a Service's status speaks of its newest declaration.
fn is_current(service: &Service) -> bool {
    service
        .status
        .as_ref()
        .is_some_and(|status| status.observed_generation == service.metadata.generation)
}

/// Whether a container runs.
pub(crate) fn runs(container: &Container) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}
