//! What is stored and what happened to it: entries and events. How they lie on disk is in `tables`.

use bytes::Bytes;

/// The state of a key at some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The bytes as they were put; they never contain the revision.
    pub value: Bytes,
    /// The revision of the last change.
    pub revision: u64,
    /// The revision at which the key came to exist (again).
    pub created: u64,
}

/// What a revision did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The key did not exist before.
    Created,
    /// The key got a new value.
    Updated,
    /// The key was removed.
    Deleted,
}

/// One revision: the change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The revision this change is.
    pub revision: u64,
    /// The key that changed.
    pub key: String,
    /// What happened.
    pub kind: EventKind,
    /// The new state; for `Deleted` the last state, with the revision of its own last change.
    pub entry: Entry,
    /// The state before: `None` for `Created`; for `Deleted` the same as `entry`.
    pub previous: Option<Entry>,
}

impl Event {
    /// The bytes of memory its values hold, for the bound on recent events.
    pub(crate) fn size(&self) -> usize {
        let previous = self.previous.as_ref().map_or(0, |entry| entry.value.len());
        self.key.len() + self.entry.value.len() + previous
    }
}
