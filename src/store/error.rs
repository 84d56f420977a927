//! Everything that can go wrong, by what was attempted. Whether to retry is decided by the variant.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a store could not be opened. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another store in this one, uses the folder.
    #[error("{} is in use{}; stop that process or choose another data directory", path.display(), by(*pid))]
    Held {
        /// The data directory.
        path: PathBuf,
        /// The holder, when it said so.
        pid: Option<u32>,
    },
    /// The data was written by a newer version.
    #[error("{} has data format {found} and this version reads up to {supported}; start the newer version again", path.display())]
    NewerFormat {
        /// The database file.
        path: PathBuf,
        /// The format in the file.
        found: u64,
        /// The newest format this version knows.
        supported: u64,
    },
    /// The folder or a file in it may not be written.
    #[error("{} cannot be written; give this user write access to it or choose another data directory", path.display())]
    NotWritable {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// There is no space left to open or create the database.
    #[error("there is no space left for {}; free some and start again", path.display())]
    NoSpace {
        /// What was to be written.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The database is damaged, or is no clos store.
    #[error("{} is damaged or is not a clos store; move it away and restore a backup", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file is a backup. A store that went on from it would give out revisions a second time.
    #[error("{} is a backup; restore it instead of using it in place", path.display())]
    IsBackup {
        /// The database file.
        path: PathBuf,
    },
    /// Another I/O error.
    #[error("{} could not be opened; check the disk and start again", path.display())]
    Io {
        /// What was to be opened.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The changes after that revision are gone: read the newest state instead.
    #[error("revision {requested} has been compacted; the oldest that can be read is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: u64,
        /// The oldest revision that can be read now.
        oldest: u64,
    },
    /// The revision does not exist yet.
    #[error("revision {requested} does not exist yet; the newest is {head}")]
    Future {
        /// The revision asked for.
        requested: u64,
        /// The newest revision.
        head: u64,
    },
    /// A record does not match its checksum. It is never returned.
    #[error("the stored record of {key} in table {table} is damaged; restore it from a backup")]
    Corrupt {
        /// The table it lies in.
        table: &'static str,
        /// Its key, or its number.
        key: String,
    },
    /// The database's own structure is damaged.
    #[error("the database could not be read")]
    Unreadable(#[source] Box<redb::Error>),
    /// The disk failed; see [`Failure`].
    #[error("the store has failed")]
    Failed(#[source] Failure),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a watch could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Changes this watch needs are gone: read the newest state and watch from there.
    #[error(
        "the changes after revision {requested} have been compacted; the oldest a watch can start after is {oldest}"
    )]
    Compacted {
        /// The revision after which changes were asked for.
        requested: u64,
        /// The oldest revision a watch can start after now.
        oldest: u64,
    },
    /// The log could not be read.
    #[error("the changes could not be read")]
    Read(#[source] ReadError),
}

/// Why a write did not happen. Only after `Failed` its outcome is unknown.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The key was expected not to exist.
    #[error("{key} exists already")]
    Exists {
        /// The key.
        key: String,
        /// The revision of its last change.
        actual: u64,
    },
    /// The key was expected to exist.
    #[error("{key} does not exist")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The key has changed since the expected revision.
    #[error("{key} was expected at revision {expected} and is at {actual}")]
    Conflict {
        /// The key.
        key: String,
        /// The revision the caller knew.
        expected: u64,
        /// The revision of its last change.
        actual: u64,
    },
    /// The value is larger than the store takes.
    #[error("the value of {key} has {size} bytes; at most {limit} are stored")]
    TooLarge {
        /// The key.
        key: String,
        /// The size of the value, in bytes.
        size: usize,
        /// The largest size, in bytes.
        limit: usize,
    },
    /// The stored state of the key does not match its checksum, so a change cannot be judged by it.
    #[error("the stored record of {key} is damaged; restore it from a backup")]
    Corrupt {
        /// The key.
        key: String,
    },
    /// There is no space on the disk. Nothing was changed; try again later.
    #[error("there is no space left on the disk of the data directory")]
    NoSpace,
    /// The data directory cannot be written. Nothing was changed; try again later.
    #[error("the data directory is read-only")]
    ReadOnly,
    /// The store has failed and takes no more writes. Whether this one is on disk is unknown.
    #[error("the store takes no more writes")]
    Failed(#[source] Failure),
}

/// What made the store fail for good.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the store failed while {attempted}; the process must be started again")]
pub struct Failure {
    /// What was being done, e.g. `committing`.
    pub attempted: &'static str,
    /// The cause.
    #[source]
    pub source: Arc<dyn Error + Send + Sync>,
}

/// Whether the store takes writes.
#[derive(Clone, Debug)]
pub enum Health {
    /// It does.
    Writable,
    /// The disk is full. The store tries again by itself; reads work.
    NoSpace,
    /// The file system has become read-only. The store tries again by itself; reads work.
    ReadOnly,
    /// It never will again.
    Failed(Failure),
}

impl ReadError {
    /// Whether the database refuses every access from now on because one has failed, or because it
    /// was closed, in contrast to an answer about the data.
    pub(crate) fn is_latched(&self) -> bool {
        match self {
            Self::Unreadable(source) => matches!(
                **source,
                redb::Error::Io(_) | redb::Error::PreviousIo | redb::Error::DatabaseClosed
            ),
            Self::Compacted { .. }
            | Self::Future { .. }
            | Self::Corrupt { .. }
            | Self::Failed(_)
            | Self::Closed => false,
        }
    }

    /// Whether the database was closed under the reader.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self, Self::Unreadable(source) if matches!(**source, redb::Error::DatabaseClosed))
    }
}

impl From<redb::StorageError> for ReadError {
    fn from(error: redb::StorageError) -> Self {
        Self::Unreadable(Box::new(error.into()))
    }
}

impl From<redb::TableError> for ReadError {
    fn from(error: redb::TableError) -> Self {
        Self::Unreadable(Box::new(error.into()))
    }
}

impl From<redb::TransactionError> for ReadError {
    fn from(error: redb::TransactionError) -> Self {
        Self::Unreadable(Box::new(error.into()))
    }
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(
        || " by another process".into(),
        |pid| format!(" by process {pid}"),
    )
}
