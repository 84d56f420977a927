//! A store from a backup: in a folder of its own, or in the place of another store, which is kept beside it.

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable};
use tempfile::NamedTempFile;

use crate::backend::Source;
use crate::backup::{Backup, folder_of, sync_folder};
use crate::check::{CheckError, check_backup, inspect, verified};
use crate::containment::contained;
use crate::error::{OpenError, ReadError};
use crate::lock::{LockFile, Locked};
use crate::open::{FILE_NAME, Options, create_dir, io_error, open_database};
use crate::overlay::{Base, Overlay};
use crate::read::position;
use crate::tables::{JOURNAL, LOG, META, Mark, Position, decode_journal, encode_journal};
use crate::write::{Record, Stamp};

/// What is to become the store.
const RESTORING: &str = "store.redb.restoring";
/// How far the revision is moved on at least. No store writes so much between two looks at the clock.
const STEP: u64 = 1_000_000_000_000;
/// A clock beyond this many microseconds (the year 2112) is not believed: numbers above 2^53 are not exact for clients
/// that read them as doubles.
const LATEST_CLOCK: u64 = 1 << 52;

/// How a backup is restored.
pub struct Restore {
    /// Whether a store in the folder may be replaced; it is kept, see [`Restored::kept`].
    pub replace: bool,
    /// The time now, which decides the revision, see [`restore`].
    pub now: SystemTime,
    /// A journal record about the restoration; it becomes the newest one.
    pub record: Option<Record>,
}

/// A store that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub backup: Backup,
    /// The newest revision of the store; everything up to it is compacted.
    pub revision: u64,
    /// Where the store is now that was there before: `store.redb.before-restore`, or with a number when there is
    /// one of that name.
    pub kept: Option<PathBuf>,
}

/// Why a backup was not restored. What was in the folder is still there.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole. Nothing was touched.
    #[error("the backup cannot be restored")]
    Backup(#[source] CheckError),
    /// The data directory cannot be used: a running server holds it, or it cannot be written.
    #[error(transparent)]
    Directory(OpenError),
    /// There is a store, and replacing it was not asked for.
    #[error("{} holds a store already; choose another data directory or ask for it to be replaced", path.display())]
    Occupied {
        /// The data directory.
        path: PathBuf,
    },
    /// The store that is there could not be kept under another name.
    #[error("the store that is there could not be kept as {}", path.display())]
    Keep {
        /// The other name.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is no space left.
    #[error("there is no space left for {}; free some and try again", path.display())]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The store could not be written.
    #[error("{} could not be written", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Makes the store of the data directory `dir`, which is created when it does not exist, from a backup. Blocks as long
/// as that takes. A crash leaves the old store or the whole new one, never none.
///
/// # The revision
///
/// Clients of the store that was lost have seen revisions the backup does not know of, and none of them may be given
/// out again for something else. So the restored store goes on at the time now in microseconds since 1970: no
/// store gives out a million revisions in a second, so this is beyond all that were ever given out, by whichever store that
/// was restored from the same backup before. For the case that the clock is wrong it is also 10^12 beyond the backup and
/// beyond the store that is replaced, if that can still be read. Everything up to there is compacted, so that every
/// watch and every list in pages begins anew.
pub fn restore(backup: &Path, dir: &Path, how: Restore) -> Result<Restored, RestoreError> {
    let checked = check_backup(backup).map_err(RestoreError::Backup)?;
    create_dir(dir).map_err(RestoreError::Directory)?;
    let _lock = LockFile::acquire(dir).map_err(RestoreError::Directory)?;
    let target = Target {
        dir,
        path: dir.join(FILE_NAME),
    };
    let present = target.present()?;
    if present.is_some() && !how.replace {
        return Err(RestoreError::Occupied {
            path: dir.to_owned(),
        });
    }
    let file = target.copy(backup)?;
    let replaced = present.as_ref().and_then(|present| present.revision);
    let revision = next_revision(checked.revision, replaced, how.now);
    target.adopt(file.path(), revision, how.record)?;
    file.as_file()
        .sync_all()
        .map_err(|error| target.io(error))?;
    target.verify(file.path(), &checked, revision)?;
    let kept = present.as_ref().map(|_| target.keep()).transpose()?;
    file.persist(&target.path)
        .map_err(|error| target.io(error.error))?;
    for folder in [dir, folder_of(dir)] {
        sync_folder(folder).map_err(|error| target.io(error))?;
    }
    Ok(Restored {
        backup: checked,
        revision,
        kept,
    })
}

fn next_revision(backup: u64, replaced: Option<u64>, now: SystemTime) -> u64 {
    let clock = now
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| u64::try_from(since.as_micros()).ok())
        .filter(|micros| *micros < LATEST_CLOCK);
    let known = backup.max(replaced.unwrap_or(0)).saturating_add(STEP);
    known.max(clock.unwrap_or(0))
}

/// The store that is in the data directory. Nobody else opens it as long as this lives.
struct Present {
    _locked: Locked,
    /// When it can be read.
    revision: Option<u64>,
}

struct Target<'d> {
    dir: &'d Path,
    path: PathBuf,
}

impl Target<'_> {
    fn present(&self) -> Result<Option<Present>, RestoreError> {
        let failed = |error| RestoreError::Directory(io_error(&self.path, error));
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Somebody may have removed the lock file of a running server.
        let Some(locked) = Locked::exclusive(file) else {
            return Err(RestoreError::Directory(OpenError::Held {
                path: self.dir.to_owned(),
                pid: None,
            }));
        };
        let copy = locked.file().try_clone().map_err(failed)?;
        Ok(Some(Present {
            _locked: locked,
            revision: revision_of(copy),
        }))
    }

    fn copy(&self, backup: &Path) -> Result<NamedTempFile, RestoreError> {
        // Of one name, so that an interrupted attempt leaves its file to the next one. The lock is held.
        match std::fs::remove_file(self.dir.join(RESTORING)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.io(error)),
            Ok(()) | Err(_) => {}
        }
        let file = tempfile::Builder::new()
            .prefix(RESTORING)
            .rand_bytes(0)
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(self.dir)
            .map_err(|error| self.io(error))?;
        let mut from = File::open(backup).map_err(|source| {
            RestoreError::Backup(CheckError::Unreadable {
                path: backup.to_owned(),
                source,
            })
        })?;
        io::copy(&mut from, &mut file.as_file()).map_err(|error| self.io(error))?;
        Ok(file)
    }

    /// Turns the copy into a store that begins at `revision`.
    fn adopt(
        &self,
        copy: &Path,
        revision: u64,
        record: Option<Record>,
    ) -> Result<(), RestoreError> {
        let options = Options::default();
        let source = Source::File(copy.to_owned());
        let database = open_database(&source, &options)
            .map_err(|error| self.write(error))?
            .database;
        contained(|| rewrite(database, revision, record))
            .unwrap_or_else(|panic| Err(redb::Error::Corrupted(panic)))
            .map_err(|error| match error {
                redb::Error::Io(error) => self.io(error),
                other => self.write(other),
            })
    }

    fn verify(&self, written: &Path, backup: &Backup, revision: u64) -> Result<(), RestoreError> {
        let (census, _bytes) = inspect(written).map_err(|error| self.write(error))?;
        let whole = census.objects == backup.objects
            && census.position.revision == revision
            && census.position.compacted == revision
            && census.records >= backup.records;
        if whole {
            Ok(())
        } else {
            Err(self.write("it is not what was written to it; check the disk"))
        }
    }

    /// Gives the store that is there a second name, so that at no time there is none.
    fn keep(&self) -> Result<PathBuf, RestoreError> {
        let failed = |path: &Path, source| RestoreError::Keep {
            path: path.to_owned(),
            source,
        };
        let mut number = 1;
        loop {
            let suffix = match number {
                1 => String::new(),
                number => format!("-{number}"),
            };
            let name = self.dir.join(format!("{FILE_NAME}.before-restore{suffix}"));
            match std::fs::hard_link(&self.path, &name) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    let identity =
                        |path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
                    let same = identity(&name)
                        .and_then(|there| Ok(there == identity(&self.path)?))
                        .map_err(|error| failed(&name, error))?;
                    // An attempt that was interrupted has kept it already.
                    if same {
                        return Ok(name);
                    }
                }
                Err(error) => return Err(failed(&name, error)),
            }
            number += 1;
        }
    }

    fn io(&self, source: io::Error) -> RestoreError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                RestoreError::NoSpace { path, source }
            }
            _ => self.write(source),
        }
    }

    fn write(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> RestoreError {
        RestoreError::Write {
            path: self.path.clone(),
            source: source.into(),
        }
    }
}

/// The newest revision of a store, if it can be read. The file is not changed: it is to be kept as it is.
fn revision_of(file: File) -> Option<u64> {
    let read = || {
        let database = verified(Overlay::new(Base::File(file)).ok()?).ok()?;
        let transaction = database.begin_read().ok()?;
        position(&transaction).ok()
    };
    contained(read).ok().flatten().map(|there| there.revision)
}

fn rewrite(database: Database, revision: u64, record: Option<Record>) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.delete_table(LOG)?;
    transaction.open_table(LOG)?;
    {
        let mut meta = transaction.open_table(META)?;
        let missing = || redb::Error::Corrupted("its counters are missing".into());
        let mut position = Position::load(&meta)?.ok_or_else(missing)?;
        position.revision = revision;
        position.compacted = revision;
        let mut journal = transaction.open_table(JOURNAL)?;
        if let Some(record) = record {
            let damaged = |error: ReadError| redb::Error::Corrupted(error.to_string());
            let previous: Option<Bytes> = journal
                .last()?
                .map(|(seq, bytes)| decode_journal(seq.value(), bytes.value()))
                .transpose()
                .map_err(damaged)?;
            position.seq += 1;
            let bytes = record(Stamp {
                seq: position.seq,
                revision: None,
                previous,
            });
            journal.insert(
                position.seq,
                encode_journal(position.seq, &bytes).as_slice(),
            )?;
        }
        position.save(&mut meta)?;
        Mark::remove(&mut meta)?;
    }
    transaction.commit()?;
    Ok(database.close()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_revision_is_the_clock_unless_that_is_behind_or_absurd() {
        let at = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        let now = 1_795_000_000_000_000;
        assert_eq!(next_revision(40, None, at(now)), now);
        assert_eq!(next_revision(40, Some(now - 5), at(now)), now - 5 + STEP);
        assert_eq!(next_revision(40, Some(50), UNIX_EPOCH), 50 + STEP);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(next_revision(40, None, before), 40 + STEP);
        assert_eq!(next_revision(40, None, at(LATEST_CLOCK)), 40 + STEP);
        assert_eq!(next_revision(u64::MAX, None, at(now)), u64::MAX);
    }
}
