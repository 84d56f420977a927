//! How long to wait after a failed pass: growing pauses for each object, forgotten at its next success. Which failures are tried
//! again is decided by each controller's error policy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(1);
/// Trying an unfinished pass again costs the engine little, and what kept it from its end, such as a full disk, ends by itself.
const LONGEST_UNFINISHED: Duration = Duration::from_secs(15);

/// After a write that lost against another one, for the first time: what it lost against is in the cache soon.
const AFTER_CONFLICT: Duration = Duration::from_millis(50);

/// Failures in a row by object.
#[derive(Debug, Default)]
pub(crate) struct Retries(Mutex<BTreeMap<(String, String), u32>>);

impl Retries {
    /// The pause after another failure.
    pub(crate) fn failed(&self, object: (String, String)) -> Duration {
        self.again(object, FIRST).min(LONGEST)
    }

    /// The pause after another write that lost against somebody else's. One that loses again and again does not lose by chance.
    pub(crate) fn conflicted(&self, object: (String, String)) -> Duration {
        self.again(object, AFTER_CONFLICT).min(LONGEST_UNFINISHED)
    }

    fn again(&self, object: (String, String), first: Duration) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object).or_default();
        let pause = first.saturating_mul(1 << (*count).min(16));
        *count += 1;
        pause
    }

    /// The pause after another pass that did not come to its end, because something could not be read or written.
    pub(crate) fn unfinished(&self, object: (String, String)) -> Duration {
        self.failed(object).min(LONGEST_UNFINISHED)
    }

    /// Forgets an object's failures.
    pub(crate) fn succeeded(&self, object: &(String, String)) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, LONGEST_UNFINISHED, Retries};

    fn web() -> (String, String) {
        ("default".to_owned(), "web".to_owned())
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let retries = Retries::default();
        let pauses: Vec<u128> = (0..4).map(|_| retries.failed(web()).as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600]);
        assert_eq!(
            (0..100).map(|_| retries.failed(web())).last(),
            Some(LONGEST)
        );
    }

    #[test]
    fn what_could_not_be_finished_is_tried_again_within_a_quarter_of_a_minute() {
        let retries = Retries::default();
        let pauses: Vec<u64> = (0..9)
            .map(|_| retries.unfinished(web()).as_secs())
            .collect();
        assert_eq!(pauses, [0, 0, 0, 1, 3, 6, 12, 15, 15]);
    }

    #[test]
    fn a_write_that_keeps_losing_is_tried_less_and_less_often() {
        let retries = Retries::default();
        let pauses: Vec<u128> = (0..4)
            .map(|_| retries.conflicted(web()).as_millis())
            .collect();
        assert_eq!(pauses, [50, 100, 200, 400]);
        assert_eq!(
            (0..100).map(|_| retries.conflicted(web())).last(),
            Some(LONGEST_UNFINISHED)
        );
    }

    #[test]
    fn a_success_forgets_the_failures_of_its_object_alone() {
        let retries = Retries::default();
        let db = ("default".to_owned(), "db".to_owned());
        retries.failed(web());
        retries.failed(db.clone());
        retries.succeeded(&web());
        assert_eq!(retries.failed(web()).as_millis(), 200);
        assert_eq!(retries.failed(db).as_millis(), 400);
    }
}
