//! What goes wrong on demand: an engine that is away or hangs, calls that fail or whose answer is lost, events that are lost, doubled,
//! late or out of order. What the calls do is not here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::error::Error;
use crate::events::EngineEvent;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// [`crate::Engine::info`].
    Info,
    /// [`crate::Engine::observe`].
    Observe,
    /// [`crate::Engine::list`].
    List,
    /// [`crate::Engine::networks`].
    Networks,
    /// [`crate::Engine::publishers`].
    Publishers,
    /// [`crate::Engine::logs`].
    Logs,
    /// Pulling an image.
    Pull,
    /// Making a network.
    CreateNetwork,
    /// Removing a network.
    RemoveNetwork,
    /// Making a volume.
    CreateVolume,
    /// Making a container.
    CreateContainer,
    /// Starting a container.
    StartContainer,
    /// Stopping a container.
    StopContainer,
    /// Thawing a container.
    UnpauseContainer,
    /// Removing a container.
    RemoveContainer,
}

/// What is wrong now.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) away: bool,
    pub(super) hung: bool,
    pub(super) held: BTreeSet<Call>,
    failures: BTreeMap<Call, VecDeque<Failure>>,
}

#[derive(Debug)]
enum Failure {
    Before(Error),
    After,
}

/// What a call that may go on has to do with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Given,
    Lost,
}

impl Faults {
    pub(super) fn fail(&mut self, call: Call, times: usize, error: &Error) {
        let queue = self.failures.entry(call).or_default();
        queue.extend((0..times).map(|_| Failure::Before(error.clone())));
    }

    pub(super) fn cut_answer(&mut self, call: Call) {
        self.failures
            .entry(call)
            .or_default()
            .push_back(Failure::After);
    }

    /// Whether a call of this kind has to wait.
    pub(super) fn holds(&self, call: Call) -> bool {
        self.hung || self.held.contains(&call)
    }

    /// What happens to the next call of this kind; uses the fault up.
    pub(super) fn take(&mut self, call: Call) -> Result<Answer, Error> {
        match self.failures.get_mut(&call).and_then(VecDeque::pop_front) {
            None => Ok(Answer::Given),
            Some(Failure::After) => Ok(Answer::Lost),
            Some(Failure::Before(error)) => Err(error),
        }
    }
}

/// What happens to events on their way to the subscribers.
#[derive(Debug, Default)]
pub(super) struct EventFaults {
    pub(super) drop_next: usize,
    pub(super) doubled: bool,
    held: Option<Vec<EngineEvent>>,
}

impl EventFaults {
    /// The events that arrive instead of these.
    pub(super) fn pass(&mut self, events: Vec<EngineEvent>) -> Vec<EngineEvent> {
        let mut passed = Vec::new();
        for event in events {
            if self.drop_next > 0 {
                self.drop_next -= 1;
                continue;
            }
            passed.push(event.clone());
            if self.doubled {
                passed.push(event);
            }
        }
        match &mut self.held {
            Some(held) => {
                held.append(&mut passed);
                Vec::new()
            }
            None => passed,
        }
    }

    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    pub(super) fn release(&mut self, reversed: bool) -> Vec<EngineEvent> {
        let mut events = self.held.take().unwrap_or_default();
        if reversed {
            events.reverse();
        }
        events
    }
}
