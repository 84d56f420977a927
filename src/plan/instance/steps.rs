//! The steps of a plan for one Instance and what each comes after, so that whatever can go side by side does. Whether they are to be taken is not here.

use super::decide::Draft;
use crate::action::{Action, ApiAction, Cause, EngineAction, Target};
use crate::desired::Desired;
use crate::observed::{Container, ContainerState};
use crate::ownership::{self, short_id};
use crate::ports::{self, Ports};
use crate::restart;

impl Draft<'_> {
    /// Makes everything a new container needs, and the container, in the place of an old one when there is one; starts it unless it has to wait. The old
    /// one is stopped only when everything that can fail without harm has been done.
    pub(super) fn make_steps(
        &mut self,
        desired: &Desired,
        old: Option<(&Container, &str)>,
        start: bool,
    ) {
        let mut needed = self.network_step(desired);
        needed.extend(self.pull_step(desired));
        needed.extend(self.volume_steps(desired));
        let why_claim = format!("instance {} publishes it", self.name());
        needed.extend(self.claim_steps(desired, &why_claim));
        let mut before = match old {
            Some((container, why)) => vec![self.remove_steps(container, why, needed)],
            None => needed,
        };
        before.extend(&self.removals);
        before.sort_unstable();
        before.dedup();
        let name = self.name();
        let cause = match old {
            Some((container, _)) => format!("takes the place of {}", short_id(&container.id)),
            None => format!("instance {name} has none"),
        };
        let create = self.engine(
            EngineAction::CreateContainer(Box::new(desired.container())),
            cause,
            before,
        );
        if start {
            let container = Target::MadeBy {
                step: create,
                name: desired.options().name.clone(),
            };
            self.engine(
                EngineAction::StartContainer { container },
                "should run",
                vec![create],
            );
            self.count_restart();
        }
        self.release_steps(desired);
    }

    /// Starts a container that exists.
    pub(super) fn start_steps(
        &mut self,
        desired: Option<&Desired>,
        container: &Container,
        why: &str,
    ) {
        let mut before = Vec::new();
        if let Some(desired) = desired {
            before.extend(self.volume_steps(desired));
            let why_claim = format!("instance {} publishes it", self.name());
            before.extend(self.claim_steps(desired, &why_claim));
        }
        before.extend(self.removals.iter().copied());
        self.engine(
            EngineAction::StartContainer {
                container: existing(container),
            },
            why,
            before,
        );
        self.count_restart();
        if let Some(desired) = desired {
            self.release_steps(desired);
        }
    }

    /// Stops a container and starts it again.
    pub(super) fn restart_steps(&mut self, container: &Container, why: &str) {
        let stop = self.stop_steps(container, why, Vec::new());
        self.engine(
            EngineAction::StartContainer {
                container: existing(container),
            },
            "should run",
            stop,
        );
        self.count_restart();
    }

    /// Thaws a container.
    pub(super) fn unpause_step(&mut self, container: &Container, why: &str) {
        self.engine(
            EngineAction::UnpauseContainer {
                container: existing(container),
            },
            why,
            Vec::new(),
        );
    }

    /// Stops a container if it runs, and gives what to wait for before it can be removed.
    pub(super) fn stop_steps(
        &mut self,
        container: &Container,
        why: &str,
        mut after: Vec<usize>,
    ) -> Vec<usize> {
        if !ownership::runs(container) {
            return after;
        }
        if matches!(container.state, ContainerState::Paused { .. }) {
            // A frozen process sees no signal.
            let unpause = EngineAction::UnpauseContainer {
                container: existing(container),
            };
            after = vec![self.engine(unpause, "a frozen container cannot stop", after)];
        }
        let grace = self.input.instance.spec.container.stop_grace_period.get();
        vec![self.engine(
            EngineAction::StopContainer {
                container: existing(container),
                grace,
            },
            why,
            after,
        )]
    }

    /// Stops a container if it runs, and removes it.
    pub(super) fn remove_steps(
        &mut self,
        container: &Container,
        why: &str,
        after: Vec<usize>,
    ) -> usize {
        let stopped = self.stop_steps(container, why, after);
        let remove = self.engine(
            EngineAction::RemoveContainer {
                container: existing(container),
            },
            why,
            stopped,
        );
        self.removals.push(remove);
        remove
    }

    /// Claims what is declared and held by nobody.
    pub(super) fn claim_steps(&mut self, desired: &Desired, why: &str) -> Vec<usize> {
        let unclaimed =
            Ports::of(self.input.instance, desired.claims(), self.input.ports).unclaimed;
        unclaimed
            .into_iter()
            .map(|claim| {
                self.api(
                    ApiAction::ClaimPort(Box::new(claim.clone())),
                    why,
                    Vec::new(),
                )
            })
            .collect()
    }

    /// Whether a container publishes a port that is held and not declared any more.
    pub(super) fn outlives_a_port(&self, desired: &Desired, container: &Container) -> bool {
        let ports = Ports::of(self.input.instance, desired.claims(), self.input.ports);
        let mut superfluous = ports.superfluous.into_iter();
        superfluous.any(|port| publishes(container, port))
    }

    /// Releases what is held and not declared any more, once no container of ours uses it.
    pub(super) fn release_steps(&mut self, desired: &Desired) {
        let kept = self.sorted.kept.map(|container| container.id.as_str());
        let replaced = self
            .plan
            .steps
            .iter()
            .any(|step| removed(&step.action).is_some_and(|id| Some(id) == kept));
        for port in Ports::of(self.input.instance, desired.claims(), self.input.ports).superfluous {
            let kept_uses_it = self.sorted.kept.is_some_and(|kept| publishes(kept, port));
            if (replaced || !kept_uses_it) && self.sorted.leaving.is_empty() {
                self.release_step(port, "not declared any more");
            }
        }
    }

    /// Releases everything, once nothing is left.
    pub(super) fn release_all_steps(&mut self) {
        for port in ports::held(self.input.instance, self.input.ports) {
            self.release_step(port, "its holder is deleted");
        }
    }

    fn release_step(&mut self, port: &clos_resources::Port, why: &str) {
        let (Some(name), Some(uid)) = (&port.metadata.name, &port.metadata.uid) else {
            return;
        };
        let after = self.removals.clone();
        let release = ApiAction::ReleasePort {
            name: name.clone(),
            uid: uid.clone(),
            port: Box::new(port.spec.clone()),
        };
        self.api(release, why, after);
    }

    fn network_step(&mut self, desired: &Desired) -> Vec<usize> {
        if !self.observed.networks.is_empty() {
            return Vec::new();
        }
        let ran_before = self
            .status()
            .is_some_and(|status| status.started_at.is_some());
        let why = if ran_before {
            "declared, does not exist"
        } else {
            "the group is new"
        };
        vec![self.engine(
            EngineAction::CreateNetwork(desired.network()),
            why,
            Vec::new(),
        )]
    }

    fn pull_step(&mut self, desired: &Desired) -> Option<usize> {
        let why = self.pulls()?;
        Some(self.engine(
            EngineAction::PullImage {
                image: desired.options().image.clone(),
            },
            why,
            Vec::new(),
        ))
    }

    fn volume_steps(&mut self, desired: &Desired) -> Vec<usize> {
        let observed = self.observed;
        let missing = desired
            .volumes()
            .into_iter()
            .filter(|volume| !observed.volumes.contains_key(&volume.name));
        missing
            .map(|volume| {
                self.engine(
                    EngineAction::CreateVolume(volume),
                    "declared, does not exist",
                    Vec::new(),
                )
            })
            .collect()
    }

    pub(super) fn engine(
        &mut self,
        action: EngineAction,
        why: impl Into<String>,
        after: Vec<usize>,
    ) -> usize {
        self.plan
            .push(Action::Engine(action), Cause::new(why), after)
    }

    fn api(&mut self, action: ApiAction, why: &str, after: Vec<usize>) -> usize {
        self.plan.push(Action::Api(action), Cause::new(why), after)
    }

    /// The first start of an Instance is no restart.
    fn count_restart(&mut self) {
        let recorded = self
            .status()
            .is_some_and(|status| status.started_at.is_some());
        let seen = self
            .sorted
            .kept
            .is_some_and(|container| restart::started_at(&container.state).is_some());
        self.restarts_added += u32::from(recorded || seen);
    }
}

fn removed(action: &Action) -> Option<&str> {
    match action {
        Action::Engine(EngineAction::RemoveContainer {
            container: Target::Existing { id, .. },
        }) => Some(id),
        Action::Engine(_) | Action::Api(_) => None,
    }
}

fn existing(container: &Container) -> Target {
    Target::Existing {
        id: container.id.clone(),
        name: container.name.clone(),
    }
}

fn publishes(container: &Container, port: &clos_resources::Port) -> bool {
    let mut ports = container.live.ports.iter();
    ports.any(|used| used.host_port == port.spec.port && used.protocol == port.spec.protocol)
}
