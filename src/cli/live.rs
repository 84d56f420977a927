//! Services, Groups and Instances as they are now, kept up to date by watches. What they mean is not here.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use clos_resources::{Group, Instance, Service};
use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{FutureExt, StreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// The objects of some namespaces. They change only while [`Live::changed`] is polled.
pub(crate) struct Live {
    services: Vec<Store<Service>>,
    groups: Vec<Store<Group>>,
    instances: Vec<Store<Instance>>,
    changes: SelectAll<BoxStream<'static, Result<(), watcher::Error>>>,
}

/// One look at all of them.
pub(crate) struct Snapshot {
    /// Services.
    pub(crate) services: Vec<Arc<Service>>,
    /// Groups.
    pub(crate) groups: Vec<Arc<Group>>,
    /// Instances.
    pub(crate) instances: Vec<Arc<Instance>>,
}

impl Live {
    /// Begins to watch.
    pub(crate) fn of(client: &Client, namespaces: &BTreeSet<String>) -> Self {
        let mut changes = Vec::new();
        let mut live = Self {
            services: Vec::new(),
            groups: Vec::new(),
            instances: Vec::new(),
            changes: SelectAll::new(),
        };
        for namespace in namespaces {
            live.services.push(follow(client, namespace, &mut changes));
            live.groups.push(follow(client, namespace, &mut changes));
            live.instances.push(follow(client, namespace, &mut changes));
        }
        live.changes = select_all(changes);
        live
    }

    /// The next change of any of them. An error is told and the watch goes on by itself, unless [`is_final`] says that it never will.
    pub(crate) async fn changed(&mut self) -> Result<(), watcher::Error> {
        // Watches never end; without namespaces there is nothing to wait for either.
        match self.changes.next().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    /// The objects, as soon as all of them were listed once.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        Some(Snapshot {
            services: state(&self.services)?,
            groups: state(&self.groups)?,
            instances: state(&self.instances)?,
        })
    }
}

/// Whether trying again is of no use: the server refuses to show these objects.
pub(crate) fn is_final(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => {
            matches!(status.code, 401 | 403)
        }
        watcher::Error::WatchError(status) => matches!(status.code, 401 | 403),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => false,
    }
}

fn follow<K>(
    client: &Client,
    namespace: &str,
    changes: &mut Vec<BoxStream<'static, Result<(), watcher::Error>>>,
) -> Store<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store::<K>();
    let watch = watcher(
        Api::<K>::namespaced(client.clone(), namespace),
        watcher::Config::default(),
    )
    .default_backoff();
    changes.push(
        reflector::reflector(writer, watch)
            .map(|event| event.map(drop))
            .boxed(),
    );
    store
}

fn state<K>(stores: &[Store<K>]) -> Option<Vec<Arc<K>>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let listed = stores
        .iter()
        .all(|store| store.wait_until_ready().now_or_never().is_some());
    listed.then(|| stores.iter().flat_map(Store::state).collect())
}

#[cfg(test)]
mod tests {
    use clos_resources::lifecycle::State;
    use kube::api::{Patch, PatchParams, PostParams};
    use kube::core::Status;
    use serde_json::json;

    use super::*;
    use crate::tests::server;

    fn answer(code: u16) -> watcher::Error {
        let status = Status::failure("no", "No").with_code(code);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn only_a_refusal_is_final() {
        assert!(is_final(&answer(403)) && is_final(&answer(401)));
        assert!(
            !is_final(&answer(500))
                && !is_final(&answer(410))
                && !is_final(&watcher::Error::NoResourceVersion)
        );
    }

    #[tokio::test]
    async fn a_snapshot_is_whole_or_none_and_follows_changes() {
        let client = server().await;
        let groups = Api::<Group>::default_namespaced(client.clone());
        let group = json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Group", "metadata": {"name": "shop"}, "spec": {}});
        groups
            .create(
                &PostParams::default(),
                &serde_json::from_value(group).unwrap(),
            )
            .await
            .unwrap();
        let mut live = Live::of(
            &client,
            &BTreeSet::from(["default".to_owned(), "kube-system".to_owned()]),
        );
        assert!(live.snapshot().is_none(), "nothing was listed yet");
        while live.snapshot().is_none() {
            live.changed().await.unwrap();
        }
        assert_eq!(
            live.snapshot().unwrap().groups[0].spec.state,
            State::Running
        );
        let stop = json!({"spec": {"state": "Stopped"}});
        groups
            .patch("shop", &PatchParams::default(), &Patch::Merge(&stop))
            .await
            .unwrap();
        while live.snapshot().unwrap().groups[0].spec.state == State::Running {
            live.changed().await.unwrap();
        }
        groups
            .delete("shop", &kube::api::DeleteParams::default())
            .await
            .unwrap();
        while !live.snapshot().unwrap().groups.is_empty() {
            live.changed().await.unwrap();
        }
    }
}
