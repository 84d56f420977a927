//! The garbage collector: deletes what no living owner holds, and carries out foreground and orphaning deletion. It watches the
//! metadata of everything, remembers who owns whom in `graph`, decides in `rules`, and acts with the object's UID and version as
//! preconditions. A controller of its own shape, because it is about edges, not about one kind.

mod graph;
pub(crate) mod resources;
mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use clos_telemetry::Chain;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use graph::{Graph, Node};
use resources::{Kinds, Metadata};
use rules::{Verdict, doubtful_owners, judge};

/// How many objects are dealt with at the same time.
const CONCURRENCY: usize = 8;
/// The pause before a failed step is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What a piece of work ended with.
enum Finished {
    /// Whether the doubtful owners of an object exist was asked.
    Asked {
        uid: String,
        answer: Result<BTreeSet<String>, kube::Error>,
    },
    /// What was decided about an object was carried out.
    Done {
        uid: String,
        result: Result<(), kube::Error>,
    },
    /// It is time to look at an object again.
    Again { uid: String },
}

/// The collector's state between two events.
struct Collector {
    client: Client,
    kinds: Kinds,
    graph: Graph,
    /// Objects to look at.
    pending: BTreeSet<String>,
    /// Objects that something is under way for.
    busy: BTreeSet<String>,
    /// Objects told since a watch began again, until it has told all: what is missing then is gone.
    listing: Vec<Option<BTreeSet<String>>>,
    work: FuturesUnordered<BoxFuture<'static, Finished>>,
}

/// Collects garbage until `stop`. `gone` is told the namespace of every object that went.
pub(crate) async fn run(
    client: Client,
    kinds: Kinds,
    stop: CancellationToken,
    gone: impl Fn(&str) + Send,
) {
    let mut events = SelectAll::new();
    for (index, kind) in kinds.all().iter().enumerate() {
        events.push(follow(kind.within(&client, ""), index).boxed());
    }
    let listing = vec![Some(BTreeSet::new()); kinds.all().len()];
    let mut collector = Collector {
        client,
        kinds,
        graph: Graph::default(),
        pending: BTreeSet::new(),
        busy: BTreeSet::new(),
        listing,
        work: FuturesUnordered::new(),
    };
    loop {
        collector.begin_work();
        tokio::select! {
            () = stop.cancelled() => break,
            Some((kind, event)) = events.next() => collector.heard(kind, event, &gone),
            Some(finished) = collector.work.next() => collector.finished(finished),
        }
    }
    // Calls under way end; nothing new begins.
    while collector
        .work
        .next()
        .await
        .is_some_and(|finished| !matches!(finished, Finished::Again { .. }))
    {}
}

fn follow(
    api: Api<Metadata>,
    kind: usize,
) -> impl Stream<Item = (usize, watcher::Result<Event<Metadata>>)> + Send {
    watch(api, watcher::Config::default())
        .default_backoff()
        .map(move |event| (kind, event))
}

impl Collector {
    fn heard(
        &mut self,
        kind: usize,
        event: watcher::Result<Event<Metadata>>,
        gone: &impl Fn(&str),
    ) {
        match event {
            Ok(Event::Init) => self.listing[kind] = Some(BTreeSet::new()),
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let Some((uid, node)) = Node::read(kind, &object.metadata) else {
                    return;
                };
                if let Some(told) = &mut self.listing[kind] {
                    told.insert(uid.clone());
                }
                self.put(&uid, node);
            }
            Ok(Event::Delete(object)) => {
                if let Some(uid) = &object.metadata.uid {
                    self.remove(uid, gone);
                }
            }
            Ok(Event::InitDone) => {
                let told = self.listing[kind].take().unwrap_or_default();
                for uid in self.graph.of_resource(kind).difference(&told) {
                    self.remove(uid, gone);
                }
                if self.filled() {
                    self.pending.extend(self.graph.uids().cloned());
                }
            }
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "metadata watch broke off, beginning again");
            }
        }
    }

    /// Whether everything there is was told: before that, an owner may only seem to be missing.
    fn filled(&self) -> bool {
        self.listing.iter().all(Option::is_none)
    }

    fn put(&mut self, uid: &str, node: Node) {
        self.look_around(uid);
        self.graph.put(uid.to_owned(), node);
        self.look_around(uid);
    }

    fn remove(&mut self, uid: &str, gone: &impl Fn(&str)) {
        self.look_around(uid);
        if let Some(node) = self.graph.remove(uid) {
            gone(&node.namespace);
        }
    }

    /// Marks an object, its owners and its dependents to be looked at.
    fn look_around(&mut self, uid: &str) {
        self.pending.insert(uid.to_owned());
        if let Some(node) = self.graph.get(uid) {
            self.pending
                .extend(node.owners.iter().map(|owner| owner.uid.clone()));
        }
        self.pending.extend(
            self.graph
                .dependents(uid)
                .map(|(dependent, _)| dependent.clone()),
        );
    }

    fn begin_work(&mut self) {
        while self.filled() && self.busy.len() < CONCURRENCY {
            let Some(uid) = self
                .pending
                .iter()
                .find(|uid| !self.busy.contains(*uid))
                .cloned()
            else {
                return;
            };
            self.pending.remove(&uid);
            let Some(node) = self.graph.get(&uid) else {
                continue;
            };
            let doubtful = doubtful_owners(&self.graph, &uid);
            if doubtful.is_empty() {
                self.decide(uid, &BTreeSet::new());
                continue;
            }
            let (client, kinds, namespace) = (
                self.client.clone(),
                self.kinds.clone(),
                node.namespace.clone(),
            );
            self.busy.insert(uid.clone());
            self.work.push(Box::pin(async move {
                let answer = absent(&client, &kinds, &namespace, doubtful).await;
                Finished::Asked { uid, answer }
            }));
        }
    }

    fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Asked { uid, answer } => {
                self.busy.remove(&uid);
                match answer {
                    Ok(absent) => self.decide(uid, &absent),
                    Err(error) => self.again(uid, &error),
                }
            }
            Finished::Done { uid, result } => {
                self.busy.remove(&uid);
                if let Err(error) = result {
                    self.again(uid, &error);
                }
            }
            Finished::Again { uid } => {
                self.pending.insert(uid);
            }
        }
    }

    fn again(&mut self, uid: String, error: &kube::Error) {
        // What it lost against arrives by the watch, which looks at the object again by itself.
        if !matches!(error, kube::Error::Api(status) if status.is_conflict()) {
            tracing::warn!(%uid, error = %Chain(error), "garbage collection failed, trying again");
        }
        self.work.push(Box::pin(async move {
            tokio::time::sleep(RETRY).await;
            Finished::Again { uid }
        }));
    }

    fn decide(&mut self, uid: String, absent: &BTreeSet<String>) {
        let verdicts = judge(&self.graph, &uid, absent);
        let calls: Vec<_> = verdicts
            .into_iter()
            .filter_map(|verdict| self.call(verdict))
            .collect();
        if calls.is_empty() {
            return;
        }
        self.busy.insert(uid.clone());
        self.work.push(Box::pin(async move {
            let mut result = Ok(());
            for call in calls {
                result = result.and(call.await);
            }
            Finished::Done { uid, result }
        }));
    }

    /// The call that carries a verdict out. An object that is not there any more is no error.
    fn call(&self, verdict: Verdict) -> Option<BoxFuture<'static, Result<(), kube::Error>>> {
        let (Verdict::Delete { uid, .. }
        | Verdict::SetOwners { uid, .. }
        | Verdict::DropFinalizer { uid, .. }) = &verdict;
        let (uid, node) = (uid.clone(), self.graph.get(uid)?.clone());
        let api = self.kinds.all()[node.resource].within(&self.client, &node.namespace);
        #[cfg(feature = "failpoints")]
        let place = match &verdict {
            Verdict::Delete { .. } => "collect object",
            Verdict::SetOwners { .. } => "free dependent",
            Verdict::DropFinalizer { .. } => "drop finalizer",
        };
        Some(Box::pin(async move {
            #[cfg(feature = "failpoints")]
            clos_failpoints::before(place);
            let result = match verdict {
                Verdict::Delete { foreground, .. } => {
                    let policy = if foreground {
                        PropagationPolicy::Foreground
                    } else {
                        PropagationPolicy::Background
                    };
                    let preconditions = Preconditions {
                        uid: Some(uid),
                        resource_version: None,
                    };
                    let params = DeleteParams {
                        propagation_policy: Some(policy),
                        ..DeleteParams::default()
                    }
                    .preconditions(preconditions);
                    api.delete(&node.name, &params).await.map(drop)
                }
                Verdict::SetOwners { owners, .. } => {
                    patch(&api, &uid, &node, json!({ "ownerReferences": owners })).await
                }
                Verdict::DropFinalizer { finalizer, .. } => {
                    let finalizers: Vec<&String> = node
                        .finalizers
                        .iter()
                        .filter(|other| *other != finalizer)
                        .collect();
                    patch(&api, &uid, &node, json!({ "finalizers": finalizers })).await
                }
            };
            #[cfg(feature = "failpoints")]
            clos_failpoints::after(place);
            match result {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other,
            }
        }))
    }
}

async fn patch(
    api: &Api<Metadata>,
    uid: &str,
    node: &Node,
    mut metadata: serde_json::Value,
) -> Result<(), kube::Error> {
    metadata["uid"] = json!(uid);
    metadata["resourceVersion"] = json!(node.resource_version);
    let patch = json!({ "metadata": metadata });
    api.patch(&node.name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .map(drop)
}

/// Which of these owners of an object in `namespace` do not exist. One whose kind the API does not have counts as alive, as does one
/// in a namespace for an object in none: nobody can tell.
async fn absent(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    owners: Vec<OwnerReference>,
) -> Result<BTreeSet<String>, kube::Error> {
    let mut absent = BTreeSet::new();
    for owner in owners {
        let Some(kind) = kinds.of_owner(&owner) else {
            continue;
        };
        if kind.namespaced && namespace.is_empty() {
            continue;
        }
        let found = match kind.within(client, namespace).get(&owner.name).await {
            Ok(found) => found.metadata.uid,
            Err(kube::Error::Api(status)) if status.is_not_found() => None,
            Err(error) => return Err(error),
        };
        if found.as_ref() != Some(&owner.uid) {
            absent.insert(owner.uid);
        }
    }
    Ok(absent)
}
