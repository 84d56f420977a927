//! Forgetting: the oldest entries are removed, and that they were is recorded. When this is done
//! is the caller's choice.

use clos_auth::Identity;
use clos_store::{JournalQuery, Order, Store};
use jiff::{SignedDuration, Timestamp};

use crate::event::{Event, Outcome};
use crate::journal::{Journal, JournalError};
use crate::object::Object;
use crate::query::{PAGE, blocking, decode};

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// At most this many entries.
    pub max_records: u64,
    /// None older than this.
    pub max_age: SignedDuration,
}

impl Journal {
    /// Removes the entries from the old end that `retention` does not keep, and answers how many.
    /// If there are any, one event tells which; otherwise nothing is written.
    ///
    /// Age is judged from the oldest entry on and ends at the first that is young enough: after a
    /// clock was set back, some may be kept for longer, and none is removed too early.
    pub async fn retain(&self, retention: Retention, now: Timestamp) -> Result<u64, JournalError> {
        let store = self.store.clone();
        let Some(doomed) = blocking(move || doomed(&store, retention, now)).await? else {
            return Ok(0);
        };
        let event = Event {
            cause: Some(format!(
                "kept are at most {} events of the last {:#}",
                retention.max_records, retention.max_age
            )),
            actions: vec![format!(
                "remove audit events {} to {}",
                doomed.oldest, doomed.newest
            )],
            ..Event::new(
                &Identity::component("audit:retention"),
                "delete",
                Object::path("/audit"),
                Outcome::Changed,
            )
        };
        // First: a removal that nothing tells of must not be.
        self.record(event).await?;
        self.store
            .trim_journal(doomed.newest + 1)
            .await
            .map_err(JournalError::Write)?;
        Ok(doomed.newest - doomed.oldest + 1)
    }
}

struct Doomed {
    oldest: u64,
    newest: u64,
}

fn doomed(
    store: &Store,
    retention: Retention,
    now: Timestamp,
) -> Result<Option<Doomed>, JournalError> {
    let head = *store.journal_head().borrow();
    let mut query = JournalQuery {
        through: head,
        order: Order::Forwards,
        limit: 1,
        ..JournalQuery::default()
    };
    let first = store.journal(&query).map_err(JournalError::Read)?;
    let Some(oldest) = first.first().map(|record| record.seq) else {
        return Ok(None);
    };
    let kept = retention.max_records.max(1);
    let mut newest = oldest - 1;
    if head - newest > kept {
        // One more than are too many, because the event about it comes on top.
        newest = head + 1 - kept;
    }
    let cutoff = now
        .saturating_sub(retention.max_age)
        .unwrap_or(Timestamp::MIN);
    query.limit = PAGE;
    'pages: while newest < head {
        query.from = newest + 1;
        for record in store.journal(&query).map_err(JournalError::Read)? {
            if decode(&record)?.time >= cutoff {
                break 'pages;
            }
            newest = record.seq;
        }
    }
    Ok((oldest <= newest).then_some(Doomed { oldest, newest }))
}
