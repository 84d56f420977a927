//! The lock file: one store at a time uses a folder. The kernel drops the lock with the process, so a
//! file that was left behind means nothing.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::OpenError;
use crate::open::io_error;

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct LockFile {
    _locked: Locked,
}

/// A locked file. It is unlocked and not only closed: a process that is just being started has a copy of every
/// open file for a moment, and would hold the lock as long.
#[derive(Debug)]
pub(crate) struct Locked(File);

impl Locked {
    /// `None` when somebody else has locked the file. On a system without locks nobody has.
    pub(crate) fn exclusive(file: File) -> Option<Self> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Ok(()) | Err(TryLockError::Error(_)) => Some(Self(file)),
        }
    }

    /// As `exclusive`, beside others who only read.
    pub(crate) fn shared(file: File) -> Option<Self> {
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => None,
            Ok(()) | Err(TryLockError::Error(_)) => Some(Self(file)),
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing it does the same, if maybe later.
        let _ = self.0.unlock();
    }
}

impl LockFile {
    pub(crate) fn acquire(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let wrap = |error| io_error(&path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(wrap)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = holder(&mut file);
                return Err(OpenError::Held {
                    path: dir.to_owned(),
                    pid,
                });
            }
            Err(TryLockError::Error(error)) => return Err(wrap(error)),
        }
        let text = format!(
            "{}\nclos has this folder open while that process runs.\n",
            std::process::id()
        );
        // Only information, which a full disk must not be stopped by: the lock is held.
        match overwrite(&mut file, &text) {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded
                ) =>
            {
                Err(wrap(error))
            }
            Ok(()) | Err(_) => Ok(Self {
                _locked: Locked(file),
            }),
        }
    }
}

/// Cuts the file only afterwards: what it frees first a full disk may not give back.
fn overwrite(file: &mut File, text: &str) -> io::Result<()> {
    let written = file.write_all(text.as_bytes());
    let length = if written.is_ok() { text.len() } else { 0 };
    file.set_len(length as u64)?;
    written
}

/// The first line of the file, when its holder has got as far as writing it.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_holder_is_told_the_pid_of_the_first_until_that_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let first = LockFile::acquire(dir.path()).unwrap();
        let refused = LockFile::acquire(dir.path()).unwrap_err();
        assert!(matches!(
            &refused,
            OpenError::Held { path, pid: Some(pid) } if path == dir.path() && *pid == std::process::id()
        ));
        drop(first);
        LockFile::acquire(dir.path()).unwrap();
    }

    #[test]
    fn what_an_earlier_holder_wrote_is_replaced_and_private() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("lock"),
            "1234567890123456789 from long ago\n",
        )
        .unwrap();
        let _lock = LockFile::acquire(dir.path()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        assert_eq!(text.lines().next().unwrap(), std::process::id().to_string());
        assert!(!text.contains("long ago"));

        let fresh = tempfile::tempdir().unwrap();
        let _lock = LockFile::acquire(fresh.path()).unwrap();
        let mode = std::fs::metadata(fresh.path().join("lock"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_lock_ends_with_its_holder_even_when_a_copy_of_the_file_is_still_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Locked::exclusive(File::create(&path).unwrap()).unwrap();
        assert!(Locked::shared(File::open(&path).unwrap()).is_none());
        let copy = first.file().try_clone().unwrap();
        drop(first);
        assert!(Locked::exclusive(File::open(&path).unwrap()).is_some());
        drop(copy);
    }

    #[test]
    fn a_holder_that_has_not_written_its_pid_yet_is_still_a_holder() {
        let dir = tempfile::tempdir().unwrap();
        let silent = File::create(dir.path().join("lock")).unwrap();
        silent.try_lock().unwrap();
        let refused = LockFile::acquire(dir.path()).unwrap_err();
        assert!(matches!(refused, OpenError::Held { pid: None, .. }));
        assert!(refused.to_string().contains("another process"), "{refused}");
    }
}
