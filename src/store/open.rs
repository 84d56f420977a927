//! How a folder becomes a [`Store`]: options, creation, checks, and the end. What a store can do is in
//! `write`, `read`, `watch` and `journal`.

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend};
use tokio::sync::{mpsc, watch};

use crate::backend::{Source, Watched};
use crate::backup::{folder_of, sync_folder};
use crate::containment::contained;
use crate::error::{Failure, Health, OpenError};
use crate::lock::LockFile;
use crate::shared::{Shared, Slot};
use crate::stats::Stats;
use crate::tables::{
    FORMAT, JOURNAL, LOG, META, META_FORMAT, Mark, OBJECTS, Position, decode_journal,
};
use crate::write::Request;
use crate::writer::Writer;

/// The database in a data directory.
pub(crate) const FILE_NAME: &str = "store.redb";

/// The store of record. Clones are cheap and share one writer; the database is closed when the last
/// of them is dropped, which waits for the commit in progress.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

/// How much memory a store may use.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of database pages kept in memory.
    pub cache_bytes: usize,
    /// How many events are kept in memory for watchers. Older ones are read from disk.
    pub recent_events: usize,
    /// How many bytes those events may hold.
    pub recent_bytes: usize,
    /// How many writes may wait; the next ones wait to be queued.
    pub queue: usize,
    /// How many writes share one commit at most.
    pub batch: usize,
    /// Whether every page is checked against its checksum on opening. Costs reading the whole file, about half a second
    /// for 150 MB; without it damage outside the values may be found late. After a crash it is done in any case.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // Holds the upper levels of the trees and what was just read; the rest the system has in memory for long.
            cache_bytes: 512 << 10,
            recent_events: 8192,
            // A burst of some hundred objects; whoever is further behind reads the log.
            recent_bytes: 256 << 10,
            queue: 1024,
            batch: 256,
            verify: true,
        }
    }
}

impl Store {
    /// Opens the store in `dir`, creating the folder (mode 0700) and the store when they do not exist.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        create_dir(dir)?;
        let lock = LockFile::acquire(dir)?;
        let path = dir.join(FILE_NAME);
        let wrap = |error| io_error(&path, error);
        if !path.try_exists().map_err(wrap)? {
            create_file(dir, &path, &options)?;
        } else if std::fs::metadata(&path).map_err(wrap)?.len() == 0 {
            // redb would make an empty database of it and everything would seem to be gone.
            return Err(OpenError::Corrupt {
                path,
                source: "the file is empty".into(),
            });
        }
        Self::start(Source::File(path), options, Some(lock))
    }

    /// A store in memory, with the same code above the storage.
    pub fn in_memory() -> Self {
        Self::with_backend(InMemoryBackend::new(), Options::default())
            .expect("memory has no I/O that fails and holds no earlier data")
    }

    /// A store on any storage redb can use; without a lock file. An empty backend becomes a new store.
    pub fn with_backend(backend: impl StorageBackend, options: Options) -> Result<Self, OpenError> {
        let backend: Arc<dyn StorageBackend> = Arc::new(backend);
        let source = Source::Backend(Arc::clone(&backend));
        if backend
            .len()
            .map_err(|error| io_error(&location(&source), error))?
            == 0
        {
            let slot = open_database(&source, &options)?;
            initialise(&slot).map_err(|error| redb_error(&location(&source), error))?;
        }
        Self::start(source, options, None)
    }

    /// The newest durable revision; 0 before the first change.
    pub fn revision(&self) -> u64 {
        self.inner.shared.head()
    }

    /// The oldest revision whose state can be read and after which a watch can start.
    pub fn compacted(&self) -> u64 {
        self.inner.shared.compacted()
    }

    /// Whether the store takes writes now.
    pub fn health(&self) -> Health {
        self.inner.shared.health()
    }

    /// Resolves when the store takes writes: at once, unless the disk is full.
    pub async fn writable(&self) {
        self.inner.shared.writable().await;
    }

    /// Resolves when the store has failed for good; the process should stop then.
    pub async fn failed(&self) -> Failure {
        self.inner.shared.failed().await
    }

    /// Totals since the store was opened.
    pub fn stats(&self) -> Stats {
        self.inner.shared.counters.snapshot()
    }

    fn start(source: Source, options: Options, lock: Option<LockFile>) -> Result<Self, OpenError> {
        let path = location(&source);
        let slot = open_database(&source, &options)?;
        let loaded = load(&slot.database, &path)?;
        let (head_sender, head) = watch::channel(loaded.position.revision);
        let (journal_sender, journal_head) = watch::channel(loaded.position.seq);
        let (sender, requests) = mpsc::channel(options.queue.max(1));
        let shared = Arc::new(Shared::new(slot, loaded.position, head, &options));
        let writer = Writer::new(
            Arc::clone(&shared),
            source,
            options,
            requests,
            (head_sender, journal_sender),
            loaded.position,
            loaded.last_record,
        );
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(|error| io_error(&path, error))?;
        let inner = Inner {
            shared,
            journal_head,
            sender: Some(sender),
            writer: Some(thread),
            _lock: lock,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

/// What the clones of a store share, and what ends with the last of them.
#[derive(Debug)]
pub(crate) struct Inner {
    pub shared: Arc<Shared>,
    pub journal_head: watch::Receiver<u64>,
    sender: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    _lock: Option<LockFile>,
}

impl Inner {
    pub(crate) fn sender(&self) -> &mpsc::Sender<Request> {
        self.sender
            .as_ref()
            .expect("it is taken when the last store is dropped, not before")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(writer) = self.writer.take()
            // The last store may have been inside a record that the writer has just built.
            && writer.thread().id() != std::thread::current().id()
        {
            // Its panic has already become the store's failure.
            let _ = writer.join();
        }
        self.shared.close();
    }
}

/// Opens the database behind `source`, without asking what is in it.
pub(crate) fn open_database(source: &Source, options: &Options) -> Result<Slot, OpenError> {
    open_backend(source, source.backend(), options, false)
}

/// The same, to be read only.
pub(crate) fn open_frozen(source: &Source, options: &Options) -> Result<Slot, OpenError> {
    open_backend(source, source.frozen(), options, true)
}

fn open_backend(
    source: &Source,
    backend: Result<Watched, DatabaseError>,
    options: &Options,
    frozen: bool,
) -> Result<Slot, OpenError> {
    let wrap = |error| database_error(&location(source), error);
    let backend = backend.map_err(wrap)?;
    let fault = backend.fault();
    let open = || {
        Builder::new()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(options.verify)
            .create_with_backend(backend)
    };
    let database = contained(open)
        .map_err(|panic| damaged(&location(source), panic))?
        .map_err(wrap)?;
    Ok(Slot {
        database,
        fault,
        frozen,
    })
}

pub(crate) struct Loaded {
    pub position: Position,
    pub last_record: Option<Bytes>,
}

/// Reads how far everything has been numbered, and refuses what this version cannot read.
pub(crate) fn load(database: &Database, path: &Path) -> Result<Loaded, OpenError> {
    contained(|| load_verified(database, path)).unwrap_or_else(|panic| Err(damaged(path, panic)))
}

fn load_verified(database: &Database, path: &Path) -> Result<Loaded, OpenError> {
    let corrupt = |what: &str| damaged(path, what);
    let wrap = |error| redb_error(path, error);
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let meta = transaction.open_table(META)?;
        let format = meta.get(META_FORMAT)?.map(|guard| guard.value());
        let mark = Mark::load(&meta)?;
        Ok((transaction, meta, format, mark))
    };
    let (transaction, meta, format, mark) = read().map_err(wrap)?;
    match format {
        None => return Err(corrupt("it does not say its format")),
        Some(found) if found > FORMAT => {
            let path = path.to_owned();
            return Err(OpenError::NewerFormat {
                path,
                found,
                supported: FORMAT,
            });
        }
        Some(_) => {}
    }
    if mark.is_some() {
        return Err(OpenError::IsBackup {
            path: path.to_owned(),
        });
    }
    let read = || -> Result<_, redb::Error> {
        let newest_change = transaction
            .open_table(LOG)?
            .last()?
            .map(|(key, _)| key.value());
        let journal = transaction.open_table(JOURNAL)?;
        let record = journal
            .last()?
            .map(|(seq, bytes)| (seq.value(), bytes.value().to_vec()));
        transaction.open_table(OBJECTS)?;
        Ok((Position::load(&meta)?, newest_change, record))
    };
    let (position, newest_change, record) = read().map_err(wrap)?;
    let position = position.ok_or_else(|| corrupt("its counters are missing"))?;
    if newest_change.unwrap_or(position.compacted) != position.revision {
        return Err(corrupt("its log does not end at its newest revision"));
    }
    let last_record = match record {
        Some((seq, bytes)) if seq == position.seq => Some(
            decode_journal(seq, &bytes)
                .map_err(|_| corrupt("its newest journal record is damaged"))?,
        ),
        None if position.seq == 0 => None,
        _ => return Err(corrupt("its journal does not end at its newest record")),
    };
    Ok(Loaded {
        position,
        last_record,
    })
}

pub(crate) fn location(source: &Source) -> PathBuf {
    match source {
        Source::File(path) => path.clone(),
        Source::Backend(_) => PathBuf::from("the storage backend"),
    }
}

pub(crate) fn io_error(path: &Path, source: std::io::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::NotWritable { path, source }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::NoSpace { path, source },
        // redb reports a file that is not a database, or a cut one, in this way.
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => OpenError::Corrupt {
            path,
            source: source.into(),
        },
        _ => OpenError::Io {
            path,
            source: source.into(),
        },
    }
}

pub(crate) fn create_dir(dir: &Path) -> Result<(), OpenError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| io_error(dir, error))
}

/// Makes a complete store under another name first: a crash must not leave a file that looks like an
/// empty store.
fn create_file(dir: &Path, path: &Path, options: &Options) -> Result<(), OpenError> {
    let temporary = dir.join("store.redb.new");
    let wrap = |error| io_error(&temporary, error);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(wrap)?;
    let slot = open_database(&Source::File(temporary.clone()), options)?;
    initialise(&slot).map_err(|error| redb_error(&temporary, error))?;
    slot.database
        .close()
        .map_err(|error| database_error(&temporary, error))?;
    std::fs::rename(&temporary, path).map_err(wrap)?;
    // The names must survive a power cut, too: that of the file, and that of the folder.
    for folder in [dir, folder_of(dir)] {
        sync_folder(folder).map_err(|error| io_error(folder, error))?;
    }
    Ok(())
}

fn initialise(slot: &Slot) -> Result<(), redb::Error> {
    let transaction = slot.database.begin_write()?;
    {
        transaction.open_table(OBJECTS)?;
        transaction.open_table(LOG)?;
        transaction.open_table(JOURNAL)?;
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        Position::default().save(&mut meta)?;
    }
    transaction.commit()?;
    Ok(())
}

fn damaged(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpenError {
    OpenError::Corrupt {
        path: path.to_owned(),
        source: source.into(),
    }
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::Held {
                path: path.to_owned(),
                pid: None,
            }
        }
        other => redb_error(path, other.into()),
    }
}

fn redb_error(path: &Path, error: redb::Error) -> OpenError {
    match error {
        redb::Error::Io(error) => io_error(path, error),
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => OpenError::Io {
            path: path.to_owned(),
            source: error.into(),
        },
        other => OpenError::Corrupt {
            path: path.to_owned(),
            source: other.into(),
        },
    }
}
