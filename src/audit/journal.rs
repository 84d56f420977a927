//! Writing the journal: events become numbered entries in the store. Reading is in `query`,
//! forgetting in `retention`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clos_auth::Identity;
use clos_store::{CommitError, ReadError, Record, Store};
use futures::future;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::event::{Entry, Event, Outcome};
use crate::idle::Idle;
use crate::kept::{Happened, Kept};
use crate::object::{Object, ObjectRef};
use crate::redact::Redactor;

/// How many events are handed to the store at a time when many are at hand: it commits them
/// together.
const TOGETHER: usize = 256;

/// The audit journal. Clones are the same journal.
#[derive(Clone, Debug)]
pub struct Journal {
    pub(crate) store: Store,
    scribe: Arc<Scribe>,
}

/// What turns an event into an entry. Apart from the store, so that a record waiting in the store
/// does not keep the store open.
#[derive(Debug)]
struct Scribe {
    redactor: Redactor,
    clock: fn() -> Timestamp,
    idle: Mutex<Idle>,
    kept: Mutex<Kept>,
    /// Something is kept.
    keeps: Notify,
}

/// Why the journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The event is not recorded; what it tells of must not be done.
    #[error("cannot record an audit event")]
    Write(#[source] CommitError),
    /// Entries cannot be read.
    #[error("cannot read the audit journal")]
    Read(#[source] ReadError),
    /// An entry is not in this version's form.
    #[error("audit event {seq} cannot be read")]
    Malformed {
        /// Its number.
        seq: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Entries a reader has not seen yet were removed by retention.
    #[error("the audit events after {after} and before {oldest} have been removed by retention")]
    Removed {
        /// The last one the reader has seen.
        after: u64,
        /// The first one it sees now.
        oldest: u64,
    },
}

impl Journal {
    /// The journal kept in `store`. Entries bear the time of `clock`; `redactor` knows the secrets
    /// that free texts must not tell.
    pub fn new(store: Store, redactor: Redactor, clock: fn() -> Timestamp) -> Self {
        let scribe = Scribe {
            redactor,
            clock,
            idle: Mutex::default(),
            kept: Mutex::default(),
            keeps: Notify::new(),
        };
        Self {
            store,
            scribe: Arc::new(scribe),
        }
    }

    /// Records `event` in a transaction of its own and answers its number, once it is durable.
    pub async fn record(&self, event: Event) -> Result<u64, JournalError> {
        let record = self.within(event);
        self.store.append(record).await.map_err(JournalError::Write)
    }

    /// `event` as a record to hand to the store with the write it tells of: both become durable
    /// in one transaction, or neither does.
    pub fn within(&self, event: Event) -> Record {
        let scribe = Arc::clone(&self.scribe);
        Box::new(move |stamp| {
            let now = (scribe.clock)();
            scribe.entry(stamp.seq, event, now).to_line().into_bytes()
        })
    }

    /// Records an `event` that tells of what was done outside of the store. When the disk is full or read-only, it is kept in memory, and is recorded
    /// by [`Self::catch_up`] or [`Self::record_kept`] with the time it has now; so is what comes after it.
    pub async fn record_or_keep(&self, event: Event) -> Result<(), JournalError> {
        let at = (self.scribe.clock)();
        // Those before it come first.
        if self.scribe.kept().is_empty() {
            match self.record(event.clone()).await {
                Err(JournalError::Write(CommitError::NoSpace | CommitError::ReadOnly)) => {}
                recorded => return recorded.map(drop),
            }
        }
        self.scribe.kept().push(Happened { event, at });
        self.scribe.keeps.notify_one();
        Ok(())
    }

    /// Records what is kept each time the store takes writes again, until `stop`.
    pub async fn catch_up(&self, stop: CancellationToken) {
        loop {
            let due = async {
                self.scribe.keeps.notified().await;
                self.store.writable().await;
            };
            if stop.run_until_cancelled(due).await.is_none() {
                return;
            }
            if self.record_kept().await.is_err() {
                // It waits until the store takes writes again, which one that failed for good never does.
                self.scribe.keeps.notify_one();
            }
        }
    }

    /// Records what is kept now, and answers how many events that were.
    pub async fn record_kept(&self) -> Result<usize, JournalError> {
        let mut recorded = 0;
        loop {
            let next = self.scribe.kept().next();
            let Some(next) = next else {
                return Ok(recorded);
            };
            let Happened { event, at } = next.to_event();
            let scribe = Arc::clone(&self.scribe);
            let record: Record =
                Box::new(move |stamp| scribe.entry(stamp.seq, event, at).to_line().into_bytes());
            let written = self.store.append(record).await;
            written.map_err(JournalError::Write)?;
            self.scribe.kept().recorded(&next);
            recorded += 1;
        }
    }

    /// What masks secrets in what is recorded.
    pub fn redactor(&self) -> &Redactor {
        &self.scribe.redactor
    }

    /// How many events are kept.
    pub fn kept(&self) -> u64 {
        self.scribe.kept().len()
    }

    /// Counts a pass of `actor` over `object` that found nothing to do, or failed at what its last event tells. Nothing is written: the
    /// object's next event carries the count.
    pub fn noop(&self, actor: &Identity, object: &ObjectRef) {
        let mut idle = self.scribe.idle();
        idle.count(&actor.to_string(), object);
    }

    /// Records one event for each object with passes that no event carries yet; their number is
    /// answered. For shutdown: what is only counted would be lost.
    pub async fn flush_noops(&self) -> Result<usize, JournalError> {
        let pending = self.scribe.idle().pending();
        let total = pending.len();
        let mut events = pending.into_iter().map(|(object, actor)| Event {
            actor,
            verb: "reconcile".to_owned(),
            object: Object::Resource(object),
            uid: None,
            cause: Some("nothing to do".to_owned()),
            actions: Vec::new(),
            result: Outcome::Unchanged,
            duration_ms: None,
            request: None,
        });
        loop {
            let some = events.by_ref().take(TOGETHER);
            let written = future::try_join_all(some.map(|event| self.record(event))).await?;
            if written.is_empty() {
                return Ok(total);
            }
        }
    }
}

impl Scribe {
    /// Runs while the store commits: nothing here may wait.
    fn entry(&self, seq: u64, event: Event, at: Timestamp) -> Entry {
        let noops = match &event.object {
            Object::Resource(object) => self.idle().take(object),
            Object::Path(_) => 0,
        };
        Entry::new(seq, at, event, noops, &self.redactor)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
