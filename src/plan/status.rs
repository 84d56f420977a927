//! What became of an Instance after its plan was carried out, or was not.

use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_resources::{Instance, names};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::action::EngineAction;
use crate::drift::{self, CONDITION_ENGINE_DIFFERS};
use crate::instance::{self, InstanceInput, InstancePlan, Unheard};
use crate::observed::{Container, ContainerState, EngineView, Health};
use crate::outcome::{is_done, position, started_by_us, was_removed_by_us};
use crate::ownership::Sorted;
use crate::restart::{self, whole_seconds};

pub use crate::outcome::{Failure, FailureKind, HELD_BY, Outcome, was_overtaken};

/// The condition of an Instance that says what the image's own health check says. It is there while a container with a health check runs.
pub const CONDITION_HEALTHY: &str = "Healthy";

/// After so many transient failures in a row to pull an image, somebody should look.
const PULL_FAILURES_IN_SILENCE: u32 = 3;

/// The status to write. `made` is the id that the engine gave the container that the plan made, `after` is what the engine showed once the plan
/// was carried out, and `input.now` should be the time of that.
/// Called after a plan without steps it gives the status that is there already, if nothing happened.
pub fn instance_status(
    input: &InstanceInput<'_>,
    planned: &InstancePlan,
    outcome: &Outcome,
    made: Option<&str>,
    after: &EngineView,
) -> InstanceStatus {
    let known = with_recorded(input.instance, planned, outcome, made);
    let input = &InstanceInput {
        instance: &known,
        ..*input
    };
    let previous = input.instance.status.clone().unwrap_or_default();
    let generation = input.instance.metadata.generation;
    let assessed = assess(input, planned, after);
    let (state, summary, backoff) = match outcome {
        Outcome::AllDone => (assessed.state, assessed.summary, assessed.backoff),
        Outcome::Failed { .. } if was_overtaken(planned, outcome, after) => {
            (assessed.state, assessed.summary, assessed.backoff)
        }
        Outcome::Failed { failure, .. } => {
            let old_runs = kept(input, after)
                .is_some_and(|container| matches!(container.state, ContainerState::Running { .. }));
            after_failure(input, planned, assessed, failure, old_runs)
        }
    };
    let mut conditions = summary.conditions(generation, &previous.conditions, input.now);
    let mut status = InstanceStatus {
        observed_generation: generation,
        state: Some(state),
        backoff,
        ..previous.clone()
    };
    status.container_id = status
        .container_id
        .filter(|id| !was_removed_by_us(id, planned, outcome));
    match after {
        EngineView::Unknown { .. } => conditions.extend(lasting(&previous.conditions)),
        EngineView::Known(_) => {
            let kept = kept(input, after);
            facts(&mut status, input, kept);
            // What has lost its name is known by the record alone.
            if outlived(input, after) {
                status.container_id.clone_from(&previous.container_id);
            }
            status.restarts = previous.restarts + restarts(&previous, &status, planned, outcome);
            conditions.extend(kept.and_then(|kept| engine_differs(input, kept, made, &previous)));
            conditions.extend(kept.and_then(|kept| healthy(input, kept, &previous)));
        }
    }
    for condition in &mut conditions {
        condition.last_transition_time = Time(whole_seconds(condition.last_transition_time.0));
    }
    status.conditions = conditions;
    status
}

/// Whose last lines belong into the status after a plan, when they were not read yet.
pub fn unheard(
    input: &InstanceInput<'_>,
    planned: &InstancePlan,
    outcome: &Outcome,
    made: Option<&str>,
    after: &EngineView,
) -> Option<Unheard> {
    let known = with_recorded(input.instance, planned, outcome, made);
    let input = &InstanceInput {
        instance: &known,
        ..*input
    };
    assess(input, planned, after).unheard
}

/// The Instance with the container on record that the plan made or started: it was known by its name until then, and may have lost that
/// meanwhile.
fn with_recorded(
    instance: &Instance,
    planned: &InstancePlan,
    outcome: &Outcome,
    made: Option<&str>,
) -> Instance {
    let mut instance = instance.clone();
    if let Some(id) = made.or_else(|| started_by_us(planned, outcome)) {
        instance.status.get_or_insert_default().container_id = Some(id.to_owned());
    }
    instance
}

/// The container that is kept, when the engine can be asked.
fn kept<'a>(input: &InstanceInput<'_>, after: &'a EngineView) -> Option<&'a Container> {
    match after {
        EngineView::Unknown { .. } => None,
        EngineView::Known(observed) => Sorted::of(input, observed).kept,
    }
}

/// Whether the container on record is still there beside the one that is kept, to be removed.
fn outlived(input: &InstanceInput<'_>, after: &EngineView) -> bool {
    let status = input.instance.status.as_ref();
    let recorded = status.and_then(|status| status.container_id.as_deref());
    match after {
        EngineView::Unknown { .. } => false,
        EngineView::Known(observed) => Sorted::of(input, observed)
            .surplus
            .iter()
            .any(|container| Some(container.id.as_str()) == recorded),
    }
}

/// How it stands after the plan, found by planning once more with what was learned.
fn assess(input: &InstanceInput<'_>, planned: &InstancePlan, after: &EngineView) -> InstancePlan {
    let mut instance = input.instance.clone();
    let mut status = instance.status.take().unwrap_or_default();
    status.observed_generation = instance.metadata.generation;
    status.backoff.clone_from(&planned.backoff);
    instance.status = Some(status);
    instance::plan(&InstanceInput {
        instance: &instance,
        view: after,
        ..*input
    })
}

fn after_failure(
    input: &InstanceInput<'_>,
    planned: &InstancePlan,
    assessed: InstancePlan,
    failure: &Failure,
    old_runs: bool,
) -> (
    InstanceState,
    Summary,
    Option<clos_resources::instance::Backoff>,
) {
    let known = planned.backoff.as_ref();
    let counted = match failure.kind {
        FailureKind::NoAddresses => restart::after_want(known, input.now),
        FailureKind::ImagePull { .. }
        | FailureKind::ImageArch
        | FailureKind::PortTaken
        | FailureKind::NameTaken
        | FailureKind::EngineUnknown
        | FailureKind::Refused
        | FailureKind::Failed
        | FailureKind::ApiConflict
        | FailureKind::Api => {
            restart::after_fault(known, input.now, std::time::Duration::ZERO, input.now)
        }
    };
    let message = failure.message.trim_end_matches('.');
    let put_off = |reason: Reason, state: InstanceState| {
        let next = if counted.next_try.0 > input.now {
            format!("next try at {}", restart::time_of_day(counted.next_try.0))
        } else {
            "it is tried again at once".to_owned()
        };
        let sentence = format!("{message}; {next}");
        // An old container that was not touched yet still does its work.
        let state = if old_runs {
            InstanceState::Running
        } else {
            state
        };
        (state, Summary::new(reason, sentence), Some(counted.clone()))
    };
    match failure.kind {
        FailureKind::ImagePull { transient: true }
            if counted.faults <= PULL_FAILURES_IN_SILENCE =>
        {
            put_off(Reason::Progressing, InstanceState::Waiting)
        }
        FailureKind::ImagePull { .. } => put_off(Reason::ImagePullFailed, InstanceState::Waiting),
        FailureKind::ImageArch => put_off(Reason::ImageArchMismatch, InstanceState::Failed),
        FailureKind::PortTaken => put_off(Reason::PortConflict, InstanceState::Waiting),
        FailureKind::NameTaken => put_off(Reason::NameConflict, InstanceState::Waiting),
        FailureKind::NoAddresses => put_off(Reason::ContainerFailed, InstanceState::Waiting),
        FailureKind::Refused | FailureKind::Failed => {
            put_off(Reason::ContainerFailed, InstanceState::BackOff)
        }
        FailureKind::EngineUnknown => {
            let sentence =
                format!("{message}; nothing is changed until the engine was asked again");
            (
                InstanceState::Unknown,
                Summary::new(Reason::EngineUnavailable, sentence),
                planned.backoff.clone(),
            )
        }
        FailureKind::ApiConflict | FailureKind::Api => (
            assessed.state,
            Summary::new(Reason::Progressing, format!("{message}; it is tried again")),
            assessed.backoff,
        ),
    }
}

/// What the engine shows of the container that is kept.
fn facts(status: &mut InstanceStatus, input: &InstanceInput<'_>, kept: Option<&Container>) {
    // What somebody else removed stays on record until it is made again.
    if let Some(kept) = kept {
        status.container_id = Some(kept.id.clone());
    }
    let over = matches!(
        status.state,
        Some(InstanceState::Completed | InstanceState::Failed)
    );
    let Some(kept) = kept else {
        if !over {
            status.revision = None;
        }
        return;
    };
    let declared = input
        .desired
        .as_ref()
        .is_ok_and(|desired| drift::is_declared(kept, desired));
    status.revision = if declared {
        Some(input.instance.spec.revision.clone())
    } else {
        kept.labels.get(names::LABEL_REVISION).cloned()
    };
    status.image_id = Some(kept.image_id.clone());
    if let Some(started_at) = restart::started_at(&kept.state) {
        status.started_at = Some(Time(whole_seconds(started_at)));
        status.finished_at = None;
    }
    if let ContainerState::Exited {
        code, finished_at, ..
    } = &kept.state
    {
        status.finished_at = Some(Time(whole_seconds(*finished_at)));
        status.exit_code = Some(*code);
    }
}

/// Starts since the last status: ours, and those that others made behind our back. Times are whole seconds, so that ours are counted as steps.
fn restarts(
    previous: &InstanceStatus,
    status: &InstanceStatus,
    planned: &InstancePlan,
    outcome: &Outcome,
) -> u32 {
    let start = position(&planned.plan, |action| {
        matches!(action, EngineAction::StartContainer { .. })
    });
    let done = start.is_some_and(|start| is_done(start, outcome));
    let ours = if done { planned.restarts_added } else { 0 };
    let seen = previous.started_at.is_some() && previous.started_at != status.started_at;
    ours.max(u32::from(seen))
}

/// Conditions that say something about a container, for as long as it is not looked at.
pub fn lasting(previous: &[Condition]) -> impl Iterator<Item = Condition> + '_ {
    previous
        .iter()
        .filter(|condition| {
            [CONDITION_ENGINE_DIFFERS, CONDITION_HEALTHY].contains(&condition.type_.as_str())
        })
        .cloned()
}

/// What differs from the very first look at a new container on. Somebody may have been quicker than that look, so the container is replaced like any
/// other; when the one in its place differs in the same, it is the engine's doing and a third would be no better.
fn engine_differs(
    input: &InstanceInput<'_>,
    kept: &Container,
    made: Option<&str>,
    previous: &InstanceStatus,
) -> Option<Condition> {
    let before = drift::difference(&previous.conditions);
    if made != Some(kept.id.as_str()) {
        let same = previous.container_id.as_ref() == Some(&kept.id);
        return before.filter(|_| same).cloned();
    }
    let desired = input.desired.as_ref().ok()?;
    let changes = drift::live_changes(kept, desired, &std::collections::BTreeSet::new());
    if changes.is_empty() || !drift::is_declared(kept, desired) {
        return None;
    }
    let words = drift::words(&changes);
    let (status, reason) = if before.is_some_and(|before| before.message == words) {
        ("True", "NotKeptByEngine")
    } else {
        ("Unknown", "SeenOnce")
    };
    Some(condition(
        input,
        CONDITION_ENGINE_DIFFERS,
        status,
        reason,
        words,
        previous,
    ))
}

fn healthy(
    input: &InstanceInput<'_>,
    kept: &Container,
    previous: &InstanceStatus,
) -> Option<Condition> {
    let ContainerState::Running { health, .. } = &kept.state else {
        return None;
    };
    let (status, reason, message) = match health {
        Health::None => return None,
        Health::Starting => (
            "Unknown",
            "Starting",
            "the health check has not succeeded yet",
        ),
        Health::Healthy => ("True", "HealthCheckSucceeds", "the health check succeeds"),
        Health::Unhealthy { .. } => ("False", "HealthCheckFails", "the health check fails"),
    };
    Some(condition(
        input,
        CONDITION_HEALTHY,
        status,
        reason,
        message.to_owned(),
        previous,
    ))
}

fn condition(
    input: &InstanceInput<'_>,
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    previous: &InstanceStatus,
) -> Condition {
    let since = previous
        .conditions
        .iter()
        .find(|before| before.type_ == kind && before.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: input.instance.metadata.generation,
        last_transition_time: since.map_or_else(
            || Time(timestamp(input)),
            |before| before.last_transition_time.clone(),
        ),
    }
}

fn timestamp(input: &InstanceInput<'_>) -> Timestamp {
    whole_seconds(input.now)
}
