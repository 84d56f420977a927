//! One machine in memory: API server, engine, controllers, and short ways to declare and break.

mod looks;

use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::Identity;
use clos_controllers::{Config, Controllers, RunError};
use clos_engine::Engine;
use clos_engine::fake::{Builder, FakeEngine};
use clos_resources::{Group, Port, Service};
use clos_store::{FakeDisk, Options, Store};
use clos_telemetry::Metrics;
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use looks::{message, reason, runs, within};

/// The machine's Host.
pub(crate) const HOST: &str = "box";

static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Time as the test's runtime has it, so that a test can move it.
pub(crate) fn clock() -> Timestamp {
    let since = tokio::time::Instant::now()
        .into_std()
        .saturating_duration_since(*START);
    Timestamp::from_second(1_800_000_000).unwrap() + since
}

/// One machine.
pub(crate) struct World {
    pub(crate) engine: FakeEngine,
    pub(crate) client: Client,
    pub(crate) store: Store,
    pub(crate) disk: FakeDisk,
    pub(crate) journal: Journal,
    pub(crate) metrics: Metrics,
    pub(crate) installation: String,
    /// Whether the controllers may take for granted that they know what is declared.
    pub(crate) declared: watch::Sender<bool>,
    seen: Arc<dyn Engine>,
    refusals: Refusals,
    server: ApiServer,
    redactor: Redactor,
    running: Option<(CancellationToken, JoinHandle<Result<(), RunError>>)>,
}

/// Which requests of the controllers are refused, by method and path, and how.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Option<Refusal>>>);

type Refusal = Box<dyn FnMut(&Method, &str) -> Option<StatusCode> + Send>;

impl Refusals {
    /// A client whose requests may be refused before the API sees them.
    fn before(&self, client: Client) -> Client {
        let refusals = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let mut refusal = refusals.0.lock().unwrap();
            let refused = refusal
                .as_mut()
                .and_then(|refusal| refusal(request.method(), request.uri().path()));
            let client = client.clone();
            async move {
                let Some(code) = refused else {
                    return client.send(request).await;
                };
                let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "message": "refused by the test", "reason": "Test" });
                let answer = Response::builder().status(code);
                let body = Body::from(status.to_string().into_bytes());
                Ok::<_, kube::Error>(answer.body(body).unwrap())
            }
        });
        Client::new(service, "default")
    }
}

/// Kinds whose objects lie in a namespace.
pub(crate) trait Namespaced:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug
{
}

impl<K> Namespaced for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
{
}

/// An engine on which `web:1` and `web:2` are present and run.
pub(crate) fn engine() -> Builder {
    LazyLock::force(&START);
    FakeEngine::builder()
        .image("web:1")
        .image("web:2")
        .clock(clock)
}

impl World {
    /// A machine with the usual engine, a group `shop`, and running controllers.
    pub(crate) async fn new() -> Self {
        Self::with(engine()).await
    }

    /// A machine with this engine, a group `shop`, and running controllers.
    pub(crate) async fn with(engine: Builder) -> Self {
        let engine = engine.build();
        Self::seeing(engine.clone(), Arc::new(engine)).await
    }

    /// A machine whose controllers see the engine through `seen`.
    pub(crate) async fn seeing(engine: FakeEngine, seen: Arc<dyn Engine>) -> Self {
        let disk = FakeDisk::default();
        let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
        let redactor = Redactor::default();
        let journal = Journal::new(store.clone(), redactor.clone(), clock);
        let metrics = Metrics::new();
        let config = ApiServerConfig {
            store: store.clone(),
            journal: journal.clone(),
            crds: clos_resources::crds(),
            clock,
            readiness: Arc::new(|| Ok(())),
            metrics: metrics.clone(),
            retention: Retention::default(),
        };
        let server = ApiServer::new(config).await.unwrap();
        let client = server.client(Identity::component("test"));
        let system: Namespace = Api::all(client.clone()).get("kube-system").await.unwrap();
        let installation = system.uid().unwrap();
        let mut world = Self {
            engine,
            client,
            store,
            disk,
            journal,
            metrics,
            installation,
            declared: watch::Sender::new(true),
            seen,
            refusals: Refusals::default(),
            server,
            redactor,
            running: None,
        };
        world.start();
        world
            .create(json!({ "kind": "Group", "metadata": { "name": "shop" }, "spec": {} }))
            .await;
        world
    }

    /// Starts the controllers.
    pub(crate) fn start(&mut self) {
        self.start_as(|_| {});
    }

    /// Starts the controllers with a configuration changed like this.
    pub(crate) fn start_as(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = Config::new(HOST.to_owned(), self.installation.clone(), clock);
        change(&mut config);
        let (server, refusals) = (self.server.clone(), self.refusals.clone());
        let controllers = Controllers {
            config,
            client: Box::new(move |identity| refusals.before(server.client(identity))),
            engine: Arc::clone(&self.seen),
            journal: self.journal.clone(),
            metrics: self.metrics.clone(),
            declared: self.declared.subscribe(),
            redactor: self.redactor.clone(),
        };
        let stop = CancellationToken::new();
        #[expect(
            clippy::disallowed_methods,
            reason = "a test notices the death of its controllers when it stops them"
        )]
        let running = tokio::spawn(controllers.run(stop.clone()));
        self.running = Some((stop, running));
    }

    /// Stops the controllers and waits for their end.
    pub(crate) async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.cancel();
        within("the controllers' end", running)
            .await
            .unwrap()
            .unwrap();
    }

    /// From now on those requests of the controllers are refused for which `refusal` gives a code.
    pub(crate) fn refuse(
        &self,
        refusal: impl FnMut(&Method, &str) -> Option<StatusCode> + Send + 'static,
    ) {
        *self.refusals.0.lock().unwrap() = Some(Box::new(refusal));
    }

    /// From now on no request is refused.
    pub(crate) fn accept(&self) {
        *self.refusals.0.lock().unwrap() = None;
    }

    /// Moves the time forward.
    pub(crate) async fn advance(&self, by: Duration) {
        tokio::time::pause();
        tokio::time::advance(by).await;
        tokio::time::resume();
    }

    /// Makes an object of ours in the namespace `default`, or cluster-wide.
    pub(crate) async fn create(&self, mut object: Value) {
        object["apiVersion"] = json!("clos.dev/v1alpha1");
        let post = PostParams::default();
        match object["kind"].as_str().unwrap() {
            "Group" => drop(
                self.api::<Group>()
                    .create(&post, &read(object))
                    .await
                    .unwrap(),
            ),
            "Service" => drop(
                self.api::<Service>()
                    .create(&post, &read(object))
                    .await
                    .unwrap(),
            ),
            "Port" => drop(
                Api::<Port>::all(self.client.clone())
                    .create(&post, &read(object))
                    .await
                    .unwrap(),
            ),
            kind => panic!("no way to make a {kind}"),
        }
    }

    /// Declares a Service of the group `shop` with the image `web:1`, and `more`.
    pub(crate) async fn service(&self, name: &str, more: Value) {
        let mut spec = json!({ "group": "shop", "image": "web:1", "stopGracePeriod": "1s" });
        merge(&mut spec, &more);
        self.create(json!({ "kind": "Service", "metadata": { "name": name }, "spec": spec }))
            .await;
    }

    /// Changes an object of the namespace `default` by a merge patch.
    pub(crate) async fn patch<K: Namespaced>(&self, name: &str, patch: Value) {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Changes the spec of a Service.
    pub(crate) async fn change(&self, service: &str, spec: Value) {
        self.patch::<Service>(service, json!({ "spec": spec }))
            .await;
    }

    /// Objects of the namespace `default`.
    pub(crate) fn api<K: Namespaced>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Deletes an object of the namespace `default`.
    pub(crate) async fn delete<K: Namespaced>(&self, name: &str) {
        self.api::<K>()
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }
}

fn read<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}
