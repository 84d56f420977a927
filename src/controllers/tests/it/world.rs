//! One machine in memory: API server, engine, controllers, and short ways to declare, break and wait.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Entry, Filter, Journal, Order, Redactor};
use clos_auth::Identity;
use clos_controllers::{Config, Controllers, RunError};
use clos_engine::Engine;
use clos_engine::fake::{Builder, FakeEngine};
use clos_plan::observed::{Container, ContainerState};
use clos_resources::{Group, Host, Instance, Port, Service};
use clos_store::{FakeDisk, Options, Store};
use clos_telemetry::Metrics;
use futures::{StreamExt, TryStreamExt};
use http::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes: a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

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
    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
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
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Deletes an object of the namespace `default`.
    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        self.api::<K>()
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .unwrap();
    }

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

fn read<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}
