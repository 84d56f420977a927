//! What the writer publishes and everybody reads: the open database, the newest revision, recent
//! events, the store's health. Nothing here changes data.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase};
use tokio::sync::watch;

use crate::backend::Fault;
use crate::containment::contained;
use crate::entry::Event;
use crate::error::{Failure, Health, ReadError};
use crate::open::Options;
use crate::recent::Recent;
use crate::stats::Counters;
use crate::tables::Position;

/// One opening of the database. redb refuses everything after its first I/O error, so an opening may
/// be replaced by another.
#[derive(Debug)]
pub(crate) struct Slot {
    pub database: Database,
    pub fault: Arc<OnceLock<Fault>>,
    /// What would be written stays in memory: it must not be.
    pub frozen: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub counters: Counters,
    /// `None` when closed.
    slot: RwLock<Option<Slot>>,
    /// How often what readers wait for has happened: the database was opened again, failed or closed.
    /// Opening counts under the slot's write lock, so that under its read lock both belong together.
    generation: Mutex<u64>,
    settled: Condvar,
    recent: RwLock<Recent>,
    head: watch::Receiver<u64>,
    compacted: AtomicU64,
    health: watch::Sender<Health>,
}

impl Shared {
    pub(crate) fn new(
        slot: Slot,
        position: Position,
        head: watch::Receiver<u64>,
        options: &Options,
    ) -> Self {
        Self {
            counters: Counters::default(),
            slot: RwLock::new(Some(slot)),
            generation: Mutex::new(0),
            settled: Condvar::new(),
            recent: RwLock::new(Recent::new(options)),
            head,
            compacted: AtomicU64::new(position.compacted),
            health: watch::Sender::new(Health::Writable),
        }
    }

    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    pub(crate) fn head_receiver(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    pub(crate) fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Acquire)
    }

    pub(crate) fn publish_compacted(&self, through: u64) {
        self.compacted.store(through, Ordering::Release);
    }

    pub(crate) fn remember(&self, events: Vec<Arc<Event>>) {
        self.recent
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(events);
    }

    /// See [`Recent::after`].
    pub(crate) fn recent_after(
        &self,
        revision: u64,
        through: u64,
        limit: usize,
    ) -> Option<Vec<Arc<Event>>> {
        self.recent
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .after(revision, through, limit)
    }

    pub(crate) fn health(&self) -> Health {
        self.health.borrow().clone()
    }

    /// Replaces the health, which never leaves `Failed`.
    pub(crate) fn set_health(&self, health: Health) {
        self.health.send_if_modified(|current| {
            let changes = !matches!(current, Health::Failed(_));
            if changes {
                *current = health;
            }
            changes
        });
    }

    pub(crate) async fn writable(&self) {
        let is_writable = |health: &Health| matches!(health, Health::Writable).then_some(());
        self.health_is(is_writable).await;
    }

    pub(crate) async fn failed(&self) -> Failure {
        let has_failed = |health: &Health| match health {
            Health::Failed(failure) => Some(failure.clone()),
            Health::Writable | Health::NoSpace | Health::ReadOnly => None,
        };
        self.health_is(has_failed).await
    }

    async fn health_is<T>(&self, wanted: impl Fn(&Health) -> Option<T>) -> T {
        let mut health = self.health.subscribe();
        loop {
            if let Some(found) = wanted(&health.borrow_and_update()) {
                return found;
            }
            if health.changed().await.is_err() {
                unreachable!("the sender lives as long as self");
            }
        }
    }

    /// Marks the store as failed; the first cause stays.
    pub(crate) fn fail(
        &self,
        attempted: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Failure {
        let failure = Failure {
            attempted,
            source: Arc::from(source.into()),
        };
        self.set_health(Health::Failed(failure));
        self.settle();
        match self.health() {
            Health::Failed(first) => first,
            Health::Writable | Health::NoSpace | Health::ReadOnly => {
                unreachable!("a failed store stays failed")
            }
        }
    }

    pub(crate) fn begin_write(&self) -> Result<redb::WriteTransaction, redb::Error> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        let slot = slot.as_ref().ok_or(redb::Error::DatabaseClosed)?;
        if slot.frozen {
            return Err(redb::Error::Io(ErrorKind::ReadOnlyFilesystem.into()));
        }
        Ok(slot.database.begin_write()?)
    }

    /// The first I/O error of the open database.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().and_then(|slot| slot.fault.get().copied())
    }

    /// Closes the database and puts in its place what `open` gives.
    pub(crate) fn reopen<E>(&self, open: impl FnOnce() -> Result<Slot, E>) -> Result<(), E> {
        let mut slot = self.slot.write().unwrap_or_else(PoisonError::into_inner);
        drop(slot.take());
        *slot = Some(open()?);
        self.settle();
        Ok(())
    }

    /// Closes the database; watches that are still alive end.
    pub(crate) fn close(&self) {
        let slot = self
            .slot
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // Nobody is left who could be told that the file is damaged; opening it again will tell.
        let _ = contained(|| drop(slot));
        self.settle();
    }

    /// Runs `read` on one snapshot. When the disk filled up meanwhile, it is run again on the database
    /// as it was opened again.
    pub(crate) fn read<T>(
        &self,
        read: impl Fn(&ReadTransaction) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        loop {
            let (transaction, fault, generation) = {
                let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
                let slot = slot.as_ref().ok_or_else(|| self.absent())?;
                let fault = Arc::clone(&slot.fault);
                (slot.database.begin_read(), fault, *self.generation())
            };
            let look = || read(&transaction?);
            let result = contained(look).unwrap_or_else(|panic| {
                Err(ReadError::Unreadable(Box::new(redb::Error::Corrupted(
                    panic,
                ))))
            });
            match result {
                Err(error) if error.is_latched() => {
                    self.await_reopening(error, &fault, generation)?;
                }
                other => return other,
            }
        }
    }

    /// Why there is no open database.
    fn absent(&self) -> ReadError {
        match self.health() {
            Health::Failed(failure) => ReadError::Failed(failure),
            Health::Writable | Health::NoSpace | Health::ReadOnly => ReadError::Closed,
        }
    }

    fn await_reopening(
        &self,
        error: ReadError,
        fault: &OnceLock<Fault>,
        generation: u64,
    ) -> Result<(), ReadError> {
        if let Health::Failed(failure) = self.health() {
            return Err(ReadError::Failed(failure));
        }
        let writer_decides = match fault.get() {
            // Its commit failed, or it has just closed the database to open it again.
            Some(Fault::NoSpace | Fault::ReadOnly | Fault::Write) => true,
            None => error.is_closed(),
            Some(Fault::Read) => false,
        };
        if !writer_decides {
            // Nobody else may notice: the writer can be idle.
            return Err(ReadError::Failed(self.fail("reading", error)));
        }
        let _settled = self
            .settled
            .wait_while(self.generation(), |current| *current == generation)
            .unwrap_or_else(PoisonError::into_inner);
        Ok(())
    }

    fn settle(&self) {
        *self.generation() += 1;
        self.settled.notify_all();
    }

    fn generation(&self) -> MutexGuard<'_, u64> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
