//! The record of truth: a revisioned key-value log on redb.
//!
//! The store knows keys, bytes and revisions; what the bytes mean is its users' business. Every put
//! and delete is one revision, numbered from 1 without a gap and never used twice. A write is
//! answered after its `fsync`; a journal record given along with it is in the same transaction, so
//! neither exists without the other.
//!
//! In reading order: `entry` (what is stored), `write` (what can be asked for), `tables` (how it
//! lies on disk), `open` with `lock` and `backend` (how a folder becomes a store), `writer`
//! with `transaction`, `maintenance` and `recovery` (the one thread that changes anything), `shared` with `recent` (what
//! it publishes), `read`, `watch` and `journal` (how it is looked at), `backup`, `check` and `restore` with `overlay` (copies
//! of it), `containment` (what redb's panics become), `stats`, `error`.
//!
//! # Revisions and compaction
//!
//! [`Store::compacted`] is C, [`Store::revision`] is H: the log holds exactly the changes C+1 to H. So
//! the state at every revision from C to H can be read, and a watch can start after every revision
//! from C on. Below C both answer `Compacted`.
//!
//! # Backups
//!
//! [`Store::backup`] copies one durable revision into a file while writes go on, [`check_backup`] verifies such a file,
//! and [`restore`] makes a store of it. A restored store goes on at a revision far beyond all that the lost one can have given out,
//! and everything up to there is compacted: clients begin anew.
//!
//! # When the disk fails
//!
//! A commit that runs out of space before its `fsync` is rolled back by opening the database again:
//! its writes answer [`CommitError::NoSpace`], reads go on, and the store looks by itself for space and tries again. One that finds the
//! file system read-only is rolled back in the same way: what is there is read, with what redb wants to write kept in memory, writes answer
//! [`CommitError::ReadOnly`], and the store tries to open its database to be written. After any other I/O error the truth on disk is not known to this process (a failed
//! `fsync` may have dropped the pages it could not write), so the store answers
//! [`CommitError::Failed`] from then on and [`Store::failed`] resolves: stop the process and start it
//! again. Reads go on where their pages are in memory.

mod backend;
mod backup;
mod check;
mod containment;
mod entry;
mod error;
#[cfg(feature = "fake")]
mod fake;
mod journal;
mod lock;
mod maintenance;
mod open;
mod overlay;
mod read;
mod recent;
mod recovery;
mod restore;
mod shared;
mod stats;
mod tables;
mod transaction;
mod watch;
mod write;
mod writer;

pub use backup::{Backup, BackupError};
pub use check::{CheckError, check_backup};
pub use entry::{Entry, Event, EventKind};
pub use error::{CommitError, Failure, Health, OpenError, ReadError, WatchError};
#[cfg(feature = "fake")]
pub use fake::FakeDisk;
pub use journal::{JournalQuery, JournalRecord, Order};
pub use open::{Options, Store};
pub use read::{Page, Range};
pub use restore::{Restore, RestoreError, Restored, restore};
pub use stats::Stats;
pub use watch::Watch;
pub use write::{Committed, Delete, Expect, Put, Record, Stamp};
