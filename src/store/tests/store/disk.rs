//! A disk in memory that can be full, fail, wait, and lose what was not synced.

use std::io::{Error, ErrorKind};
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
    /// Syncs fail with this.
    pub(crate) failing_sync: Option<ErrorKind>,
    /// Reads fail.
    pub(crate) failing_reads: bool,
    /// Syncs wait until this is over.
    pub(crate) held: bool,
    /// How many of them do.
    waiting: usize,
    pub(crate) syncs: usize,
    /// The newest revision that was acknowledged, for `history`.
    pub(crate) acked: u64,
    /// When it is asked for: the disk after every operation, with what was acknowledged by then.
    pub(crate) history: Option<Vec<(u64, Disk)>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
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

    /// Waits until a sync is held.
    pub(crate) fn await_sync(&self) {
        let state = self
            .0
            .1
            .wait_while(self.state(), |state| state.waiting == 0)
            .unwrap();
        drop(state);
    }

    /// The disk after a power cut: what was synced, and of the rest what `keep` says.
    pub(crate) fn after_power_cut(&self, mut keep: impl FnMut() -> bool) -> Self {
        let state = self.state();
        let mut bytes = state.synced.clone();
        for change in state.unsynced.iter().filter(|_| keep()) {
            change.apply(&mut bytes);
        }
        let disk = Self::default();
        disk.state().live.clone_from(&bytes);
        disk.state().synced = bytes;
        disk
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
        self.unsynced.push(change);
        self.record();
    }

    fn record(&mut self) {
        let Some(history) = &mut self.history else {
            return;
        };
        let disk = Disk::default();
        disk.state().synced.clone_from(&self.synced);
        disk.state().unsynced.clone_from(&self.unsynced);
        history.push((self.acked, disk));
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
        if let Some(kind) = state.failing_sync {
            return Err(kind.into());
        }
        let State { synced, live, .. } = &mut *state;
        synced.clone_from(live);
        state.unsynced.clear();
        state.record();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.state().change(Change::Write(
            usize::try_from(offset).unwrap(),
            data.to_vec(),
        ));
        Ok(())
    }
}
