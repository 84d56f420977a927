//! How a Service is, from its Instances: numbers, one word, and a sentence. Which Instances should exist is in `service`.

use std::collections::BTreeSet;

use clos_resources::conditions::{self, Outlook, Reason, Summary};
use clos_resources::instance::InstanceState;
use clos_resources::lifecycle::State;
use clos_resources::service::{ServiceState, ServiceStatus};
use clos_resources::{Instance, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Hold, ServiceInput, declared_state, is_ready};
use crate::group::{conditions_in_seconds, service_selector};

/// `instances` are in order of their ordinals; `changing` says whether the plan has steps.
pub(super) fn status(
    input: &ServiceInput<'_>,
    instances: &[&Instance],
    earlier: &BTreeSet<u32>,
    revision: String,
    hold: Option<Hold>,
    changing: bool,
) -> ServiceStatus {
    let service = input.service;
    let living: Vec<&Instance> = instances
        .iter()
        .copied()
        .filter(|instance| instance.metadata.deletion_timestamp.is_none())
        .collect();
    let ready = living
        .iter()
        .filter(|instance| does_its_work(instance))
        .count();
    let updated = living
        .iter()
        .filter(|instance| instance.spec.revision == revision)
        .count();
    let restarts = instances
        .iter()
        .filter_map(|instance| instance.status.as_ref())
        .map(|status| status.restarts)
        .sum();
    let (state, summary) = standing(
        input,
        (instances, &living),
        earlier,
        &revision,
        hold,
        changing,
    );
    let previous = service
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    ServiceStatus {
        observed_generation: service.metadata.generation,
        state: Some(state),
        ready: Some(format!("{ready}/{}", service.spec.replicas)),
        replicas: count(instances.len()),
        ready_replicas: count(ready),
        updated_replicas: count(updated),
        selector: Some(service_selector(
            service.metadata.name.as_deref().unwrap_or_default(),
        )),
        revision: Some(revision),
        restarts,
        ports: ports(input),
        conditions: conditions_in_seconds(
            &summary,
            service.metadata.generation,
            previous,
            input.now,
        ),
    }
}

fn standing(
    input: &ServiceInput<'_>,
    (instances, living): (&[&Instance], &[&Instance]),
    earlier: &BTreeSet<u32>,
    revision: &str,
    hold: Option<Hold>,
    changing: bool,
) -> (ServiceState, Summary) {
    let service = input.service;
    if service.metadata.deletion_timestamp.is_some() {
        return (
            ServiceState::Stopping,
            Summary::new(Reason::Terminating, "the service is being deleted"),
        );
    }
    let runs_on = if living.iter().any(|instance| is_ready(instance)) {
        "; what runs keeps running"
    } else {
        ""
    };
    match hold {
        Some(Hold::Mistake(words)) => {
            return (
                ServiceState::Failed,
                Summary::new(Reason::InvalidSpec, format!("{words}{runs_on}")),
            );
        }
        Some(Hold::NoGroup(words)) => {
            return (
                ServiceState::Waiting,
                Summary::new(Reason::DependencyNotReady, format!("{words}{runs_on}")),
            );
        }
        None => {}
    }
    let desired = service.spec.replicas;
    let as_declared: Vec<&&Instance> = living
        .iter()
        .filter(|instance| is_ready(instance) && instance.spec.revision == revision)
        .collect();
    let settled =
        !changing && count(as_declared.len()) == desired && instances.len() == as_declared.len();
    if settled {
        return settled_standing(input, &as_declared);
    }
    if declared_state(input) == State::Stopped {
        return (
            ServiceState::Stopping,
            Summary::new(
                Reason::Progressing,
                "instances are being stopped, as declared",
            ),
        );
    }
    let ready = living
        .iter()
        .filter(|instance| does_its_work(instance))
        .count();
    let numbers = format!("{ready} of {desired} instances are ready");
    if let Some((instance, reason)) = worst(living) {
        let message = said_with(numbers, Some(instance));
        return (
            service_state(state_of(instance), reason),
            Summary::new(reason, message),
        );
    }
    let service = service.metadata.name.as_deref().unwrap_or_default();
    let waits_for = (0..desired).find(|ordinal| earlier.contains(ordinal));
    if let Some(ordinal) = waits_for {
        let name = names::instance(service, ordinal);
        let message = format!("{numbers}; waits until the earlier {name} is gone");
        return (
            ServiceState::Starting,
            Summary::new(Reason::Progressing, message),
        );
    }
    let first = living.iter().copied().find(|instance| !is_ready(instance));
    let outdated = living
        .iter()
        .filter(|instance| instance.spec.revision != revision)
        .count();
    if outdated > 0 {
        let message =
            format!("{outdated} of {desired} instances still have the declaration of before");
        return (
            ServiceState::Updating,
            Summary::new(Reason::Progressing, said_with(message, first)),
        );
    }
    let wanted = |instance: &&&Instance| instance.spec.ordinal < desired;
    let too_many = instances
        .iter()
        .filter(|instance| !wanted(instance))
        .count();
    let message = match (too_many, count(ready) == desired) {
        (0, false) => said_with(numbers, first),
        (0, true) => "a change is on its way to the instances".to_owned(),
        (1, _) => "1 instance that is not declared any more is being removed".to_owned(),
        (number, _) => {
            format!("{number} instances that are not declared any more are being removed")
        }
    };
    let state = if desired == 0 {
        ServiceState::Stopping
    } else {
        ServiceState::Starting
    };
    (state, Summary::new(Reason::Progressing, message))
}

/// Whether it is ready because it runs or ran, and not because it is declared as stopped.
fn does_its_work(instance: &Instance) -> bool {
    let conditions = instance
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    let suspended = conditions::ready(conditions)
        .is_some_and(|ready| ready.reason == Reason::Suspended.as_str());
    is_ready(instance) && !suspended
}

fn settled_standing(input: &ServiceInput<'_>, instances: &[&&Instance]) -> (ServiceState, Summary) {
    let desired = input.service.spec.replicas;
    let completed = instances
        .iter()
        .filter(|instance| state_of(instance) == Some(InstanceState::Completed))
        .count();
    if declared_state(input) == State::Stopped {
        return (
            ServiceState::Stopped,
            Summary::new(Reason::Suspended, "stopped, as declared"),
        );
    }
    if desired > 0 && count(completed) == desired {
        let message = if desired == 1 {
            "ran to completion".to_owned()
        } else {
            format!("{desired} instances ran to completion")
        };
        return (
            ServiceState::Completed,
            Summary::new(Reason::Completed, message),
        );
    }
    let message = match desired {
        0 => "no instance is declared, and none is there".to_owned(),
        1 => "1 of 1 instance is ready".to_owned(),
        _ => format!("{desired} of {desired} instances are ready"),
    };
    (ServiceState::Running, Summary::new(Reason::Ready, message))
}

/// The Instance that most needs somebody's eye speaks for the service; of equals the first.
fn worst<'a>(instances: &[&'a Instance]) -> Option<(&'a Instance, Reason)> {
    let speaking = instances
        .iter()
        .filter(|instance| !is_ready(instance))
        .filter_map(|instance| {
            let said = current_ready(instance)?.reason.as_str();
            let (rank, reason) = RANKS
                .iter()
                .enumerate()
                .find(|(_, reason)| reason.as_str() == said)?;
            Some((rank, *reason, *instance))
        });
    let (_, reason, instance) = speaking.min_by_key(|(rank, ..)| *rank)?;
    Some((instance, reason))
}

/// A sentence in numbers, and what this Instance says of itself. How many bytes of an image are there is for the Instance alone to
/// tell: it changes all the time.
fn said_with(numbers: String, instance: Option<&Instance>) -> String {
    let Some((instance, ready)) =
        instance.and_then(|instance| Some((instance, current_ready(instance)?)))
    else {
        return numbers;
    };
    let name = instance.metadata.name.as_deref().unwrap_or_default();
    if state_of(instance) == Some(InstanceState::Pulling) {
        let image = &instance.spec.container.image;
        return format!("{numbers}; {name}: pulling image {image}");
    }
    format!("{numbers}; {name}: {}", ready.message)
}

/// The `Ready` condition of an Instance, if it speaks of its newest spec.
fn current_ready(instance: &Instance) -> Option<&Condition> {
    let status = instance
        .status
        .as_ref()
        .filter(|status| status.observed_generation == instance.metadata.generation)?;
    conditions::ready(&status.conditions)
}

/// From what needs somebody most to what needs nobody. Progress is not in it: it needs nobody.
const RANKS: [Reason; 12] = [
    Reason::InvalidSpec,
    Reason::ImageArchMismatch,
    Reason::Failed,
    Reason::ImagePullFailed,
    Reason::NameConflict,
    Reason::PortConflict,
    Reason::ConfigMissing,
    Reason::CrashLoopBackOff,
    Reason::ContainerFailed,
    Reason::Unhealthy,
    Reason::EngineUnavailable,
    Reason::DependencyNotReady,
];

fn service_state(instance: Option<InstanceState>, reason: Reason) -> ServiceState {
    match instance {
        Some(InstanceState::BackOff) => ServiceState::BackOff,
        Some(InstanceState::Failed) => ServiceState::Failed,
        Some(InstanceState::Unhealthy) => ServiceState::Unhealthy,
        Some(InstanceState::Unknown) => ServiceState::Unknown,
        Some(InstanceState::Waiting) if reason.outlook() == Outlook::Stalled => {
            ServiceState::Failed
        }
        Some(InstanceState::Waiting) => ServiceState::Waiting,
        // An old container runs on while its successor cannot be made.
        Some(InstanceState::Running) => ServiceState::Updating,
        Some(
            InstanceState::Pulling
            | InstanceState::Starting
            | InstanceState::Completed
            | InstanceState::Stopping
            | InstanceState::Stopped,
        )
        | None => ServiceState::Starting,
    }
}

fn state_of(instance: &Instance) -> Option<InstanceState> {
    instance.status.as_ref().and_then(|status| status.state)
}

/// The published ports as declared, since a fixed one is the same for every look.
fn ports(input: &ServiceInput<'_>) -> Option<String> {
    let published = input.service.spec.ports.iter().filter_map(|port| {
        let Some(IntOrString::Int(host_port)) = port.host_port else {
            return None;
        };
        let address = if port.host_ip.contains(':') {
            format!("[{}]", port.host_ip)
        } else {
            port.host_ip.clone()
        };
        let suffix = match port.protocol {
            clos_resources::container::Protocol::Tcp => "",
            clos_resources::container::Protocol::Udp => "/udp",
        };
        Some(format!(
            "{address}:{host_port}->{}{suffix}",
            port.container_port
        ))
    });
    let text = published.collect::<Vec<_>>().join(", ");
    (!text.is_empty()).then_some(text)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
