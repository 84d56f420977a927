//! Containers of this installation whose Instance is gone: removed after a grace, and only when everything about them says that
//! they are ours.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_resources::names;
use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Cause, EngineAction, Plan, Target};
use crate::observed::{Container, ContainerState};
use crate::ownership;

/// How long a container must have been seen as an orphan until it is removed: long enough for Instances that are only missing for a
/// moment, as while a backup is put back.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// How long an orphan may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What must be done about orphans.
#[derive(Clone, Debug, PartialEq)]
pub struct OrphanPlan {
    /// Containers to stop and remove.
    pub plan: Plan,
    /// Since when each container was seen as an orphan, by id: to be handed in the next time.
    pub since: BTreeMap<String, Timestamp>,
}

/// What must be done about orphans among `containers`, by id. `living` are the UIDs of all Instances of all hosts; `since` is what the
/// last call gave, empty after a start and after the engine's state was unknown.
pub fn plan(
    containers: &BTreeMap<String, Container>,
    living: &BTreeSet<String>,
    since: &BTreeMap<String, Timestamp>,
    installation: &str,
    now: Timestamp,
) -> OrphanPlan {
    let mut orphans = OrphanPlan {
        plan: Plan::default(),
        since: BTreeMap::new(),
    };
    for (id, container) in containers
        .iter()
        .filter(|(_, container)| is_orphan(container, living, installation))
    {
        // A clock that was set back starts the grace anew.
        let first = since
            .get(id)
            .copied()
            .filter(|first| *first <= now)
            .unwrap_or(now);
        orphans.since.insert(id.clone(), first);
        if now.duration_since(first) >= GRACE {
            removal(&mut orphans.plan, container);
        }
    }
    orphans
}

/// Labels can be copied, so the name must be the one that clos gave as well.
fn is_orphan(container: &Container, living: &BTreeSet<String>, installation: &str) -> bool {
    let label = |key: &str| {
        container
            .labels
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let labels = (
        label(names::LABEL_INSTALLATION),
        label(names::LABEL_INSTANCE_UID),
        label(names::LABEL_NAMESPACE),
        label(names::LABEL_INSTANCE),
    );
    let (Some(of), Some(uid), Some(namespace), Some(instance)) = labels else {
        return false;
    };
    let leaving = container.state == ContainerState::Removing;
    of == installation
        && !living.contains(uid)
        && container.name == names::container(namespace, instance)
        && !leaving
}

fn removal(plan: &mut Plan, container: &Container) {
    let target = || Target::Existing {
        id: container.id.clone(),
        name: container.name.clone(),
    };
    let cause = || Cause::new("its instance does not exist any more");
    let mut after = Vec::new();
    if matches!(container.state, ContainerState::Paused { .. }) {
        let unpause = Action::Engine(EngineAction::UnpauseContainer {
            container: target(),
        });
        after = vec![plan.push(unpause, Cause::new("a frozen container cannot stop"), after)];
    }
    if ownership::runs(container) {
        let stop = Action::Engine(EngineAction::StopContainer {
            container: target(),
            grace: STOP_GRACE,
        });
        after = vec![plan.push(stop, cause(), after)];
    }
    plan.push(
        Action::Engine(EngineAction::RemoveContainer {
            container: target(),
        }),
        cause(),
        after,
    );
}
