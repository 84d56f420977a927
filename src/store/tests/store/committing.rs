//! Expectations, revisions, and how writes share commits.

use std::pin::pin;

use clos_store::{CommitError, Delete, Expect, Options, Put, Store};
use futures::future::join_all;
use futures::poll;

use crate::disk::Disk;
use crate::{put, put_if};

#[tokio::test]
async fn every_change_is_the_next_revision_and_remembers_the_one_of_creation() {
    let store = Store::in_memory();
    assert_eq!(store.revision(), 0);
    let created = store.put(Put::new("a", "1")).await.unwrap();
    assert_eq!((created.revision, created.previous), (1, None));
    assert_eq!(put(&store, "b", "1").await, 2);
    let updated = store.put(Put::new("a", "2")).await.unwrap();
    assert_eq!((updated.revision, updated.entry.created), (3, 1));
    assert_eq!(updated.previous.unwrap(), created.entry);
    let deleted = store.delete(Delete::new("a")).await.unwrap();
    assert_eq!((deleted.revision, &deleted.entry), (4, &updated.entry));
    assert_eq!(deleted.previous.unwrap(), updated.entry);
    let again = store.put(Put::new("a", "3")).await.unwrap();
    assert_eq!((again.revision, again.entry.created), (5, 5));
    assert_eq!(store.revision(), 5);
    assert_eq!(store.get("a").unwrap().unwrap(), again.entry);
}

#[tokio::test]
async fn an_expectation_that_does_not_hold_is_answered_with_what_is_there() {
    let store = Store::in_memory();
    put(&store, "a", "1").await;
    let answer = store.put(put_if("a", "2", Expect::Absent)).await;
    assert!(matches!(answer, Err(CommitError::Exists { key, actual: 1 }) if key == "a"));
    let answer = store.put(put_if("a", "2", Expect::Revision(7))).await;
    assert!(matches!(
        answer,
        Err(CommitError::Conflict {
            expected: 7,
            actual: 1,
            ..
        })
    ));
    let answer = store.put(put_if("b", "2", Expect::Revision(1))).await;
    assert!(matches!(answer, Err(CommitError::NotFound { key }) if key == "b"));
    let delete = |key: &str, expect| Delete {
        expect,
        ..Delete::new(key)
    };
    let answer = store.delete(delete("a", Expect::Revision(7))).await;
    assert!(matches!(
        answer,
        Err(CommitError::Conflict { actual: 1, .. })
    ));
    let answer = store.delete(delete("a", Expect::Absent)).await;
    assert!(matches!(answer, Err(CommitError::Exists { .. })));
    for expect in [Expect::Any, Expect::Absent, Expect::Revision(1)] {
        let answer = store.delete(delete("b", expect)).await;
        assert!(
            matches!(answer, Err(CommitError::NotFound { .. })),
            "{expect:?}"
        );
    }
    assert_eq!(store.revision(), 1);
    assert_eq!(store.get("a").unwrap().unwrap().value, "1");
    assert_eq!(store.stats().refused, 8);

    assert_eq!(
        store
            .put(put_if("a", "2", Expect::Revision(1)))
            .await
            .unwrap()
            .revision,
        2
    );
    assert_eq!(
        store
            .put(put_if("b", "1", Expect::Absent))
            .await
            .unwrap()
            .revision,
        3
    );
    assert_eq!(
        store
            .delete(delete("a", Expect::Revision(2)))
            .await
            .unwrap()
            .revision,
        4
    );
}

#[tokio::test]
async fn what_changes_nothing_does_not_touch_the_disk() {
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    put(&store, "a", "1").await;
    let syncs = disk.state().syncs;
    store
        .put(put_if("a", "2", Expect::Absent))
        .await
        .unwrap_err();
    store.compact(0).await.unwrap();
    store.trim_journal(9).await.unwrap();
    assert_eq!(disk.state().syncs, syncs);
    assert_eq!(store.stats().commits, 1);
}

#[tokio::test]
async fn a_value_beyond_the_limit_is_refused_with_both_numbers() {
    let store = Store::in_memory();
    let answer = store
        .put(Put::new("big", vec![0; (32 << 20) + 1]))
        .await
        .unwrap_err();
    assert_eq!(
        answer.to_string(),
        "the value of big has 33554433 bytes; at most 33554432 are stored"
    );
    assert_eq!(store.revision(), 0);
}

#[tokio::test]
async fn writes_that_wait_for_the_same_commit_share_the_next_one() {
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    disk.hold();
    let mut first = pin!(store.put(Put::new("first", "1")));
    assert!(poll!(&mut first).is_pending());
    disk.await_sync();
    let mut others = join_all((0..63).map(|n| store.put(Put::new(format!("other-{n}"), "1"))));
    assert!(poll!(&mut others).is_pending());
    disk.release();
    assert_eq!(first.await.unwrap().revision, 1);
    let revisions: Vec<u64> = others
        .await
        .into_iter()
        .map(|done| done.unwrap().revision)
        .collect();
    assert_eq!(
        revisions,
        (2..=64).collect::<Vec<_>>(),
        "in the order in which they were queued"
    );
    let stats = store.stats();
    assert_eq!(
        (stats.writes, stats.commits, stats.largest_batch),
        (64, 2, 63)
    );
    assert!(stats.commit_time.as_nanos() > 0);
}

#[tokio::test]
async fn sixty_four_writers_need_far_fewer_commits_than_writes() {
    let store = Store::with_backend(Disk::default(), Options::default()).unwrap();
    let writers = (0..64).map(|writer| {
        let store = store.clone();
        async move {
            for n in 0..8 {
                put(&store, &format!("{writer}/{n}"), "1").await;
            }
        }
    });
    join_all(writers).await;
    let stats = store.stats();
    assert_eq!((stats.writes, store.revision()), (512, 512));
    assert!(stats.commits <= 256, "{} commits", stats.commits);
}

#[tokio::test]
async fn writes_of_one_batch_see_each_other_in_order() {
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    disk.hold();
    let mut first = pin!(store.put(Put::new("first", "1")));
    assert!(poll!(&mut first).is_pending());
    disk.await_sync();
    let mut batch = join_all([
        store.put(put_if("a", "1", Expect::Absent)),
        store.put(put_if("a", "2", Expect::Absent)),
        store.put(put_if("a", "3", Expect::Revision(2))),
    ]);
    assert!(poll!(&mut batch).is_pending());
    disk.release();
    let answers = batch.await;
    assert_eq!(answers[0].as_ref().unwrap().revision, 2);
    assert!(matches!(
        &answers[1],
        Err(CommitError::Exists { actual: 2, .. })
    ));
    assert_eq!(
        answers[2]
            .as_ref()
            .unwrap()
            .previous
            .as_ref()
            .unwrap()
            .value,
        "1"
    );
    assert_eq!(store.revision(), 3);
    assert_eq!(store.stats().commits, 2);
}

#[tokio::test]
async fn a_full_queue_makes_the_next_write_wait_outside_of_it() {
    let disk = Disk::default();
    let options = Options {
        queue: 2,
        batch: 1,
        ..Options::default()
    };
    let store = Store::with_backend(disk.clone(), options).unwrap();
    disk.hold();
    {
        let mut committing = pin!(store.put(Put::new("committing", "1")));
        assert!(poll!(&mut committing).is_pending());
        disk.await_sync();
        let mut queued = pin!(join_all(
            ["queued-1", "queued-2"].map(|key| store.put(Put::new(key, "1")))
        ));
        assert!(poll!(&mut queued).is_pending());
        let mut outside = pin!(store.put(Put::new("outside", "1")));
        assert!(poll!(&mut outside).is_pending());
    }
    // Nobody waits for an answer any more, but what was queued is done.
    disk.release();
    put(&store, "last", "1").await;
    let keys = store.range(&clos_store::Range::default()).unwrap().entries;
    let keys: Vec<&str> = keys.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["committing", "last", "queued-1", "queued-2"]);
}
