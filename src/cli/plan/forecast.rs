//! From the objects as they would be to every call that would follow: first which Instances there would be, then what the engine would
//! be asked for each. Pure: what the engine shows comes in as a value, and nothing can be carried out from here.

use std::collections::BTreeMap;

use clos_plan::action::{Action, ApiAction, Plan};
use clos_plan::desired::{Values, desired};
use clos_plan::instance::{DependencyState, InstanceInput};
use clos_plan::observed::EngineView;
use clos_plan::order::{dependency_state, mistakes};
use clos_plan::report::Part;
use clos_plan::service::ServiceInput;
use clos_resources::conditions::{Outlook, Reason, Summary, ready};
use clos_resources::host::EngineInfo;
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_resources::lifecycle::State;
use clos_resources::{Instance, Port, Service};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::world::World;

/// More rounds than any rollout has: a Service has at most 500 Instances, and each is made, changed or deleted once.
const MOST_ROUNDS: usize = 2000;

/// A Service, and the Instances there would be.
pub(super) struct Forecast<'a> {
    /// The Service as it would be.
    pub(super) service: &'a Service,
    /// Instances made, changed and deleted until nothing is left to do.
    pub(super) plan: Plan,
    /// The Instances, those that are on their way out included, with the status they have now.
    pub(super) instances: Vec<Instance>,
    /// What keeps the Service from going on.
    pub(super) waits_for: Option<Summary>,
}

/// What is needed besides the objects to say what the engine would be asked.
pub(super) struct Surroundings<'a> {
    /// What the engine shows for each Instance, by UID.
    pub(super) views: &'a BTreeMap<String, EngineView>,
    /// The engine's platform.
    pub(super) platform: &'a EngineInfo,
    /// The installation.
    pub(super) installation: &'a str,
    /// The time of the plan.
    pub(super) now: Timestamp,
}

/// Which Instances of a Service there would be. An update replaces one Instance after the other and waits for each to become ready: here
/// each does at once, so that the whole of it is seen.
pub(super) fn instances<'a>(world: &World, service: &'a Service, now: Timestamp) -> Forecast<'a> {
    let siblings = world.siblings(service);
    let mistake = mistakes(&siblings).remove(&service.name_any());
    let group = world.group_of(service);
    let mut instances: Vec<Instance> = world.instances_of(service).into_iter().cloned().collect();
    let mut plan = Plan::default();
    let mut waits_for = None;
    for round in 0..MOST_ROUNDS {
        let assumed: Vec<Instance> = instances
            .iter()
            .filter(|instance| instance.metadata.deletion_timestamp.is_none())
            .map(|instance| as_wished(instance, now))
            .collect();
        let planned = clos_plan::service::plan(&ServiceInput {
            service,
            group,
            instances: &assumed,
            mistake: mistake.as_deref(),
            // The API does not tell the version that a dry run would make; what other values do is seen in what the engine is asked.
            values: None,
            host: &world.host,
            now,
        });
        if round == 0 {
            waits_for = obstacle(
                mistake.as_deref(),
                group.is_some(),
                ready(&planned.status.conditions).map(|ready| ready.message.as_str()),
            );
        }
        if planned.plan.is_empty() {
            break;
        }
        let first = plan.steps.len();
        for step in planned.plan.steps {
            if let Action::Api(action) = &step.action {
                carry_out(action, &mut instances, now);
            }
            let after: Vec<usize> = step.after.iter().map(|index| first + index).collect();
            plan.push(step.action, step.cause, after);
        }
    }
    Forecast {
        service,
        plan,
        instances,
        waits_for,
    }
}

/// Every part of the plan: what becomes of the Instances of each Service, and what the engine would be asked for each Instance.
pub(super) fn parts(
    world: &World,
    forecasts: &[Forecast<'_>],
    surroundings: &Surroundings<'_>,
) -> Vec<Part> {
    let mut ports = world.ports.clone();
    let mut all = Vec::new();
    for forecast in forecasts {
        let service = forecast.service;
        let of = |instance, plan, waits_for| Part {
            namespace: service.namespace().unwrap_or_default(),
            group: service.spec.group.clone(),
            service: service.name_any(),
            instance,
            plan,
            waits_for,
        };
        all.push(of(None, forecast.plan.clone(), forecast.waits_for.clone()));
        for instance in &forecast.instances {
            let (plan, waits_for) = instance_part(world, instance, &mut ports, surroundings);
            all.push(of(Some(instance.name_any()), plan, waits_for));
        }
    }
    all
}

/// What the engine would be asked for one Instance, and what that has to wait for.
fn instance_part(
    world: &World,
    instance: &Instance,
    ports: &mut BTreeMap<String, Port>,
    surroundings: &Surroundings<'_>,
) -> (Plan, Option<Summary>) {
    let Surroundings {
        views,
        platform,
        installation,
        now,
    } = *surroundings;
    let (namespace, uid) = (
        instance.namespace().unwrap_or_default(),
        instance.uid().unwrap_or_default(),
    );
    let nothing = Values::default();
    let desired = desired(
        instance,
        world.values.get(&namespace).unwrap_or(&nothing),
        installation,
    );
    let unseen = EngineView::Unknown {
        since: now,
        reason: "the engine was not asked".to_owned(),
    };
    let claimed: Vec<Port> = ports.values().cloned().collect();
    let dependencies: Vec<DependencyState> = instance
        .spec
        .depends_on
        .iter()
        .map(|dependency| state_of(world, instance, dependency))
        .collect();
    // What it depends on becomes ready in time, so what comes after that is shown, too. What does not exist never does.
    let unmet = dependencies.iter().find(|dependency| !dependency.met);
    let waits = unmet
        .map(|dependency| Summary::new(Reason::DependencyNotReady, dependency.why_not.clone()));
    let hoped: Vec<DependencyState> = dependencies
        .iter()
        .map(|state| DependencyState {
            met: state.met
                || world
                    .services
                    .contains_key(&(namespace.clone(), state.dependency.service.clone())),
            ..state.clone()
        })
        .collect();
    let planned = clos_plan::instance::plan(&InstanceInput {
        instance,
        desired: &desired,
        view: views.get(&uid).unwrap_or(&unseen),
        ports: &claimed,
        dependencies: &hoped,
        platform,
        installation,
        now,
    });
    for step in &planned.plan.steps {
        match &step.action {
            Action::Api(ApiAction::ClaimPort(port)) => {
                drop(ports.insert(port.name_any(), (**port).clone()));
            }
            Action::Api(ApiAction::ReleasePort { name, .. }) => drop(ports.remove(name)),
            Action::Api(
                ApiAction::CreateInstance(_)
                | ApiAction::UpdateInstance(_)
                | ApiAction::DeleteInstance { .. },
            )
            | Action::Engine(_) => {}
        }
    }
    let kept_back = planned.plan.is_empty()
        && planned.summary.reason.outlook() != Outlook::Ready
        && planned.summary.reason != Reason::Progressing;
    (
        planned.plan,
        waits.or_else(|| kept_back.then_some(planned.summary)),
    )
}

fn state_of(
    world: &World,
    instance: &Instance,
    dependency: &clos_resources::lifecycle::Dependency,
) -> DependencyState {
    let namespace = instance.namespace().unwrap_or_default();
    let service = world
        .services
        .get(&(namespace, dependency.service.clone()))
        .filter(|service| service.spec.group == instance.spec.group);
    let replicas: Vec<Instance> = service
        .map(|service| world.instances_of(service).into_iter().cloned().collect())
        .unwrap_or_default();
    dependency_state(dependency, service, &replicas)
}

fn obstacle(mistake: Option<&str>, has_group: bool, message: Option<&str>) -> Option<Summary> {
    match (mistake, has_group) {
        (Some(mistake), _) => Some(Summary::new(Reason::InvalidSpec, mistake)),
        (None, false) => Some(Summary::new(
            Reason::DependencyNotReady,
            message.unwrap_or("its group does not exist"),
        )),
        (None, true) => None,
    }
}

/// An Instance as its Service sees it when everything went as wished.
fn as_wished(instance: &Instance, now: Timestamp) -> Instance {
    let generation = instance.metadata.generation;
    let (state, reason) = match instance.spec.state {
        State::Stopped => (InstanceState::Stopped, Reason::Suspended),
        State::Running if instance.spec.restart_policy.runs_to_completion() => {
            (InstanceState::Completed, Reason::Completed)
        }
        State::Running => (InstanceState::Running, Reason::Ready),
    };
    let before = instance.status.clone().unwrap_or_default();
    let status = InstanceStatus {
        observed_generation: generation,
        state: Some(state),
        revision: Some(instance.spec.revision.clone()),
        conditions: Summary::new(reason, "").conditions(generation, &before.conditions, now),
        backoff: None,
        ..before
    };
    Instance {
        status: Some(status),
        ..instance.clone()
    }
}

fn carry_out(action: &ApiAction, instances: &mut Vec<Instance>, now: Timestamp) {
    match action {
        ApiAction::CreateInstance(made) => {
            let mut made = (**made).clone();
            made.metadata.uid.get_or_insert_with(|| {
                format!(
                    "of-{}-to-be-made",
                    made.metadata.name.as_deref().unwrap_or_default()
                )
            });
            made.metadata.generation = Some(1);
            made.metadata.creation_timestamp = Some(Time(now));
            instances.push(made);
        }
        ApiAction::UpdateInstance(changed) => {
            for instance in instances
                .iter_mut()
                .filter(|instance| instance.uid() == changed.uid())
            {
                instance.spec = changed.spec.clone();
                instance
                    .metadata
                    .labels
                    .clone_from(&changed.metadata.labels);
                instance
                    .metadata
                    .owner_references
                    .clone_from(&changed.metadata.owner_references);
                instance.metadata.generation = instance
                    .metadata
                    .generation
                    .map(|generation| generation + 1);
            }
        }
        ApiAction::DeleteInstance { uid, .. } => {
            for instance in instances
                .iter_mut()
                .filter(|instance| instance.uid().as_ref() == Some(uid))
            {
                instance.metadata.deletion_timestamp = Some(Time(now));
            }
        }
        // A Service's plan has none of these.
        ApiAction::ClaimPort(_) | ApiAction::ReleasePort { .. } => {}
    }
}
