//! What the agent remembers of an Instance between passes: since when it is not as declared, what was told about that, and
//! what could not be written into its status. Losing it costs a repeated message or an early restart, never correctness.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use clos_plan::instance::Drift;
use clos_resources::instance::InstanceStatus;
use jiff::Timestamp;

use super::heard::Heard;

/// Memories by UID.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    instances: Mutex<BTreeMap<String, Remembered>>,
    /// What was seen last and heard since.
    pub(crate) heard: Heard,
}

#[derive(Debug, Default)]
struct Remembered {
    /// When something happened to its container, by the engine's clock, and was not dealt with yet.
    happened: Option<Timestamp>,
    /// When drift was first seen.
    seen: Option<Timestamp>,
    /// The drift that was told.
    told: Vec<Drift>,
    /// Since when the engine fails at showing it.
    unseen: Option<Timestamp>,
    /// The status that the API did not take. It counts the faults: without it, what crashes would be started again and again at once.
    unwritten: Option<Box<InstanceStatus>>,
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

    /// The engine failed at showing the Instance. Answers since when, from the second time in a row on.
    pub(crate) fn unseen(&self, uid: &str, now: Timestamp) -> Option<Timestamp> {
        self.with(uid, |remembered| {
            let since = remembered.unseen;
            remembered.unseen.get_or_insert(now);
            since
        })
    }

    /// The engine showed the Instance.
    pub(crate) fn looked(&self, uid: &str) {
        self.with(uid, |remembered| remembered.unseen = None);
    }

    /// Everything is as declared (again).
    pub(crate) fn settled(&self, uid: &str) {
        self.with(uid, |remembered| {
            let unwritten = remembered.unwritten.take();
            *remembered = Remembered {
                unwritten,
                ..Remembered::default()
            };
        });
    }

    /// A status was written (`None`), or was not and stands for the one that the API has until one is.
    pub(crate) fn concluded(&self, uid: &str, unwritten: Option<InstanceStatus>) {
        self.with(uid, |remembered| {
            remembered.unwritten = unwritten.map(Box::new);
        });
    }

    /// The status that could not be written, if the last one could not.
    pub(crate) fn unwritten(&self, uid: &str) -> Option<InstanceStatus> {
        let memories = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        memories.get(uid)?.unwritten.as_deref().cloned()
    }

    /// The Instance does not exist any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.heard.forget(uid);
        self.instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(uid);
    }

    fn with<T>(&self, uid: &str, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut memories = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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
    fn a_status_that_could_not_be_written_is_kept_until_one_is() {
        let memory = Memory::default();
        let status = InstanceStatus {
            restarts: 3,
            ..InstanceStatus::default()
        };
        memory.concluded("u", Some(status.clone()));
        memory.settled("u");
        assert_eq!(memory.unwritten("u"), Some(status));
        memory.concluded("u", None);
        assert_eq!(memory.unwritten("u"), None);
        assert_eq!(memory.unwritten("unknown"), None);
    }

    #[test]
    fn what_the_engine_does_not_show_lasts_from_the_second_failure_on() {
        let memory = Memory::default();
        let answers = [1, 2, 3].map(|second| memory.unseen("u", at(second)));
        assert_eq!(answers, [None, Some(at(1)), Some(at(1))]);
        memory.looked("u");
        assert_eq!(memory.unseen("u", at(4)), None);
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
