//! A disk that fails, fills up, or cannot be read; and a writer that panics.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use clos_store::{CommitError, Delete, Health, Options, Put, Range, ReadError, Stamp, Store};
use futures::future::join_all;
use futures::{FutureExt, StreamExt, poll};

use crate::disk::Disk;
use crate::put;

fn on(disk: &Disk) -> Store {
    Store::with_backend(disk.clone(), Options::default()).unwrap()
}

fn large(key: &str) -> Put {
    Put::new(key, vec![7; 100_000])
}

async fn failed_by_a_sync(kind: ErrorKind) {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    assert!(store.failed().now_or_never().is_none());
    disk.hold();
    let mut first = Box::pin(store.put(Put::new("b", "1")));
    assert!(poll!(&mut first).is_pending());
    disk.await_sync();
    let mut others = join_all((0..4).map(|n| store.put(Put::new(format!("c{n}"), "1"))));
    assert!(poll!(&mut others).is_pending());
    disk.state().failing_sync = Some(kind);
    disk.release();

    assert!(matches!(first.await, Err(CommitError::Failed(_))));
    for answer in others.await {
        assert!(matches!(answer, Err(CommitError::Failed(_))));
    }
    let failure = store.failed().await;
    assert_eq!(
        failure.to_string(),
        "the store failed while committing; the process must be started again"
    );
    assert!(matches!(store.health(), Health::Failed(_)));
    assert_eq!(store.revision(), 1);

    // The disk's recovery changes nothing: the pages it could not write may be gone.
    disk.state().failing_sync = None;
    assert!(matches!(
        store.put(Put::new("d", "1")).await,
        Err(CommitError::Failed(_))
    ));
    assert!(matches!(
        store.compact(1).await,
        Err(CommitError::Failed(_))
    ));
    assert_eq!(
        store.get("a").unwrap().unwrap().value,
        "1",
        "still in memory"
    );
    drop(store);

    let store = on(&disk.after_power_cut(|| false));
    assert_eq!(store.revision(), 1);
    assert_eq!(store.range(&Range::default()).unwrap().entries.len(), 1);
    assert_eq!(put(&store, "d", "1").await, 2);
}

#[tokio::test]
async fn i5_a_sync_that_fails_is_never_acknowledged_and_ends_all_writing() {
    failed_by_a_sync(ErrorKind::Other).await;
}

#[tokio::test]
async fn i5_a_sync_that_fails_for_want_of_space_is_as_final_as_any_other() {
    failed_by_a_sync(ErrorKind::StorageFull).await;
}

/// Writes with several writers until the store fails. Answers what was acknowledged, by revision.
async fn write_until_it_fails(store: &Store) -> BTreeMap<u64, String> {
    let writers = (0..8).map(|writer| async move {
        let mut acked = BTreeMap::new();
        for n in 0.. {
            let key = format!("{writer}/{n}");
            match store.put(Put::new(key.as_str(), key.as_str())).await {
                Ok(done) => assert_eq!(acked.insert(done.revision, key), None),
                Err(CommitError::Failed(_)) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        acked
    });
    join_all(writers).await.into_iter().flatten().collect()
}

#[tokio::test]
async fn i5_no_write_is_acknowledged_from_the_first_failed_sync_on_once_or_for_ever() {
    for (first, for_ever) in (1..=12).flat_map(|first| [(first, false), (first, true)]) {
        let disk = Disk::default();
        let store = on(&disk);
        let first = disk.state().syncs + first;
        disk.state().failing_syncs = first..if for_ever { usize::MAX } else { first + 1 };
        let acked = write_until_it_fails(&store).await;
        let failure = store.failed().now_or_never().unwrap();
        assert_eq!(failure.attempted, "committing");
        let record = |_: Stamp| Vec::new();
        assert!(matches!(
            store.append(Box::new(record)).await,
            Err(CommitError::Failed(_))
        ));
        assert!(matches!(
            store.delete(Delete::new("0/0")).await,
            Err(CommitError::Failed(_))
        ));
        let syncs = disk.state().syncs;
        assert_eq!(syncs, first, "a failed sync is not tried again");
        drop(store);

        // By a supervisor's restart, on what is really on the disk.
        disk.state().failing_syncs = 0..0;
        let store = on(&disk.after_power_cut(|| true));
        let page = store.range(&Range::default()).unwrap();
        let there: BTreeMap<u64, String> = page
            .entries
            .into_iter()
            .map(|entry| (entry.revision, entry.key))
            .collect();
        for (revision, key) in &acked {
            assert_eq!(there.get(revision), Some(key), "sync {first} failed");
        }
        assert!(there.len() <= acked.len() + 8);
        put(&store, "next", "1").await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_keeps_reads_and_recovers_by_itself() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "small", "1").await;
    let used = disk.size();
    disk.state().capacity = Some(used + 200_000);

    let mut written = 0;
    let refused = loop {
        match store.put(large(&format!("large-{written}"))).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the disk never fills up");
    };
    assert!(matches!(refused, CommitError::NoSpace));
    assert!(matches!(store.health(), Health::NoSpace));
    assert_eq!(store.revision(), 1 + written);
    assert!(store.failed().now_or_never().is_none());
    for _ in 0..3 {
        let page = store.range(&Range::default()).unwrap();
        assert_eq!(
            (page.revision, page.entries.len() as u64),
            (1 + written, 1 + written)
        );
    }
    let record = |_: Stamp| Vec::new();
    assert!(matches!(
        store.append(Box::new(record)).await,
        Err(CommitError::NoSpace)
    ));

    disk.state().capacity = None;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let done = loop {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it does not recover"
        );
        match store.put(large("after")).await {
            Ok(done) => break done,
            Err(error) => assert!(matches!(error, CommitError::NoSpace)),
        }
    };
    assert_eq!(
        done.revision,
        2 + written,
        "no revision is lost to the refused ones"
    );
    assert!(matches!(store.health(), Health::Writable));
    assert!(store.stats().failed_commits >= 1);
    drop(store);
    assert_eq!(on(&disk).revision(), 2 + written);
}

#[tokio::test]
async fn a_full_disk_is_found_writable_again_without_a_write() {
    let disk = Disk::default();
    let store = on(&disk);
    let used = disk.size();
    disk.state().capacity = Some(used);
    let refused = store.put(Put::new("huge", vec![7; 2_000_000])).await;
    assert!(matches!(refused, Err(CommitError::NoSpace)));
    disk.state().capacity = None;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !matches!(store.health(), Health::Writable) {
        assert!(
            tokio::time::Instant::now() < deadline,
            "it does not recover"
        );
        tokio::task::yield_now().await;
    }
    assert_eq!(store.revision(), 0);
}

#[tokio::test]
async fn i5_a_disk_that_becomes_read_only_refuses_writes_keeps_reads_and_recovers_by_itself() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    let head = store.revision();
    disk.state().read_only = true;
    for _ in 0..20 {
        let refused = store.put(large("refused")).await;
        assert!(matches!(refused, Err(CommitError::ReadOnly)), "{refused:?}");
        let record = |_: Stamp| Vec::new();
        let refused = store.append(Box::new(record)).await;
        assert!(matches!(refused, Err(CommitError::ReadOnly)), "{refused:?}");
        assert!(matches!(
            store.compact(head).await,
            Err(CommitError::ReadOnly)
        ));
        assert!(matches!(store.health(), Health::ReadOnly));
        assert_eq!(store.get("a").unwrap().unwrap().value, "1");
        assert_eq!(store.range(&Range::default()).unwrap().entries.len(), 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(store.failed().now_or_never().is_none());
    let elsewhere = tempfile::tempdir().unwrap();
    let backup = store.backup(&elsewhere.path().join("backup")).unwrap();
    assert_eq!((backup.revision, backup.objects), (head, 1));
    // What is on it is a whole store at any time.
    let cut = disk.after_power_cut(|| false);
    cut.state().read_only = false;
    assert_eq!(on(&cut).revision(), head);

    disk.state().read_only = false;
    tokio::time::timeout(Duration::from_secs(20), store.writable())
        .await
        .expect("it recovers without a write");
    assert_eq!(put(&store, "after", "1").await, head + 1);
    drop(store);
    let store = on(&disk.after_power_cut(|| false));
    assert_eq!(store.range(&Range::default()).unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_read_only_disk_that_was_changed_behind_the_store_ends_it() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    let older = disk.after_power_cut(|| false);
    put(&store, "b", "1").await;
    disk.state().read_only = true;
    let refused = store.put(Put::new("c", "1")).await;
    assert!(matches!(refused, Err(CommitError::ReadOnly)));
    disk.replace(&older);
    disk.state().read_only = false;
    let failed = tokio::time::timeout(Duration::from_secs(20), store.failed());
    failed.await.expect("it does not go on from something else");
    let refused = store.put(Put::new("c", "1")).await;
    assert!(matches!(refused, Err(CommitError::Failed(_))));
}

#[tokio::test]
async fn a_store_opens_on_a_full_disk() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    let cut = disk.after_power_cut(|| false);
    let used = cut.size();
    cut.state().capacity = Some(used);
    let store = on(&cut);
    assert_eq!(store.get("a").unwrap().unwrap().value, "1");
}

#[tokio::test]
async fn an_unreadable_disk_is_noticed_by_the_reader_while_the_writer_is_idle() {
    let disk = Disk::default();
    let store = on(&disk);
    for n in 0..20 {
        store.put(large(&format!("k{n}"))).await.unwrap();
    }
    drop(store);
    // Nothing is cached, so every read goes to the disk.
    let options = Options {
        cache_bytes: 0,
        ..Options::default()
    };
    let store = Store::with_backend(disk.clone(), options).unwrap();
    disk.state().failing_reads = true;
    assert!(matches!(store.get("k1"), Err(ReadError::Failed(_))));
    let failure = store.failed().await;
    assert_eq!(failure.attempted, "reading");
    assert!(matches!(
        store.put(Put::new("a", "1")).await,
        Err(CommitError::Failed(_))
    ));
    assert!(matches!(store.get("k1"), Err(ReadError::Failed(_))));
}

#[tokio::test]
async fn a_record_that_panics_becomes_the_failure_of_the_store_and_not_a_hang() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    let panicking = Put {
        record: Some(Box::new(|_| panic!("no record"))),
        ..Put::new("b", "1")
    };
    assert!(matches!(
        store.put(panicking).await,
        Err(CommitError::Failed(_))
    ));
    let failure = store.failed().await;
    assert_eq!(failure.source.to_string(), "no record");
    assert!(matches!(
        store.put(Put::new("c", "1")).await,
        Err(CommitError::Failed(_))
    ));
    drop(store);
    let store = on(&disk);
    assert_eq!(
        store.revision(),
        1,
        "the change without its record did not happen"
    );
}

#[tokio::test]
async fn maintenance_that_waits_behind_a_failing_commit_is_answered_with_it() {
    let disk = Disk::default();
    let store = on(&disk);
    disk.hold();
    let mut first = Box::pin(store.put(Put::new("a", "1")));
    assert!(poll!(&mut first).is_pending());
    disk.await_sync();
    let fails = disk.clone();
    let record = move |_: Stamp| {
        fails.state().failing_sync = Some(ErrorKind::Other);
        Vec::new()
    };
    let mut second = Box::pin(store.append(Box::new(record)));
    assert!(poll!(&mut second).is_pending());
    let mut waiting = join_all([store.compact(1), store.compact(1)]);
    assert!(poll!(&mut waiting).is_pending());
    disk.release();
    assert_eq!(first.await.unwrap().revision, 1);
    assert!(matches!(second.await, Err(CommitError::Failed(_))));
    for answer in waiting.await {
        assert!(matches!(answer, Err(CommitError::Failed(_))));
    }
}

#[tokio::test]
async fn a_commit_that_hangs_delays_no_reader_and_shows_nothing_of_itself() {
    let disk = Disk::default();
    let store = on(&disk);
    put(&store, "a", "1").await;
    let mut watch = store.watch("", 0).unwrap();
    disk.hold();
    let mut hanging = Box::pin(store.put(Put::new("a", "2")));
    assert!(poll!(&mut hanging).is_pending());
    disk.await_sync();
    assert_eq!(store.get("a").unwrap().unwrap().value, "1");
    assert_eq!(store.range(&Range::default()).unwrap().revision, 1);
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 1);
    assert!(watch.next().now_or_never().is_none());
    disk.release();
    assert_eq!(hanging.await.unwrap().revision, 2);
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 2);
}
