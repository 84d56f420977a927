//! Containers of this installation whose Instance is gone: removed after a grace, and only when everything about them says that
//! they are ours. When they are many, they are more likely a sign of an old or empty store than leftovers: then a person must confirm it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_resources::names;
use clos_resources::removals::{Removals, too_many};
use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Cause, EngineAction, Plan, Target};
use crate::observed::{Container, ContainerState};
use crate::ownership;

/// How long a container must have been seen as an orphan until it is removed: long enough for Instances that are only missing for a
/// moment, as while a backup is put back.
pub const GRACE: SignedDuration = SignedDuration::from_mins(5);

/// How long an orphan may take to stop.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Everything the plan for orphans depends on.
#[derive(Clone, Copy, Debug)]
pub struct OrphanInput<'a> {
    /// The containers that may be orphans, by id.
    pub containers: &'a BTreeMap<String, Container>,
    /// How many containers of this installation there are in all.
    pub managed: usize,
    /// The UIDs of all Instances of all hosts.
    pub living: &'a BTreeSet<String>,
    /// What the last call gave; empty after a start and after the engine's state was unknown.
    pub seen: &'a BTreeMap<String, Seen>,
    /// What was reported the last time, also before a start.
    pub reported: Option<&'a Removals>,
    /// The token that a person has confirmed.
    pub confirmed: Option<&'a str>,
    /// Whose containers count.
    pub installation: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// What is remembered of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Since when it was seen as one.
    pub since: Timestamp,
    /// Whether it may go at once, however many go with it.
    pub confirmed: bool,
    /// Whether it was said that it stays until somebody confirms it. That is not taken back when others are added or go.
    pub held: bool,
}

/// What must be done about orphans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrphanPlan {
    /// Containers to stop and remove.
    pub plan: Plan,
    /// What is remembered of each orphan, by id: to be handed in the next time.
    pub seen: BTreeMap<String, Seen>,
    /// The orphans that nobody has confirmed; none when there are none.
    pub orphans: Option<Removals>,
}

/// What must be done about orphans. Those that a person has confirmed go at once. The others go after their grace; but when they are too
/// many at once, or when there is no Instance at all, none of them goes.
pub fn plan(input: &OrphanInput<'_>) -> OrphanPlan {
    let orphans: BTreeMap<&String, &Container> = input
        .containers
        .iter()
        .filter(|(_, container)| is_orphan(container, input))
        .collect();
    let mut seen: BTreeMap<String, Seen> = orphans
        .keys()
        .map(|id| ((*id).clone(), remembered(id, input)))
        .collect();
    let unconfirmed: BTreeMap<String, String> = orphans
        .iter()
        .filter(|(id, _)| !seen[**id].confirmed)
        .map(|(id, container)| ((*id).clone(), container.name.clone()))
        .collect();
    let mut report = Removals::new(&unconfirmed, input.managed, false);
    let none_lives = input.living.is_empty() && !unconfirmed.is_empty();
    // What was held before a start is held after it, too.
    let reported = input
        .reported
        .is_some_and(|reported| reported.held && reported.token == report.token);
    let before = unconfirmed.keys().any(|id| seen[id].held);
    report.held = none_lives || too_many(unconfirmed.len(), input.managed) || reported || before;
    let confirmed = input.confirmed == Some(report.token.as_str());
    for id in unconfirmed.keys() {
        if let Some(orphan) = seen.get_mut(id) {
            orphan.confirmed = confirmed;
            orphan.held = report.held;
        }
    }
    let mut plan = Plan::default();
    for (id, container) in orphans {
        let orphan = seen[id];
        let waited = input.now.duration_since(orphan.since) >= GRACE;
        if orphan.confirmed || waited && !orphan.held {
            removal(&mut plan, container);
        }
    }
    OrphanPlan {
        plan,
        seen,
        orphans: (!unconfirmed.is_empty() && !confirmed).then_some(report),
    }
}

fn remembered(id: &str, input: &OrphanInput<'_>) -> Seen {
    let new = Seen {
        since: input.now,
        confirmed: false,
        held: false,
    };
    let before = input.seen.get(id).copied().unwrap_or(new);
    // A clock that was set back starts the grace anew.
    Seen {
        since: before.since.min(input.now),
        ..before
    }
}

/// Labels can be copied, so the name must be the one that clos gave as well.
fn is_orphan(container: &Container, input: &OrphanInput<'_>) -> bool {
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
    of == input.installation
        && !input.living.contains(uid)
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
