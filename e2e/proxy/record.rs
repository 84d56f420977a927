//! What was asked, how often, and how long the client waited. Nothing is judged here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Shared;
use crate::operation::Operation;

/// What was asked so far.
#[derive(Debug, Default)]
pub(crate) struct Record {
    requests: Mutex<Requests>,
    events: AtomicU64,
}

#[derive(Debug, Default)]
struct Requests {
    next: u64,
    counts: BTreeMap<Operation, u64>,
    longest: BTreeMap<Operation, Duration>,
    open: BTreeMap<u64, (Operation, Instant)>,
}

/// A request that is open until this is dropped.
pub(crate) struct Open {
    shared: Arc<Shared>,
    operation: Operation,
    number: u64,
}

impl Record {
    pub(crate) fn count(&self, operation: Operation) -> u64 {
        self.with(|requests| requests.counts.get(&operation).copied().unwrap_or_default())
    }

    pub(crate) fn longest(&self, operation: Operation) -> Duration {
        self.with(|requests| {
            let open = requests.open.values();
            open.filter(|(asked, _)| *asked == operation)
                .map(|(_, since)| since.elapsed())
                .chain(requests.longest.get(&operation).copied())
                .max()
                .unwrap_or_default()
        })
    }

    pub(crate) fn events_taken(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    pub(crate) fn event_taken(&self) {
        self.events.fetch_add(1, Ordering::SeqCst);
    }

    fn with<T>(&self, look: impl FnOnce(&mut Requests) -> T) -> T {
        look(&mut self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Open {
    pub(crate) fn begin(shared: &Arc<Shared>, operation: Operation) -> Self {
        let number = shared.record.with(|requests| {
            requests.next += 1;
            *requests.counts.entry(operation).or_default() += 1;
            requests
                .open
                .insert(requests.next, (operation, Instant::now()));
            requests.next
        });
        Self {
            shared: Arc::clone(shared),
            operation,
            number,
        }
    }

    /// What was asked.
    pub(crate) fn operation(&self) -> Operation {
        self.operation
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.record.with(|requests| {
            if let Some((_, since)) = requests.open.remove(&self.number) {
                let longest = requests.longest.entry(self.operation).or_default();
                *longest = since.elapsed().max(*longest);
            }
        });
    }
}
