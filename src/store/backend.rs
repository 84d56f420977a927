//! The storage under redb, watched: which operation failed first decides whether a failed commit can
//! be undone by opening the database again. The decision itself is the writer's.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::overlay::{Base, Overlay};
use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// More than a small commit needs.
const PROBE_BYTES: usize = 256 << 10;

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

impl Source {
    /// What is there, to be read: what is written to it stays in memory.
    pub(crate) fn frozen(&self) -> Result<Watched, DatabaseError> {
        let base = match self {
            Self::File(path) => Base::File(File::open(path)?),
            Self::Backend(backend) => Base::Backend(Arc::clone(backend)),
        };
        Ok(Watched {
            inner: Box::new(Overlay::new(base)?),
            fault: Arc::default(),
        })
    }

    /// Whether the file cannot even be opened to be written.
    pub(crate) fn is_read_only(&self) -> bool {
        let Self::File(path) = self else {
            return false;
        };
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.is_err_and(|error| is_read_only(&error))
    }

    /// Whether the disk takes a little more. A full one is not asked by a commit, which would cost opening the database again
    /// and break off everything that is reading.
    pub(crate) fn has_space(&self) -> bool {
        let Self::File(path) = self else {
            return true;
        };
        let probe = path.with_extension("redb.probe");
        let written = std::fs::write(&probe, vec![1; PROBE_BYTES]);
        let removed = std::fs::remove_file(&probe);
        match written.and(removed) {
            Ok(()) => true,
            Err(error) => !is_full(&error),
        }
    }
}

fn is_read_only(error: &Error) -> bool {
    error.kind() == ErrorKind::ReadOnlyFilesystem
}

fn is_full(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// The first operation that failed; redb refuses every other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reading, by whichever thread.
    Read,
    /// Writing or growing the file for want of space: nothing of the commit has been synced.
    NoSpace,
    /// The same because the file system is read-only.
    ReadOnly,
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
    match result {
        Err(error) if is_full(error) => Fault::NoSpace,
        Err(error) if is_read_only(error) => Fault::ReadOnly,
        Ok(_) | Err(_) => Fault::Write,
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
        // Whatever the reason: a failed sync may have dropped pages that were written before.
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
