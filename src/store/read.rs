//! Reading one key, or a range of keys now or at an earlier revision. Writers never block it.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::ReadTransaction;

use crate::entry::Entry;
use crate::error::ReadError;
use crate::open::Store;
use crate::tables::{LOG, LogRecord, META, OBJECTS, Position, decode_object};

/// Which keys to read. The default is all of them, now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// What the keys start with.
    pub prefix: String,
    /// Only keys after this one: the last key of the page before.
    pub after_key: Option<String>,
    /// The revision whose state is read; `None` for the newest.
    pub at: Option<u64>,
    /// The most entries to return.
    pub limit: Option<usize>,
}

impl Range {
    /// All keys with a prefix, now.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            ..Self::default()
        }
    }

    fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.prefix) && self.after_key.as_deref().is_none_or(|after| key > after)
    }
}

/// Entries in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most the range's limit.
    pub entries: Vec<Entry>,
    /// The revision whose state this is; pass it as [`Range::at`] for the next page.
    pub revision: u64,
    /// Whether there are more entries after the last one.
    pub more: bool,
    /// How many.
    pub remaining: usize,
}

impl Store {
    /// The newest state of a key.
    pub fn get(&self, key: &str) -> Result<Option<Entry>, ReadError> {
        self.inner.shared.read(|transaction| {
            let objects = transaction.open_table(OBJECTS)?;
            match objects.get(key)? {
                Some(stored) => Ok(Some(decode_object(key, stored.value())?)),
                None => Ok(None),
            }
        })
    }

    /// A range of keys in one consistent state. Reading at an earlier revision costs as much more as
    /// has changed since.
    pub fn range(&self, range: &Range) -> Result<Page, ReadError> {
        self.inner.shared.read(|transaction| {
            let position = position(transaction)?;
            let at = range.at.unwrap_or(position.revision);
            if at > position.revision {
                return Err(ReadError::Future {
                    requested: at,
                    head: position.revision,
                });
            }
            if at < position.compacted {
                return Err(ReadError::Compacted {
                    requested: at,
                    oldest: position.compacted,
                });
            }
            let earlier = undo(transaction, range, at)?;
            collect(transaction, range, at, earlier)
        })
    }
}

pub(crate) fn position(transaction: &ReadTransaction) -> Result<Position, ReadError> {
    let missing = || ReadError::Corrupt {
        table: "meta",
        key: "counters".into(),
    };
    Position::load(&transaction.open_table(META)?)?.ok_or_else(missing)
}

/// The state at `at` of every key in the range that has changed since: what was there before its first
/// change after `at`.
fn undo(
    transaction: &ReadTransaction,
    range: &Range,
    at: u64,
) -> Result<BTreeMap<String, Option<Entry>>, ReadError> {
    let log = transaction.open_table(LOG)?;
    let mut earlier = BTreeMap::new();
    for item in log.range(at.saturating_add(1)..)? {
        let (revision, record) = item?;
        let record = LogRecord::parse(revision.value(), record.value())?;
        if range.contains(record.key) && !earlier.contains_key(record.key) {
            earlier.insert(record.key.to_owned(), record.previous());
        }
    }
    Ok(earlier)
}

/// Merges the newest state with what it was earlier.
fn collect(
    transaction: &ReadTransaction,
    range: &Range,
    at: u64,
    earlier: BTreeMap<String, Option<Entry>>,
) -> Result<Page, ReadError> {
    let objects = transaction.open_table(OBJECTS)?;
    let from = match &range.after_key {
        Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
        _ => Bound::Included(range.prefix.as_str()),
    };
    let mut earlier = earlier.into_iter().peekable();
    let mut page = Collected {
        entries: Vec::new(),
        limit: range.limit,
        remaining: 0,
    };
    for item in objects.range::<&str>((from, Bound::Unbounded))? {
        let (key, stored) = item?;
        let key = key.value();
        if !key.starts_with(&range.prefix) {
            break;
        }
        while let Some((_, entry)) = earlier.next_if(|(before, _)| before.as_str() < key) {
            page.push(entry);
        }
        match earlier.next_if(|(same, _)| same == key) {
            Some((_, entry)) => page.push(entry),
            None if page.is_full() => page.remaining += 1,
            None => page.push(Some(decode_object(key, stored.value())?)),
        }
    }
    for (_, entry) in earlier {
        page.push(entry);
    }
    Ok(Page {
        entries: page.entries,
        revision: at,
        more: page.remaining > 0,
        remaining: page.remaining,
    })
}

struct Collected {
    entries: Vec<Entry>,
    limit: Option<usize>,
    remaining: usize,
}

impl Collected {
    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.entries.len() >= limit)
    }

    fn push(&mut self, entry: Option<Entry>) {
        match entry {
            Some(_) if self.is_full() => self.remaining += 1,
            Some(entry) => self.entries.push(entry),
            None => {}
        }
    }
}
