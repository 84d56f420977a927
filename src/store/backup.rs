//! A copy of one durable revision in one file, made while writes go on. How a file is verified is in `check`, how it
//! becomes a store again in `restore`.

use std::cell::Cell;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, Key, ReadTransaction, ReadableTable, TableDefinition, WriteTransaction,
};
use tempfile::NamedTempFile;

use crate::check::{CheckError, check_backup};
use crate::error::ReadError;
use crate::open::Store;
use crate::read::position;
use crate::tables::{
    FORMAT, JOURNAL, LOG, META, META_FORMAT, Mark, OBJECTS, Position, decode_journal, decode_object,
};

/// What is not written yet is kept in memory up to this many bytes.
const CACHE_BYTES: usize = 8 << 20;
/// How often a copy is begun when the store's disk fills up under it.
const TRIES: u32 = 3;

/// What a backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The revision whose state it is.
    pub revision: u64,
    /// How many keys.
    pub objects: u64,
    /// How many journal records.
    pub records: u64,
    /// The size of the file, in bytes.
    pub bytes: u64,
}

/// Why there is no backup. Nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name, which is never overwritten.
    #[error("{} exists already; choose another name for the backup", path.display())]
    Exists {
        /// The name of the backup.
        path: PathBuf,
    },
    /// There is no space left for it.
    #[error("there is no space left for the backup {}; free some or write it to another disk", path.display())]
    NoSpace {
        /// The name of the backup.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It could not be written.
    #[error("the backup {} could not be written", path.display())]
    Write {
        /// The name of the backup.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store itself could not be read, or holds a damaged record.
    #[error("the store could not be read for the backup")]
    Read(#[source] ReadError),
    /// What was read back is not what was written.
    #[error("the backup {} is not what was written to it; check the disk it is on", path.display())]
    Unverified {
        /// The name of the backup.
        path: PathBuf,
        /// What was found; `None` when it is whole but something else.
        #[source]
        source: Option<CheckError>,
    },
}

impl Store {
    /// Copies the newest durable state and the whole journal into the new file `to`, mode 0600. It blocks as long
    /// as that takes and holds no write up.
    ///
    /// The file has its name only when it is complete, was synced and read back, so a crash leaves at most a file
    /// whose name ends in `.partial`.
    pub fn backup(&self, to: &Path) -> Result<Backup, BackupError> {
        let at = Target(to);
        // Again when it gets its name; here before the work is done.
        if to.try_exists().map_err(|error| at.io(error))? {
            return Err(at.exists());
        }
        let folder = folder_of(to);
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let tries = Cell::new(0);
        let (file, position, mark) = self
            .inner
            .shared
            .read(|transaction| {
                let file = tempfile::Builder::new()
                    .prefix(&format!(".{name}."))
                    .suffix(".partial")
                    .permissions(Permissions::from_mode(0o600))
                    .tempfile_in(folder)
                    .map_err(|error| at.io(error));
                let copied = file.and_then(|file| {
                    let (position, mark) = at.copy(transaction, &file)?;
                    Ok((file, position, mark))
                });
                tries.set(tries.get() + 1);
                match copied {
                    // The writer has opened the database again, so the copy begins again.
                    Err(BackupError::Read(error)) if tries.get() < TRIES => Err(error),
                    result => Ok(result),
                }
            })
            .map_err(BackupError::Read)??;
        let backup = at.verify(file.path(), position, mark)?;
        file.persist_noclobber(to)
            .map_err(|error| match error.error.kind() {
                ErrorKind::AlreadyExists => at.exists(),
                _ => at.io(error.error),
            })?;
        if let Err(error) = sync_folder(folder) {
            // Whether its name would survive a power cut is unknown, and a failure leaves nothing.
            let _ = std::fs::remove_file(to);
            return Err(at.io(error));
        }
        Ok(backup)
    }
}

/// The file to be written, for the errors.
#[derive(Clone, Copy)]
struct Target<'p>(&'p Path);

impl Target<'_> {
    fn copy(
        self,
        source: &ReadTransaction,
        file: &NamedTempFile,
    ) -> Result<(Position, Mark), BackupError> {
        let Position { revision, seq, .. } = position(source).map_err(BackupError::Read)?;
        // The log is for watches, and none can go on from before a restoration.
        let position = Position {
            revision,
            compacted: revision,
            seq,
        };
        let database = self.create(file.reopen().map_err(|error| self.io(error))?)?;
        let transaction = database
            .begin_write()
            .map_err(|error| self.write(error.into()))?;
        let mark = Mark {
            objects: self.copy_table(source, &transaction, OBJECTS, |key, record| {
                decode_object(key, record).map(drop)
            })?,
            records: self.copy_table(source, &transaction, JOURNAL, |seq, record| {
                decode_journal(seq, record).map(drop)
            })?,
        };
        finish(database, transaction, position, mark).map_err(|error| self.write(error))?;
        file.as_file().sync_all().map_err(|error| self.io(error))?;
        Ok((position, mark))
    }

    fn create(self, file: File) -> Result<Database, BackupError> {
        FileBackend::new(file)
            .and_then(|backend| {
                Builder::new()
                    .set_cache_size(CACHE_BYTES)
                    .create_with_backend(backend)
            })
            .map_err(|error| self.write(error.into()))
    }

    /// Answers how many records there are. Each is checked: a damaged one must not displace older, whole backups.
    fn copy_table<K: Key + 'static>(
        self,
        source: &ReadTransaction,
        target: &WriteTransaction,
        table: TableDefinition<'_, K, &'static [u8]>,
        check: impl Fn(K::SelfType<'_>, &[u8]) -> Result<(), ReadError>,
    ) -> Result<u64, BackupError> {
        let read = |error: redb::StorageError| BackupError::Read(error.into());
        let from = source
            .open_table(table)
            .map_err(|error| BackupError::Read(error.into()))?;
        let mut to = target
            .open_table(table)
            .map_err(|error| self.write(error.into()))?;
        let mut count = 0;
        for item in from.iter().map_err(read)? {
            let (key, record) = item.map_err(read)?;
            check(key.value(), record.value()).map_err(BackupError::Read)?;
            to.insert(key.value(), record.value())
                .map_err(|error| self.write(error.into()))?;
            count += 1;
        }
        Ok(count)
    }

    fn verify(self, written: &Path, position: Position, mark: Mark) -> Result<Backup, BackupError> {
        let unverified = |source| BackupError::Unverified {
            path: self.0.to_owned(),
            source,
        };
        let backup = check_backup(written).map_err(|error| unverified(Some(error)))?;
        let expected = (position.revision, mark.objects, mark.records);
        if (backup.revision, backup.objects, backup.records) == expected {
            Ok(backup)
        } else {
            Err(unverified(None))
        }
    }

    fn exists(self) -> BackupError {
        BackupError::Exists {
            path: self.0.to_owned(),
        }
    }

    fn io(self, source: io::Error) -> BackupError {
        let path = self.0.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                BackupError::NoSpace { path, source }
            }
            _ => BackupError::Write {
                path,
                source: source.into(),
            },
        }
    }

    fn write(self, error: redb::Error) -> BackupError {
        match error {
            redb::Error::Io(error) => self.io(error),
            other => BackupError::Write {
                path: self.0.to_owned(),
                source: other.into(),
            },
        }
    }
}

/// Adds what is beside the records, and makes it durable.
fn finish(
    database: Database,
    transaction: WriteTransaction,
    position: Position,
    mark: Mark,
) -> Result<(), redb::Error> {
    transaction.open_table(LOG)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        position.save(&mut meta)?;
        mark.save(&mut meta)?;
    }
    transaction.commit()?;
    Ok(database.close()?)
}

/// The folder a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), io::Error> {
    File::open(folder).and_then(|folder| folder.sync_all())
}
