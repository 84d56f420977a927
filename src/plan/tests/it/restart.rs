//! Ends and waits.

use std::time::Duration;

use clos_plan::observed::ContainerState;
use clos_plan::restart::{End, EndKind, STABLE_AFTER, after_fault, is_due, wait};
use clos_resources::lifecycle::RestartPolicy;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::world::at;

fn end(code: i64, oom_killed: bool, error: &str, millis: i64) -> End {
    let started_at = at("2026-11-23T12:00:00Z");
    let finished_at = started_at + SignedDuration::from_millis(millis);
    End::of(&ContainerState::Exited {
        code,
        oom_killed,
        error: error.into(),
        started_at,
        finished_at,
    })
    .unwrap()
}

#[test]
fn waits_begin_with_none_double_from_10_seconds_and_end_at_5_minutes() {
    let seconds: Vec<u64> = (0..10).map(|faults| wait(faults).as_secs()).collect();
    assert_eq!(seconds, [0, 0, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(wait(u32::MAX), Duration::from_mins(5));
}

#[test]
fn signals_from_outside_are_no_faults_unless_the_container_had_just_begun() {
    for code in [130, 137, 143] {
        assert_eq!(end(code, false, "", 1000).kind, EndKind::Signal);
        assert_eq!(end(code, false, "", 999).kind, EndKind::Fault);
        assert_eq!(end(code, true, "", 5000).kind, EndKind::Fault);
    }
    assert_eq!(end(139, false, "", 5000).kind, EndKind::Fault);
}

#[test]
fn success_needs_exit_code_0_and_an_engine_that_saw_it() {
    assert_eq!(end(0, false, "", 10).kind, EndKind::Success);
    assert_eq!(end(0, false, "engine restarted", 10).kind, EndKind::Fault);
    assert_eq!(end(0, false, "", -10_001).kind, EndKind::Fault);
    assert_eq!(end(0, true, "", 10).kind, EndKind::Fault);
}

#[test]
fn a_long_running_service_has_no_success() {
    assert!(end(0, false, "", 10).is_fault(RestartPolicy::Always));
    assert!(!end(0, false, "", 10).is_fault(RestartPolicy::OnFailure));
    assert!(end(1, false, "", 10).is_fault(RestartPolicy::Never));
    assert!(!end(137, false, "", 5000).is_fault(RestartPolicy::Always));
}

#[test]
fn what_runs_has_no_end() {
    assert_eq!(End::of(&ContainerState::Created), None);
    assert_eq!(End::of(&ContainerState::Restarting), None);
}

#[test]
fn a_stable_run_makes_earlier_faults_forgotten() {
    let now = at("2026-11-23T12:00:00Z");
    let third = [1, 2, 3]
        .iter()
        .fold(None, |previous, _| {
            Some(after_fault(previous.as_ref(), now, Duration::ZERO, now))
        })
        .unwrap();
    assert_eq!(third.faults, 3);
    assert_eq!(after_fault(Some(&third), now, STABLE_AFTER, now).faults, 1);
    assert_eq!(
        after_fault(
            Some(&third),
            now,
            STABLE_AFTER.saturating_sub(Duration::from_millis(1)),
            now
        )
        .faults,
        4
    );
}

proptest! {
    #[test]
    fn no_wait_is_ever_longer_than_the_longest(faults in 0u32..1000, second in 0i64..4_000_000_000, later in -100_000i64..100_000) {
        let at = Timestamp::from_second(second).unwrap();
        let backoff = (0..faults.min(30)).fold(None, |previous, _| Some(after_fault(previous.as_ref(), at, Duration::ZERO, at)));
        let Some(backoff) = backoff else { return Ok(()) };
        let now = at + SignedDuration::from_secs(later);
        let waits = backoff.next_try.0.duration_since(now);
        prop_assert_eq!(is_due(&backoff, now), backoff.faults == 1 || waits <= SignedDuration::ZERO || waits > SignedDuration::from_mins(5));
        prop_assert!(is_due(&backoff, at + SignedDuration::from_mins(5)));
    }
}
