//! Compaction and trimming, a slice at a time, so that writes get their turn between two slices.

use std::time::{Duration, Instant};

use redb::{ReadableTable, WriteTransaction};

use crate::containment::beside;
use crate::error::ReadError;
use crate::tables::{JOURNAL, LOG, META, Position};

/// The most records a slice removes.
const SLICE_RECORDS: u64 = 1024;
/// A slice removes no more records after this time; its commit comes on top.
const SLICE_TIME: Duration = Duration::from_millis(25);

/// What a slice has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// How many records it has removed; without any there is nothing to commit.
    pub removed: u64,
    /// Whether everything asked for is removed now.
    pub done: bool,
}

/// Removes the next slice of the log up to and including `through`, and counts it in `position`.
pub(crate) fn compact_slice(
    transaction: &WriteTransaction,
    position: &mut Position,
    through: u64,
) -> Result<Slice, ReadError> {
    let through = through.min(position.revision);
    let started = Instant::now();
    let mut log = transaction.open_table(LOG)?;
    let first = position.compacted + 1;
    for revision in first..=through.min(position.compacted.saturating_add(SLICE_RECORDS)) {
        log.remove(revision)?;
        position.compacted = revision;
        if started.elapsed() > SLICE_TIME {
            break;
        }
    }
    let (_log, mut meta) = beside(log, || transaction.open_table(META))?;
    position.save(&mut meta)?;
    Ok(Slice {
        removed: position.compacted + 1 - first,
        done: position.compacted >= through,
    })
}

/// Removes the next slice of journal records below `below`, but never the newest record.
pub(crate) fn trim_slice(
    transaction: &WriteTransaction,
    position: &Position,
    below: u64,
) -> Result<Slice, ReadError> {
    let below = below.min(position.seq);
    let started = Instant::now();
    let mut journal = transaction.open_table(JOURNAL)?;
    let mut removed = 0;
    while removed < SLICE_RECORDS && started.elapsed() < SLICE_TIME {
        let first = journal.first()?.map(|(seq, _)| seq.value());
        let Some(first) = first.filter(|first| *first < below) else {
            return Ok(Slice {
                removed,
                done: true,
            });
        };
        journal.remove(first)?;
        removed += 1;
    }
    Ok(Slice {
        removed,
        done: false,
    })
}

#[cfg(test)]
mod tests {
    use redb::Database;
    use redb::backends::InMemoryBackend;

    use super::*;

    /// A log and a journal with `count` records each.
    fn filled(count: u64) -> (Database, Position) {
        let database = Database::builder()
            .create_with_backend(InMemoryBackend::new())
            .unwrap();
        let transaction = database.begin_write().unwrap();
        for number in 1..=count {
            let mut log = transaction.open_table(LOG).unwrap();
            log.insert(number, &b"change"[..]).unwrap();
            let mut journal = transaction.open_table(JOURNAL).unwrap();
            journal.insert(number, &b"record"[..]).unwrap();
        }
        transaction.commit().unwrap();
        let position = Position {
            revision: count,
            compacted: 0,
            seq: count,
        };
        (database, position)
    }

    #[test]
    fn a_compaction_is_cut_into_slices_that_add_up() {
        let (database, mut position) = filled(2 * SLICE_RECORDS + 10);
        let mut removed = 0;
        loop {
            let transaction = database.begin_write().unwrap();
            let slice = compact_slice(&transaction, &mut position, 2 * SLICE_RECORDS).unwrap();
            transaction.commit().unwrap();
            assert!((1..=SLICE_RECORDS).contains(&slice.removed));
            removed += slice.removed;
            assert_eq!(position.compacted, removed);
            if slice.done {
                break;
            }
        }
        assert_eq!(removed, 2 * SLICE_RECORDS);
        let transaction = database.begin_write().unwrap();
        let log = transaction.open_table(LOG).unwrap();
        assert_eq!(log.first().unwrap().unwrap().0.value(), removed + 1);
    }

    #[test]
    fn nothing_to_remove_is_done_at_once_and_removes_nothing() {
        let nothing = Slice {
            removed: 0,
            done: true,
        };
        let (database, mut position) = filled(5);
        position.compacted = 3;
        let transaction = database.begin_write().unwrap();
        for through in [0, 3] {
            let slice = compact_slice(&transaction, &mut position, through);
            assert_eq!(slice.unwrap(), nothing);
            assert_eq!(position.compacted, 3);
        }
        let slice = trim_slice(&transaction, &position, 1);
        assert_eq!(slice.unwrap(), nothing);
    }
}
