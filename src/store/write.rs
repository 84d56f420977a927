//! What can be asked of the store: put, delete, journal records, and how they wait for their answer.
//! What happens to them is in `transaction`.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::entry::Entry;
use crate::error::{CommitError, Failure};
use crate::open::Store;

/// The largest value that is stored, in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 32 << 20;

/// What the caller knows about the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Any,
    /// It does not exist.
    Absent,
    /// Its last change is this revision.
    Revision(u64),
}

/// A journal record that is built when its place is known and stored in the same transaction as its
/// change. It runs on the writer's thread, so it must be quick, and it may run in a transaction which
/// then fails, so it must not count on being stored: everything it needs from its predecessor is in the
/// [`Stamp`].
pub type Record = Box<dyn FnOnce(Stamp) -> Vec<u8> + Send>;

/// The place of a journal record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number of the record: from 1, without gaps.
    pub seq: u64,
    /// The revision of the change it belongs to; `None` for a record of its own.
    pub revision: Option<u64>,
    /// The record before it; `None` for the first.
    pub previous: Option<Bytes>,
}

/// Stores a value under a key.
pub struct Put {
    /// The key.
    pub key: String,
    /// The value, at most 32 MiB.
    pub value: Vec<u8>,
    /// The condition under which it is stored.
    pub expect: Expect,
    /// A journal record of this change.
    pub record: Option<Record>,
}

/// Removes a key, which must exist.
pub struct Delete {
    /// The key.
    pub key: String,
    /// The condition under which it is removed.
    pub expect: Expect,
    /// A journal record of this change.
    pub record: Option<Record>,
}

/// A durable change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its revision.
    pub revision: u64,
    /// The new state; for a delete the last one, with the revision of its own last change.
    pub entry: Entry,
    /// The state before; for a delete the same as `entry`.
    pub previous: Option<Entry>,
    /// The number of its journal record.
    pub seq: Option<u64>,
}

impl Put {
    /// A put without a condition and without a record.
    pub fn new(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            expect: Expect::Any,
            record: None,
        }
    }
}

impl Delete {
    /// A delete without a condition and without a record.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            expect: Expect::Any,
            record: None,
        }
    }
}

impl Store {
    /// Stores a value. Answers when it is durable and published. A caller that stops waiting does not
    /// stop the write.
    pub async fn put(&self, put: Put) -> Result<Committed, CommitError> {
        if put.value.len() > MAX_VALUE_BYTES {
            let (key, size) = (put.key, put.value.len());
            return Err(CommitError::TooLarge {
                key,
                size,
                limit: MAX_VALUE_BYTES,
            });
        }
        let Put {
            key,
            value,
            expect,
            record,
        } = put;
        self.change(Change {
            key,
            value: Some(value.into()),
            expect,
            record,
        })
        .await
    }

    /// Removes a key. Answers when that is durable and published; [`CommitError::NotFound`] when there is
    /// no such key, whatever was expected.
    pub async fn delete(&self, delete: Delete) -> Result<Committed, CommitError> {
        let Delete {
            key,
            expect,
            record,
        } = delete;
        self.change(Change {
            key,
            value: None,
            expect,
            record,
        })
        .await
    }

    /// Stores a journal record without a change, and answers its number.
    pub async fn append(&self, record: Record) -> Result<u64, CommitError> {
        self.ask(|reply| Request::Write(Write::Append { record, reply }))
            .await
    }

    /// Forgets the changes up to and including a revision, in slices that hardly delay writes. A
    /// revision beyond the newest means the newest; one below [`Store::compacted`] changes nothing.
    pub async fn compact(&self, through: u64) -> Result<(), CommitError> {
        self.ask(|reply| Request::Maintain(Maintenance::Compact { through, reply }))
            .await
    }

    /// Removes the journal records below a number, in slices. The newest record always stays: the next
    /// one may have to refer to it.
    pub async fn trim_journal(&self, below_seq: u64) -> Result<(), CommitError> {
        self.ask(|reply| {
            Request::Maintain(Maintenance::Trim {
                below: below_seq,
                reply,
            })
        })
        .await
    }

    async fn change(&self, change: Change) -> Result<Committed, CommitError> {
        self.ask(|reply| Request::Write(Write::Change { change, reply }))
            .await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        if self.inner.sender().send(request(reply)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        // The writer ends before the last store only by a panic, which is a failure.
        let failure: Failure = self.failed().await;
        Err(CommitError::Failed(failure))
    }
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, CommitError>>;

/// What is queued for the writer.
pub(crate) enum Request {
    Write(Write),
    Maintain(Maintenance),
}

/// What shares a commit with others.
pub(crate) enum Write {
    Change {
        change: Change,
        reply: Reply<Committed>,
    },
    Append {
        record: Record,
        reply: Reply<u64>,
    },
}

/// A put, or a delete when there is no value.
pub(crate) struct Change {
    pub key: String,
    pub value: Option<Bytes>,
    pub expect: Expect,
    pub record: Option<Record>,
}

/// What is done in slices between commits.
pub(crate) enum Maintenance {
    Compact { through: u64, reply: Reply<()> },
    Trim { below: u64, reply: Reply<()> },
}

impl Write {
    /// The bytes it brings, as far as they are known before it is applied.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Change { change, .. } => {
                change.key.len() + change.value.as_ref().map_or(0, Bytes::len)
            }
            Self::Append { .. } => 0,
        }
    }

    pub(crate) fn refuse(self, error: CommitError) {
        // A caller that stopped waiting needs no answer; so it is wherever a reply is sent.
        match self {
            Self::Change { reply, .. } => drop(reply.send(Err(error))),
            Self::Append { reply, .. } => drop(reply.send(Err(error))),
        }
    }
}

impl Maintenance {
    pub(crate) fn answer(self, result: Result<(), CommitError>) {
        match self {
            Self::Compact { reply, .. } | Self::Trim { reply, .. } => drop(reply.send(result)),
        }
    }
}
