//! A disk in memory that can be full, fail, wait, and lose what was not synced.

use std::io::{Error, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// Clones are the same disk, so it outlives the store that is on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
pub(crate) struct State {
    live: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
    /// The most bytes it takes.
    pub(crate) capacity: Option<u64>,
    /// It takes nothing any more.
    pub(crate) read_only: bool,
    /// Syncs fail with this.
    pub(crate) failing_sync: Option<ErrorKind>,
    /// The syncs of these numbers fail, counted from 1; what they were to write is lost.
    pub(crate) failing_syncs: Range<usize>,
    /// Reads fail.
    pub(crate) failing_reads: bool,
    /// Syncs wait until this is over.
    pub(crate) held: bool,
    /// How many of them do.
    waiting: usize,
    pub(crate) syncs: usize,
    /// The newest revision that was acknowledged and the newest that was asked for, for `history`.
    pub(crate) revisions: (u64, u64),
    /// When it is asked for: every operation, with the revisions by then.
    pub(crate) history: Option<Vec<((u64, u64), Operation)>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

/// What a disk has done.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Change(Change),
    Sync,
}

impl Disk {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap()
    }

    pub(crate) fn hold(&self) {
        self.state().held = true;
    }

    pub(crate) fn release(&self) {
        self.state().held = false;
        self.0.1.notify_all();
    }

    pub(crate) fn size(&self) -> u64 {
        self.state().live.len() as u64
    }

    /// Whether a sync is held.
    pub(crate) fn is_waiting(&self) -> bool {
        self.state().waiting > 0
    }

    /// Waits until a sync is held.
    pub(crate) fn await_sync(&self) {
        let state = self
            .0
            .1
            .wait_while(self.state(), |state| state.waiting == 0)
            .unwrap();
        drop(state);
    }

    /// A disk with a file on it.
    pub(crate) fn holding(bytes: Vec<u8>) -> Self {
        let disk = Self::default();
        disk.state().live.clone_from(&bytes);
        disk.state().synced = bytes;
        disk
    }

    /// The disk after a power cut: what was synced, and of the rest what `keep` says.
    pub(crate) fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut bytes = state.synced.clone();
        for change in state.unsynced.iter().filter(|_| keep()) {
            change.apply(&mut bytes);
        }
        drop(state);
        Self::holding(bytes)
    }

    /// Does again what another disk has done.
    pub(crate) fn replay(&self, operation: Operation) {
        match operation {
            Operation::Change(change) => self.state().change(change),
            Operation::Sync => self.state().sync(),
        }
    }

    /// Puts in the place of what is on it what is on another disk.
    pub(crate) fn replace(&self, other: &Self) {
        let bytes = other.state().live.clone();
        let mut state = self.state();
        state.live.clone_from(&bytes);
        state.synced = bytes;
        state.unsynced.clear();
    }

    /// Begins to note every operation.
    pub(crate) fn record(&self) {
        self.state().history = Some(Vec::new());
    }

    /// Changes one bit behind everybody's back.
    pub(crate) fn rot(&self, at: usize, bit: u8) {
        self.state().live[at] ^= 1 << bit;
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }
}

impl State {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        if self.history.is_some() {
            self.note(Operation::Change(change.clone()));
        }
        self.unsynced.push(change);
    }

    fn check_writable(&self) -> Result<(), Error> {
        if self.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            change.apply(&mut self.synced);
        }
        self.note(Operation::Sync);
    }

    fn note(&mut self, operation: Operation) {
        if let Some(history) = &mut self.history {
            history.push((self.revisions, operation));
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let state = self.state();
        if state.failing_reads {
            return Err(Error::other("unreadable sector"));
        }
        let offset = usize::try_from(offset).unwrap();
        let bytes = state
            .live
            .get(offset..offset + out.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut state = self.state();
        state.check_writable()?;
        if state.capacity.is_some_and(|capacity| len > capacity) {
            return Err(ErrorKind::StorageFull.into());
        }
        state.change(Change::Length(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.waiting += 1;
        self.0.1.notify_all();
        let mut state = self.0.1.wait_while(state, |state| state.held).unwrap();
        state.waiting -= 1;
        state.syncs += 1;
        if state.failing_syncs.contains(&state.syncs) {
            // As Linux does it: the pages count as clean, though they are nowhere.
            state.unsynced.clear();
            return Err(Error::other("the sync failed"));
        }
        if let Some(kind) = state.failing_sync {
            return Err(kind.into());
        }
        state.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut state = self.state();
        state.check_writable()?;
        let offset = usize::try_from(offset).unwrap();
        state.change(Change::Write(offset, data.to_vec()));
        Ok(())
    }
}
