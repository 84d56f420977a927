//! What is known of the engine, for all who are about to act on it. Unknown is not dead: from the first doubt until the engine was
//! listed again, nothing is created and nothing removed. Listing is done elsewhere; this is the one place that remembers.

use std::sync::{Arc, Mutex, PoisonError};

use clos_engine::engine::Info;
use clos_resources::host::EngineInfo;
use jiff::Timestamp;
use tokio::sync::{SetOnce, watch};

/// Whether the engine's state is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EngineState {
    /// It cannot be asked, or something may have been missed.
    Unknown {
        /// Since when.
        since: Timestamp,
        /// Why, in a sentence for users.
        reason: String,
    },
    /// It answers, and nothing was missed since it was listed.
    Known(Known),
}

/// What is known of an engine that answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Known {
    /// What it says of itself.
    pub(crate) info: Arc<Info>,
    /// How it is kept in step with.
    pub(crate) steps: Steps,
}

/// How the engine is kept in step with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Steps {
    /// By its events, with a list after each gap in them.
    #[default]
    Events,
    /// By lists: its events end as soon as they begin.
    Lists,
}

/// A look at the engine that began before a doubt cannot settle it: doubts are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubts(u64);

/// The shared memory of what is known of the engine.
#[derive(Debug)]
pub(crate) struct Gate {
    state: watch::Sender<EngineState>,
    doubts: Mutex<u64>,
    platform: Mutex<EngineInfo>,
    asked: SetOnce<()>,
}

impl Gate {
    /// Nothing is known yet.
    pub(crate) fn new(now: Timestamp) -> Self {
        let state = EngineState::Unknown {
            since: now,
            reason: "the container engine was not asked yet".to_owned(),
        };
        Self {
            state: watch::Sender::new(state),
            doubts: Mutex::default(),
            platform: Mutex::default(),
            asked: SetOnce::new(),
        }
    }

    /// What is known now.
    pub(crate) fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// Waits until the engine was asked for the first time, with whatever answer: before that, nobody knows enough to say anything.
    pub(crate) async fn asked(&self) {
        self.asked.wait().await;
    }

    /// Whether the engine may be changed now.
    pub(crate) fn is_open(&self) -> bool {
        matches!(*self.state.borrow(), EngineState::Known(_))
    }

    /// Waits until the engine's state is unknown, and says since when and why.
    pub(crate) async fn doubted(&self) -> (Timestamp, String) {
        let mut changes = self.state.subscribe();
        loop {
            if let EngineState::Unknown { since, reason } = &*changes.borrow_and_update() {
                return (*since, reason.clone());
            }
            // The sender lives in `self`: it changes or it is waited for.
            let _ = changes.changed().await;
        }
    }

    /// What the engine was when it last answered.
    pub(crate) fn platform(&self) -> EngineInfo {
        self.platform
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Tells of every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<EngineState> {
        self.state.subscribe()
    }

    /// The doubts so far: to be taken before the engine is listed.
    pub(crate) fn doubts(&self) -> Doubts {
        Doubts(*self.doubts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on the engine's state is unknown. The first doubt's time and reason stay until it is known again.
    pub(crate) fn doubt(&self, now: Timestamp, reason: &str) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        *doubts += 1;
        let first = self.asked.set(()).is_ok();
        self.state.send_if_modified(|state| match state {
            EngineState::Unknown { .. } if !first => false,
            EngineState::Unknown { .. } | EngineState::Known(_) => {
                *state = EngineState::Unknown {
                    since: now,
                    reason: reason.to_owned(),
                };
                true
            }
        });
    }

    /// The engine was listed. Its state is known, unless a doubt came up since `before`. Answers whether it is known now.
    pub(crate) fn settle(&self, before: Doubts, info: Info, steps: Steps) -> bool {
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        if *doubts != before.0 {
            return false;
        }
        self.platform
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&info.engine);
        let info = Arc::new(info);
        let known = EngineState::Known(Known { info, steps });
        self.state.send_if_modified(|state| {
            let changed = *state != known;
            *state = known;
            changed
        });
        // It may have been set by a doubt before.
        let _ = self.asked.set(());
        true
    }
}

#[cfg(test)]
mod tests {
    use clos_engine::engine::Info;
    use clos_resources::host::{Capacity, EngineInfo};
    use jiff::Timestamp;

    use super::{EngineState, Gate, Steps};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn info() -> Info {
        let capacity = Capacity {
            cpu: "2".parse().unwrap(),
            memory: "4Gi".parse().unwrap(),
        };
        Info {
            engine: EngineInfo::default(),
            capacity,
            hostname: "box".to_owned(),
        }
    }

    #[test]
    fn i3_a_list_that_began_before_a_doubt_does_not_settle_it() {
        let gate = Gate::new(at(1));
        let before = gate.doubts();
        gate.doubt(at(2), "the connection broke");
        assert!(!gate.settle(before, info(), Steps::Events));
        assert!(!gate.is_open());
        assert!(gate.settle(gate.doubts(), info(), Steps::Events));
        assert!(gate.is_open());
    }

    #[tokio::test]
    async fn whoever_waits_for_a_doubt_is_told_it() {
        let gate = Gate::new(at(1));
        assert_eq!(gate.doubted().await.0, at(1));
        gate.settle(gate.doubts(), info(), Steps::Events);
        let told = async {
            gate.doubt(at(5), "the connection broke");
        };
        let ((since, reason), ()) = tokio::join!(gate.doubted(), told);
        assert_eq!((since, reason.as_str()), (at(5), "the connection broke"));
    }

    #[test]
    fn the_first_doubts_time_and_reason_stay() {
        let gate = Gate::new(at(1));
        gate.settle(gate.doubts(), info(), Steps::Events);
        gate.doubt(at(5), "the connection broke");
        gate.doubt(at(9), "connection refused");
        assert_eq!(
            gate.state(),
            EngineState::Unknown {
                since: at(5),
                reason: "the connection broke".to_owned()
            }
        );
    }
}
