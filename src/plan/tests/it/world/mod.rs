//! A world in memory to which plans are applied: objects, and a host whose engine obeys the rules of Docker.

mod steps;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::desired::{self, Desired, Unresolved, Values};
use clos_plan::instance::{self, DependencyState, InstanceInput, InstancePlan};
use clos_plan::observed::EngineView;
use clos_plan::order;
use clos_plan::service::{self, ServiceInput, ServicePlan};
use clos_plan::status::{self, Outcome};
use clos_resources::host::EngineInfo;
use clos_resources::instance::{InstanceStatus, ValueKind, ValueVersion};
use clos_resources::{Group, Instance, Port, Service};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::fixtures::secret;

pub(crate) use text::words;

pub(crate) const INSTALLATION: &str = "installation-1";
pub(crate) const HOST: &str = "box";

pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) group: Option<Group>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) ports: Vec<Port>,
    pub(crate) values: Values,
    pub(crate) engine: Engine,
    /// Whether steps are taken as late as their order allows.
    pub(crate) hasty: bool,
    /// The container that the last plan made.
    last_made: Option<String>,
    made: u64,
}

/// What one pass over an Instance was.
pub(crate) struct Pass {
    pub(crate) planned: InstancePlan,
    pub(crate) outcome: Outcome,
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A Service of the group `shop` with these fields besides.
pub(crate) fn service(name: &str, fields: Value) -> Service {
    let mut spec = json!({"group": "shop", "image": format!("shop/{name}:1")});
    merge(&mut spec, fields);
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "uid": format!("service-{name}"), "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

/// A version of the Secret `shop`.
pub(crate) fn secret_version(number: u32) -> BTreeSet<ValueVersion> {
    BTreeSet::from([ValueVersion {
        kind: ValueKind::Secret,
        name: "shop".to_owned(),
        uid: "uid-of-shop".to_owned(),
        resource_version: number.to_string(),
    }])
}

pub(crate) fn group(name: &str) -> Group {
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1",
        "kind": "Group",
        "metadata": {"name": name, "namespace": "default", "uid": format!("group-{name}"), "generation": 1},
        "spec": {},
    }))
    .unwrap()
}

fn merge(into: &mut Value, from: Value) {
    let Value::Object(fields) = from else {
        panic!("fields are an object")
    };
    for (key, value) in fields {
        into[key] = value;
    }
}

impl World {
    /// Somebody deletes an Instance.
    pub(crate) fn delete_instance(&mut self, name: &str) {
        let deleted = Some(Time(self.now));
        let instance = self.instances.get_mut(name).unwrap();
        instance.metadata.deletion_timestamp = deleted;
    }

    /// A host with an engine, the group `shop`, and these services.
    pub(crate) fn new(services: impl IntoIterator<Item = Service>) -> Self {
        let mut world = Self {
            now: at("2026-11-23T12:00:00Z"),
            group: Some(group("shop")),
            services: BTreeMap::new(),
            instances: BTreeMap::new(),
            ports: Vec::new(),
            values: Values::default(),
            engine: Engine::default(),
            hasty: false,
            last_made: None,
            made: 0,
        };
        for service in services {
            world.engine.offer(&service.spec.container.image);
            world
                .services
                .insert(service.metadata.name.clone().unwrap(), service);
        }
        world
    }

    /// The same, after everything runs.
    pub(crate) fn running(services: impl IntoIterator<Item = Service>) -> Self {
        let mut world = Self::new(services);
        world.settle();
        world
    }

    pub(crate) fn pass_time(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Changes the spec of a service, as an apply does.
    pub(crate) fn change(&mut self, name: &str, fields: Value) {
        let service = self.services.get_mut(name).unwrap();
        let mut spec = serde_json::to_value(&service.spec).unwrap();
        merge(&mut spec, fields);
        service.spec = serde_json::from_value(spec).unwrap();
        service.metadata.generation = service.metadata.generation.map(|generation| generation + 1);
        self.engine.offer(&service.spec.container.image);
    }

    /// Stores the Secret `shop` in this version, with this password.
    pub(crate) fn store_secret(&mut self, version: u32, password: &str) {
        self.values = secret(password);
        self.values.versions = Some(secret_version(version));
    }

    /// Deletes the Secret `shop`.
    pub(crate) fn delete_secret(&mut self) {
        self.values.secrets.insert("shop".to_owned(), None);
        self.values.versions = Some(BTreeSet::new());
    }

    pub(crate) fn desired(&self, name: &str) -> Result<Desired<'_>, Unresolved> {
        desired::desired(&self.instances[name], &self.values, INSTALLATION)
    }

    pub(crate) fn view(&self, name: &str) -> EngineView {
        self.engine.view(&self.instances[name])
    }

    pub(crate) fn plan_service(&self, name: &str) -> ServicePlan {
        let mistakes = order::mistakes(&self.services.values().cloned().collect::<Vec<_>>());
        let instances = self.instances_of(name);
        service::plan(&ServiceInput {
            service: &self.services[name],
            group: self.group.as_ref(),
            instances: &instances,
            mistake: mistakes.get(name).map(String::as_str),
            values: self.values.versions.as_ref(),
            host: HOST,
            now: self.now,
        })
    }

    pub(crate) fn plan_instance(&self, name: &str) -> InstancePlan {
        self.with_input(name, &self.view(name), instance::plan)
    }

    /// One pass of the service controller.
    pub(crate) fn pass_service(&mut self, name: &str) -> ServicePlan {
        let planned = self.plan_service(name);
        for step in &planned.plan.steps {
            self.apply(&step.action).unwrap();
        }
        let status = serde_json::to_value(&planned.status).unwrap();
        self.services.get_mut(name).unwrap().status = Some(serde_json::from_value(status).unwrap());
        planned
    }

    /// One pass of the agent.
    pub(crate) fn pass_instance(&mut self, name: &str) -> Pass {
        let planned = self.plan_instance(name);
        let outcome = self.execute(&planned.plan);
        if planned.gone {
            self.instances.remove(name);
            return Pass { planned, outcome };
        }
        let status = self.status_after(name, &planned, &outcome);
        // What is stored is what comes back from the API: times in whole seconds.
        let stored = serde_json::to_value(&status).unwrap();
        self.instances.get_mut(name).unwrap().status =
            Some(serde_json::from_value(stored).unwrap());
        Pass { planned, outcome }
    }

    pub(crate) fn status_after(
        &self,
        name: &str,
        planned: &InstancePlan,
        outcome: &Outcome,
    ) -> InstanceStatus {
        let after = self.view(name);
        self.with_input(name, &after, |input| {
            status::instance_status(input, planned, outcome, self.last_made.as_deref(), &after)
        })
    }

    /// One pass of every controller. Gives the number of steps that were planned.
    pub(crate) fn round(&mut self) -> usize {
        let services: Vec<String> = self.services.keys().cloned().collect();
        let mut steps: usize = services
            .iter()
            .map(|name| self.pass_service(name).plan.steps.len())
            .sum();
        let instances: Vec<String> = self.instances.keys().cloned().collect();
        steps += instances
            .iter()
            .map(|name| self.pass_instance(name).planned.plan.steps.len())
            .sum::<usize>();
        steps
    }

    /// Rounds until nothing is planned and no status changes any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..40 {
            let before = self.statuses();
            if self.round() == 0 && self.statuses() == before {
                return;
            }
        }
        panic!("does not settle");
    }

    pub(crate) fn statuses(&self) -> Value {
        json!([
            self.services
                .values()
                .map(|service| &service.status)
                .collect::<Vec<_>>(),
            self.instances
                .values()
                .map(|instance| &instance.status)
                .collect::<Vec<_>>()
        ])
    }

    pub(crate) fn instances_of(&self, service: &str) -> Vec<Instance> {
        self.instances
            .values()
            .filter(|instance| instance.spec.service == service)
            .cloned()
            .collect()
    }

    pub(crate) fn with_input<T>(
        &self,
        name: &str,
        view: &EngineView,
        ask: impl FnOnce(&InstanceInput<'_>) -> T,
    ) -> T {
        let instance = &self.instances[name];
        let desired = self.desired(name);
        let dependencies: Vec<DependencyState> = instance
            .spec
            .depends_on
            .iter()
            .map(|dependency| {
                let instances = self.instances_of(&dependency.service);
                order::dependency_state(
                    dependency,
                    self.services.get(&dependency.service),
                    &instances,
                )
            })
            .collect();
        let platform = EngineInfo {
            architecture: "amd64".into(),
            operating_system: "linux".into(),
            ..EngineInfo::default()
        };
        ask(&InstanceInput {
            instance,
            desired: &desired,
            view,
            ports: &self.ports,
            dependencies: &dependencies,
            platform: &platform,
            installation: INSTALLATION,
            now: self.now,
        })
    }
}
