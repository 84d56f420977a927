//! What keeps a container from being made or started: things in the way, dependencies, waits. Nothing is done about it here.

use clos_resources::conditions::{self, Reason, Summary};
use clos_resources::instance::InstanceState;
use clos_resources::names;
use jiff::SignedDuration;

use super::decide::{Draft, LOOK_AGAIN, LOOK_AGAIN_LATE, Standing};
use crate::desired::Desired;
use crate::observed::{Container, Image};
use crate::outcome::HELD_BY;
use crate::ownership::{self, short_id};
use crate::ports::Ports;
use crate::restart;

impl Draft<'_> {
    /// What keeps a new container from being made, and no wait of ours would help.
    pub(super) fn obstacle(&mut self, desired: &Desired) -> Option<Standing> {
        let foreign = self
            .sorted
            .in_the_way
            .first()
            .map(|foreign| in_the_way(foreign, self.input.installation));
        let again = if foreign.is_some() {
            LOOK_AGAIN_LATE
        } else {
            LOOK_AGAIN
        };
        let in_the_way = foreign
            .or_else(|| ownership::network_in_the_way(&self.observed.networks, &self.input))
            .or_else(|| ownership::volume_in_the_way(&self.observed.volumes, desired));
        if let Some(message) = in_the_way {
            self.wake(self.input.now, again);
            return Some((
                InstanceState::Waiting,
                Summary::new(Reason::NameConflict, message),
            ));
        }
        if let Some(conflict) = self.port_conflict(desired) {
            return Some(conflict);
        }
        match (&self.observed.image, self.pulls()) {
            (_, Some(_)) => None,
            (Some(image), None) => self.wrong_platform(image),
            (None, None) => {
                self.wake(self.input.now, LOOK_AGAIN_LATE);
                let message = format!(
                    "image {} is not on this host, and imagePullPolicy is Never",
                    desired.options().image
                );
                Some((
                    InstanceState::Waiting,
                    Summary::new(Reason::ImagePullFailed, message),
                ))
            }
        }
    }

    pub(super) fn port_conflict(&self, desired: &Desired) -> Option<Standing> {
        let conflicts =
            Ports::of(self.input.instance, desired.claims(), self.input.ports).conflicts;
        let summary = || Summary::new(Reason::PortConflict, conflicts.join("; "));
        (!conflicts.is_empty()).then(|| (InstanceState::Waiting, summary()))
    }

    pub(super) fn wrong_platform(&mut self, image: &Image) -> Option<Standing> {
        let host = self.input.platform;
        let differs = |of_image: &str, of_host: &str| {
            !of_image.is_empty() && !of_host.is_empty() && of_image != of_host
        };
        if !differs(&image.architecture, &host.architecture)
            && !differs(&image.operating_system, &host.operating_system)
        {
            return None;
        }
        self.wake(self.input.now, LOOK_AGAIN_LATE);
        let message = format!(
            "image {} on this host is for {}/{}, and the host is {}/{}; use an image that is built for it",
            self.input.instance.spec.container.image,
            image.operating_system,
            image.architecture,
            host.operating_system,
            host.architecture
        );
        Some((
            InstanceState::Failed,
            Summary::new(Reason::ImageArchMismatch, message),
        ))
    }

    pub(super) fn unmet_dependency(&self) -> Option<Summary> {
        let mut unmet: Vec<_> = self
            .input
            .dependencies
            .iter()
            .filter(|state| !state.met)
            .collect();
        unmet.sort_by(|a, b| a.dependency.service.cmp(&b.dependency.service));
        let reasons: Vec<&str> = unmet.iter().map(|state| state.why_not.as_str()).collect();
        (!unmet.is_empty()).then(|| {
            Summary::new(
                Reason::DependencyNotReady,
                format!("waits: {}", reasons.join("; ")),
            )
        })
    }

    /// Whether nobody holds the ports that it needs, as far as that was asked for; asks for it.
    fn ports_are_free(&mut self) -> bool {
        let wanted = self.input.instance.spec.ports.iter();
        self.held = wanted.filter_map(|port| port.host_port).collect();
        let holders = &self.observed.holders;
        let free = |port: &u16| holders.get(port).is_some_and(Vec::is_empty);
        self.held.iter().all(free)
    }

    /// How it stands while the next try is put off.
    pub(super) fn wait(&mut self) -> Option<Standing> {
        let backoff = self
            .backoff
            .as_ref()
            .filter(|backoff| !restart::is_due(backoff, self.input.now))?;
        let due = backoff.next_try.0;
        let ready = self
            .status()
            .and_then(|status| conditions::ready(&status.conditions));
        let said = ready.and_then(|ready| Some((put_off(&ready.reason)?, ready.message.clone())));
        let (reason, message) = said.unwrap_or_else(|| {
            (
                Reason::ContainerFailed,
                format!("next try at {}", restart::time_of_day(due)),
            )
        });
        let came_right = match reason {
            Reason::ImagePullFailed => self.observed.image.is_some() && self.pulls().is_none(),
            Reason::CrashLoopBackOff => self.sorted.kept.is_some_and(ownership::runs),
            Reason::PortConflict if message.contains(HELD_BY) => self.ports_are_free(),
            _ => false,
        };
        if came_right {
            return None;
        }
        self.wake(due, SignedDuration::ZERO);
        let state = match self.status().and_then(|status| status.state) {
            Some(state @ (InstanceState::Waiting | InstanceState::Failed)) => state,
            Some(
                InstanceState::Pulling
                | InstanceState::Starting
                | InstanceState::Running
                | InstanceState::Unhealthy
                | InstanceState::BackOff
                | InstanceState::Completed
                | InstanceState::Stopping
                | InstanceState::Stopped
                | InstanceState::Unknown,
            )
            | None => InstanceState::BackOff,
        };
        Some((state, Summary::new(reason, message)))
    }
}

/// Who has the name that a container of ours would get, and what to do about it.
fn in_the_way(container: &Container, installation: &str) -> String {
    let (name, id) = (&container.name, short_id(&container.id));
    let image = short_id(&container.image_id);
    match container.labels.get(names::LABEL_INSTALLATION) {
        Some(of) if of == installation => format!(
            "container {name} (id {id}) of an earlier instance, which does not exist any more, is in the way; clos confirm says when it goes, and lets it go now"
        ),
        Some(_) => format!(
            "a container named {name} exists and was made by another clos installation (id {id}, image {image}); remove it there, or give this service another name"
        ),
        None => format!(
            "a container named {name} exists and was not made by this clos (id {id}, image {image}); remove or rename it"
        ),
    }
}

/// The reasons for which a try can have been put off.
fn put_off(word: &str) -> Option<Reason> {
    let reasons = [
        Reason::ImagePullFailed,
        Reason::ImageArchMismatch,
        Reason::PortConflict,
        Reason::NameConflict,
        Reason::ContainerFailed,
        Reason::CrashLoopBackOff,
        Reason::Progressing,
    ];
    reasons.into_iter().find(|reason| reason.as_str() == word)
}
