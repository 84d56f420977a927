//! The parts of the controllers, made and put into the task set: which tasks there are, what each works with, and what it waits for before
//! it begins.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use clos_auth::Identity;
use clos_engine::Engine;
use clos_resources::{Group, Host, Instance, Port, Service};
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{self, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::api_call::ApiCalls;
use crate::cache::{Cache, Change, follow, follow_uncached};
use crate::events::Events;
use crate::execute::Executor;
use crate::gate::Gate;
use crate::gc::resources::Kinds;
use crate::group::Groups;
use crate::host::HostKeeper;
use crate::index::Index;
use crate::instance::Agent;
use crate::instance::memory::Memory;
use crate::members::Members;
use crate::metered::Metered;
use crate::namespace::Namespaces;
use crate::port::Ports;
use crate::retry::Retries;
use crate::run::{Config, Controllers};
use crate::service::Services;
use crate::sweep::{Found, Leftovers, Sweeper};
use crate::sync::EngineSync;
use crate::tasks::{Filled, Tasks, ready};
use crate::trail::Trail;
use crate::wake::{DriveError, Queue, Waker, drive};
use crate::wiring::Wiring;
use crate::{gc, group, instance, namespace, port, service};

/// What the tasks share, and the ends of the channels that each of them takes.
pub(crate) struct Parts<'a> {
    controllers: &'a Controllers,
    config: Config,
    stop: CancellationToken,
    engine: Arc<dyn Engine>,
    gate: Arc<Gate>,
    events: Arc<Events>,
    wiring: Wiring,
    filled: Filled,
    found: watch::Sender<Found>,
    confirmed: Arc<Notify>,
    services: Lane<Service>,
    groups: Lane<Group>,
    instances: Lane<Instance>,
    ports: Lane<Port>,
    namespaces: Lane<Namespace>,
}

/// How one kind reaches its reconciler: the watch writes into the cache, and names come through the queue.
struct Lane<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    queue: Queue<K>,
}

impl<'a> Parts<'a> {
    /// Makes what the tasks share.
    pub(crate) fn new(controllers: &'a Controllers, stop: &CancellationToken) -> Self {
        let config = controllers.config.clone();
        let metrics = controllers.metrics.clone();
        let engine = Metered::new(Arc::clone(&controllers.engine), config.concurrency, metrics);
        let (services, wake_services, service_lane) = lane();
        let (groups, wake_groups, group_lane) = lane();
        let (instances, wake_instances, instance_lane) = lane();
        let (ports, wake_ports, port_lane) = lane();
        let (namespaces, wake_namespaces, namespace_lane) = lane();
        let cache = Cache {
            services,
            groups,
            instances,
            ports,
        };
        let waiting = cache.clone();
        let client = as_controller(controllers, "instance");
        let redactor = controllers.redactor.clone();
        let events = Events::new(client, config.host.clone(), redactor.clone(), config.clock);
        let wiring = Wiring {
            cache,
            namespaces,
            index: Arc::new(Index::default()),
            members: Arc::new(Members::default()),
            memory: Arc::new(Memory::default()),
            redactor,
            wake_services,
            wake_instances,
            wake_groups,
            wake_ports,
            wake_namespaces,
        };
        Self {
            controllers,
            stop: stop.clone(),
            engine: Arc::new(engine),
            gate: Arc::new(Gate::new((config.clock)())),
            config,
            events: Arc::new(events),
            wiring,
            filled: async move { waiting.filled().await }.boxed().shared(),
            found: watch::Sender::default(),
            confirmed: Arc::default(),
            services: service_lane,
            groups: group_lane,
            instances: instance_lane,
            ports: port_lane,
            namespaces: namespace_lane,
        }
    }

    /// Puts every task into the set. `kinds` are those of the API when clos has to do there what a Kubernetes cluster does by itself.
    pub(crate) fn start(self, tasks: &mut Tasks, kinds: Option<Kinds>) {
        self.watch_values(tasks);
        self.keep_host(tasks);
        self.follow_engine(tasks);
        let namespaces = kinds.map(|kinds| {
            self.collect_garbage(tasks, kinds.clone());
            Arc::new(self.namespace_context(kinds))
        });
        let services = Arc::new(self.service_context());
        let agent = Arc::new(self.agent());
        let groups = Arc::new(self.group_context());
        let ports = Arc::new(self.port_context());

        let filled = ready(&self.filled, None);
        let known = || ready(&self.filled, Some(&self.gate));
        let (agent_ready, groups_ready, ports_ready) = (known(), known(), known());
        let reader = self.client("cache");
        let (stop, wiring, cache) = (self.stop, self.wiring.clone(), self.wiring.cache);
        let queue =
            self.services
                .watched(tasks, "service watch", &reader, wiring.clone().services());
        let pass = drive(
            cache.services,
            queue,
            services,
            service::reconcile,
            service::error_policy,
            stop.clone(),
        );
        tasks.add_after("service", filled, pass);
        let queue =
            self.instances
                .watched(tasks, "instance watch", &reader, wiring.clone().instances());
        let pass = drive(
            cache.instances,
            queue,
            agent,
            instance::reconcile,
            instance::error_policy,
            stop.clone(),
        );
        tasks.add_after("instance", agent_ready, pass);
        let queue = self
            .groups
            .watched(tasks, "group watch", &reader, wiring.clone().groups());
        let pass = drive(
            cache.groups,
            queue,
            groups,
            group::reconcile,
            group::error_policy,
            stop.clone(),
        );
        tasks.add_after("group", groups_ready, pass);
        let queue = self
            .ports
            .watched(tasks, "port watch", &reader, wiring.clone().ports());
        let pass = drive(
            cache.ports,
            queue,
            ports,
            port::reconcile,
            port::error_policy,
            stop.clone(),
        );
        tasks.add_after("port", ports_ready, pass);
        let Some(namespaces) = namespaces else {
            return;
        };
        let queue = self
            .namespaces
            .watched(tasks, "namespace watch", &reader, wiring.namespaces());
        let all = self.wiring.namespaces;
        let pass = drive(
            all,
            queue,
            namespaces,
            namespace::reconcile,
            namespace::error_policy,
            stop,
        );
        tasks.add("namespace", pass.map(|ended| ended.map_err(Into::into)));
    }

    fn client(&self, name: &str) -> Client {
        as_controller(self.controllers, name)
    }

    fn trail(&self, kind: &'static str) -> Trail {
        let actor = Identity::component(&format!("controller:{}", kind.to_ascii_lowercase()));
        Trail::new(
            self.controllers.journal.clone(),
            self.controllers.metrics.clone(),
            actor,
            kind,
        )
    }

    fn executor(&self, client: Client) -> Executor {
        Executor {
            engine: Arc::clone(&self.engine),
            gate: Arc::clone(&self.gate),
            api: ApiCalls::new(client),
            stop: self.stop.clone(),
            clock: self.config.clock,
        }
    }

    fn service_context(&self) -> Services {
        Services {
            client: self.client("service"),
            cache: self.wiring.cache.clone(),
            index: Arc::clone(&self.wiring.index),
            executor: self.executor(self.client("service")),
            events: Arc::clone(&self.events),
            trail: self.trail("Service"),
            retries: Retries::default(),
            host: self.config.host.clone(),
            clock: self.config.clock,
        }
    }

    fn agent(&self) -> Agent {
        Agent {
            client: self.client("instance"),
            cache: self.wiring.cache.clone(),
            index: Arc::clone(&self.wiring.index),
            executor: self.executor(self.client("instance")),
            memory: Arc::clone(&self.wiring.memory),
            events: Arc::clone(&self.events),
            trail: self.trail("Instance"),
            metrics: self.controllers.metrics.clone(),
            redactor: self.controllers.redactor.clone(),
            declared: self.controllers.declared.clone(),
            retries: Retries::default(),
            host: self.config.host.clone(),
            installation: self.config.installation.clone(),
            clock: self.config.clock,
        }
    }

    fn group_context(&self) -> Groups {
        Groups {
            client: self.client("group"),
            members: Arc::clone(&self.wiring.members),
            executor: self.executor(self.client("group")),
            trail: self.trail("Group"),
            retries: Retries::default(),
            installation: self.config.installation.clone(),
            clock: self.config.clock,
        }
    }

    fn port_context(&self) -> Ports {
        Ports {
            client: self.client("port"),
            executor: self.executor(self.client("port")),
            trail: self.trail("Port"),
            retries: Retries::default(),
            host: self.config.host.clone(),
            clock: self.config.clock,
        }
    }

    fn namespace_context(&self, kinds: Kinds) -> Namespaces {
        Namespaces {
            client: self.client("namespace"),
            kinds,
            trail: self.trail("Namespace"),
            retries: Retries::default(),
        }
    }

    fn collect_garbage(&self, tasks: &mut Tasks, kinds: Kinds) {
        let wiring = self.wiring.clone();
        let gone = move |namespace: &str| wiring.gone_from(namespace);
        let collected = gc::run(self.client("gc"), kinds, self.stop.clone(), gone);
        tasks.add("gc", collected.map(Ok));
    }

    fn watch_values(&self, tasks: &mut Tasks) {
        let reader = self.client("cache");
        let secrets = follow_uncached(
            Api::all(reader.clone()),
            self.stop.clone(),
            self.wiring.clone().secrets(),
        );
        tasks.add("secret watch", secrets.map(Ok));
        let maps = follow_uncached(
            Api::all(reader),
            self.stop.clone(),
            self.wiring.clone().config_maps(),
        );
        tasks.add("config map watch", maps.map(Ok));
    }

    fn keep_host(&self, tasks: &mut Tasks) {
        let changed = Arc::new(Notify::new());
        let (notify, confirmed) = (Arc::clone(&changed), Arc::clone(&self.confirmed));
        let hosts: Api<PartialObjectMeta<Host>> = Api::all(self.client("cache"));
        let told = follow_uncached(hosts, self.stop.clone(), move |_| {
            notify.notify_one();
            confirmed.notify_one();
        });
        tasks.add("host watch", told.map(Ok));
        let keeper = HostKeeper {
            client: self.client("host"),
            gate: Arc::clone(&self.gate),
            found: self.found.subscribe(),
            trail: self.trail("Host"),
            retries: Retries::default(),
            host: self.config.host.clone(),
            clock: self.config.clock,
        };
        let kept = keeper
            .run(changed, self.stop.clone())
            .map(Ok::<_, DriveError>);
        tasks.add_after("host", ready(&self.filled, Some(&self.gate)), kept);
    }

    fn follow_engine(&self, tasks: &mut Tasks) {
        let sweeper = Sweeper {
            client: self.client("instance"),
            cache: self.wiring.cache.clone(),
            executor: self.executor(self.client("instance")),
            trail: self.trail("Instance"),
            host: self.config.host.clone(),
            installation: self.config.installation.clone(),
            clock: self.config.clock,
            events: Arc::clone(&self.events),
            metrics: self.controllers.metrics.clone(),
            found: self.found.clone(),
            memory: Mutex::new(Leftovers::default()),
        };
        let (wiring, waiting) = (self.wiring.clone(), self.wiring.clone());
        let sync = EngineSync {
            engine: Arc::clone(&self.engine),
            gate: Arc::clone(&self.gate),
            memory: Arc::clone(&self.wiring.memory),
            instances: self.wiring.wake_instances.clone(),
            wake_waiting: Box::new(move |event| waiting.engine_told(event)),
            wake_everybody: Box::new(move || wiring.engine_changed()),
            sweeper,
            confirmed: Arc::clone(&self.confirmed),
            installation: self.config.installation.clone(),
            relist: self.config.relist,
            metrics: self.controllers.metrics.clone(),
            clock: self.config.clock,
        };
        tasks.add_after(
            "engine",
            ready(&self.filled, None),
            sync.run(self.stop.clone()),
        );
    }
}

impl<K> Lane<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Adds the watch to the task set, and leaves the queue.
    fn watched(
        self,
        tasks: &mut Tasks,
        part: &'static str,
        reader: &Client,
        told: impl FnMut(Change<'_, K>) + Send + 'static,
    ) -> Queue<K> {
        let (api, stop) = (Api::all(reader.clone()), tasks.stop.clone());
        let followed = follow(api, watcher::Config::default(), self.writer, stop, told);
        tasks.add(part, followed.map(Ok));
        self.queue
    }
}

fn as_controller(controllers: &Controllers, name: &str) -> Client {
    (controllers.client)(Identity::component(&format!("controller:{name}")))
}

fn lane<K: Resource<DynamicType = ()> + Clone + Send + 'static>() -> (Store<K>, Waker<K>, Lane<K>) {
    let (store, writer) = reflector::store();
    let (waker, queue) = Waker::new();
    (store, waker, Lane { writer, queue })
}
