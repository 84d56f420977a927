//! Journal records: numbers, order, and that they share the fate of their change.

use clos_store::{
    CommitError, Delete, Expect, JournalQuery, JournalRecord, Options, Order, Put, Record, Stamp,
    Store,
};

use crate::disk::Disk;
use crate::put_if;

/// A record that says where it stands.
fn record() -> Record {
    Box::new(|stamp: Stamp| {
        let previous = stamp
            .previous
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let previous = previous.and_then(|text| text.split(' ').next().map(str::to_owned));
        format!("{} {:?} after {previous:?}", stamp.seq, stamp.revision).into_bytes()
    })
}

fn text(records: &[JournalRecord]) -> Vec<String> {
    let show = |record: &JournalRecord| {
        format!("{}: {}", record.seq, String::from_utf8_lossy(&record.bytes))
    };
    records.iter().map(show).collect()
}

fn seqs(store: &Store, query: &JournalQuery) -> Vec<u64> {
    store
        .journal(query)
        .unwrap()
        .iter()
        .map(|record| record.seq)
        .collect()
}

#[tokio::test]
async fn a_record_knows_its_number_its_revision_and_its_predecessor() {
    let store = Store::in_memory();
    let put = |key: &str| Put {
        record: Some(record()),
        ..Put::new(key, "1")
    };
    assert_eq!(store.put(put("a")).await.unwrap().seq, Some(1));
    assert_eq!(store.append(record()).await.unwrap(), 2);
    assert_eq!(store.put(Put::new("b", "1")).await.unwrap().seq, None);
    let delete = Delete {
        record: Some(record()),
        ..Delete::new("a")
    };
    assert_eq!(store.delete(delete).await.unwrap().seq, Some(3));
    assert_eq!(
        text(&store.journal(&JournalQuery::default()).unwrap()),
        [
            "1: 1 Some(1) after None",
            "2: 2 None after Some(\"1\")",
            "3: 3 Some(3) after Some(\"2\")",
        ]
    );
}

#[tokio::test]
async fn a_refused_change_leaves_no_record_and_no_hole_in_the_numbers() {
    let store = Store::in_memory();
    store.append(record()).await.unwrap();
    let refused = Put {
        record: Some(record()),
        ..put_if("a", "1", Expect::Revision(9))
    };
    assert!(matches!(
        store.put(refused).await,
        Err(CommitError::NotFound { .. })
    ));
    assert_eq!(*store.journal_head().borrow(), 1);
    assert_eq!(store.append(record()).await.unwrap(), 2);
    assert_eq!(seqs(&store, &JournalQuery::default()), [1, 2]);
}

#[tokio::test]
async fn records_are_read_by_number_from_either_end() {
    let store = Store::in_memory();
    for _ in 0..9 {
        store.append(record()).await.unwrap();
    }
    let all = JournalQuery::default();
    assert_eq!(
        seqs(
            &store,
            &JournalQuery {
                from: 3,
                through: 5,
                ..all.clone()
            }
        ),
        [3, 4, 5]
    );
    assert_eq!(
        seqs(
            &store,
            &JournalQuery {
                limit: 2,
                from: 3,
                ..all.clone()
            }
        ),
        [3, 4]
    );
    let newest = JournalQuery {
        order: Order::Backwards,
        limit: 3,
        ..all.clone()
    };
    assert_eq!(seqs(&store, &newest), [9, 8, 7]);
    assert_eq!(
        seqs(
            &store,
            &JournalQuery {
                through: 6,
                ..newest
            }
        ),
        [6, 5, 4]
    );
    assert_eq!(
        seqs(
            &store,
            &JournalQuery {
                from: 7,
                through: 6,
                ..all.clone()
            }
        ),
        Vec::<u64>::new()
    );
    assert_eq!(
        seqs(&store, &JournalQuery { from: 10, ..all }),
        Vec::<u64>::new()
    );
}

#[tokio::test]
async fn whoever_follows_the_journal_is_woken_by_every_commit_with_records() {
    let store = Store::in_memory();
    let mut head = store.journal_head();
    assert_eq!(*head.borrow_and_update(), 0);
    store.append(record()).await.unwrap();
    head.changed().await.unwrap();
    assert_eq!(*head.borrow_and_update(), 1);
    store.put(Put::new("a", "1")).await.unwrap();
    assert!(!head.has_changed().unwrap());
}

#[tokio::test]
async fn trimming_keeps_what_is_not_below_and_always_the_newest() {
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    store.trim_journal(5).await.unwrap();
    for _ in 0..5 {
        store.append(record()).await.unwrap();
    }
    store.trim_journal(3).await.unwrap();
    assert_eq!(seqs(&store, &JournalQuery::default()), [3, 4, 5]);
    store.trim_journal(u64::MAX).await.unwrap();
    assert_eq!(seqs(&store, &JournalQuery::default()), [5]);
    drop(store);
    let store = Store::with_backend(disk, Options::default()).unwrap();
    assert_eq!(*store.journal_head().borrow(), 5);
    store.append(record()).await.unwrap();
    let newest = store
        .journal(&JournalQuery {
            from: 6,
            ..JournalQuery::default()
        })
        .unwrap();
    assert_eq!(text(&newest), ["6: 6 None after Some(\"5\")"]);
}

#[tokio::test]
async fn thousands_of_records_and_revisions_are_removed_in_slices_between_which_writes_go_on() {
    let store = Store::in_memory();
    let puts = (0..3000).map(|n| {
        store.put(Put {
            record: Some(record()),
            ..Put::new(format!("k{}", n % 10), "1")
        })
    });
    for done in futures::future::join_all(puts).await {
        done.unwrap();
    }
    let (trimmed, compacted, written) = tokio::join!(
        store.trim_journal(2900),
        store.compact(2900),
        store.put(Put::new("k", "1"))
    );
    trimmed.unwrap();
    compacted.unwrap();
    assert_eq!(written.unwrap().revision, 3001);
    assert_eq!(store.compacted(), 2900);
    assert_eq!(seqs(&store, &JournalQuery::default())[0], 2900);
}
