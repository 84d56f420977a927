//! The journal through its public face: what is written, what never is, and that nothing is lost.

#![expect(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod reading;

use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clos_audit::{
    Entry, Event, Filter, Journal, JournalError, Object, ObjectRef, Order, Outcome, Redactor,
    Request,
};
use clos_auth::{Identity, Method};
use clos_store::{Expect, FakeDisk, JournalQuery, Options, Put, Store};
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn clock() -> Timestamp {
    "2026-11-23T09:31:02.512987Z".parse().unwrap()
}

fn journal(store: &Store) -> Journal {
    Journal::new(store.clone(), Redactor::default(), clock)
}

fn controller() -> Identity {
    Identity::component("controller:instance")
}

fn admin() -> Identity {
    Identity {
        user: "admin".to_owned(),
        groups: ["system:masters".to_owned()].into(),
        method: Method::ClientCertificate,
    }
}

fn instance(name: &str) -> ObjectRef {
    ObjectRef::new("clos.dev", "v1alpha1", "Instance")
        .in_namespace("default")
        .named(name)
}

fn event(name: &str) -> Event {
    Event::new(&controller(), "reconcile", instance(name), Outcome::Changed)
}

async fn all(journal: &Journal) -> Vec<Entry> {
    journal
        .query(Filter::default(), Order::Forwards, usize::MAX)
        .await
        .unwrap()
}

async fn next<S>(stream: &mut S) -> Result<Entry, JournalError>
where
    S: Stream<Item = Result<Entry, JournalError>> + Unpin,
{
    let wait = tokio::time::timeout(Duration::from_secs(20), stream.next());
    wait.await.expect("an entry within the time").unwrap()
}

fn stored(store: &Store) -> Vec<String> {
    let records = store.journal(&JournalQuery::default()).unwrap();
    records
        .iter()
        .map(|record| String::from_utf8(record.bytes.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn an_event_of_a_controller_is_one_line_of_json() {
    let store = Store::in_memory();
    let event = Event {
        uid: Some("6f1c".to_owned()),
        cause: Some("container died: exit 137, not asked for by clos".to_owned()),
        actions: vec!["start container clos_default_web-0".to_owned()],
        duration_ms: Some(512),
        ..Event::new(
            &controller(),
            "reconcile",
            instance("web-0"),
            Outcome::Repaired,
        )
    };
    assert_eq!(journal(&store).record(event).await.unwrap(), 1);
    insta::assert_snapshot!(stored(&store)[0], @r#"{"seq":1,"time":"2026-11-23T09:31:02.512Z","actor":"controller:instance","verb":"reconcile","object":"clos.dev/v1alpha1 Instance default/web-0","uid":"6f1c","cause":"container died: exit 137, not asked for by clos","actions":["start container clos_default_web-0"],"result":"repaired","durationMs":512}"#);
}

#[tokio::test]
async fn an_event_of_a_request_says_where_it_came_from_and_what_was_answered() {
    let store = Store::in_memory();
    let stranger = Identity {
        user: "jane".to_owned(),
        groups: ["developers".to_owned()].into(),
        method: Method::ClientCertificate,
    };
    let event = Event {
        cause: Some("User \"jane\" cannot get path \"/metrics\"".to_owned()),
        request: Some(Request {
            id: "0190-ab".to_owned(),
            source: Some("192.0.2.7".parse().unwrap()),
            user_agent: Some("kubectl/v1.37.0".to_owned()),
            code: 403,
            reason: Some("Forbidden".to_owned()),
        }),
        ..Event::new(&stranger, "get", Object::path("/metrics"), Outcome::Denied)
    };
    journal(&store).record(event.clone()).await.unwrap();
    insta::assert_snapshot!(stored(&store)[0], @r#"{"seq":1,"time":"2026-11-23T09:31:02.512Z","actor":"user:jane","verb":"get","object":"/metrics","cause":"User \"jane\" cannot get path \"/metrics\"","result":"denied","request":{"id":"0190-ab","source":"192.0.2.7","userAgent":"kubectl/v1.37.0","code":403,"reason":"Forbidden"}}"#);
    assert_eq!(all(&journal(&store)).await[0].event, event);
}

#[tokio::test]
async fn every_outcome_has_one_word() {
    let store = Store::in_memory();
    let journal = journal(&store);
    let outcomes = [
        Outcome::Allowed,
        Outcome::Denied,
        Outcome::Failed,
        Outcome::Changed,
        Outcome::Repaired,
        Outcome::Unchanged,
    ];
    for outcome in outcomes {
        let event = Event::new(&controller(), "reconcile", instance("web"), outcome);
        journal.record(event).await.unwrap();
    }
    let words: Vec<String> = stored(&store)
        .iter()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["result"].to_string())
        .collect();
    assert_eq!(
        words.join(" "),
        r#""allowed" "denied" "failed" "changed" "repaired" "unchanged""#
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i9_every_mutation_has_exactly_one_event_and_a_refused_one_none() {
    let store = Store::in_memory();
    let journal = journal(&store);
    store.put(Put::new("taken", "")).await.unwrap();
    let mut writers = JoinSet::new();
    for number in 0..200_u32 {
        let (store, journal) = (store.clone(), journal.clone());
        writers.spawn(async move {
            let refused = number % 4 == 0;
            let key = if refused {
                "taken".to_owned()
            } else {
                format!("key-{number}")
            };
            let put = Put {
                expect: Expect::Absent,
                record: Some(journal.within(event(&format!("web-{number}")))),
                ..Put::new(key, "value")
            };
            let result = store.put(put).await;
            assert_eq!(result.is_err(), refused, "{number}: {result:?}");
            result.ok().map(|done| (done.seq.unwrap(), number))
        });
    }
    let mut done: Vec<(u64, u32)> = writers.join_all().await.into_iter().flatten().collect();
    done.sort_unstable();
    let entries = all(&journal).await;
    assert_eq!(entries.len(), 150);
    for (entry, (seq, number)) in entries.iter().zip(&done) {
        assert_eq!(entry.seq, *seq);
        let object = instance(&format!("web-{number}"));
        assert_eq!(entry.event.object, object.into());
    }
    let numbers: Vec<u64> = entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(numbers, (1..=150).collect::<Vec<u64>>());
}

#[tokio::test]
async fn i2_a_pass_with_nothing_to_do_writes_nothing_and_the_next_event_tells_of_it() {
    let store = Store::in_memory();
    let journal = journal(&store);
    for _ in 0..1000 {
        journal.noop(&controller(), &instance("web-0"));
    }
    journal.noop(&controller(), &instance("web-1"));
    assert_eq!(*store.journal_head().borrow(), 0);
    assert_eq!(store.stats().commits, 0);

    let object = instance("web-0").subresource("status");
    let update = Event::new(&admin(), "update", object, Outcome::Allowed);
    for event in [update, event("web-0"), event("web-1")] {
        journal.record(event).await.unwrap();
    }
    let noops: Vec<u64> = all(&journal)
        .await
        .iter()
        .map(|entry| entry.noops)
        .collect();
    assert_eq!(noops, [1000, 0, 1]);
    assert!(stored(&store)[0].ends_with(r#","result":"allowed","noops":1000}"#));
    assert!(!stored(&store)[1].contains("noops"));
}

#[tokio::test]
async fn i9_passes_no_event_told_of_are_told_of_at_shutdown() {
    let store = Store::in_memory();
    let journal = journal(&store);
    for number in 0..600 {
        journal.noop(&controller(), &instance(&format!("web-{number}")));
    }
    journal.noop(&controller(), &instance("web-0"));
    assert_eq!(journal.flush_noops().await.unwrap(), 600);
    let entries = all(&journal).await;
    assert_eq!(entries.len(), 600);
    let passes: u64 = entries.iter().map(|entry| entry.noops).sum();
    assert_eq!(passes, 601);
    assert!(entries.iter().all(|entry| {
        entry.event.result == Outcome::Unchanged && entry.event.actor == "controller:instance"
    }));
    assert_eq!(journal.flush_noops().await.unwrap(), 0);
    assert_eq!(all(&journal).await.len(), 600);
}

#[tokio::test]
async fn i9_what_was_done_while_the_disk_was_full_is_recorded_once_in_order_and_with_its_time() {
    static MINUTES: AtomicI64 = AtomicI64::new(0);
    fn clock_of_minutes() -> Timestamp {
        Timestamp::from_second(60 * MINUTES.fetch_add(1, Ordering::SeqCst)).unwrap()
    }
    let disk = FakeDisk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    let journal = Journal::new(store.clone(), Redactor::default(), clock_of_minutes);
    let stop = CancellationToken::new();
    let mut running = JoinSet::new();
    let (catching_up, until) = (journal.clone(), stop.clone());
    running.spawn(async move { catching_up.catch_up(until).await });
    journal.record_or_keep(event("before")).await.unwrap();
    disk.set_full(true);
    for name in ["first", "second", "third"] {
        journal.record_or_keep(event(name)).await.unwrap();
    }
    assert_eq!(journal.kept(), 3);
    assert_eq!(names(&journal).await, ["before"]);
    assert!(journal.record_kept().await.is_err());
    let full_at = MINUTES.load(Ordering::SeqCst);
    disk.set_full(false);
    let mut entries = pin!(journal.follow(Filter::default(), 1));
    for name in ["first", "second", "third"] {
        let entry = next(&mut entries).await.unwrap();
        assert_eq!(entry.event, event(name));
        assert!(entry.time.as_second() < 60 * full_at, "{}", entry.time);
    }
    while journal.kept() > 0 {
        tokio::task::yield_now().await;
    }
    journal.record_or_keep(event("after")).await.unwrap();
    let all = ["before", "first", "second", "third", "after"];
    assert_eq!(names(&journal).await, all);
    stop.cancel();
    running.join_all().await;
}

async fn names(journal: &Journal) -> Vec<String> {
    let entries = all(journal).await;
    let objects = entries.iter().map(|entry| entry.event.object.to_string());
    let name = |object: String| object.rsplit('/').next().unwrap().to_owned();
    objects.map(name).collect()
}
