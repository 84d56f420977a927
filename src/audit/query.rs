//! Reading the journal: entries that match a filter, from either end or as they come. Writing is
//! in `journal`.

use std::collections::VecDeque;

pub use clos_store::Order;
use clos_store::{JournalQuery, JournalRecord, ReadError, Store};
use futures::stream::{self, Stream};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::event::Entry;
use crate::journal::{Journal, JournalError};
use crate::object::{Object, ObjectRef};

/// How many entries are read at a time.
pub(crate) const PAGE: usize = 500;

/// Which entries; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this object, or any of this collection; its version and subresource do not matter.
    pub object: Option<ObjectRef>,
    /// About something that, as printed, contains this text: for people, who know a part of it.
    pub about: Option<String>,
    /// With this verb.
    pub verb: Option<String>,
    /// By this actor, as printed: `user:admin`.
    pub actor: Option<String>,
    /// Recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Recorded before this time.
    pub until: Option<Timestamp>,
}

/// A reader that goes through the journal from its oldest end.
struct Follower {
    store: Store,
    head: watch::Receiver<u64>,
    filter: Filter,
    /// The number of the last entry read.
    cursor: u64,
    ready: VecDeque<Result<Entry, JournalError>>,
}

impl Filter {
    /// Whether `entry` is one of those asked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        let about = |wanted: &ObjectRef| match &entry.event.object {
            Object::Resource(object) => wanted.covers(object),
            Object::Path(_) => false,
        };
        let printed = |text: &String| entry.event.object.to_string().contains(text.as_str());
        self.object.as_ref().is_none_or(about)
            && self.about.as_ref().is_none_or(printed)
            && self
                .verb
                .as_ref()
                .is_none_or(|verb| *verb == entry.event.verb)
            && self
                .actor
                .as_ref()
                .is_none_or(|actor| *actor == entry.event.actor)
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

impl Journal {
    /// Up to `limit` entries that match, in `order`. The whole journal is looked through if need
    /// be; other tasks are not held up meanwhile.
    pub async fn query(
        &self,
        filter: Filter,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, JournalError> {
        let store = self.store.clone();
        blocking(move || search(&store, &filter, order, limit)).await
    }

    /// The entries after number `after` that match, oldest first, and then each further one when
    /// it is durable; none is left out and none comes twice. With `after` 0 it begins with the
    /// oldest that is still kept; later, entries that retention removed unseen are reported as
    /// [`JournalError::Removed`] and the stream goes on behind them. Any other error ends it.
    pub fn follow(
        &self,
        filter: Filter,
        after: u64,
    ) -> impl Stream<Item = Result<Entry, JournalError>> + Send + use<> {
        let follower = Follower {
            store: self.store.clone(),
            head: self.store.journal_head(),
            filter,
            cursor: after,
            ready: VecDeque::new(),
        };
        stream::unfold(Some(follower), |follower| async {
            let mut follower = follower?;
            let item = follower.next().await?;
            let ended = matches!(
                item,
                Err(JournalError::Read(_) | JournalError::Malformed { .. })
            );
            Some((item, (!ended).then_some(follower)))
        })
    }
}

impl Follower {
    async fn next(&mut self) -> Option<Result<Entry, JournalError>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            let newest = *self.head.borrow_and_update();
            if newest <= self.cursor {
                self.head.changed().await.ok()?;
                continue;
            }
            match page(&self.store, self.cursor, newest).await {
                Ok(records) => self.take(&records, newest),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn take(&mut self, records: &[JournalRecord], newest: u64) {
        let oldest = records.first().map_or(newest + 1, |record| record.seq);
        if self.cursor > 0 && oldest > self.cursor + 1 {
            let after = self.cursor;
            self.ready
                .push_back(Err(JournalError::Removed { after, oldest }));
        }
        self.cursor = records.last().map_or(newest, |record| record.seq);
        for record in records {
            match decode(record) {
                Ok(entry) if !self.filter.matches(&entry) => {}
                item => self.ready.push_back(item),
            }
        }
    }
}

/// The records after `cursor` and not after `newest`, at most a page of them.
pub(crate) async fn page(
    store: &Store,
    cursor: u64,
    newest: u64,
) -> Result<Vec<JournalRecord>, JournalError> {
    let store = store.clone();
    let query = JournalQuery {
        from: cursor + 1,
        through: newest,
        order: Order::Forwards,
        limit: PAGE,
    };
    blocking(move || store.journal(&query).map_err(JournalError::Read)).await
}

pub(crate) fn decode(record: &JournalRecord) -> Result<Entry, JournalError> {
    serde_json::from_slice(&record.bytes).map_err(|source| JournalError::Malformed {
        seq: record.seq,
        source,
    })
}

/// Runs `read` where waiting for the disk holds nobody up.
pub(crate) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_) => Err(JournalError::Read(ReadError::Closed)),
        },
    }
}

fn search(
    store: &Store,
    filter: &Filter,
    order: Order,
    limit: usize,
) -> Result<Vec<Entry>, JournalError> {
    let mut found = Vec::new();
    let mut query = JournalQuery {
        order,
        limit: PAGE,
        ..JournalQuery::default()
    };
    loop {
        let records = store.journal(&query).map_err(JournalError::Read)?;
        let Some(last) = records.last() else {
            return Ok(found);
        };
        match order {
            Order::Forwards => query.from = last.seq + 1,
            Order::Backwards => query.through = last.seq - 1,
        }
        for record in &records {
            if found.len() == limit {
                return Ok(found);
            }
            let entry = decode(record)?;
            if filter.matches(&entry) {
                found.push(entry);
            }
        }
    }
}
