//! The copy in a file, and forgetting: across restarts, rotations, failures and clocks.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clos_audit::{
    Entry, Event, Filter, Journal, ObjectRef, Order, Outcome, Redactor, Retention, Sink,
};
use clos_auth::Identity;
use clos_store::Store;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn clock() -> Timestamp {
    "2026-11-23T09:31:02.512Z".parse().unwrap()
}

fn journal() -> (Store, Journal) {
    let store = Store::in_memory();
    let journal = Journal::new(store.clone(), Redactor::default(), clock);
    (store, journal)
}

async fn record(journal: &Journal, count: usize) {
    let object = ObjectRef::new("clos.dev", "v1alpha1", "Host").named("edge-1");
    for _ in 0..count {
        let actor = Identity::component("controller:host");
        let event = Event::new(&actor, "reconcile", object.clone(), Outcome::Changed);
        journal.record(event).await.unwrap();
    }
}

fn sink(folder: &Path) -> Sink {
    Sink {
        path: folder.join("audit.log"),
        max_bytes: 1 << 20,
        keep: 3,
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

fn numbers(path: &Path) -> Vec<u64> {
    lines(path)
        .iter()
        .map(|line| serde_json::from_str::<Entry>(line).unwrap().seq)
        .collect()
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, wait)
        .await
        .expect("the condition within the time");
}

/// Exports while `work` runs, and stops.
async fn exporting(journal: &Journal, sink: &Sink, work: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (journal, sink, stop) = (journal.clone(), sink.clone(), stop.clone());
        async move { journal.export(sink, stop).await }
    });
    work.await;
    stop.cancel();
    tasks.join_all().await;
}

#[tokio::test]
async fn entries_are_copied_as_they_come_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let (_store, journal) = journal();
    record(&journal, 3).await;
    exporting(&journal, &sink, async {
        until(|| lines(&sink.path).len() == 3).await;
        record(&journal, 1).await;
        until(|| lines(&sink.path).len() == 4).await;
    })
    .await;
    let entries = journal
        .query(Filter::default(), Order::Forwards, 9)
        .await
        .unwrap();
    let expected: Vec<String> = entries.iter().map(Entry::to_line).collect();
    assert_eq!(lines(&sink.path), expected);
}

#[tokio::test]
async fn a_restart_neither_loses_nor_repeats_nor_breaks_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let (_store, journal) = journal();
    exporting(&journal, &sink, record(&journal, 700)).await;
    assert_eq!(numbers(&sink.path), (1..=700).collect::<Vec<u64>>());
    record(&journal, 600).await;
    // What a process that was killed while writing leaves.
    let mut file = OpenOptions::new().append(true).open(&sink.path).unwrap();
    file.write_all(b"{\"seq\":701,\"time\":\"2026-1").unwrap();
    drop(file);
    exporting(&journal, &sink, record(&journal, 10)).await;
    assert_eq!(numbers(&sink.path), (1..=1310).collect::<Vec<u64>>());
}

#[tokio::test]
async fn rotation_loses_nothing_that_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Sink {
        max_bytes: 20_000,
        keep: 100,
        ..sink(folder.path())
    };
    let (_store, journal) = journal();
    exporting(&journal, &sink, record(&journal, 600)).await;
    exporting(&journal, &sink, record(&journal, 600)).await;
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert!(files > 5, "{files} files");
    let mut found = Vec::new();
    for age in (1..files).rev() {
        let path = folder.path().join(format!("audit.log.{age}"));
        assert!(fs::metadata(&path).unwrap().len() <= sink.max_bytes);
        found.extend(numbers(&path));
    }
    found.extend(numbers(&sink.path));
    assert_eq!(found, (1..=1200).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_file_ahead_of_the_journal_belongs_to_another_and_everything_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let (_former_store, former) = journal();
    exporting(&former, &sink, record(&former, 50)).await;
    let (_store, journal) = journal();
    exporting(&journal, &sink, record(&journal, 5)).await;
    let expected: Vec<u64> = (1..=50).chain(1..=5).collect();
    assert_eq!(numbers(&sink.path), expected);
}

#[tokio::test]
async fn entries_removed_before_they_were_copied_do_not_stop_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(folder.path());
    let (store, journal) = journal();
    exporting(&journal, &sink, record(&journal, 5)).await;
    record(&journal, 10).await;
    store.trim_journal(12).await.unwrap();
    exporting(&journal, &sink, async {}).await;
    assert_eq!(numbers(&sink.path), [1, 2, 3, 4, 5, 12, 13, 14, 15]);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let sink = sink(&folder.path().join("missing"));
    let (store, journal) = journal();
    exporting(&journal, &sink, record(&journal, 5)).await;
    assert_eq!(*store.journal_head().borrow(), 5);
    fs::create_dir(folder.path().join("missing")).unwrap();
    exporting(&journal, &sink, async {}).await;
    assert_eq!(numbers(&sink.path), [1, 2, 3, 4, 5]);
}

async fn kept(journal: &Journal) -> Vec<u64> {
    let entries = journal
        .query(Filter::default(), Order::Forwards, 9999)
        .await
        .unwrap();
    entries.iter().map(|entry| entry.seq).collect()
}

#[tokio::test]
async fn more_entries_than_allowed_are_removed_from_the_old_end_and_that_is_recorded() {
    let (_store, journal) = journal();
    record(&journal, 30).await;
    let retention = Retention {
        max_records: 10,
        max_age: SignedDuration::from_hours(24),
    };
    assert_eq!(journal.retain(retention, clock()).await.unwrap(), 21);
    assert_eq!(kept(&journal).await, (22..=31).collect::<Vec<u64>>());
    let last = journal
        .query(Filter::default(), Order::Backwards, 1)
        .await
        .unwrap()
        .remove(0);
    insta::assert_snapshot!(last.to_line(), @r#"{"seq":31,"time":"2026-11-23T09:31:02.512Z","actor":"audit:retention","verb":"delete","object":"/audit","cause":"kept are at most 10 events of the last 24h","actions":["remove audit events 1 to 21"],"result":"changed"}"#);
}

#[tokio::test]
async fn i2_retention_with_nothing_to_remove_writes_nothing() {
    let (store, journal) = journal();
    let retention = Retention {
        max_records: 10,
        max_age: SignedDuration::from_hours(24),
    };
    assert_eq!(journal.retain(retention, clock()).await.unwrap(), 0);
    record(&journal, 30).await;
    journal.retain(retention, clock()).await.unwrap();
    for _ in 0..3 {
        assert_eq!(journal.retain(retention, clock()).await.unwrap(), 0);
    }
    assert_eq!(*store.journal_head().borrow(), 31);
}

#[tokio::test]
async fn the_smallest_retention_keeps_the_event_about_itself() {
    let (_store, journal) = journal();
    record(&journal, 5).await;
    let nothing = Retention {
        max_records: 0,
        max_age: SignedDuration::ZERO,
    };
    let later = clock() + SignedDuration::from_hours(1);
    assert_eq!(journal.retain(nothing, later).await.unwrap(), 5);
    assert_eq!(kept(&journal).await, [6]);
}

static SECONDS: AtomicI64 = AtomicI64::new(0);

fn settable() -> Timestamp {
    Timestamp::from_second(SECONDS.load(Ordering::SeqCst)).unwrap()
}

#[tokio::test]
async fn entries_that_are_too_old_are_removed_up_to_the_first_that_is_not() {
    let journal = Journal::new(Store::in_memory(), Redactor::default(), settable);
    for second in [100, 110, 120, 130, 90] {
        SECONDS.store(second, Ordering::SeqCst);
        record(&journal, 1).await;
    }
    let retention = Retention {
        max_records: 1000,
        max_age: SignedDuration::from_secs(60),
    };
    let at = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(journal.retain(retention, at(160)).await.unwrap(), 0);
    assert_eq!(journal.retain(retention, at(180)).await.unwrap(), 2);
    // The last one is older still, but stands behind a younger one.
    assert_eq!(kept(&journal).await, [3, 4, 5, 6]);
}
