//! Watches: order, completeness, positions, ends.

use clos_store::{Delete, Event, EventKind, Options, Store, Watch, WatchError};
use futures::{FutureExt, StreamExt};

use crate::disk::Disk;
use crate::put;

/// A store that keeps only two events in memory, so that most are read from disk.
fn forgetful() -> Store {
    let options = Options {
        recent_events: 2,
        ..Options::default()
    };
    Store::with_backend(Disk::default(), options).unwrap()
}

async fn next(watch: &mut Watch) -> Event {
    watch.next().await.unwrap().unwrap()
}

async fn revisions(watch: &mut Watch, count: usize) -> Vec<u64> {
    watch
        .take(count)
        .map(|event| event.unwrap().revision)
        .collect()
        .await
}

#[tokio::test]
async fn i5_a_watch_tells_what_was_there_before_and_after_each_change() {
    let store = Store::in_memory();
    let mut watch = store.watch("a", 0).unwrap();
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    store.delete(Delete::new("a")).await.unwrap();

    let created = next(&mut watch).await;
    assert_eq!(
        (created.kind, created.revision, created.previous),
        (EventKind::Created, 1, None)
    );
    let updated = next(&mut watch).await;
    assert_eq!((updated.kind, updated.revision), (EventKind::Updated, 2));
    assert_eq!(
        (updated.entry.created, &updated.previous),
        (1, &Some(created.entry))
    );
    let deleted = next(&mut watch).await;
    assert_eq!(
        (deleted.kind, deleted.revision, deleted.key.as_str()),
        (EventKind::Deleted, 3, "a")
    );
    assert_eq!(
        (&deleted.entry, deleted.previous.as_ref()),
        (&updated.entry, Some(&updated.entry))
    );
}

#[tokio::test]
async fn i5_events_from_disk_and_from_memory_are_the_same() {
    let store = forgetful();
    let mut live = store.watch("", 0).unwrap();
    let mut seen = Vec::new();
    for n in 0..6_u64 {
        put(&store, &format!("k{}", n % 3), &n.to_string()).await;
        seen.push(next(&mut live).await);
    }
    store.delete(Delete::new("k1")).await.unwrap();
    seen.push(next(&mut live).await);
    let late: Vec<Event> = store
        .watch("", 0)
        .unwrap()
        .take(7)
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(late, seen);
}

#[tokio::test]
async fn i5_a_watch_may_start_after_any_revision_and_crosses_from_disk_to_memory() {
    let store = forgetful();
    for n in 0..600 {
        put(&store, &format!("k{n}"), "1").await;
    }
    for after in [0, 1, 255, 256, 257, 596, 597, 598, 599] {
        let mut watch = store.watch("k", after).unwrap();
        let count = usize::try_from(600 - after).unwrap();
        assert_eq!(
            revisions(&mut watch, count).await,
            (after + 1..=600).collect::<Vec<_>>()
        );
        assert!(watch.next().now_or_never().is_none(), "nothing is repeated");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i5_watchers_beside_concurrent_writers_see_every_revision_once_and_in_order() {
    const WRITERS: u64 = 8;
    const WRITES: u64 = 60;
    let store = forgetful();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            for n in 0..WRITES {
                let key = format!("k{}", (writer + n) % 5);
                put(&store, &key, "1").await;
            }
        });
    }
    for reconnect_every in [1, 7, 1000] {
        let store = store.clone();
        tasks.spawn(async move {
            let (mut watch, mut seen) = (store.watch("k", 0).unwrap(), 0);
            while seen < WRITERS * WRITES {
                assert_eq!(next(&mut watch).await.revision, seen + 1);
                seen += 1;
                if seen % reconnect_every == 0 {
                    watch = store.watch("k", seen).unwrap();
                }
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test]
async fn the_position_advances_over_changes_of_other_keys() {
    let store = forgetful();
    let mut watch = store.watch("mine/", 0).unwrap();
    put(&store, "mine/1", "1").await;
    put(&store, "other", "1").await;
    put(&store, "mine/2", "1").await;
    put(&store, "other", "2").await;
    assert_eq!(watch.position(), 0);
    assert_eq!(next(&mut watch).await.revision, 1);
    assert_eq!(
        watch.position(),
        2,
        "2 is not for this watch, 3 is not delivered yet"
    );
    assert_eq!(next(&mut watch).await.revision, 3);
    assert_eq!(watch.position(), 4);
    put(&store, "other", "3").await;
    assert!(watch.next().now_or_never().is_none());
    assert_eq!(watch.position(), 5);
}

#[tokio::test]
async fn a_watch_of_keys_that_never_change_lets_others_run_between_slices() {
    let store = forgetful();
    for n in 0..600 {
        put(&store, &format!("other{n}"), "1").await;
    }
    let mut watch = store.watch("mine", 0).unwrap();
    assert!(watch.next().now_or_never().is_none());
    assert_eq!(watch.position(), 256, "one slice, not the whole log");
    put(&store, "mine", "1").await;
    assert_eq!(next(&mut watch).await.revision, 601);
}

#[tokio::test]
async fn a_watch_after_a_revision_to_come_is_silent_until_then() {
    let store = Store::in_memory();
    put(&store, "a", "1").await;
    let mut watch = store.watch("", 3).unwrap();
    for n in 2..=3 {
        put(&store, "a", &n.to_string()).await;
        assert!(watch.next().now_or_never().is_none());
    }
    assert_eq!(watch.position(), 3);
    put(&store, "a", "4").await;
    assert_eq!(next(&mut watch).await.revision, 4);
}

#[tokio::test]
async fn a_watch_can_start_after_the_compacted_revision_and_not_below() {
    let store = forgetful();
    for n in 0..6 {
        put(&store, &format!("k{n}"), "1").await;
    }
    store.compact(3).await.unwrap();
    let below = store.watch("", 2);
    assert!(matches!(
        below,
        Err(WatchError::Compacted {
            requested: 2,
            oldest: 3
        })
    ));
    let mut watch = store.watch("", 3).unwrap();
    assert_eq!(revisions(&mut watch, 3).await, [4, 5, 6]);
}

#[tokio::test]
async fn i5_a_watch_that_is_overtaken_by_compaction_says_so_once_and_ends() {
    let store = forgetful();
    put(&store, "a", "1").await;
    let mut watch = store.watch("", 0).unwrap();
    assert_eq!(next(&mut watch).await.revision, 1);
    for _ in 0..5 {
        put(&store, "a", "2").await;
    }
    store.compact(3).await.unwrap();
    let end = watch.next().await.unwrap();
    assert!(matches!(
        end,
        Err(WatchError::Compacted {
            requested: 1,
            oldest: 3
        })
    ));
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_that_has_seen_what_is_compacted_goes_on() {
    let store = forgetful();
    let mut watch = store.watch("", 0).unwrap();
    for _ in 0..5 {
        put(&store, "a", "1").await;
    }
    assert_eq!(revisions(&mut watch, 5).await, [1, 2, 3, 4, 5]);
    store.compact(5).await.unwrap();
    put(&store, "a", "2").await;
    assert_eq!(next(&mut watch).await.revision, 6);
}

#[tokio::test]
async fn a_watch_ends_with_the_store() {
    let store = Store::in_memory();
    let mut idle = store.watch("", 0).unwrap();
    let mut behind = forgetful();
    for _ in 0..5 {
        put(&behind, "a", "1").await;
    }
    let mut late = behind.watch("", 0).unwrap();
    behind = store;
    drop(behind);
    assert!(idle.next().await.is_none());
    assert!(
        late.next().await.is_none(),
        "its events are on a disk that is closed"
    );
}
