//! Which Instances of a Service should exist. What each of them is to be is in `spec`, how the Service is said to be in `rollup`.

mod rollup;
mod spec;

use std::collections::BTreeMap;

use clos_resources::conditions;
use clos_resources::instance::InstanceSpec;
use clos_resources::lifecycle::State;
use clos_resources::names;
use clos_resources::service::ServiceStatus;
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;

use crate::action::{Action, ApiAction, Cause, Plan};
use spec::{
    bound_ports, new_instance, restarted_at, same_container, same_lifecycle, spec,
    with_lifecycle_of,
};

pub use spec::revision;

/// Everything the plan for one Service depends on.
#[derive(Clone, Copy)]
pub struct ServiceInput<'a> {
    /// The Service, its status included.
    pub service: &'a Service,
    /// Its group, when it exists.
    pub group: Option<&'a Group>,
    /// The Instances that it owns.
    pub instances: &'a [Instance],
    /// What is wrong with the declaration in view of other objects, such as a dependency cycle: see [`crate::order::mistakes`]. While
    /// there is something, nothing is made or changed and the last good declaration keeps running.
    pub mistake: Option<&'a str>,
    /// The Host for new Instances.
    pub host: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What is to be done for a Service, and how it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePlan {
    /// Instances to make, to change and to delete.
    pub plan: Plan,
    /// How the Service is, before the plan is carried out.
    pub status: ServiceStatus,
}

/// What must be done for a Service.
pub fn plan(input: &ServiceInput<'_>) -> ServicePlan {
    let mut instances: Vec<&Instance> = input.instances.iter().collect();
    instances.sort_by_key(|instance| (instance.spec.ordinal, instance.metadata.name.as_deref()));
    let revision = revision(input.service);
    let hold = hold(input);
    let plan = if input.service.metadata.deletion_timestamp.is_some() {
        let mut plan = Plan::default();
        delete(
            &mut plan,
            instances.iter().rev().copied(),
            "its service is deleted",
        );
        plan
    } else if hold.is_some() {
        Plan::default()
    } else {
        steps(input, &instances, &revision)
    };
    let status = rollup::status(input, &instances, revision, hold, !plan.is_empty());
    ServicePlan { plan, status }
}

/// Why a Service's Instances are left as they are, if so.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hold {
    /// The declaration is wrong.
    Mistake(String),
    /// The group is not there.
    NoGroup(String),
}

fn hold(input: &ServiceInput<'_>) -> Option<Hold> {
    let name = &input.service.spec.group;
    let mistake = input.mistake.map(str::to_owned);
    let mistake = mistake
        .or_else(|| bound_ports(input.service).err())
        .or_else(|| restarted_at(input).err());
    if let Some(mistake) = mistake {
        return Some(Hold::Mistake(mistake));
    }
    match input.group {
        None => Some(Hold::NoGroup(format!(
            "group {name} does not exist; create it"
        ))),
        Some(group) if group.metadata.deletion_timestamp.is_some() => Some(Hold::NoGroup(format!(
            "group {name} is being deleted; create it again when it is gone"
        ))),
        Some(_) => None,
    }
}

/// Whether the service should run: not when itself or its group is declared as stopped.
fn declared_state(input: &ServiceInput<'_>) -> State {
    match (
        input.service.spec.state,
        input.group.map_or(State::Running, |group| group.spec.state),
    ) {
        (State::Running, State::Running) => State::Running,
        (State::Stopped, _) | (_, State::Stopped) => State::Stopped,
    }
}

/// Whether the agent has seen the Instance's newest spec and brought it about.
fn is_ready(instance: &Instance) -> bool {
    let status = instance
        .status
        .as_ref()
        .filter(|status| status.observed_generation == instance.metadata.generation);
    status
        .and_then(|status| conditions::ready(&status.conditions))
        .is_some_and(|ready| ready.status == "True")
}

fn steps(input: &ServiceInput<'_>, instances: &[&Instance], revision: &str) -> Plan {
    let mut plan = Plan::default();
    let (wanted, surplus): (Vec<&Instance>, Vec<&Instance>) = instances
        .iter()
        .copied()
        .partition(|instance| instance.spec.ordinal < input.service.spec.replicas);
    let replicas = input.service.spec.replicas;
    let words = if replicas == 1 {
        "1 replica is declared".to_owned()
    } else {
        format!("{replicas} replicas are declared")
    };
    delete(&mut plan, surplus.into_iter().rev(), &words);
    let by_ordinal: BTreeMap<u32, &Instance> = wanted
        .iter()
        .map(|&instance| (instance.spec.ordinal, instance))
        .collect();
    let next = next_to_update(input, &wanted, revision);
    let declared = spec(input, revision);
    for ordinal in 0..replicas {
        match by_ordinal.get(&ordinal) {
            None => {
                let instance = new_instance(
                    input,
                    InstanceSpec {
                        ordinal,
                        ..declared.clone()
                    },
                );
                plan.push(
                    Action::Api(ApiAction::CreateInstance(Box::new(instance))),
                    Cause::new(words.as_str()),
                    [],
                );
            }
            Some(instance) if instance.metadata.deletion_timestamp.is_some() => {}
            Some(instance) => update(&mut plan, instance, &declared, next),
        }
    }
    plan
}

/// The one Instance that gets the new revision now. While one that has it is not ready, nobody is next; one that is broken anyway goes first.
fn next_to_update(input: &ServiceInput<'_>, wanted: &[&Instance], revision: &str) -> Option<u32> {
    let (updated, outdated): (Vec<&Instance>, Vec<&Instance>) = wanted
        .iter()
        .copied()
        .partition(|instance| instance.spec.revision == revision);
    let complete =
        u32::try_from(wanted.len()).is_ok_and(|count| count == input.service.spec.replicas);
    if !complete || updated.iter().any(|instance| !is_ready(instance)) {
        return None;
    }
    let next = outdated
        .iter()
        .find(|instance| !is_ready(instance))
        .or_else(|| outdated.first());
    next.map(|instance| instance.spec.ordinal)
}

fn update(plan: &mut Plan, instance: &Instance, declared: &InstanceSpec, next: Option<u32>) {
    let present = &instance.spec;
    let outdated = present.revision != declared.revision;
    // Nothing runs that an update could interrupt.
    let stopped = declared.state == State::Stopped && present.state == State::Stopped;
    let takes_revision = !outdated || stopped || next == Some(present.ordinal);
    let labels = [
        (names::LABEL_SERVICE, &declared.service),
        (names::LABEL_GROUP, &declared.group),
    ];
    let has_labels = |present: &BTreeMap<String, String>| {
        labels
            .iter()
            .all(|&(key, value)| present.get(key) == Some(value))
    };
    let labelled = instance.metadata.labels.as_ref().is_some_and(has_labels);
    if labelled
        && same_lifecycle(present, declared)
        && (!takes_revision || same_container(present, declared))
    {
        return;
    }
    // An Instance stays the one it is, and where it is.
    let (ordinal, host) = (present.ordinal, present.host.clone());
    let wanted = if takes_revision {
        InstanceSpec {
            ordinal,
            host,
            ..declared.clone()
        }
    } else {
        with_lifecycle_of(present, declared)
    };
    let cause = if takes_revision && outdated {
        "the declaration changed".to_owned()
    } else {
        change(present, &wanted)
    };
    let mut metadata = instance.metadata.clone();
    metadata.managed_fields = None;
    metadata
        .labels
        .get_or_insert_default()
        .extend(labels.map(|(key, value)| (key.to_owned(), value.clone())));
    let updated = Instance {
        metadata,
        spec: wanted,
        status: None,
    };
    plan.push(
        Action::Api(ApiAction::UpdateInstance(Box::new(updated))),
        Cause::new(cause),
        [],
    );
}

/// What changed of what is no other container.
fn change(before: &InstanceSpec, after: &InstanceSpec) -> String {
    let parts = [
        ("state", before.state != after.state),
        (
            "restart asked for",
            before.restarted_at != after.restarted_at,
        ),
        (
            "restartPolicy",
            before.restart_policy != after.restart_policy,
        ),
        ("dependsOn", before.depends_on != after.depends_on),
        (
            "imagePullPolicy",
            before.container.image_pull_policy != after.container.image_pull_policy,
        ),
    ];
    let changed: Vec<&str> = parts
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(name, _)| name)
        .collect();
    match (changed.as_slice(), after.state) {
        (["state"], State::Stopped) => "declared as stopped".to_owned(),
        (["state"], State::Running) => "declared as running".to_owned(),
        (["restart asked for"], _) => "a restart was asked for".to_owned(),
        ([], _) => "it is not as clos made it".to_owned(),
        (changed, _) => format!("the declaration changed: {}", changed.join(", ")),
    }
}

/// Highest ordinals first, and none twice.
fn delete<'a>(plan: &mut Plan, instances: impl Iterator<Item = &'a Instance>, why: &str) {
    for instance in instances.filter(|instance| instance.metadata.deletion_timestamp.is_none()) {
        let action = ApiAction::DeleteInstance {
            namespace: instance.metadata.namespace.clone().unwrap_or_default(),
            name: instance.metadata.name.clone().unwrap_or_default(),
            uid: instance.metadata.uid.clone().unwrap_or_default(),
        };
        plan.push(Action::Api(action), Cause::new(why), []);
    }
}
