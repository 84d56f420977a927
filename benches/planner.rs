//! How long planning takes: 10 000 services of 3 replicas, when nothing is there yet and when everything is as declared. The engine and
//! the API are values here; what they cost is measured elsewhere.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use clos_plan::action::{Action, ApiAction};
use clos_plan::desired::{self, Desired, Values};
use clos_plan::instance::{self, InstanceInput, InstancePlan};
use clos_plan::observed::{
    Container, ContainerState, EngineView, Health, Image, LiveOptions, Network, Observed, Volume,
};
use clos_plan::service::{self, ServiceInput, ServicePlan};
use clos_plan::status::{self, Outcome};
use clos_resources::host::EngineInfo;
use clos_resources::{Group, Instance, Service};
use criterion::{Criterion, SamplingMode, Throughput};
use jiff::Timestamp;
use serde_json::json;

const SERVICES: usize = 10_000;
const REPLICAS: usize = 3;
const INSTALLATION: &str = "installation";
const IMAGE_ID: &str = "sha256:image";

/// Everything the plans depend on.
struct World {
    group: Group,
    services: Vec<Service>,
    /// By service.
    instances: Vec<Vec<Instance>>,
    /// By instance, in the same order.
    views: Vec<Vec<EngineView>>,
    platform: EngineInfo,
    values: Values,
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut benches = criterion.benchmark_group("planner");
    benches
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .throughput(Throughput::Elements((SERVICES * REPLICAS) as u64));

    let world = World::declared();
    benches.bench_function("first_start/services", |b| b.iter(|| world.services()));
    let world = world.accepted();
    benches.bench_function("first_start/instances", |b| b.iter(|| world.instances()));
    let world = world.running();
    benches.bench_function("steady_state/services", |b| b.iter(|| world.services()));
    benches.bench_function("steady_state/instances", |b| b.iter(|| world.instances()));
    benches.bench_function("steady_state", |b| {
        b.iter(|| world.services() + world.instances());
    });
    benches.finish();
    criterion.final_summary();
}

/// The time of all decisions: some minutes after everything started.
fn now() -> Timestamp {
    Timestamp::from_second(1_767_268_800).unwrap()
}

fn started_at() -> Timestamp {
    Timestamp::from_second(1_767_265_200).unwrap()
}

impl World {
    /// Services that nobody has looked at.
    fn declared() -> Self {
        let group = json!({
            "apiVersion": "clos.dev/v1alpha1",
            "kind": "Group",
            "metadata": {"name": "shop", "namespace": "default", "uid": "group", "generation": 1},
            "spec": {},
        });
        Self {
            group: serde_json::from_value(group).unwrap(),
            services: (0..SERVICES).map(declared_service).collect(),
            instances: vec![Vec::new(); SERVICES],
            views: vec![Vec::new(); SERVICES],
            platform: EngineInfo {
                architecture: "amd64".into(),
                operating_system: "linux".into(),
                ..EngineInfo::default()
            },
            values: Values::default(),
        }
    }

    /// The same once the Instances exist, on a host that has the images and nothing else.
    fn accepted(mut self) -> Self {
        for number in 0..SERVICES {
            let planned = self.plan_service(number);
            let made = planned
                .plan
                .steps
                .into_iter()
                .map(|step| match step.action {
                    Action::Api(ApiAction::CreateInstance(instance)) => *instance,
                    other => panic!("{other} at the first start"),
                });
            let made: Vec<Instance> = made.map(stored).collect();
            assert_eq!(made.len(), REPLICAS);
            self.views[number] = vec![EngineView::Known(empty_host()); REPLICAS];
            self.instances[number] = made;
        }
        let planned = self.plan_instance(&self.instances[0][0], &self.views[0][0]);
        assert!(!planned.plan.is_empty(), "a first start makes something");
        self
    }

    /// The same once everything runs and says so.
    fn running(mut self) -> Self {
        for number in 0..SERVICES {
            for ordinal in 0..REPLICAS {
                let instance = &self.instances[number][ordinal];
                let desired = self.desired(instance).unwrap();
                let view = EngineView::Known(running_host(&desired, number * REPLICAS + ordinal));
                let status = self.with_input(instance, &view, |input| {
                    let planned = instance::plan(input);
                    status::instance_status(input, &planned, &Outcome::AllDone, None, &view)
                });
                self.views[number][ordinal] = view;
                self.instances[number][ordinal].status = Some(status);
            }
            let status = serde_json::to_value(self.plan_service(number).status).unwrap();
            self.services[number].status = Some(serde_json::from_value(status).unwrap());
        }
        assert_eq!(
            self.services() + self.instances(),
            0,
            "in a steady state there is nothing to do"
        );
        self
    }

    /// Plans all services; gives the number of steps.
    fn services(&self) -> usize {
        (0..SERVICES)
            .map(|number| black_box(self.plan_service(number)).plan.steps.len())
            .sum()
    }

    /// Plans all Instances; gives the number of steps.
    fn instances(&self) -> usize {
        let pairs = self
            .instances
            .iter()
            .flatten()
            .zip(self.views.iter().flatten());
        pairs
            .map(|(instance, view)| {
                black_box(self.plan_instance(instance, view))
                    .plan
                    .steps
                    .len()
            })
            .sum()
    }

    fn plan_service(&self, number: usize) -> ServicePlan {
        service::plan(&ServiceInput {
            service: &self.services[number],
            group: Some(&self.group),
            instances: &self.instances[number],
            mistake: None,
            values: None,
            host: "box",
            now: now(),
        })
    }

    fn plan_instance(&self, instance: &Instance, view: &EngineView) -> InstancePlan {
        self.with_input(instance, view, instance::plan)
    }

    fn desired<'a>(&'a self, instance: &'a Instance) -> Result<Desired<'a>, desired::Unresolved> {
        desired::desired(instance, &self.values, INSTALLATION)
    }

    fn with_input<T>(
        &self,
        instance: &Instance,
        view: &EngineView,
        ask: impl FnOnce(&InstanceInput<'_>) -> T,
    ) -> T {
        ask(&InstanceInput {
            instance,
            desired: &self.desired(instance),
            view,
            ports: &[],
            dependencies: &[],
            platform: &self.platform,
            installation: INSTALLATION,
            now: now(),
        })
    }
}

/// A service as people write them: some environment, limits and a volume.
fn declared_service(number: usize) -> Service {
    let name = format!("service-{number}");
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{number}"), "generation": 1},
        "spec": {
            "group": "shop",
            "image": "shop/web:1.4.2",
            "replicas": REPLICAS,
            "env": [
                {"name": "LOG", "value": "info"},
                {"name": "LISTEN", "value": "0.0.0.0:8080"},
                {"name": "DATABASE", "value": "postgres://db:5432/shop"},
            ],
            "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}},
            "mounts": [{"mountPath": "/data", "volume": {"name": name}}],
        },
    }))
    .unwrap()
}

/// As it comes back from the API.
fn stored(mut instance: Instance) -> Instance {
    instance.metadata.uid = instance.metadata.name.clone();
    instance.metadata.generation = Some(1);
    instance
}

fn empty_host() -> Observed {
    Observed {
        image: Some(Image {
            id: IMAGE_ID.into(),
            architecture: "amd64".into(),
            operating_system: "linux".into(),
            has_health_check: false,
        }),
        ..Observed::default()
    }
}

/// The host once the container was made exactly as asked, and started.
fn running_host(desired: &Desired<'_>, number: usize) -> Observed {
    let (options, network) = (desired.container(), desired.network());
    let id = format!("{number:064x}");
    let container = Container {
        id: id.clone(),
        name: options.name,
        labels: options.labels,
        image_id: IMAGE_ID.into(),
        created_at: started_at(),
        state: ContainerState::Running {
            started_at: started_at(),
            health: Health::None,
        },
        live: LiveOptions {
            networks: BTreeMap::from([(options.network, options.aliases)]),
            limits: options.limits,
            restart_policy: "no".into(),
            mounts: options.mounts,
            ports: options.ports,
        },
    };
    let volumes = desired.volumes().into_iter().map(|volume| {
        let made = Volume {
            name: volume.name.clone(),
            driver: "local".into(),
            options: BTreeMap::new(),
            labels: volume.labels,
        };
        (volume.name, made)
    });
    Observed {
        containers: BTreeMap::from([(id, container)]),
        networks: vec![Network {
            id: "network".into(),
            name: network.name,
            labels: network.labels,
        }],
        volumes: volumes.collect(),
        ..empty_host()
    }
}
