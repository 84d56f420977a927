//! A disk in memory that can be full, for tests of those who use a store.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

/// What can be written also when there is no space: it is there already, and opening a database writes nothing else.
const HEADER_BYTES: u64 = 4096;

/// The disk. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct FakeDisk {
    bytes: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
}

impl FakeDisk {
    /// From now on there is no space, or there is again.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_space(&self) -> Result<(), Error> {
        if self.full.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

fn index(offset: u64) -> Result<usize, Error> {
    usize::try_from(offset).map_err(Error::other)
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let bytes = self.lock();
        let offset = index(offset)?;
        let found = bytes.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut bytes = self.lock();
        let len = index(len)?;
        if len > bytes.len() {
            self.check_space()?;
        }
        bytes.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        if offset >= HEADER_BYTES {
            self.check_space()?;
        }
        let mut bytes = self.lock();
        let offset = index(offset)?;
        let place = bytes.get_mut(offset..offset + data.len());
        place.ok_or(ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
