//! The caches: one watch a kind feeds one store, and whoever depends on a changed object is woken. Where a stale read could do harm,
//! reconcilers read from the API instead.

use std::fmt::Debug;
use std::pin::pin;

use clos_resources::{Group, Instance, Port, Service};
use clos_telemetry::Chain;
use futures::StreamExt;
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// What reconcilers read without asking the API.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// All Services.
    pub(crate) services: Store<Service>,
    /// All Groups.
    pub(crate) groups: Store<Group>,
    /// All Instances.
    pub(crate) instances: Store<Instance>,
    /// All Ports.
    pub(crate) ports: Store<Port>,
}

/// What a watch told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a, K> {
    /// One object came or changed.
    One(&'a K),
    /// One object went; this is how it was.
    Gone(&'a K),
    /// The watch began (again): anything may have changed.
    All,
}

/// The stores of a [`Cache`] whose watches have not listed everything yet answer nothing: reading them would look as if objects were missing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a cache was dropped before it was filled")]
pub(crate) struct NeverFilled;

impl Cache {
    /// Waits until every store holds everything there is.
    pub(crate) async fn filled(&self) -> Result<(), NeverFilled> {
        let (services, groups, instances, ports) = futures::join!(
            self.services.wait_until_ready(),
            self.groups.wait_until_ready(),
            self.instances.wait_until_ready(),
            self.ports.wait_until_ready(),
        );
        services
            .and(groups)
            .and(instances)
            .and(ports)
            .map_err(|_| NeverFilled)
    }
}

/// Feeds a store from a watch until `stop`, and tells every change after the store has it.
pub(crate) async fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    writer: Writer<K>,
    stop: CancellationToken,
    mut told: impl FnMut(Change<'_, K>) + Send,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let events = watch(api, config)
        .default_backoff()
        // Who manages which field is a third of an object and nothing a reconciler asks for.
        .map(|event| {
            event.map(|event| event.modify(|object| object.meta_mut().managed_fields = None))
        })
        .reflect(writer);
    notify(events.take_until(stop.cancelled_owned()), &mut told).await;
}

/// Follows a watch without keeping its objects, until `stop`.
pub(crate) async fn follow_uncached<K>(
    api: Api<K>,
    stop: CancellationToken,
    mut told: impl FnMut(Change<'_, K>) + Send,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let events = watch(api, watcher::Config::default()).default_backoff();
    notify(events.take_until(stop.cancelled_owned()), &mut told).await;
}

async fn notify<K: Resource>(
    events: impl futures::Stream<Item = watcher::Result<Event<K>>>,
    told: &mut (impl FnMut(Change<'_, K>) + Send),
) {
    let mut events = pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object)) => told(Change::One(&object)),
            Ok(Event::Delete(object)) => told(Change::Gone(&object)),
            Ok(Event::InitDone) => told(Change::All),
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "watch broke off, beginning again");
            }
        }
    }
}

/// The namespace and name of an object; a cluster-scoped one has an empty namespace.
pub(crate) fn place<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
