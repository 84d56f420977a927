//! What the agent remembers of an Instance between passes: since when it is not as declared, and what was told about that. Losing it
//! costs a repeated message, never correctness.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use clos_plan::instance::Drift;
use jiff::Timestamp;

/// Memories by UID.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<BTreeMap<String, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// When something happened to its container, by the engine's clock, and was not dealt with yet.
    happened: Option<Timestamp>,
    /// When drift was first seen.
    seen: Option<Timestamp>,
    /// The drift that was told.
    told: Vec<Drift>,
}

impl Memory {
    /// Something happened to the container. The first time counts until it is dealt with.
    pub(crate) fn happened(&self, uid: &str, at: Timestamp) {
        self.with(uid, |remembered| {
            remembered.happened.get_or_insert(at).to_owned()
        });
    }

    /// Drift was seen. Answers what of it was not seen the last time, and since when the Instance drifts.
    pub(crate) fn seen(
        &self,
        uid: &str,
        drift: &[Drift],
        now: Timestamp,
    ) -> (Vec<Drift>, Timestamp) {
        self.with(uid, |remembered| {
            let new = drift
                .iter()
                .filter(|drift| !remembered.told.contains(drift))
                .cloned()
                .collect();
            drift.clone_into(&mut remembered.told);
            let seen = *remembered.seen.get_or_insert(now);
            (
                new,
                remembered
                    .happened
                    .map_or(seen, |happened| happened.min(seen)),
            )
        })
    }

    /// Everything is as declared (again).
    pub(crate) fn settled(&self, uid: &str) {
        self.with(uid, |remembered| *remembered = Remembered::default());
    }

    /// The Instance does not exist any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut memories = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(memories.entry(uid.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use clos_plan::instance::DriftKind;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(words: &str) -> Vec<Drift> {
        vec![Drift {
            kind: DriftKind::Ended,
            words: words.to_owned(),
        }]
    }

    #[test]
    fn the_same_drift_is_new_once() {
        let memory = Memory::default();
        assert_eq!(memory.seen("u", &ended("killed"), at(1)).0, ended("killed"));
        assert_eq!(memory.seen("u", &ended("killed"), at(2)).0, []);
        assert_eq!(
            memory.seen("u", &ended("exited with 1"), at(3)).0,
            ended("exited with 1")
        );
        memory.settled("u");
        assert_eq!(memory.seen("u", &ended("killed"), at(4)).0, ended("killed"));
    }

    #[test]
    fn drift_counts_from_the_engines_event() {
        let memory = Memory::default();
        memory.happened("u", at(10));
        memory.happened("u", at(11));
        assert_eq!(memory.seen("u", &ended("killed"), at(12)).1, at(10));
        memory.settled("u");
        assert_eq!(memory.seen("u", &ended("killed"), at(20)).1, at(20));
    }
}
