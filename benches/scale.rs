//! What one change costs beside many other services: the whole loop in one process, with the API, the store and an engine in memory. First
//! everything converges, then one service changes again and again. What the container engine costs is measured by `e2e/bench`.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_controllers::{Config, Controllers};
use clos_engine::fake::FakeEngine;
use clos_resources::group::GroupSpec;
use clos_resources::service::ServiceSpec;
use clos_resources::{Group, Service, conditions};
use clos_store::Store;
use clos_telemetry::Metrics;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often the one service changes.
const CHANGES: usize = 21;

/// How many requests at a time declare the others.
const WIDE: usize = 32;

/// The service that changes.
const ONE: &str = "one";

/// So many other services, in so many groups, each of them with a container or without.
#[derive(Clone, Copy)]
struct Load {
    services: usize,
    groups: usize,
    replicas: u32,
}

const LOADS: [Load; 6] = [
    load(0, 1, 1),
    load(50, 1, 1),
    load(200, 1, 1),
    load(500, 1, 1),
    // Without containers: what the engine in memory costs is not to be measured.
    load(10_000, 100, 0),
    load(10_000, 1, 0),
];

const fn load(services: usize, groups: usize, replicas: u32) -> Load {
    Load {
        services,
        groups,
        replicas,
    }
}

fn main() -> std::io::Result<()> {
    // A run of all tests runs this, too, to see that it works.
    let measured = std::env::args().any(|argument| argument == "--bench");
    let loads = if measured { &LOADS[..] } else { &LOADS[..1] };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "services   groups   all converge   one changes (p50 / worst)"
    )?;
    for load in loads {
        let line = runtime.block_on(measure(*load));
        writeln!(out, "{line}")?;
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark decides what time it is"
)]
fn clock() -> Timestamp {
    Timestamp::now()
}

async fn measure(load: Load) -> String {
    let store = Store::in_memory();
    let redactor = Redactor::default();
    let journal = Journal::new(store.clone(), redactor.clone(), clock);
    let metrics = Metrics::new();
    let server = ApiServer::new(ApiServerConfig {
        store: store.clone(),
        journal: journal.clone(),
        crds: clos_resources::crds(),
        clock,
        readiness: Arc::new(|| Ok(())),
        metrics: metrics.clone(),
        retention: Retention::default(),
    });
    let server = server.await.unwrap();
    let client = server.client(Identity::component("bench"));
    let system: Namespace = Api::all(client.clone()).get("kube-system").await.unwrap();
    let engine = FakeEngine::builder().image("web:1").image("web:2").build();
    let controllers = Controllers {
        config: Config::new("box".to_owned(), system.uid().unwrap(), clock),
        client: Box::new(move |identity| server.client(identity)),
        engine: Arc::new(engine),
        journal,
        metrics,
        declared: watch::channel(true).1,
        redactor,
    };
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(controllers.run(stop.clone()));

    let converged = converge(&client, &store, load).await;
    let mut changes = Vec::new();
    for number in 0..CHANGES {
        changes.push(change(&client, number).await);
    }
    changes.sort_unstable();
    stop.cancel();
    running.join_all().await;
    format!(
        "{:8}   {:6}   {:9.0} ms   {:.2} / {:.2} ms",
        load.services,
        load.groups,
        ms(converged),
        ms(changes[CHANGES / 2]),
        ms(changes[CHANGES - 1]),
    )
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Declares everything; gives the time until nothing is left to do.
async fn converge(client: &Client, store: &Store, load: Load) -> Duration {
    let began = Instant::now();
    let groups: Api<Group> = Api::namespaced(client.clone(), "default");
    for number in 0..load.groups {
        let group = Group::new(&format!("g{number}"), GroupSpec::default());
        groups.create(&PostParams::default(), &group).await.unwrap();
    }
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let others = (0..load.services).map(|number| {
        let group = format!("g{}", number % load.groups);
        service(&format!("s{number:05}"), &group, load.replicas)
    });
    let declared = others.chain([service(ONE, "g0", 1)]);
    let creations = futures::stream::iter(declared).map(|service| {
        let services = services.clone();
        async move { services.create(&PostParams::default(), &service).await }
    });
    let creations = creations.buffer_unordered(WIDE).map_ok(drop);
    creations.try_collect::<()>().await.unwrap();
    // Nothing is left to do when nothing was written for a while.
    let (mut last, mut since) = (store.revision(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let revision = store.revision();
        if revision != last {
            (last, since) = (revision, Instant::now());
        } else if since.elapsed() > Duration::from_secs(2) {
            return since - began;
        }
    }
}

/// Changes the one service; gives the time until it says that the new container runs.
async fn change(client: &Client, number: usize) -> Duration {
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let only = watcher::Config::default().fields(&format!("metadata.name={ONE}"));
    let mut seen = pin!(watcher(services.clone(), only).applied_objects());
    // The watch has begun when it shows how the service is.
    seen.try_next().await.unwrap().unwrap();
    let image = format!("web:{}", 2 - number % 2);
    let patch = Patch::Merge(json!({ "spec": { "image": image } }));
    let began = Instant::now();
    let patched = services.patch(ONE, &PatchParams::default(), &patch).await;
    let generation = patched.unwrap().metadata.generation;
    loop {
        let service = seen.try_next().await.unwrap().unwrap();
        let status = service.status.unwrap_or_default();
        let ready = conditions::ready(&status.conditions);
        if status.observed_generation == generation
            && ready.is_some_and(|ready| ready.status == "True")
        {
            return began.elapsed();
        }
    }
}

fn service(name: &str, group: &str, replicas: u32) -> Service {
    let spec =
        json!({"group": group, "image": "web:1", "replicas": replicas, "stopGracePeriod": "1s"});
    let spec: ServiceSpec = serde_json::from_value(spec).unwrap();
    let mut service = Service::new(name, spec);
    service.metadata.namespace = Some("default".to_owned());
    service
}
