//! Which of the declared and the found decides, and when a container is made, replaced, stopped or removed. What a container as declared
//! does is in `container`, what stands in the way in `obstacle`, what the status remembers in `past`, the steps themselves in `steps`.

use clos_resources::conditions::{Reason, Summary};
use clos_resources::container::ImagePullPolicy;
use clos_resources::instance::{Backoff, InstanceState, InstanceStatus};
use clos_resources::lifecycle::State;
use jiff::{SignedDuration, Timestamp};

use super::{Drift, DriftKind, InstanceInput, InstancePlan, Unheard};
use crate::action::{Action, EngineAction, Plan};
use crate::desired::{self, Desired, Unresolved};
use crate::drift;
use crate::observed::{Container, Observed};
use crate::ownership::{self, Sorted, short_id};
use crate::ports;
use crate::restart::End;

/// When to look again at what no event tells: foreign networks and volumes in the way.
pub(super) const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// When to look again at what an event tells, should it be lost: foreign containers in the way, images that somebody else brings.
pub(super) const LOOK_AGAIN_LATE: SignedDuration = SignedDuration::from_mins(5);

/// When to look again at a container that the engine is about to remove or to start by itself.
pub(super) const LOOK_AGAIN_SOON: SignedDuration = SignedDuration::from_secs(2);

/// How an Instance stands: the state in one word, and why.
pub(super) type Standing = (InstanceState, Summary);

/// The plan while it is made.
pub(super) struct Draft<'a> {
    pub(super) input: InstanceInput<'a>,
    pub(super) observed: &'a Observed,
    pub(super) sorted: Sorted<'a>,
    pub(super) plan: Plan,
    /// The steps that remove what of ours must be gone before a container is made or started.
    pub(super) removals: Vec<usize>,
    pub(super) restarts_added: u32,
    pub(super) backoff: Option<Backoff>,
    pub(super) unheard: Option<Unheard>,
    pub(super) held: Vec<u16>,
    drift: Vec<Drift>,
    wake_at: Option<Timestamp>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: InstanceInput<'a>, observed: &'a Observed) -> Self {
        let sorted = Sorted::of(&input, observed);
        let mut draft = Self {
            input,
            observed,
            sorted,
            plan: Plan::default(),
            removals: Vec::new(),
            restarts_added: 0,
            unheard: None,
            held: Vec::new(),
            drift: Vec::new(),
            backoff: None,
            wake_at: None,
        };
        draft.backoff = draft.known_faults();
        draft
    }

    pub(super) fn decide(mut self) -> InstancePlan {
        let deleted = self.input.instance.metadata.deletion_timestamp.is_some();
        self.report_foreign();
        let (state, summary) = if deleted {
            self.delete()
        } else {
            self.remove_surplus();
            self.remove_surplus_networks();
            match (self.input.instance.spec.state, self.input.desired) {
                (State::Stopped, _) => self.stop(),
                (State::Running, Ok(desired)) => self.run(desired),
                (State::Running, Err(unresolved)) => self.keep_last_good(unresolved),
            }
        };
        let nothing_left = self.sorted.nothing_left()
            && ports::held(self.input.instance, self.input.ports).is_empty();
        InstancePlan {
            plan: self.plan,
            drift: self.drift,
            wake_at: self.wake_at,
            summary,
            state,
            backoff: self.backoff,
            restarts_added: self.restarts_added,
            unheard: self.unheard,
            held: self.held,
            gone: deleted && nothing_left,
        }
    }

    pub(super) fn status(&self) -> Option<&'a InstanceStatus> {
        self.input.instance.status.as_ref()
    }

    /// Why the image is pulled, if it is.
    pub(super) fn pulls(&self) -> Option<&'static str> {
        match self.input.instance.spec.container.image_pull_policy {
            ImagePullPolicy::Always => Some("pulled before each new container"),
            ImagePullPolicy::IfNotPresent => {
                self.observed.image.is_none().then_some("not on this host")
            }
            ImagePullPolicy::Never => None,
        }
    }

    fn delete(&mut self) -> Standing {
        let containers: Vec<&Container> = self
            .sorted
            .kept
            .into_iter()
            .chain(self.sorted.surplus.iter().copied())
            .collect();
        for container in containers {
            self.remove_steps(container, "its instance is deleted", Vec::new());
        }
        if self.sorted.leaving.is_empty() {
            self.release_all_steps();
        } else {
            self.wake(self.input.now, LOOK_AGAIN_SOON);
        }
        (
            InstanceState::Stopping,
            Summary::new(
                Reason::Terminating,
                format!("{} is being removed", self.name()),
            ),
        )
    }

    fn stop(&mut self) -> Standing {
        self.backoff = None;
        let kept = self.sorted.kept;
        if let Ok(desired) = self.input.desired {
            // It is never started again as it is, and would keep the port from everybody.
            if let Some(kept) = kept.filter(|kept| {
                !ownership::runs(kept)
                    && self.over().is_none()
                    && self.outlives_a_port(desired, kept)
            }) {
                let why = "publishes a port that is not declared any more";
                self.remove_steps(kept, why, Vec::new());
            }
            self.release_steps(desired);
        }
        if let Some(kept) = kept.filter(|container| ownership::runs(container)) {
            if self.status().and_then(|status| status.state) == Some(InstanceState::Stopped) {
                self.found(
                    DriftKind::Running,
                    format!(
                        "container {} runs though it is declared as stopped",
                        kept.name
                    ),
                );
            }
            self.stop_steps(kept, "declared as stopped", Vec::new());
            let message = format!("container {} is being stopped, as declared", kept.name);
            return (
                InstanceState::Stopping,
                Summary::new(Reason::Progressing, message),
            );
        }
        // A run that is over stays over: it is not repeated when the stop is taken back.
        let state = self
            .over()
            .map_or(InstanceState::Stopped, |(state, _)| state);
        (
            state,
            Summary::new(Reason::Suspended, "stopped, as declared"),
        )
    }

    fn keep_last_good(&mut self, unresolved: &Unresolved) -> Standing {
        if let Some(over) = self.over() {
            return over;
        }
        let mut summary = unresolved.summary();
        let state = match self.sorted.kept {
            None => InstanceState::Waiting,
            Some(kept) => {
                let (state, _) = self.carry_on(None, kept);
                if ownership::runs(kept) {
                    summary
                        .message
                        .push_str("; the container of before keeps running");
                }
                state
            }
        };
        (state, summary)
    }

    fn run(&mut self, desired: &Desired) -> Standing {
        if let Some(over) = self.over() {
            self.release_steps(desired);
            return over;
        }
        let Some(kept) = self.sorted.kept else {
            return self.make_first(desired);
        };
        if let Some(change) = drift::declaration_change(kept, desired) {
            return self.replace(desired, kept, &change);
        }
        let changes = drift::live_changes(kept, desired, &drift::tolerated(self.status(), kept));
        if !changes.is_empty() {
            let words = drift::words(&changes);
            self.found(
                DriftKind::Changed,
                format!("{words} of container {} changed, not by clos", kept.name),
            );
            return self.replace(desired, kept, &format!("{words} changed, not by clos"));
        }
        if self.observed.networks.is_empty() {
            self.found(
                DriftKind::Changed,
                format!(
                    "the network of container {} is gone, not removed by clos",
                    kept.name
                ),
            );
            return self.replace(desired, kept, "its network does not exist any more");
        }
        self.carry_on(Some(desired), kept)
    }

    fn make_first(&mut self, desired: &Desired) -> Standing {
        if let Some(leaving) = self.sorted.leaving.first() {
            let message = format!(
                "container {} is being removed, a new one follows",
                leaving.name
            );
            self.wake(self.input.now, LOOK_AGAIN_SOON);
            return self.progress(message);
        }
        if self.was_removed() {
            self.found(
                DriftKind::Removed,
                format!(
                    "container {} was removed, not by clos",
                    desired.options().name
                ),
            );
        }
        if let Some(obstacle) = self.obstacle(desired).or_else(|| self.wait()) {
            return obstacle;
        }
        let unmet = self.unmet_dependency();
        self.make_steps(desired, None, unmet.is_none());
        match unmet {
            Some(unmet) => (InstanceState::Waiting, unmet),
            None => self.progress(format!(
                "container {} is being made",
                desired.options().name
            )),
        }
    }

    /// Puts a new container in the place of one that is not as declared. While anything is in the way, the old one is left as it is.
    pub(super) fn replace(&mut self, desired: &Desired, old: &'a Container, why: &str) -> Standing {
        let outdated = !drift::is_declared(old, desired);
        let crash = End::of(&old.state).map(|end| end.at);
        if outdated
            && crash.is_some()
            && crash == self.backoff.as_ref().map(|backoff| backoff.last_fault.0)
        {
            // It was the old declaration that failed.
            self.backoff = None;
        }
        let unmet = self.unmet_dependency();
        let postponed = unmet
            .clone()
            .filter(|_| ownership::runs(old))
            .map(|summary| (InstanceState::Waiting, summary));
        if let Some((state, summary)) = self.obstacle(desired).or_else(|| self.wait()).or(postponed)
        {
            let state = if ownership::runs(old) {
                InstanceState::Running
            } else {
                state
            };
            return (state, summary);
        }
        self.make_steps(desired, Some((old, why)), unmet.is_none());
        match unmet {
            Some(unmet) => (InstanceState::Waiting, unmet),
            None => self.progress(format!("container {} is being replaced: {why}", old.name)),
        }
    }

    fn remove_surplus(&mut self) {
        let surplus = self.sorted.surplus.clone();
        for container in surplus {
            let name = self.name();
            let words = format!(
                "container {} ({}) is another one of {name}",
                container.name,
                short_id(&container.id)
            );
            self.found(DriftKind::Duplicate, words);
            self.remove_steps(
                container,
                &format!("{name} has another container"),
                Vec::new(),
            );
        }
    }

    fn remove_surplus_networks(&mut self) {
        let observed = self.observed;
        for network in ownership::surplus_networks(&observed.networks, &self.input) {
            let words = format!(
                "network {} ({}) is another one of its name",
                network.name,
                short_id(&network.id)
            );
            self.found(DriftKind::Duplicate, words);
            let remove = EngineAction::RemoveNetwork {
                id: network.id.clone(),
                name: network.name.clone(),
            };
            let remove = self.engine(remove, "there is an older one of its name", Vec::new());
            self.removals.push(remove);
        }
    }

    fn report_foreign(&mut self) {
        let pretenders = self.sorted.pretenders.clone();
        for foreign in pretenders {
            let words = format!(
                "container {} ({}) carries the labels of {} and was not made by clos; it is left alone",
                foreign.name,
                short_id(&foreign.id),
                self.name()
            );
            self.found(DriftKind::Foreign, words);
        }
    }

    pub(super) fn found(&mut self, kind: DriftKind, words: String) {
        self.drift.push(Drift { kind, words });
    }

    pub(super) fn wake(&mut self, from: Timestamp, after: SignedDuration) {
        let at = from.saturating_add(after).unwrap_or(from);
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// It is on the way. What takes long is told rather than what follows it.
    pub(super) fn progress(&self, message: String) -> Standing {
        let pull =
            |action: &Action| matches!(action, Action::Engine(EngineAction::PullImage { .. }));
        let pulls = self.plan.steps.iter().any(|step| pull(&step.action));
        let (state, message) = if pulls {
            let image = &self.input.instance.spec.container.image;
            (InstanceState::Pulling, format!("pulling image {image}"))
        } else {
            (InstanceState::Starting, message)
        };
        (state, Summary::new(Reason::Progressing, message))
    }

    pub(super) fn name(&self) -> &'a str {
        desired::name(self.input.instance)
    }
}
