//! What one container does that is as declared, state by state: left, thawed, started again, or waited for.

use clos_resources::conditions::{self, LAST_LINES, Reason, Summary};
use clos_resources::instance::InstanceState;
use jiff::{SignedDuration, Timestamp};

use super::decide::{Draft, LOOK_AGAIN_SOON, Standing};
use super::{DriftKind, Unheard};
use crate::desired::Desired;
use crate::observed::{Container, ContainerState, Health};
use crate::ports::Ports;
use crate::restart::{self, End, EndKind};

impl<'a> Draft<'a> {
    /// What a container does that is as declared, or the best there is while nothing better can be made.
    pub(super) fn carry_on(&mut self, desired: Option<&Desired>, kept: &'a Container) -> Standing {
        match &kept.state {
            ContainerState::Created => self.start(desired, kept, "made and not started"),
            ContainerState::Running { started_at, health } => {
                self.steady(desired, kept, *started_at, health)
            }
            ContainerState::Paused { .. } => {
                self.found(
                    DriftKind::Paused,
                    format!("container {} was paused, not by clos", kept.name),
                );
                self.unpause_step(kept, "paused, not by clos");
                self.progress(format!("container {} is being thawed", kept.name))
            }
            ContainerState::Restarting => {
                self.wake(self.input.now, LOOK_AGAIN_SOON);
                self.progress(format!("the engine is restarting container {}", kept.name))
            }
            ContainerState::Exited { code, .. } => match End::of(&kept.state) {
                Some(end) => self.ended(desired, kept, &end, *code),
                None => self.start(desired, kept, "should run"),
            },
            ContainerState::Removing | ContainerState::Dead => match desired {
                Some(desired) => self.replace(desired, kept, "the engine could not remove it"),
                None => self.progress(format!(
                    "the engine could not remove container {}",
                    kept.name
                )),
            },
        }
    }

    pub(super) fn steady(
        &mut self,
        desired: Option<&Desired>,
        kept: &'a Container,
        started_at: Timestamp,
        health: &Health,
    ) -> Standing {
        if let Some(desired) = desired {
            let ports = Ports::of(self.input.instance, desired.claims(), self.input.ports);
            for conflict in &ports.conflicts {
                self.found(
                    DriftKind::Port,
                    format!("{conflict}, and container {} uses it", kept.name),
                );
            }
            for claim in &ports.unclaimed {
                let port = claim.metadata.name.as_deref().unwrap_or_default();
                self.found(
                    DriftKind::Port,
                    format!(
                        "container {} uses port {port} and nobody holds it",
                        kept.name
                    ),
                );
            }
            self.claim_steps(desired, "its container uses it, nobody holds it");
            self.release_steps(desired);
        }
        let asked = self
            .input
            .instance
            .spec
            .restarted_at
            .as_ref()
            .map(|time| time.0)
            .filter(|asked| *asked > started_at);
        if let Some(asked) = asked {
            if asked > self.input.now {
                self.wake(asked, SignedDuration::ZERO);
            } else if let Some(unmet) = self.unmet_dependency() {
                let message = format!(
                    "a restart was asked for at {}; {}",
                    restart::time_of_day(asked),
                    unmet.message
                );
                return (InstanceState::Running, Summary::new(unmet.reason, message));
            } else {
                self.restart_steps(
                    kept,
                    &format!("a restart was asked for at {}", restart::time_of_day(asked)),
                );
                return self.progress(format!(
                    "container {} is being restarted, as asked",
                    kept.name
                ));
            }
        }
        if let Some(backoff) = &self.backoff {
            let stable =
                SignedDuration::try_from(restart::STABLE_AFTER).unwrap_or(SignedDuration::MAX);
            // By our clock it was not started before its time had come, nor after now.
            let started_at = started_at.max(backoff.next_try.0).min(self.input.now);
            if self.input.now.duration_since(started_at) >= stable {
                self.backoff = None;
            } else {
                self.wake(started_at, stable);
            }
        }
        let name = &kept.name;
        match health {
            Health::None => (
                InstanceState::Running,
                Summary::new(Reason::Ready, format!("container {name} runs")),
            ),
            Health::Healthy => (
                InstanceState::Running,
                Summary::new(
                    Reason::Ready,
                    format!("container {name} runs and is healthy"),
                ),
            ),
            Health::Starting => {
                let message =
                    format!("container {name} runs, its health check has not succeeded yet");
                (
                    InstanceState::Starting,
                    Summary::new(Reason::Progressing, message),
                )
            }
            Health::Unhealthy { said } => {
                let mut message = format!("container {name} runs, its health check fails");
                let said = one_line(said);
                if !said.is_empty() {
                    message = format!("{message}: {said}");
                }
                (
                    InstanceState::Unhealthy,
                    Summary::new(Reason::Unhealthy, message),
                )
            }
        }
    }

    pub(super) fn ended(
        &mut self,
        desired: Option<&Desired>,
        kept: &'a Container,
        end: &End,
        code: i64,
    ) -> Standing {
        if restart::started_at(&kept.state)
            .is_some_and(|started_at| self.restart_asked_since(started_at))
        {
            return self.start(desired, kept, "a restart was asked for");
        }
        if self.stopped_by_us() {
            return self.start(desired, kept, "declared as running");
        }
        let policy = self.input.instance.spec.restart_policy;
        let fault = end.is_fault(policy);
        let counted = self
            .backoff
            .as_ref()
            .is_some_and(|backoff| backoff.last_fault.0 >= end.at);
        let (mut before, mut listens) = (None, false);
        if fault && !counted {
            let known = self.backoff.as_ref();
            before = known.map(|backoff| backoff.last_fault.0);
            let mut faults = restart::after_fault(known, end.at, end.ran, self.input.now);
            let said = self.observed.last_lines.get(&kept.id).cloned();
            let same = self.status().and_then(|status| status.exit_code) == Some(code);
            listens = !same || is_listened_to(faults.faults);
            faults.last_lines = if listens {
                said.unwrap_or_default()
            } else {
                known.map_or_else(Vec::new, |known| known.last_lines.clone())
            };
            self.backoff = Some(faults);
        }
        // As long as it lasts, so that it is told once, also by a pass that comes after its end was noted.
        let words = format!("container {} {}", kept.name, end.words);
        let faults = self.backoff.as_ref().map_or(0, |backoff| backoff.faults);
        let row = if fault && faults > 1 {
            format!(", {faults} times in a row")
        } else {
            String::new()
        };
        let this_end = self
            .backoff
            .as_ref()
            .filter(|backoff| fault && backoff.last_fault.0 == end.at);
        if let Some(backoff) = this_end.filter(|backoff| !restart::is_due(backoff, self.input.now))
        {
            let due = backoff.next_try.0;
            let said = last_lines(&backoff.last_lines);
            self.wake(due, SignedDuration::ZERO);
            if listens && !self.observed.last_lines.contains_key(&kept.id) {
                self.unheard = Some(Unheard {
                    container: kept.id.clone(),
                    since: between_runs(before, restart::started_at(&kept.state)),
                });
            }
            let message = format!(
                "{words}{row}; next start at {}{said}",
                restart::time_of_day(due)
            );
            self.found(DriftKind::Ended, words);
            return (
                InstanceState::BackOff,
                Summary::new(Reason::CrashLoopBackOff, message),
            );
        }
        let why = match end.kind {
            EndKind::Signal => format!("container died: exit {code}, not asked for by clos"),
            EndKind::Success | EndKind::Fault => format!("container {}{row}", end.words),
        };
        let steps = self.plan.steps.len();
        let standing = self.start(desired, kept, &why);
        if fault || self.plan.steps.len() > steps {
            self.found(DriftKind::Ended, words);
        }
        standing
    }

    /// Starts a container that is there, unless something is in the way.
    pub(super) fn start(
        &mut self,
        desired: Option<&Desired>,
        kept: &'a Container,
        why: &str,
    ) -> Standing {
        let previous = self
            .status()
            .and_then(|status| conditions::ready(&status.conditions));
        let start_failed =
            previous.is_some_and(|ready| ready.reason == Reason::ContainerFailed.as_str());
        let recorded = self
            .status()
            .is_some_and(|status| status.container_id.as_deref() == Some(kept.id.as_str()));
        if let Some(desired) = desired {
            if start_failed && recorded {
                return self.replace(desired, kept, "its last start failed");
            }
            if let Some(conflict) = self.port_conflict(desired) {
                return conflict;
            }
        }
        let image = self
            .observed
            .image
            .as_ref()
            .filter(|image| image.id == kept.image_id);
        if let Some(mismatch) = image.and_then(|image| self.wrong_platform(image)) {
            return mismatch;
        }
        if let Some(wait) = self.wait() {
            return wait;
        }
        if let Some(unmet) = self.unmet_dependency() {
            return (InstanceState::Waiting, unmet);
        }
        self.start_steps(desired, kept, why);
        self.progress(format!("container {} is being started: {why}", kept.name))
    }
}

/// Whether the last lines are read after so many faults in a row that ended alike: what fails for the tenth time says nothing new.
fn is_listened_to(faults: u32) -> bool {
    faults <= 3 || faults.is_power_of_two()
}

/// When the output of a run begins, between the end of the one before and its start: the engine takes both times a little beside those of the
/// lines, which it reads later than they were written and sooner than it notes a start.
fn between_runs(ended: Option<Timestamp>, started: Option<Timestamp>) -> Option<Timestamp> {
    let (ended, started) = (ended?, started?);
    ended
        .checked_add(started.duration_since(ended).max(SignedDuration::ZERO) / 2)
        .ok()
}

/// The end of a sentence that quotes a container's last lines.
fn last_lines(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let quoted: Vec<String> = lines.iter().map(|line| format!("\"{line}\"")).collect();
    format!("{LAST_LINES}{}", quoted.join(", "))
}

/// What a program wrote, as it fits into a sentence.
fn one_line(said: &str) -> String {
    const LONGEST: usize = 200;
    let words: Vec<&str> = said.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}
