//! The storage under redb, watched: which operation failed first decides whether a failed commit can
//! be undone by opening the database again. The decision itself is the writer's.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// Where a database lies; it can be opened more than once, one after the other.
#[derive(Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Backend(Arc<dyn StorageBackend>),
}

impl Source {
    pub(crate) fn backend(&self) -> Result<Watched, DatabaseError> {
        let inner: Box<dyn StorageBackend> = match self {
            Self::File(path) => {
                let file: File = OpenOptions::new().read(true).write(true).open(path)?;
                Box::new(FileBackend::new(file)?)
            }
            Self::Backend(backend) => Box::new(Borrowed(Arc::clone(backend))),
        };
        Ok(Watched {
            inner,
            fault: Arc::default(),
        })
    }
}

/// The first operation that failed; redb refuses every other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reading, by whichever thread.
    Read,
    /// Writing or growing the file for want of space: nothing of the commit has been synced.
    NoSpace,
    /// Anything else on the way to the disk.
    Write,
}

/// Passes everything on and remembers the first failure.
#[derive(Debug)]
pub(crate) struct Watched {
    inner: Box<dyn StorageBackend>,
    fault: Arc<OnceLock<Fault>>,
}

impl Watched {
    pub(crate) fn fault(&self) -> Arc<OnceLock<Fault>> {
        Arc::clone(&self.fault)
    }

    fn note<T>(&self, result: Result<T, Error>, fault: Fault) -> Result<T, Error> {
        if result.is_err() {
            // Only the first counts.
            let _ = self.fault.set(fault);
        }
        result
    }
}

fn write_fault<T>(result: &Result<T, Error>) -> Fault {
    match result.as_ref().err().map(Error::kind) {
        Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => Fault::NoSpace,
        _ => Fault::Write,
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> Result<u64, Error> {
        self.note(self.inner.len(), Fault::Read)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.note(self.inner.read(offset, out), Fault::Read)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let result = self.inner.set_len(len);
        let fault = write_fault(&result);
        self.note(result, fault)
    }

    fn sync_data(&self) -> Result<(), Error> {
        // Even for want of space: a failed sync may have dropped pages that were written before.
        self.note(self.inner.sync_data(), Fault::Write)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let result = self.inner.write(offset, data);
        let fault = write_fault(&result);
        self.note(result, fault)
    }

    fn close(&self) -> Result<(), Error> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}

/// A backend given by the caller. It outlives one database, so it is neither closed nor locked with it.
#[derive(Debug)]
struct Borrowed(Arc<dyn StorageBackend>);

impl StorageBackend for Borrowed {
    fn len(&self) -> Result<u64, Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.write(offset, data)
    }
}
