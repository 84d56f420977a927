//! How long to wait after a failed pass: growing pauses for each object, forgotten at its next success. Which failures are tried
//! again is decided by each controller's error policy.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_mins(1);

/// After a write that lost against another one: what it lost against is in the cache soon.
pub(crate) const AFTER_CONFLICT: Duration = Duration::from_millis(50);

/// Failures in a row by object.
#[derive(Debug, Default)]
pub(crate) struct Retries(Mutex<BTreeMap<(String, String), u32>>);

impl Retries {
    /// The pause after another failure.
    pub(crate) fn failed(&self, object: (String, String)) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object).or_default();
        let pause = FIRST.saturating_mul(1 << (*count).min(16)).min(LONGEST);
        *count += 1;
        pause
    }

    /// Forgets an object's failures.
    pub(crate) fn succeeded(&self, object: &(String, String)) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Retries};

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
