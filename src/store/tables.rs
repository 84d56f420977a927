//! How everything lies on disk: redb's tables and the encoding of their values, each with its own
//! checksum, because redb verifies its pages only when it opens a database. What the records are used
//! for is elsewhere.
//!
//! | table | key | value |
//! |---|---|---|
//! | `objects` | key | checksum, revision, created, value: the newest state |
//! | `log` | revision | checksum, kind, key, the state before, the value: self-contained |
//! | `journal` | sequence number | checksum, bytes |
//! | `meta` | name | the counters that must survive deletion and compaction |
//!
//! Numbers are little-endian. A checksum is the CRC-32 of the record's key and of all bytes after it,
//! so a record that turns up under another key is found as well.

use bytes::Bytes;
use redb::{ReadableTable, StorageError, TableDefinition};

use crate::entry::{Entry, Event, EventKind};
use crate::error::ReadError;

pub(crate) const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
pub(crate) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
pub(crate) const JOURNAL: TableDefinition<u64, &[u8]> = TableDefinition::new("journal");
pub(crate) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The format this version writes, and the newest it reads.
pub(crate) const FORMAT: u64 = 1;

pub(crate) const META_FORMAT: &str = "format";
const META_REVISION: &str = "revision";
const META_COMPACTED: &str = "compacted";
const META_SEQ: &str = "seq";
const META_BACKUP_OBJECTS: &str = "backup-objects";
const META_BACKUP_RECORDS: &str = "backup-records";

/// How far everything has been numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The newest revision.
    pub revision: u64,
    /// The log holds the revisions after this one.
    pub compacted: u64,
    /// The newest journal record.
    pub seq: u64,
}

impl Position {
    /// `None` when a counter is missing.
    pub(crate) fn load(
        meta: &impl ReadableTable<&'static str, u64>,
    ) -> Result<Option<Self>, StorageError> {
        let number = |name| Ok::<_, StorageError>(meta.get(name)?.map(|guard| guard.value()));
        let counters = (
            number(META_REVISION)?,
            number(META_COMPACTED)?,
            number(META_SEQ)?,
        );
        Ok(match counters {
            (Some(revision), Some(compacted), Some(seq)) => Some(Self {
                revision,
                compacted,
                seq,
            }),
            _ => None,
        })
    }

    pub(crate) fn save(
        &self,
        meta: &mut redb::Table<'_, &'static str, u64>,
    ) -> Result<(), StorageError> {
        meta.insert(META_REVISION, self.revision)?;
        meta.insert(META_COMPACTED, self.compacted)?;
        meta.insert(META_SEQ, self.seq)?;
        Ok(())
    }
}

/// What makes a file a backup, which is no store: a store that went on at its revision would give out others' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// How many objects were written.
    pub objects: u64,
    /// How many journal records were written.
    pub records: u64,
}

impl Mark {
    /// `None` for a store.
    pub(crate) fn load(
        meta: &impl ReadableTable<&'static str, u64>,
    ) -> Result<Option<Self>, StorageError> {
        let number = |name| Ok::<_, StorageError>(meta.get(name)?.map(|guard| guard.value()));
        let counts = (number(META_BACKUP_OBJECTS)?, number(META_BACKUP_RECORDS)?);
        Ok(match counts {
            (Some(objects), Some(records)) => Some(Self { objects, records }),
            _ => None,
        })
    }

    pub(crate) fn save(
        self,
        meta: &mut redb::Table<'_, &'static str, u64>,
    ) -> Result<(), StorageError> {
        meta.insert(META_BACKUP_OBJECTS, self.objects)?;
        meta.insert(META_BACKUP_RECORDS, self.records)?;
        Ok(())
    }

    pub(crate) fn remove(
        meta: &mut redb::Table<'_, &'static str, u64>,
    ) -> Result<(), StorageError> {
        meta.remove(META_BACKUP_OBJECTS)?;
        meta.remove(META_BACKUP_RECORDS)?;
        Ok(())
    }
}

pub(crate) fn encode_object(entry: &Entry) -> Vec<u8> {
    let mut record = Vec::with_capacity(20 + entry.value.len());
    record.extend([0; 4]);
    record.extend(entry.revision.to_le_bytes());
    record.extend(entry.created.to_le_bytes());
    record.extend_from_slice(&entry.value);
    seal(entry.key.as_bytes(), record)
}

pub(crate) fn decode_object(key: &str, record: &[u8]) -> Result<Entry, ReadError> {
    let decode = || {
        let mut rest = unseal(key.as_bytes(), record)?;
        Some(Entry {
            revision: take_u64(&mut rest)?,
            created: take_u64(&mut rest)?,
            key: key.to_owned(),
            value: Bytes::copy_from_slice(rest),
        })
    };
    decode().ok_or_else(|| ReadError::Corrupt {
        table: "objects",
        key: key.to_owned(),
    })
}

pub(crate) fn encode_event(event: &Event) -> Vec<u8> {
    let mut record = Vec::with_capacity(64 + event.size());
    record.extend([0; 4]);
    record.push(kind_to_byte(event.kind));
    put_sized(&mut record, event.key.as_bytes());
    if let Some(previous) = &event.previous {
        record.extend(previous.revision.to_le_bytes());
        record.extend(previous.created.to_le_bytes());
        put_sized(&mut record, &previous.value);
    }
    if event.kind != EventKind::Deleted {
        record.extend_from_slice(&event.entry.value);
    }
    seal(&event.revision.to_le_bytes(), record)
}

/// A log record that was checked but not copied: most of them are only looked at for their key.
pub(crate) struct LogRecord<'a> {
    revision: u64,
    kind: EventKind,
    pub key: &'a str,
    /// Revision, created and value of the state before.
    previous: Option<(u64, u64, &'a [u8])>,
    value: &'a [u8],
}

impl<'a> LogRecord<'a> {
    pub(crate) fn parse(revision: u64, record: &'a [u8]) -> Result<Self, ReadError> {
        let parse = || {
            let mut rest = unseal(&revision.to_le_bytes(), record)?;
            let kind = kind_from_byte(take(&mut rest, 1)?[0])?;
            let key = std::str::from_utf8(take_sized(&mut rest)?).ok()?;
            let previous = match kind {
                EventKind::Created => None,
                EventKind::Updated | EventKind::Deleted => Some((
                    take_u64(&mut rest)?,
                    take_u64(&mut rest)?,
                    take_sized(&mut rest)?,
                )),
            };
            Some(Self {
                revision,
                kind,
                key,
                previous,
                value: rest,
            })
        };
        parse().ok_or_else(|| ReadError::Corrupt {
            table: "log",
            key: revision.to_string(),
        })
    }

    /// The state before this change.
    pub(crate) fn previous(&self) -> Option<Entry> {
        self.previous.map(|(revision, created, value)| Entry {
            key: self.key.to_owned(),
            value: Bytes::copy_from_slice(value),
            revision,
            created,
        })
    }

    pub(crate) fn to_event(&self) -> Event {
        let previous = self.previous();
        let entry = match (&previous, self.kind) {
            (Some(removed), EventKind::Deleted) => removed.clone(),
            (before, _) => Entry {
                key: self.key.to_owned(),
                value: Bytes::copy_from_slice(self.value),
                revision: self.revision,
                created: before.as_ref().map_or(self.revision, |entry| entry.created),
            },
        };
        Event {
            revision: self.revision,
            key: self.key.to_owned(),
            kind: self.kind,
            entry,
            previous,
        }
    }
}

pub(crate) fn encode_journal(seq: u64, bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(4 + bytes.len());
    record.extend([0; 4]);
    record.extend_from_slice(bytes);
    seal(&seq.to_le_bytes(), record)
}

pub(crate) fn decode_journal(seq: u64, record: &[u8]) -> Result<Bytes, ReadError> {
    unseal(&seq.to_le_bytes(), record)
        .map(Bytes::copy_from_slice)
        .ok_or_else(|| ReadError::Corrupt {
            table: "journal",
            key: seq.to_string(),
        })
}

fn kind_to_byte(kind: EventKind) -> u8 {
    match kind {
        EventKind::Created => 1,
        EventKind::Updated => 2,
        EventKind::Deleted => 3,
    }
}

fn kind_from_byte(byte: u8) -> Option<EventKind> {
    match byte {
        1 => Some(EventKind::Created),
        2 => Some(EventKind::Updated),
        3 => Some(EventKind::Deleted),
        _ => None,
    }
}

/// Puts the checksum into the four bytes kept free for it at the head of the record.
fn seal(key: &[u8], mut record: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &record[4..]);
    record[..4].copy_from_slice(&sum.to_le_bytes());
    record
}

fn unseal<'a>(key: &[u8], record: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, rest) = record.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*sum) == checksum(key, rest)).then_some(rest)
}

fn checksum(key: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(rest);
    hasher.finalize()
}

fn put_sized(record: &mut Vec<u8>, bytes: &[u8]) {
    let size = u32::try_from(bytes.len()).expect("keys and values are bounded when they are taken");
    record.extend(size.to_le_bytes());
    record.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(size)?;
    *rest = tail;
    Some(head)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*head))
}

fn take_sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (size, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    take(rest, usize::try_from(u32::from_le_bytes(*size)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: &str, value: &[u8], revision: u64, created: u64) -> Entry {
        Entry {
            key: key.into(),
            value: Bytes::copy_from_slice(value),
            revision,
            created,
        }
    }

    fn event() -> impl Strategy<Value = Event> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        ("[a-z/]{1,12}", bytes(), bytes(), 0..3, 1..9_u64, 1..9_u64).prop_map(
            |(key, old, new, kind, created, step)| {
                let revision = created + step;
                let previous = entry(&key, &old, created, created);
                let (kind, entry, previous) = match kind {
                    0 => (
                        EventKind::Created,
                        entry(&key, &new, revision, revision),
                        None,
                    ),
                    1 => (
                        EventKind::Updated,
                        entry(&key, &new, revision, created),
                        Some(previous),
                    ),
                    _ => (EventKind::Deleted, previous.clone(), Some(previous)),
                };
                Event {
                    revision,
                    key,
                    kind,
                    entry,
                    previous,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_event_comes_back_as_it_was_written(event in event()) {
            let record = encode_event(&event);
            let parsed = LogRecord::parse(event.revision, &record).unwrap();
            prop_assert_eq!(parsed.previous(), event.previous.clone());
            prop_assert_eq!(parsed.to_event(), event);
        }

        #[test]
        fn one_flipped_bit_anywhere_in_a_record_is_found(event in event(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let flip = |mut record: Vec<u8>| {
                let at = at.index(record.len());
                record[at] ^= 1 << bit;
                record
            };
            prop_assert!(LogRecord::parse(event.revision, &flip(encode_event(&event))).is_err());
            prop_assert!(decode_object(&event.key, &flip(encode_object(&event.entry))).is_err());
            prop_assert!(decode_journal(7, &flip(encode_journal(7, &event.entry.value))).is_err());
        }

        #[test]
        fn bytes_that_were_never_a_record_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(LogRecord::parse(1, &bytes).is_err());
            prop_assert!(decode_object("key", &bytes).is_err());
            prop_assert!(decode_journal(1, &bytes).is_err());
        }

        #[test]
        fn a_sealed_record_of_the_wrong_shape_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let record = seal(&1_u64.to_le_bytes(), [vec![0; 4], bytes].concat());
            if let Ok(parsed) = LogRecord::parse(1, &record) {
                prop_assert_eq!(encode_event(&parsed.to_event()).len() >= 9, true);
            }
        }
    }

    #[test]
    fn a_record_under_another_key_is_found() {
        let stored = entry("a", b"value", 3, 1);
        let record = encode_object(&stored);
        assert_eq!(decode_object("a", &record).unwrap(), stored);
        assert!(matches!(
            decode_object("b", &record),
            Err(ReadError::Corrupt { table: "objects", key }) if key == "b"
        ));
        assert!(decode_journal(2, &encode_journal(1, b"x")).is_err());
    }
}
