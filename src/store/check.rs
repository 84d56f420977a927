//! Is a file a whole backup? Everything in it is read and verified, and nothing is written to it. Where the file comes
//! from is in `backup`, what becomes of it in `restore`.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable};

use crate::backup::Backup;
use crate::containment::contained;
use crate::error::ReadError;
use crate::lock::Locked;
use crate::overlay::{Base, Overlay};
use crate::tables::{
    FORMAT, JOURNAL, LOG, LogRecord, META, META_FORMAT, Mark, OBJECTS, Position, decode_journal,
    decode_object,
};

/// What every database of redb begins with.
const MAGIC: &[u8] = b"redb";
/// Each page is looked at only a few times.
const CACHE_BYTES: usize = 8 << 20;

/// Why a file is no backup that could be restored.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It could not be read at all.
    #[error("{} could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is not a backup made by clos", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// It was made by a newer version.
    #[error("{} has data format {found} and this version reads up to {supported}; use the newer version", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format in the file.
        found: u64,
        /// The newest format this version knows.
        supported: u64,
    },
    /// Something in it is missing or not what was written.
    #[error("{} is damaged; use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Reads and verifies the whole file: every page, the checksum of every record, the numbers and the counts. Blocks
/// as long as that takes, and writes nothing.
///
/// Not only what [`Store::backup`](crate::Store::backup) made is taken: a copy of `store.redb` from a server that was
/// stopped is as good.
pub fn check_backup(backup: &Path) -> Result<Backup, CheckError> {
    let (census, bytes) = inspect(backup)?;
    Ok(Backup {
        revision: census.position.revision,
        objects: census.objects,
        records: census.records,
        bytes,
    })
}

/// What was counted in a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Census {
    pub position: Position,
    pub objects: u64,
    pub records: u64,
}

/// The census of a file, and its size in bytes.
pub(crate) fn inspect(path: &Path) -> Result<(Census, u64), CheckError> {
    let unreadable = |source| CheckError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    // A file that a server writes to is another one at every look.
    let Some(locked) = Locked::shared(file) else {
        let busy = io::Error::new(ErrorKind::ResourceBusy, "a running server uses it");
        return Err(unreadable(busy));
    };
    let file = locked.file().try_clone().map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    let mut magic = [0; MAGIC.len()];
    match file.read_exact_at(&mut magic, 0) {
        Ok(()) if magic == MAGIC => {}
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(unreadable(error)),
        Ok(()) | Err(_) => {
            return Err(CheckError::NotABackup {
                path: path.to_owned(),
            });
        }
    }
    let overlay = Overlay::new(Base::File(file)).map_err(unreadable)?;
    let census = contained(|| {
        let database = verified(overlay).map_err(|error| refused(path, error.into()))?;
        take_census(&database, path)
    })
    .unwrap_or_else(|panic| Err(damaged(path, panic)))?;
    Ok((census, bytes))
}

/// Opens a database whose every page has been verified.
pub(crate) fn verified(overlay: Overlay) -> Result<Database, DatabaseError> {
    Builder::new()
        .set_cache_size(CACHE_BYTES)
        .set_check_integrity_on_open(true)
        .create_with_backend(overlay)
}

fn take_census(database: &Database, path: &Path) -> Result<Census, CheckError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let format = meta.get(META_FORMAT)?.map(|guard| guard.value());
        let (position, mark) = (Position::load(&meta)?, Mark::load(&meta)?);
        Ok((transaction, format, position, mark))
    };
    let (transaction, format, position, mark) = read().map_err(|error| refused(path, error))?;
    match format {
        Some(found) if found > FORMAT => {
            return Err(CheckError::NewerFormat {
                path: path.to_owned(),
                found,
                supported: FORMAT,
            });
        }
        Some(_) => {}
        None => return Err(damaged(path, "it does not say its format")),
    }
    let position = position.ok_or_else(|| damaged(path, "its counters are missing"))?;
    let count = || -> Result<_, ReadError> {
        check_log(&transaction, &position)?;
        Ok(Census {
            position,
            objects: count_objects(&transaction, &position)?,
            records: count_records(&transaction, &position)?,
        })
    };
    let census = count().map_err(|error| match error {
        ReadError::Unreadable(error) => refused(path, *error),
        other => damaged(path, other),
    })?;
    let counted = Mark {
        objects: census.objects,
        records: census.records,
    };
    if mark.is_some_and(|mark| mark != counted) {
        return Err(damaged(path, "it does not hold as much as was written"));
    }
    Ok(census)
}

fn count_objects(transaction: &ReadTransaction, position: &Position) -> Result<u64, ReadError> {
    let mut count = 0;
    for item in transaction.open_table(OBJECTS)?.iter()? {
        let (key, record) = item?;
        let entry = decode_object(key.value(), record.value())?;
        if !(1..=entry.revision).contains(&entry.created) || entry.revision > position.revision {
            return Err(ReadError::Corrupt {
                table: "objects",
                key: entry.key,
            });
        }
        count += 1;
    }
    Ok(count)
}

/// The records' numbers have no gap and end where they should.
fn count_records(transaction: &ReadTransaction, position: &Position) -> Result<u64, ReadError> {
    let (mut count, mut newest) = (0, None);
    for item in transaction.open_table(JOURNAL)?.iter()? {
        let (seq, record) = item?;
        let seq = seq.value();
        decode_journal(seq, record.value())?;
        if newest.is_some_and(|newest: u64| newest + 1 != seq) {
            return Err(gap("journal", seq));
        }
        newest = Some(seq);
        count += 1;
    }
    if newest.unwrap_or(0) == position.seq {
        Ok(count)
    } else {
        Err(gap("journal", position.seq))
    }
}

fn check_log(transaction: &ReadTransaction, position: &Position) -> Result<(), ReadError> {
    let mut newest = position.compacted;
    for item in transaction.open_table(LOG)?.iter()? {
        let (revision, record) = item?;
        let revision = revision.value();
        LogRecord::parse(revision, record.value())?;
        if newest + 1 != revision {
            return Err(gap("log", revision));
        }
        newest = revision;
    }
    if newest == position.revision {
        Ok(())
    } else {
        Err(gap("log", position.revision))
    }
}

fn gap(table: &'static str, number: u64) -> ReadError {
    ReadError::Corrupt {
        table,
        key: number.to_string(),
    }
}

fn damaged(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> CheckError {
    CheckError::Damaged {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn refused(path: &Path, error: redb::Error) -> CheckError {
    let path = path.to_owned();
    match error {
        // redb reports a cut file in this way.
        redb::Error::Io(source)
            if matches!(
                source.kind(),
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof
            ) =>
        {
            CheckError::Damaged {
                path,
                source: source.into(),
            }
        }
        redb::Error::Io(source) => CheckError::Unreadable { path, source },
        redb::Error::TableDoesNotExist(_) => CheckError::NotABackup { path },
        other => CheckError::Damaged {
            path,
            source: other.into(),
        },
    }
}
