//! What waits for what among the services of a group.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use clos_resources::conditions;
use clos_resources::dependencies::{self, Graph};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_resources::lifecycle::{Dependency, DependencyCondition, State};
use clos_resources::{Instance, Service};

use crate::instance::DependencyState;
use crate::status::CONDITION_HEALTHY;

/// Services of one group whose dependencies can never be met, by name, with a sentence for users: cycles, written out, and services
/// that depend on themselves. Services that merely depend on one of these are not in it.
pub fn mistakes<S: Borrow<Service>>(services: &[S]) -> BTreeMap<String, String> {
    let services: Vec<&Service> = services.iter().map(Borrow::borrow).collect();
    let names: BTreeSet<&str> = services
        .iter()
        .filter_map(|service| service.metadata.name.as_deref())
        .collect();
    let mut graph = Graph::new();
    for service in &services {
        let known = service
            .spec
            .depends_on
            .iter()
            .map(|dependency| dependency.service.as_str())
            .filter(|name| names.contains(name));
        graph.insert(
            service.metadata.name.as_deref().unwrap_or_default(),
            known.collect(),
        );
    }
    dependencies::cycles(graph)
}

/// Whether a dependency is met. `service` is the other service when it exists in the same group, `instances` are its Instances.
pub fn dependency_state(
    dependency: &Dependency,
    service: Option<&Service>,
    instances: &[Instance],
) -> DependencyState {
    let why_not = match service {
        None => Some(format!(
            "service {} does not exist in this group",
            dependency.service
        )),
        Some(service) => unmet(dependency, service, instances),
    };
    DependencyState {
        dependency: dependency.clone(),
        met: why_not.is_none(),
        why_not: why_not.unwrap_or_default(),
    }
}

fn unmet(dependency: &Dependency, service: &Service, instances: &[Instance]) -> Option<String> {
    let name = &dependency.service;
    let condition = dependency.condition;
    if condition == DependencyCondition::Completed
        && !service.spec.restart_policy.runs_to_completion()
    {
        return Some(format!(
            "{name} never completes: its restartPolicy is Always"
        ));
    }
    if service.spec.replicas == 0 {
        return Some(format!("{name} has no instances (replicas is 0)"));
    }
    if service.spec.state == State::Stopped && condition != DependencyCondition::Completed {
        return Some(format!("{name} is declared as stopped"));
    }
    for ordinal in 0..service.spec.replicas {
        let instance = instances
            .iter()
            .find(|instance| instance.spec.ordinal == ordinal);
        let Some(instance) = instance else {
            return Some(format!("{name} has no instance {ordinal} yet"));
        };
        if let Some(why_not) = unmet_by(instance, condition) {
            let instance = instance.metadata.name.as_deref().unwrap_or(name);
            return Some(format!("{instance} {why_not}"));
        }
    }
    None
}

fn unmet_by(instance: &Instance, condition: DependencyCondition) -> Option<String> {
    let Some(status) = &instance.status else {
        return Some("has not started yet".to_owned());
    };
    let completed = status.state == Some(InstanceState::Completed);
    let runs = status.container_id.is_some()
        && status.started_at.is_some()
        && status.finished_at.is_none();
    match condition {
        // A run that is over was started, too.
        DependencyCondition::Started if completed => None,
        DependencyCondition::Started | DependencyCondition::Healthy if !runs || !is_up(status) => {
            Some(not_running(status))
        }
        DependencyCondition::Started => None,
        DependencyCondition::Healthy => {
            let healthy = status
                .conditions
                .iter()
                .find(|condition| condition.type_ == CONDITION_HEALTHY);
            match healthy.map(|condition| condition.status.as_str()) {
                Some("True") => None,
                Some("False") => Some("fails its health check".to_owned()),
                Some(_) => Some("runs, and its health check has not succeeded yet".to_owned()),
                None => Some("never becomes healthy: its image has no health check".to_owned()),
            }
        }
        DependencyCondition::Completed => {
            (!completed).then(|| "has not run to completion yet".to_owned())
        }
    }
}

fn is_up(status: &InstanceStatus) -> bool {
    match status.state {
        Some(InstanceState::Starting | InstanceState::Running | InstanceState::Unhealthy) => true,
        Some(
            InstanceState::Waiting
            | InstanceState::Pulling
            | InstanceState::BackOff
            | InstanceState::Failed
            | InstanceState::Completed
            | InstanceState::Stopping
            | InstanceState::Stopped
            | InstanceState::Unknown,
        )
        | None => false,
    }
}

fn not_running(status: &InstanceStatus) -> String {
    let ready = conditions::ready(&status.conditions).filter(|ready| !ready.message.is_empty());
    ready.map_or_else(
        || "does not run".to_owned(),
        |ready| format!("does not run ({})", ready.reason),
    )
}
