//! How a group is as a whole, and whether its network may go.

use std::borrow::Borrow;

use clos_resources::conditions::{self, Reason, Summary};
use clos_resources::group::{GroupState, GroupStatus};
use clos_resources::lifecycle::State;
use clos_resources::names;
use clos_resources::service::ServiceState;
use clos_resources::{Group, Instance, Service};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::action::{Action, Cause, EngineAction, Plan};
use crate::observed::Network;
use crate::ownership;
use crate::restart::whole_seconds;

/// How a group is, from its services. Services of other groups do not count.
pub fn status<S: Borrow<Service>>(group: &Group, services: &[S], now: Timestamp) -> GroupStatus {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let namespace = group.metadata.namespace.as_deref();
    let mut members: Vec<&Service> = services
        .iter()
        .map(Borrow::borrow)
        .filter(|service| {
            service.spec.group == name && service.metadata.namespace.as_deref() == namespace
        })
        .collect();
    members.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    let ready = members
        .iter()
        .filter(|service| is_as_declared(service))
        .count();
    let summary = summary(group, &members, ready);
    let previous = group
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    GroupStatus {
        observed_generation: group.metadata.generation,
        state: Some(state(group, &members, ready)),
        running: Some(format!("{ready}/{}", members.len())),
        health_score: Some(health_score(group, &members)),
        services: members
            .iter()
            .filter_map(|service| service.metadata.name.clone())
            .collect(),
        conditions: conditions_in_seconds(&summary, group.metadata.generation, previous, now),
    }
}

/// What must be done for a group that is being deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Removal {
    /// Networks of ours to remove.
    pub plan: Plan,
    /// What it waits for, if anything. When there is nothing to wait for and nothing to do, the finalizer can go.
    pub waits_for: Option<Summary>,
}

/// What must be done for a group that is being deleted: its network goes when no Instance of it is left. `networks` are those with the
/// group's network name, of which only ours are removed.
pub fn removal(
    group: &Group,
    instances: &[Instance],
    networks: &[Network],
    installation: &str,
) -> Removal {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    let namespace = group.metadata.namespace.as_deref().unwrap_or_default();
    let of_group = |instance: &&Instance| {
        instance.spec.group == name && instance.metadata.namespace.as_deref() == Some(namespace)
    };
    let mut left: Vec<&str> = instances
        .iter()
        .filter(of_group)
        .filter_map(|instance| instance.metadata.name.as_deref())
        .collect();
    left.sort_unstable();
    if let Some(first) = left.first() {
        let others = if left.len() > 1 {
            format!(" and {} more", left.len() - 1)
        } else {
            String::new()
        };
        let message =
            format!("group {name} waits until its instances are deleted: {first}{others}");
        return Removal {
            plan: Plan::default(),
            waits_for: Some(Summary::new(Reason::Terminating, message)),
        };
    }
    let mut plan = Plan::default();
    let mut ours: Vec<&Network> = networks
        .iter()
        .filter(|network| ownership::is_our_network(network, installation, namespace, name))
        .collect();
    ours.sort_by(|a, b| a.id.cmp(&b.id));
    for network in ours {
        let remove = EngineAction::RemoveNetwork {
            id: network.id.clone(),
            name: network.name.clone(),
        };
        plan.push(
            Action::Engine(remove),
            Cause::new("its group is deleted"),
            [],
        );
    }
    Removal {
        plan,
        waits_for: None,
    }
}

/// Conditions with times as they read back: in whole seconds.
pub(crate) fn conditions_in_seconds(
    summary: &Summary,
    generation: Option<i64>,
    previous: &[Condition],
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = summary.conditions(generation, previous, now);
    for condition in &mut conditions {
        condition.last_transition_time = Time(whole_seconds(condition.last_transition_time.0));
    }
    conditions
}

fn is_as_declared(service: &Service) -> bool {
    let status = service
        .status
        .as_ref()
        .filter(|status| status.observed_generation == service.metadata.generation);
    let ready = status.and_then(|status| conditions::ready(&status.conditions));
    ready.is_some_and(|ready| ready.status == "True")
}

fn state_of(service: &Service) -> Option<ServiceState> {
    service.status.as_ref().and_then(|status| status.state)
}

fn state(group: &Group, services: &[&Service], ready: usize) -> GroupState {
    let stopped = services
        .iter()
        .filter(|service| state_of(service) == Some(ServiceState::Stopped))
        .count();
    let all_stopped = stopped == services.len();
    match group.spec.state {
        State::Stopped if all_stopped => GroupState::Stopped,
        State::Stopped => GroupState::Stopping,
        State::Running if services.is_empty() => GroupState::Running,
        State::Running if all_stopped && ready == services.len() => GroupState::Stopped,
        State::Running if ready == services.len() => GroupState::Running,
        State::Running if ready == 0 => GroupState::Starting,
        State::Running => GroupState::Partial,
    }
}

fn summary(group: &Group, services: &[&Service], ready: usize) -> Summary {
    let name = group.metadata.name.as_deref().unwrap_or_default();
    if group.metadata.deletion_timestamp.is_some() {
        return Summary::new(
            Reason::Terminating,
            format!("group {name} is being deleted"),
        );
    }
    let total = services.len();
    if ready == total {
        return match group.spec.state {
            State::Stopped => Summary::new(Reason::Suspended, "stopped, as declared"),
            State::Running if total == 0 => {
                Summary::new(Reason::Ready, format!("group {name} has no services"))
            }
            State::Running => Summary::new(
                Reason::Ready,
                format!("{total} of {total} services are as declared"),
            ),
        };
    }
    // Names first: which, then why, of the first of them. The rest is said by each service itself.
    let waiting: Vec<&&Service> = services
        .iter()
        .filter(|service| !is_as_declared(service))
        .collect();
    let names: Vec<&str> = waiting
        .iter()
        .filter_map(|service| service.metadata.name.as_deref())
        .collect();
    let stalled = waiting
        .iter()
        .copied()
        .find(|service| stands(service, "Stalled"));
    let spokesman = stalled.or_else(|| waiting.first().copied());
    let words = spokesman.and_then(|service| {
        let ready = conditions::ready(&service.status.as_ref()?.conditions)?;
        Some(format!(
            "; {}: {}",
            service.metadata.name.as_deref()?,
            conditions::without_last_lines(&ready.message)
        ))
    });
    let message = format!(
        "{ready} of {total} services are as declared, not yet: {}{}",
        names.join(", "),
        words.unwrap_or_default()
    );
    let reason = if stalled.is_some() {
        Reason::Failed
    } else {
        Reason::Progressing
    };
    Summary::new(reason, message)
}

fn stands(service: &Service, condition: &str) -> bool {
    let mut conditions = service.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|found| found.type_ == condition && found.status == "True")
}

/// The average over the services of ready to desired instances; a service that should have none counts by whether that is so.
fn health_score(group: &Group, services: &[&Service]) -> String {
    if services.is_empty() {
        return "1.00".to_owned();
    }
    let share = |service: &&Service| {
        let ready = service
            .status
            .as_ref()
            .map_or(0, |status| status.ready_replicas);
        let stopped = group.spec.state == State::Stopped || service.spec.state == State::Stopped;
        match (stopped, service.spec.replicas) {
            (true, _) | (false, 0) => u64::from(is_as_declared(service)) * 10_000,
            (false, desired) => u64::from(ready.min(desired)) * 10_000 / u64::from(desired),
        }
    };
    let count = services.len() as u64;
    // In hundredths, rounded to the nearest.
    let score = (services.iter().map(share).sum::<u64>() / count + 50) / 100;
    format!("{}.{:02}", score / 100, score % 100)
}

/// The labels that select what belongs to a service.
pub(crate) fn service_selector(service: &str) -> String {
    format!("{}={service}", names::LABEL_SERVICE)
}
