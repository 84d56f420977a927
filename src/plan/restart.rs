//! Ends and waits: which end of a container is a fault, and how long the next start is put off. An end is known by its time in
//! microseconds, as the status keeps it: a program that fails at once ends several times within a second.

use std::time::Duration;

use clos_resources::instance::Backoff;
use clos_resources::lifecycle::RestartPolicy;
use jiff::fmt::strtime;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::observed::ContainerState;

/// How long a container must run until its faults are forgotten.
pub const STABLE_AFTER: Duration = Duration::from_mins(5);

/// The wait after the second fault in a row; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(10);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Faults beyond these do not make the wait longer for what is given back by others: 40 s.
const MOST_WANTS: u32 = 4;

/// A container that was killed after less time than this was not killed by a person.
const OUTSIDE_AFTER: Duration = Duration::from_secs(1);

/// So far may a clock be set back, as it is all the time to keep it right, without anything becoming of the future.
const CLOCK_STEP: SignedDuration = SignedDuration::from_secs(1);

/// The engine notes the start after the program runs: one that ends within milliseconds seems to have ended before it started.
const START_LAG: SignedDuration = SignedDuration::from_secs(10);

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Which kind of end.
    pub kind: EndKind,
    /// What happened, for users.
    pub words: String,
    /// When, in whole microseconds.
    pub at: Timestamp,
    /// How long it had run.
    pub ran: Duration,
}

/// The kinds of end, by what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndKind {
    /// It exited with 0, and the engine saw it.
    Success,
    /// A signal from outside ended it: somebody stopped or killed it, it did nothing wrong.
    Signal,
    /// It failed.
    Fault,
}

impl End {
    /// How a container ended; none when it did not.
    pub fn of(state: &ContainerState) -> Option<Self> {
        let ContainerState::Exited {
            code,
            oom_killed,
            error,
            started_at,
            finished_at,
        } = state
        else {
            return None;
        };
        let ran = Duration::try_from(finished_at.duration_since(*started_at)).unwrap_or_default();
        // An engine that was killed shows 0 for containers whose end it did not see: with an error, or without a time.
        let seen = error.is_empty() && *finished_at + START_LAG >= *started_at;
        let kind = match code {
            _ if *oom_killed => EndKind::Fault,
            0 if seen => EndKind::Success,
            130 | 137 | 143 if seen && ran >= OUTSIDE_AFTER => EndKind::Signal,
            _ => EndKind::Fault,
        };
        let words = match code {
            _ if *oom_killed => "was killed for using more memory than its limit".to_owned(),
            0 if !seen => {
                "ended while the engine was not looking, its exit code is not known".to_owned()
            }
            137 => "was killed (exit 137, SIGKILL)".to_owned(),
            143 => "was stopped (exit 143, SIGTERM)".to_owned(),
            130 => "was interrupted (exit 130, SIGINT)".to_owned(),
            code if error.is_empty() => format!("exited with {code}"),
            code => format!("exited with {code}: {error}"),
        };
        Some(Self {
            kind,
            words,
            at: whole_microseconds(*finished_at),
            ran,
        })
    }

    /// Whether it is a fault for a container that should run by this policy. A long-running service has no success.
    pub fn is_fault(&self, policy: RestartPolicy) -> bool {
        match self.kind {
            EndKind::Success => !policy.runs_to_completion(),
            EndKind::Signal => false,
            EndKind::Fault => true,
        }
    }
}

/// How long a start is put off after so many faults in a row. The first start after a fault is immediate.
pub fn wait(faults: u32) -> Duration {
    match faults.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT
            .saturating_mul(1 << doublings.min(10))
            .min(LONGEST_WAIT),
    }
}

/// The faults after one more of a container that had run for `ran`. `at` is when it ended by the engine's clock, which knows this end from
/// another one; `now` is when we saw it by ours, which may show any other time. Waits go by ours.
pub fn after_fault(
    previous: Option<&Backoff>,
    at: Timestamp,
    ran: Duration,
    now: Timestamp,
) -> Backoff {
    let previous = previous.filter(|_| ran < STABLE_AFTER);
    let faults = previous.map_or(0, |backoff| backoff.faults);
    let faults = faults.saturating_add(1);
    let (at, now) = (whole_microseconds(at), whole_microseconds(now));
    // Nothing waits after a first fault, so it counts from when we saw it. A later end is of a start that was not before its time had come.
    let earliest = previous.map_or(now, |backoff| {
        let next_try = backoff.next_try.0;
        next_try.checked_add(ran).unwrap_or(next_try)
    });
    let ended = at.max(earliest).min(now);
    Backoff {
        faults,
        last_fault: MicroTime(at),
        next_try: MicroTime(ended.checked_add(wait(faults)).unwrap_or(ended)),
        last_lines: Vec::new(),
    }
}

/// The faults after one more that comes to an end when somebody else gives something back, which no event tells: it is tried again sooner.
pub(crate) fn after_want(previous: Option<&Backoff>, now: Timestamp) -> Backoff {
    let previous = previous.map(|backoff| Backoff {
        faults: backoff.faults.min(MOST_WANTS - 1),
        ..backoff.clone()
    });
    after_fault(previous.as_ref(), now, Duration::ZERO, now)
}

/// When the last fault was, by our clock.
pub(crate) fn last_fault(backoff: &Backoff) -> Timestamp {
    let next_try = backoff.next_try.0;
    next_try
        .checked_sub(wait(backoff.faults))
        .unwrap_or(next_try)
}

/// Whether the faults were seen before `now`. Those that were not belong to a time before the clock was set back.
pub(crate) fn is_past(backoff: &Backoff, now: Timestamp) -> bool {
    last_fault(backoff).duration_since(now) <= CLOCK_STEP
}

/// Whether the next try is due; one without a wait is at once, whatever the clocks say. A next try further away than any wait was written before the clock was set back.
pub fn is_due(backoff: &Backoff, now: Timestamp) -> bool {
    let left = backoff.next_try.0.duration_since(now);
    wait(backoff.faults).is_zero() || !left.is_positive() || left.unsigned_abs() > LONGEST_WAIT
}

/// The time as precise as objects keep what happens more than once a second.
pub(crate) fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// The time without its fraction, as Kubernetes writes it.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The time of day in UTC, for sentences.
pub(crate) fn time_of_day(at: Timestamp) -> String {
    strtime::format("%H:%M:%SZ", at).unwrap_or_else(|_| at.to_string())
}

/// When a container was started, if it ever was.
pub(crate) fn started_at(state: &ContainerState) -> Option<Timestamp> {
    match state {
        ContainerState::Running { started_at, .. }
        | ContainerState::Paused { started_at }
        | ContainerState::Exited { started_at, .. } => Some(*started_at),
        ContainerState::Created
        | ContainerState::Restarting
        | ContainerState::Removing
        | ContainerState::Dead => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(started_at: &str, finished_at: &str) -> ContainerState {
        ContainerState::Exited {
            code: 0,
            oom_killed: false,
            error: String::new(),
            started_at: started_at.parse().unwrap(),
            finished_at: finished_at.parse().unwrap(),
        }
    }

    #[test]
    fn a_run_of_milliseconds_that_seems_to_end_before_its_start_is_a_success() {
        let state = ended("2026-01-01T00:00:00.300Z", "2026-01-01T00:00:00.290Z");
        assert_eq!(End::of(&state).unwrap().kind, EndKind::Success);
    }

    #[test]
    fn what_ends_at_once_is_made_and_started_at_most_twelve_times_in_ten_minutes() {
        let (mut now, mut backoff) = (Timestamp::UNIX_EPOCH, None);
        let end = now + SignedDuration::from_mins(10);
        // Made, and started for the first time.
        let mut acts = 2;
        loop {
            let fault = after_fault(backoff.as_ref(), now, Duration::ZERO, now);
            now = fault.next_try.0;
            backoff = Some(fault);
            if now > end {
                break;
            }
            acts += 1;
        }
        assert!((5..=12).contains(&acts), "{acts}");
    }

    #[test]
    fn an_end_without_a_time_is_none_that_was_seen() {
        let state = ended("2026-01-01T00:00:00Z", "1970-01-01T00:00:00Z");
        assert_eq!(End::of(&state).unwrap().kind, EndKind::Fault);
    }
}
