//! One batch of writes inside one transaction: each sees those before it, a refused one changes
//! nothing. Committing, publishing and answering is the writer's.

use std::sync::Arc;

use bytes::Bytes;
use redb::{ReadableTable, Table, WriteTransaction};

use crate::containment::beside;
use crate::entry::{Entry, Event, EventKind};
use crate::error::{CommitError, ReadError};
use crate::tables::{
    JOURNAL, LOG, META, OBJECTS, Position, decode_object, encode_event, encode_journal,
    encode_object,
};
use crate::write::{Change, Committed, Expect, Record, Reply, Stamp, Write};

/// What a batch does, until it is committed.
pub(crate) struct Batch {
    /// How far everything is numbered with it.
    pub position: Position,
    /// The newest journal record with it.
    pub last_record: Option<Bytes>,
    pub events: Vec<Arc<Event>>,
    /// The answers, in the order of the requests.
    pub answers: Vec<Answer>,
    /// Bytes of values and records.
    pub bytes: u64,
}

/// An answer that is sent when the batch is durable, or replaced when it is not.
pub(crate) enum Answer {
    Change(Reply<Committed>, Result<Committed, CommitError>),
    Append(Reply<u64>, u64),
}

impl Answer {
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Change(_, Err(_)))
    }

    pub(crate) fn send(self) {
        match self {
            Self::Change(reply, result) => drop(reply.send(result)),
            Self::Append(reply, seq) => drop(reply.send(Ok(seq))),
        }
    }

    pub(crate) fn refuse(self, error: CommitError) {
        match self {
            Self::Change(reply, _) => drop(reply.send(Err(error))),
            Self::Append(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

impl Batch {
    pub(crate) fn new(position: Position, last_record: Option<Bytes>) -> Self {
        Self {
            position,
            last_record,
            events: Vec::new(),
            answers: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes `writes` one by one into the transaction. On an error the rest of them stay in `writes`,
    /// and the transaction must be given up.
    pub(crate) fn apply(
        &mut self,
        transaction: &WriteTransaction,
        writes: &mut impl Iterator<Item = Write>,
    ) -> Result<(), ReadError> {
        let mut tables = Tables::open(transaction)?;
        for write in writes {
            match write {
                Write::Change { change, reply } => match self.change(&mut tables, change) {
                    Ok(result) => self.answers.push(Answer::Change(reply, result)),
                    Err(error) => {
                        // Replaced by the caller, as every answer of a failed batch.
                        self.answers
                            .push(Answer::Change(reply, Err(CommitError::NoSpace)));
                        return Err(error);
                    }
                },
                Write::Append { record, reply } => {
                    self.answers
                        .push(Answer::Append(reply, self.position.seq + 1));
                    self.append(&mut tables, record, None)?;
                }
            }
        }
        let (_tables, mut meta) = beside(tables, || transaction.open_table(META))?;
        self.position.save(&mut meta)?;
        Ok(())
    }

    fn change(
        &mut self,
        tables: &mut Tables<'_>,
        change: Change,
    ) -> Result<Result<Committed, CommitError>, ReadError> {
        let Change {
            key,
            value,
            expect,
            record,
        } = change;
        let previous = match tables.objects.get(key.as_str())? {
            Some(stored) => match decode_object(&key, stored.value()) {
                Ok(entry) => Some(entry),
                // One damaged value must not end the whole store.
                Err(_) => return Ok(Err(CommitError::Corrupt { key })),
            },
            None => None,
        };
        if let Err(refusal) = check(&key, expect, previous.as_ref(), value.is_none()) {
            return Ok(Err(refusal));
        }
        let revision = self.position.revision + 1;
        let created = previous.as_ref().map_or(revision, |entry| entry.created);
        let (kind, entry) = match (value, &previous) {
            (Some(value), before) => {
                let kind = if before.is_some() {
                    EventKind::Updated
                } else {
                    EventKind::Created
                };
                let entry = Entry {
                    key: key.clone(),
                    value,
                    revision,
                    created,
                };
                tables
                    .objects
                    .insert(key.as_str(), encode_object(&entry).as_slice())?;
                (kind, entry)
            }
            (None, Some(removed)) => {
                tables.objects.remove(key.as_str())?;
                (EventKind::Deleted, removed.clone())
            }
            (None, None) => return Ok(Err(CommitError::NotFound { key })),
        };
        let event = Event {
            revision,
            key,
            kind,
            entry,
            previous,
        };
        let encoded = encode_event(&event);
        tables.log.insert(revision, encoded.as_slice())?;
        self.position.revision = revision;
        self.bytes += event.entry.value.len() as u64;
        let seq = match record {
            Some(record) => Some(self.append(tables, record, Some(revision))?),
            None => None,
        };
        let committed = Committed {
            revision,
            entry: event.entry.clone(),
            previous: event.previous.clone(),
            seq,
        };
        self.events.push(Arc::new(event));
        Ok(Ok(committed))
    }

    fn append(
        &mut self,
        tables: &mut Tables<'_>,
        record: Record,
        revision: Option<u64>,
    ) -> Result<u64, ReadError> {
        let seq = self.position.seq + 1;
        let bytes = record(Stamp {
            seq,
            revision,
            previous: self.last_record.clone(),
        });
        tables
            .journal
            .insert(seq, encode_journal(seq, &bytes).as_slice())?;
        self.position.seq = seq;
        self.bytes += bytes.len() as u64;
        self.last_record = Some(bytes.into());
        Ok(seq)
    }
}

struct Tables<'t> {
    objects: Table<'t, &'static str, &'static [u8]>,
    log: Table<'t, u64, &'static [u8]>,
    journal: Table<'t, u64, &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, ReadError> {
        let objects = transaction.open_table(OBJECTS)?;
        let (objects, log) = beside(objects, || transaction.open_table(LOG))?;
        let ((objects, log), journal) = beside((objects, log), || transaction.open_table(JOURNAL))?;
        Ok(Self {
            objects,
            log,
            journal,
        })
    }
}

/// Whether the expectation holds; a delete needs the key as well.
fn check(
    key: &str,
    expect: Expect,
    current: Option<&Entry>,
    delete: bool,
) -> Result<(), CommitError> {
    let key = || key.to_owned();
    match (expect, current) {
        (Expect::Revision(_), None) => Err(CommitError::NotFound { key: key() }),
        (_, None) if delete => Err(CommitError::NotFound { key: key() }),
        (Expect::Absent, Some(entry)) => Err(CommitError::Exists {
            key: key(),
            actual: entry.revision,
        }),
        (Expect::Revision(expected), Some(entry)) if entry.revision != expected => {
            Err(CommitError::Conflict {
                key: key(),
                expected,
                actual: entry.revision,
            })
        }
        (Expect::Any | Expect::Absent, None) | (Expect::Any | Expect::Revision(_), Some(_)) => {
            Ok(())
        }
    }
}
