//! A damaged file: it opens with everything in it, or it is refused. Never a panic, never a wrong value.

use std::fs;
use std::sync::LazyLock;

use clos_store::{CommitError, Delete, Options, Page, Put, Range, ReadError, Store};
use proptest::prelude::*;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::put;

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        4 => (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        2 => place().prop_map(Damage::Zero),
        1 => place().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    match damage {
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Zero(at) => {
            let at = at.index(bytes.len()) / 512 * 512;
            let end = bytes.len().min(at + 512);
            bytes[at..end].fill(0);
        }
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

/// A closed store of twelve keys of which the last revision removed one, and its state.
static INTACT: LazyLock<(Vec<u8>, Page)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let state = block_on(async {
        let store = Store::open(dir.path(), Options::default()).unwrap();
        for n in 0..12 {
            put(&store, &format!("k{n}"), &format!("value {n} ").repeat(60)).await;
        }
        store.delete(Delete::new("k3")).await.unwrap();
        store.range(&Range::default()).unwrap()
    });
    (fs::read(dir.path().join("store.redb")).unwrap(), state)
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_refused_or_says_only_what_was_written(damage in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        let (bytes, before) = &*INTACT;
        let mut bytes = bytes.clone();
        apply(&mut bytes, &damage);
        fs::write(&path, &bytes).unwrap();
        if let Ok(store) = Store::open(dir.path(), Options::default()) {
            let after = store.range(&Range::default()).unwrap();
            if after != *before {
                // The last of the revisions removed k3; without it the state was the twelve keys.
                prop_assert!(after.revision < before.revision, "{after:?}");
                prop_assert_eq!(after.entries.len() as u64, after.revision);
                for entry in &after.entries {
                    let text = format!("value {} ", &entry.key[1..]).repeat(60);
                    prop_assert_eq!(&entry.value, &text);
                }
            }
        }
    }
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
