//! A damaged file: it opens with everything in it, or it is refused. Never a panic, never a wrong value.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use clos_store::{
    CommitError, Delete, JournalQuery, OpenError, Options, Page, Put, Range, ReadError, Stamp,
    Store,
};
use futures::{FutureExt, StreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::disk::Disk;
use crate::put;

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const THREADS: u64 = 4;
/// No damage keeps anybody waiting for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of: a bit is flipped, a sector is empty, the end is missing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Damage {
    Flip(usize, u8),
    Zero(usize),
    Cut(usize),
}

impl Damage {
    /// Something of the file is always left: an empty one is another matter.
    pub(crate) fn seeded(seed: u64, length: usize) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let at = random.random_range(1..length);
        match seed % 5 {
            0 | 1 => Self::Flip(at, random.random_range(0..8)),
            // The beginning decides on everything else.
            2 => Self::Flip(at % 512, random.random_range(0..8)),
            3 => Self::Zero(at),
            _ => Self::Cut(at),
        }
    }

    pub(crate) fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Flip(at, bit) => bytes[at] ^= 1 << bit,
            Self::Zero(at) => {
                let at = at / 512 * 512;
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
            }
            Self::Cut(at) => bytes.truncate(at),
        }
    }
}

/// A closed store and what it was at every revision.
struct Intact {
    bytes: Vec<u8>,
    states: BTreeMap<u64, Page>,
    compacted: u64,
}

impl Intact {
    async fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let mut states = BTreeMap::new();
        for n in 0..40_u64 {
            let record = |stamp: Stamp| stamp.revision.unwrap().to_be_bytes().to_vec();
            let key = format!("k{}", n % 12);
            if n % 9 == 8 {
                let delete = Delete {
                    record: Some(Box::new(record)),
                    ..Delete::new(key)
                };
                // One in the second round is gone already.
                let _ = store.delete(delete).await;
            } else {
                let value = format!("value {n} ").repeat(usize::try_from(n * n % 71).unwrap() * 9);
                let put = Put {
                    record: Some(Box::new(record)),
                    ..Put::new(key, value)
                };
                store.put(put).await.unwrap();
            }
            let page = store.range(&Range::default()).unwrap();
            states.insert(page.revision, page);
        }
        store.compact(5).await.unwrap();
        let compacted = store.compacted();
        drop(store);
        let bytes = fs::read(dir.path().join("store.redb")).unwrap();
        Self {
            bytes,
            states,
            compacted,
        }
    }

    fn damaged(&self, seed: u64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        Damage::seeded(seed, bytes.len()).apply(&mut bytes);
        bytes
    }

    /// Nothing in the store is anything else than what was written.
    async fn check(&self, store: &Store, seed: u64) -> u64 {
        let page = store.range(&Range::default()).unwrap();
        let expected = self.states.get(&page.revision);
        assert_eq!(Some(&page), expected, "damage {seed}");
        let mut watch = store.watch("", store.compacted()).unwrap();
        let mut revision = store.compacted();
        while let Some(event) = watch.next().now_or_never() {
            let event = event.unwrap().unwrap();
            revision += 1;
            assert_eq!(event.revision, revision, "damage {seed}");
            let state = &self.states[&revision];
            let now = state.entries.iter().find(|entry| entry.key == event.key);
            assert!(
                now.is_none_or(|now| *now == event.entry),
                "damage {seed}: {event:?}"
            );
        }
        assert_eq!(revision, page.revision);
        let records = store.journal(&JournalQuery::default()).unwrap();
        let recorded: Vec<u64> = records
            .iter()
            .map(|record| u64::from_be_bytes(record.bytes[..].try_into().unwrap()))
            .collect();
        assert_eq!(recorded, (1..=page.revision).collect::<Vec<_>>());
        assert_eq!(put(store, "next", "1").await, page.revision + 1);
        page.revision
    }
}

/// Runs `check` with every number, on several threads, each in its time. Answers what it answered.
fn all<T: Send>(count: u64, check: impl AsyncFn(&Intact, u64) -> T + Sync) -> Vec<T> {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let intact = runtime().block_on(Intact::make());
    let (intact, check) = (&intact, &check);
    std::thread::scope(|scope| {
        let work = |thread| {
            let runtime = runtime();
            scope.spawn(move || {
                let timed = async |seed| {
                    let started = Instant::now();
                    let answer = check(intact, seed).await;
                    assert!(started.elapsed() < PATIENCE, "damage {seed}");
                    answer
                };
                let seeds = (0..count).filter(|seed| seed % THREADS == thread);
                seeds
                    .map(|seed| runtime.block_on(timed(seed)))
                    .collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn a_damaged_file_is_refused_by_name_or_holds_a_state_that_was_committed() {
    let answers = all(1000, async |intact, seed| {
        let disk = Disk::holding(intact.damaged(seed));
        match Store::with_backend(disk, Options::default()) {
            Ok(store) => Some(intact.check(&store, seed).await),
            Err(OpenError::Corrupt { .. }) => None,
            Err(other) => panic!("damage {seed}: {other:?}"),
        }
    });
    let refused = answers.iter().filter(|answer| answer.is_none()).count();
    let newest = answers.iter().flatten().max();
    let whole = answers.iter().flatten().filter(|r| Some(*r) == newest);
    let whole = whole.count();
    println!(
        "{refused} refused, {whole} whole, {} earlier",
        answers.len() - refused - whole
    );
    assert!(refused > 100 && whole > 100, "{refused} and {whole}");
}

/// Without the check at opening, and with bits that rot while the store is open, damage is met in the middle of a read or
/// a write. It ends there.
#[test]
fn damage_that_opening_did_not_see_is_an_error_and_never_a_panic_or_another_value() {
    let options = || Options {
        cache_bytes: 0,
        verify: false,
        ..Options::default()
    };
    let met = all(600, async |intact, seed| {
        let rots = seed % 2 == 0;
        let disk = if rots {
            Disk::holding(intact.bytes.clone())
        } else {
            Disk::holding(intact.damaged(seed))
        };
        let store = match Store::with_backend(disk.clone(), options()) {
            Ok(store) => store,
            Err(OpenError::Corrupt { .. }) => return true,
            Err(other) => panic!("damage {seed}: {other:?}"),
        };
        if rots {
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..40 {
                let at = random.random_range(0..intact.bytes.len());
                disk.rot(at, random.random_range(0..8));
            }
        }
        let mut met = false;
        // As they were put, whatever state they are from.
        let written = |entry: &clos_store::Entry| {
            let states = || intact.states.values();
            states().any(|page| page.entries.contains(entry))
        };
        for key in 0..12 {
            match store.get(&format!("k{key}")) {
                Ok(entry) => assert!(entry.as_ref().is_none_or(written), "damage {seed}"),
                Err(_) => met = true,
            }
        }
        match store.range(&Range::default()) {
            Ok(page) => assert!(page.entries.iter().all(written), "damage {seed}"),
            Err(_) => met = true,
        }
        met |= store.journal(&JournalQuery::default()).is_err();
        if let Ok(mut watch) = store.watch("", intact.compacted) {
            while let Some(Some(event)) = watch.next().now_or_never() {
                met |= event.is_err();
            }
        }
        for n in 0..3 {
            met |= store.put(Put::new(format!("k{n}"), "1")).await.is_err();
        }
        met
    });
    let met = met.iter().filter(|met| **met).count();
    println!("{met} of 600 were met");
    assert!(met > 200, "{met}");
}

#[tokio::test]
async fn a_value_changed_behind_the_database_is_named_and_never_returned() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    put(&store, "good", "1").await;
    put(&store, "bad", "1").await;
    drop(store);
    let database = Database::open(dir.path().join("store.redb")).unwrap();
    let mut stored = {
        let objects = database.begin_read().unwrap().open_table(OBJECTS).unwrap();
        objects.get("bad").unwrap().unwrap().value().to_vec()
    };
    *stored.last_mut().unwrap() ^= 1;
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(OBJECTS)
        .unwrap()
        .insert("bad", stored.as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let store = Store::open(dir.path(), Options::default()).unwrap();
    let error = store.get("bad").unwrap_err();
    assert!(matches!(&error, ReadError::Corrupt { table: "objects", key } if key == "bad"));
    assert_eq!(
        error.to_string(),
        "the stored record of bad in table objects is damaged; restore it from a backup"
    );
    assert!(store.range(&Range::default()).is_err());
    assert_eq!(store.get("good").unwrap().unwrap().value, "1");
    let refused = store.put(Put::new("bad", "2")).await;
    assert!(matches!(refused, Err(CommitError::Corrupt { key }) if key == "bad"));
    assert_eq!(
        put(&store, "good", "2").await,
        3,
        "other keys can be written"
    );
}
