//! What an Instance's status remembers and what it still means: faults, runs that are over, stops of ours.

use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{Backoff, InstanceState};
use clos_resources::lifecycle::RestartPolicy;
use clos_resources::names;
use jiff::Timestamp;

use super::decide::{Draft, Standing};
use crate::restart::{self, End, EndKind};

impl Draft<'_> {
    /// How it stands when its run is over for good: until the declaration changes or a restart is asked for.
    pub(super) fn over(&self) -> Option<Standing> {
        let spec = &self.input.instance.spec;
        if !spec.restart_policy.runs_to_completion() {
            return None;
        }
        let status = self.status();
        let Some(kept) = self.sorted.kept else {
            // Somebody cleaned the container away. What it did is on record and is not done again.
            let status =
                status.filter(|status| status.revision.as_ref() == Some(&spec.revision))?;
            let finished_at = status.finished_at.as_ref()?.0;
            let same = match status.state? {
                InstanceState::Completed => true,
                InstanceState::Failed => spec.restart_policy == RestartPolicy::Never,
                InstanceState::Waiting
                | InstanceState::Pulling
                | InstanceState::Starting
                | InstanceState::Running
                | InstanceState::Unhealthy
                | InstanceState::BackOff
                | InstanceState::Stopping
                | InstanceState::Stopped
                | InstanceState::Unknown => false,
            };
            let code = status.exit_code.unwrap_or_default();
            return (same && !self.restart_asked_since(finished_at))
                .then(|| run_is_over(&format!("exited with {code}"), code == 0));
        };
        let end = End::of(&kept.state)?;
        let same_revision = kept.labels.get(names::LABEL_REVISION) == Some(&spec.revision);
        let asked = restart::started_at(&kept.state)
            .is_some_and(|started_at| self.restart_asked_since(started_at));
        if !same_revision || asked || self.stopped_by_us() {
            return None;
        }
        let success = end.kind == EndKind::Success;
        let over = success || spec.restart_policy == RestartPolicy::Never;
        over.then(|| run_is_over(&end.words, success))
    }

    /// The faults so far, unless something happened that makes them a thing of the past: another declaration, a restart that was asked for, a
    /// clock that was set back.
    pub(super) fn known_faults(&self) -> Option<Backoff> {
        let status = self.status()?;
        let backoff = status.backoff.clone()?;
        let same_declaration =
            status.observed_generation == self.input.instance.metadata.generation;
        (same_declaration
            && restart::is_past(&backoff, self.input.now)
            && !self.restart_asked_since(restart::last_fault(&backoff)))
        .then_some(backoff)
    }

    pub(super) fn restart_asked_since(&self, time: Timestamp) -> bool {
        let asked = self.input.instance.spec.restarted_at.as_ref();
        asked.is_some_and(|asked| asked.0 > time && asked.0 <= self.input.now)
    }

    /// Whether a container that should be there was seen and is gone, though clos did not remove it: what clos removes it does not
    /// keep on record.
    pub(super) fn was_removed(&self) -> bool {
        let Some(status) = self.status().filter(|status| status.container_id.is_some()) else {
            return false;
        };
        let cleaned_up = match status.state {
            Some(
                InstanceState::Completed
                | InstanceState::Failed
                | InstanceState::Stopping
                | InstanceState::Stopped,
            ) => true,
            Some(
                InstanceState::Waiting
                | InstanceState::Pulling
                | InstanceState::Starting
                | InstanceState::Running
                | InstanceState::Unhealthy
                | InstanceState::BackOff
                | InstanceState::Unknown,
            )
            | None => false,
        };
        !cleaned_up && self.sorted.in_the_way.is_empty()
    }

    /// Whether the container ended because it was declared as stopped.
    pub(super) fn stopped_by_us(&self) -> bool {
        let state = self.status().and_then(|status| status.state);
        matches!(
            state,
            Some(InstanceState::Stopped | InstanceState::Stopping)
        )
    }
}

fn run_is_over(words: &str, success: bool) -> Standing {
    if success {
        (
            InstanceState::Completed,
            Summary::new(Reason::Completed, "ran to completion"),
        )
    } else {
        let message = format!("{words}; it is not started again (restartPolicy is Never)");
        (InstanceState::Failed, Summary::new(Reason::Failed, message))
    }
}
