//! The journal: records of bytes with gap-free numbers, each in the transaction of its change. Writing
//! them is in `write` and `transaction`.

use bytes::Bytes;
use tokio::sync::watch;

use crate::error::ReadError;
use crate::open::Store;
use crate::tables::{JOURNAL, decode_journal};

/// Which records to read. The default is the first thousand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalQuery {
    /// The lowest number.
    pub from: u64,
    /// The highest number, itself included.
    pub through: u64,
    /// From which end to start.
    pub order: Order,
    /// The most records to return.
    pub limit: usize,
}

/// The order of journal records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The lowest number first.
    Forwards,
    /// The highest number first.
    Backwards,
}

impl Default for JournalQuery {
    fn default() -> Self {
        Self {
            from: 1,
            through: u64::MAX,
            order: Order::Forwards,
            limit: 1000,
        }
    }
}

/// A journal record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecord {
    /// Its number.
    pub seq: u64,
    /// What was recorded.
    pub bytes: Bytes,
}

impl Store {
    /// The records of a range of numbers. Those that were trimmed are not there: since numbers have no
    /// gaps, whoever follows the journal sees that.
    pub fn journal(&self, query: &JournalQuery) -> Result<Vec<JournalRecord>, ReadError> {
        if query.from > query.through {
            return Ok(Vec::new());
        }
        self.inner.shared.read(|transaction| {
            let journal = transaction.open_table(JOURNAL)?;
            let records = journal.range(query.from..=query.through)?;
            match query.order {
                Order::Forwards => collect(records, query.limit),
                Order::Backwards => collect(records.rev(), query.limit),
            }
        })
    }

    /// The number of the newest record, 0 before the first; changes wake whoever follows the journal.
    pub fn journal_head(&self) -> watch::Receiver<u64> {
        self.inner.journal_head.clone()
    }
}

type Stored<'a> = (
    redb::AccessGuard<'a, u64>,
    redb::AccessGuard<'a, &'static [u8]>,
);

fn collect<'a>(
    records: impl Iterator<Item = Result<Stored<'a>, redb::StorageError>>,
    limit: usize,
) -> Result<Vec<JournalRecord>, ReadError> {
    records
        .take(limit)
        .map(|item| {
            let (seq, bytes) = item?;
            let seq = seq.value();
            Ok(JournalRecord {
                seq,
                bytes: decode_journal(seq, bytes.value())?,
            })
        })
        .collect()
}
