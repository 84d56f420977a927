//! Counters of the writer, for whoever exports metrics. No metrics library here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Totals since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Durable commits of writes; maintenance is not counted.
    pub commits: u64,
    /// Puts, deletes and journal records in those commits: `writes / commits` is the batch size.
    pub writes: u64,
    /// The most writes in one commit.
    pub largest_batch: u64,
    /// Writes refused because their expectation did not hold.
    pub refused: u64,
    /// Bytes of values and journal records written.
    pub bytes: u64,
    /// Time spent in transactions that were committed, their `fsync` included.
    pub commit_time: Duration,
    /// Commits that failed, whatever the cause.
    pub failed_commits: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    writes: AtomicU64,
    largest_batch: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
    commit_nanos: AtomicU64,
    failed_commits: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, writes: u64, bytes: u64, took: Duration) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(writes, Ordering::Relaxed);
        self.largest_batch.fetch_max(writes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.commit_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, writes: u64) {
        self.refused.fetch_add(writes, Ordering::Relaxed);
    }

    pub(crate) fn commit_failed(&self) {
        self.failed_commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Stats {
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
            largest_batch: self.largest_batch.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            commit_time: Duration::from_nanos(self.commit_nanos.load(Ordering::Relaxed)),
            failed_commits: self.failed_commits.load(Ordering::Relaxed),
        }
    }
}
