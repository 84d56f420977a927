//! Which Instances of a Service should exist. Whose they are is in `owned`, what each of them is to be in `spec`, how the
//! Service is said to be in `rollup`.

mod owned;
mod rollup;
mod spec;

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::conditions;
use clos_resources::instance::{InstanceSpec, ValueVersion};
use clos_resources::lifecycle::State;
use clos_resources::names;
use clos_resources::service::ServiceStatus;
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;

use crate::action::{Action, ApiAction, Cause, Plan};
use owned::Owned;
use spec::{Declared, Parsed, new_instance, revision_of};

pub use spec::revision;

/// Everything the plan for one Service depends on.
#[derive(Clone, Copy)]
pub struct ServiceInput<'a> {
    /// The Service, its status included.
    pub service: &'a Service,
    /// Its group, when it exists.
    pub group: Option<&'a Group>,
    /// The Instances of its name. What of them is somebody else's, as an earlier Service's of the same name, is left alone.
    pub instances: &'a [Instance],
    /// What is wrong with the declaration in view of other objects, such as a dependency cycle: see [`crate::order::mistakes`]. While
    /// there is something, nothing is made or changed and the last good declaration keeps running.
    pub mistake: Option<&'a str>,
    /// What there is of the Secrets and `ConfigMaps` it takes values from, in the versions of now. None where it is not known: then that is no
    /// reason to change anything.
    pub values: Option<&'a BTreeSet<ValueVersion>>,
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
    let Owned {
        mut instances,
        earlier,
    } = Owned::of(input);
    instances.sort_by_key(|instance| (instance.spec.ordinal, instance.metadata.name.as_deref()));
    let parsed = Parsed::of(input);
    let revision = match &parsed {
        Ok(parsed) => revision_of(input.service, &parsed.ports),
        Err(_) => revision(input.service),
    };
    let (declared, hold) = match hold(input, parsed) {
        Ok(parsed) => (Some(parsed), None),
        Err(hold) => (None, Some(hold)),
    };
    let declared = declared
        .as_ref()
        .map(|parsed| Declared::of(input, parsed, &revision));
    let plan = if input.service.metadata.deletion_timestamp.is_some() {
        let mut plan = Plan::default();
        delete(
            &mut plan,
            instances.iter().rev().copied(),
            "its service is deleted",
        );
        plan
    } else {
        declared.map_or_else(Plan::default, |declared| {
            steps(input, &instances, &earlier, &declared)
        })
    };
    let status = rollup::status(
        input,
        &instances,
        &earlier,
        revision,
        hold,
        !plan.is_empty(),
    );
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

/// What was read of the declaration, unless something holds the Service.
fn hold(input: &ServiceInput<'_>, parsed: Result<Parsed, String>) -> Result<Parsed, Hold> {
    if let Some(mistake) = input.mistake {
        return Err(Hold::Mistake(mistake.to_owned()));
    }
    let parsed = parsed.map_err(Hold::Mistake)?;
    let name = &input.service.spec.group;
    match input.group {
        None => Err(Hold::NoGroup(format!(
            "group {name} does not exist; create it"
        ))),
        Some(group) if group.metadata.deletion_timestamp.is_some() => Err(Hold::NoGroup(format!(
            "group {name} is being deleted; create it again when it is gone"
        ))),
        Some(_) => Ok(parsed),
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

fn steps(
    input: &ServiceInput<'_>,
    instances: &[&Instance],
    earlier: &BTreeSet<u32>,
    declared: &Declared<'_>,
) -> Plan {
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
    let next = next_to_update(input, &wanted, declared);
    for ordinal in 0..replicas {
        match by_ordinal.get(&ordinal) {
            None if earlier.contains(&ordinal) => {}
            None => {
                let instance = new_instance(input, declared.instance(ordinal, input.host));
                plan.push(
                    Action::Api(ApiAction::CreateInstance(Box::new(instance))),
                    Cause::new(words.as_str()),
                    [],
                );
            }
            Some(instance) if instance.metadata.deletion_timestamp.is_some() => {}
            Some(instance) => update(&mut plan, input, instance, declared, next),
        }
    }
    plan
}

/// The one Instance that gets the new revision or newer values, or is restarted, now. While one that was is not ready, nobody is next; one that is broken
/// anyway goes first.
fn next_to_update(
    input: &ServiceInput<'_>,
    wanted: &[&Instance],
    declared: &Declared<'_>,
) -> Option<u32> {
    let (updated, outdated): (Vec<&Instance>, Vec<&Instance>) = wanted
        .iter()
        .copied()
        .partition(|instance| !declared.interrupts(&instance.spec));
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

fn update(
    plan: &mut Plan,
    input: &ServiceInput<'_>,
    instance: &Instance,
    declared: &Declared<'_>,
    next: Option<u32>,
) {
    let present = &instance.spec;
    let outdated = present.revision != declared.revision;
    // Nothing runs that an update could interrupt.
    let stopped = declared.state == State::Stopped && present.state == State::Stopped;
    let takes_its_turn = !declared.interrupts(present) || stopped || next == Some(present.ordinal);
    let labels = [
        (names::LABEL_SERVICE, declared.service),
        (names::LABEL_GROUP, declared.group),
    ];
    let has_labels = |present: &BTreeMap<String, String>| {
        labels
            .iter()
            .all(|(key, value)| present.get(*key).is_some_and(|label| label == value))
    };
    let labelled = instance.metadata.labels.as_ref().is_some_and(has_labels);
    let adopted = owned::controller(instance).is_none();
    if labelled
        && !adopted
        && declared.same_lifecycle(present)
        && (!takes_its_turn || declared.same_container(present))
    {
        return;
    }
    // An Instance stays the one it is, and where it is.
    let wanted = if takes_its_turn {
        declared.instance(present.ordinal, &present.host)
    } else {
        declared.with_container_of(present)
    };
    let cause = if adopted {
        "it belongs to no service".to_owned()
    } else if takes_its_turn && outdated {
        "the declaration changed".to_owned()
    } else {
        change(present, &wanted)
    };
    let mut metadata = instance.metadata.clone();
    metadata.managed_fields = None;
    if adopted {
        let owners = metadata.owner_references.get_or_insert_default();
        owners.push(owned::owner(input.service));
    }
    metadata
        .labels
        .get_or_insert_default()
        .extend(labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
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

/// The values of Secrets and `ConfigMaps`, in a list of what changed.
const VALUES: &str = "values of a Secret or ConfigMap";

/// What changed of what is no other declaration of a container.
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
        (VALUES, before.values != after.values),
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
        ([VALUES], _) => "a Secret or ConfigMap it takes values from changed".to_owned(),
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
