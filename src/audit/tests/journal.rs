//! The journal through its public face: what is written, what never is, and that nothing is lost.
#![expect(clippy::unwrap_used, reason = "tests")]

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_each_entry_once_and_in_order_while_many_write() {
    let store = Store::in_memory();
    let journal = journal(&store);
    for _ in 0..700 {
        journal.record(event("before")).await.unwrap();
    }
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let journal = journal.clone();
        writers.spawn(async move {
            for _ in 0..200 {
                journal
                    .record(event(&format!("web-{writer}")))
                    .await
                    .unwrap();
            }
        });
    }
    let mut from_the_start = pin!(journal.follow(Filter::default(), 0));
    let mut from_the_middle = pin!(journal.follow(Filter::default(), 650));
    for seq in 1..=1500 {
        assert_eq!(next(&mut from_the_start).await.unwrap().seq, seq);
        if seq > 650 {
            assert_eq!(next(&mut from_the_middle).await.unwrap().seq, seq);
        }
    }
    writers.join_all().await;

    let chosen = Filter {
        object: Some(instance("web-2")),
        ..Filter::default()
    };
    let mut chosen = pin!(journal.follow(chosen, 0));
    for _ in 0..200 {
        let entry = next(&mut chosen).await.unwrap();
        assert_eq!(entry.event.object, instance("web-2").into());
    }
    journal.record(event("web-1")).await.unwrap();
    journal.record(event("web-2")).await.unwrap();
    assert_eq!(next(&mut chosen).await.unwrap().seq, 1502);
}

#[tokio::test]
async fn a_follower_is_told_when_entries_were_removed_before_it_saw_them() {
    let store = Store::in_memory();
    let journal = journal(&store);
    for _ in 0..10 {
        journal.record(event("web")).await.unwrap();
    }
    let mut follower = pin!(journal.follow(Filter::default(), 2));
    let mut newcomer = pin!(journal.follow(Filter::default(), 0));
    store.trim_journal(8).await.unwrap();
    let error = next(&mut follower).await.unwrap_err();
    assert!(
        matches!(
            error,
            JournalError::Removed {
                after: 2,
                oldest: 8
            }
        ),
        "{error}"
    );
    assert_eq!(next(&mut follower).await.unwrap().seq, 8);
    assert_eq!(next(&mut newcomer).await.unwrap().seq, 8);
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_reported_by_its_number() {
    let store = Store::in_memory();
    let journal = journal(&store);
    journal.record(event("web")).await.unwrap();
    store
        .append(Box::new(|_| b"{\"seq\":2}".to_vec()))
        .await
        .unwrap();
    let query = journal.query(Filter::default(), Order::Forwards, 9);
    let error = query.await.unwrap_err();
    assert_eq!(error.to_string(), "audit event 2 cannot be read");
    let mut follower = pin!(journal.follow(Filter::default(), 0));
    assert_eq!(next(&mut follower).await.unwrap().seq, 1);
    let error = next(&mut follower).await.unwrap_err();
    assert!(
        matches!(error, JournalError::Malformed { seq: 2, .. }),
        "{error}"
    );
    assert!(
        follower.next().await.is_none(),
        "it must not go on silently"
    );
}

#[tokio::test]
async fn a_query_filters_and_takes_from_either_end() {
    let store = Store::in_memory();
    let journal = journal(&store);
    for number in 0..1200 {
        let name = format!("web-{}", number % 3);
        let event = if number % 2 == 0 {
            event(&name)
        } else {
            Event::new(&admin(), "delete", instance(&name), Outcome::Allowed)
        };
        journal.record(event).await.unwrap();
    }
    let find = async |filter: Filter, order, limit| -> Vec<u64> {
        let entries = journal.query(filter, order, limit).await.unwrap();
        entries.iter().map(|entry| entry.seq).collect()
    };
    let object = Filter {
        object: Some(instance("web-1")),
        ..Filter::default()
    };
    assert_eq!(find(object.clone(), Order::Forwards, 3).await, [2, 5, 8]);
    assert_eq!(
        find(object.clone(), Order::Backwards, 2).await,
        [1199, 1196]
    );
    assert_eq!(
        find(object.clone(), Order::Backwards, 9999).await.len(),
        400
    );
    assert_eq!(find(object.clone(), Order::Forwards, 0).await, [0; 0]);
    let kind = Filter {
        object: Some(ObjectRef::new("clos.dev", "v1alpha1", "Instance")),
        ..Filter::default()
    };
    assert_eq!(find(kind, Order::Forwards, 9999).await.len(), 1200);
    let actor = Filter {
        actor: Some("user:admin".to_owned()),
        verb: Some("delete".to_owned()),
        ..object
    };
    assert_eq!(find(actor, Order::Forwards, 2).await, [2, 8]);
    let verb = Filter {
        verb: Some("create".to_owned()),
        ..Filter::default()
    };
    assert_eq!(find(verb, Order::Forwards, 9).await, [0; 0]);
    let recorded: Timestamp = "2026-11-23T09:31:02.512Z".parse().unwrap();
    for (since, until, found) in [
        (None, None, 1200),
        (Some(recorded), None, 1200),
        (None, Some(recorded), 0),
        (Some(recorded + Duration::from_millis(1)), None, 0),
        (None, Some(recorded + Duration::from_millis(1)), 1200),
    ] {
        let time = Filter {
            since,
            until,
            ..Filter::default()
        };
        assert_eq!(find(time, Order::Backwards, 9999).await.len(), found);
    }
}

/// An event with `text` in every field that takes text.
fn event_of(text: &str) -> Event {
    let user = Identity {
        user: text.to_owned(),
        ..admin()
    };
    let object = ObjectRef::new(text, "v1", text)
        .in_namespace(text)
        .named(text);
    Event {
        uid: Some(text.to_owned()),
        cause: Some(text.to_owned()),
        actions: vec![text.to_owned(), text.to_owned()],
        request: Some(Request {
            id: text.to_owned(),
            source: None,
            user_agent: Some(text.to_owned()),
            code: 500,
            reason: Some(text.to_owned()),
        }),
        ..Event::new(&user, text, object, Outcome::Failed)
    }
}

#[tokio::test]
async fn i9_a_secret_in_any_free_text_reaches_neither_the_store_nor_a_reader() {
    let canary = "i9_canary-7f3a\"\\x";
    let redactor = Redactor::default();
    redactor.remember("Secret shop/db", [canary]);
    let store = Store::in_memory();
    let journal = Journal::new(store.clone(), redactor, clock);
    for text in [
        canary.to_owned(),
        format!("pull failed: denied for x:{canary}@registry"),
        format!("env {{\"PASSWORD\":{canary:?}}}"),
        format!("{}{canary}", "x".repeat(4080)),
        format!("{}{canary}", "x".repeat(240)),
        "Authorization: Bearer i9_canary-7f3a".to_owned(),
        "fetch https://x:i9_canary-7f3a@example.org/".to_owned(),
    ] {
        let event = Event {
            object: instance("web").into(),
            actor: "user:x".to_owned(),
            verb: "get".to_owned(),
            uid: None,
            ..event_of(&text)
        };
        journal.record(event).await.unwrap();
    }
    let lines = stored(&store);
    assert_eq!(lines.len(), 7);
    for line in lines {
        assert!(!line.contains("i9_"), "{line}");
        assert!(line.contains("[redacted]"), "nothing was masked: {line}");
    }
}

#[tokio::test]
async fn an_event_is_bounded_whatever_it_is_given() {
    let store = Store::in_memory();
    let journal = journal(&store);
    let long = "\u{1}é".repeat(50_000);
    let event = Event {
        actions: vec![long.clone(); 5000],
        ..event_of(&long)
    };
    journal.record(event).await.unwrap();
    assert!(stored(&store)[0].len() < 2 << 20);
    let kept = &all(&journal).await[0].event;
    assert_eq!(kept.actions.len(), 101);
    assert_eq!(kept.actions[100], "… 4900 more");
    assert_eq!(kept.actions[0].chars().count(), 1024);
    assert_eq!(kept.cause.as_ref().unwrap().chars().count(), 4096);
    let agent = kept.request.as_ref().unwrap().user_agent.as_ref().unwrap();
    assert_eq!(agent.chars().count(), 256);
    assert!(agent.ends_with('…'), "{agent}");
}

#[test]
fn any_text_in_any_field_stays_one_line_of_json_that_reads_back() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let store = Store::in_memory();
    let journal = journal(&store);
    let nasty = prop_oneof![
        any::<String>(),
        "[\\x00-\\x20\"\\\\\u{7f}-\u{9f}\u{2028}-\u{202e}/%]{0,20}",
    ];
    proptest!(ProptestConfig::with_cases(200), |(text in nasty)| {
        let event = event_of(&text);
        let object = event.object.clone();
        let number = runtime.block_on(journal.record(event)).unwrap();
        let query = JournalQuery { from: number, ..JournalQuery::default() };
        let record = store.journal(&query).unwrap().remove(0);
        let line = std::str::from_utf8(&record.bytes).unwrap();
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        prop_assert!(!line.contains(breaks), "{line:?}");
        let entry: Entry = serde_json::from_str(line).unwrap();
        prop_assert_eq!(&entry.event.object, &object);
        prop_assert_eq!(entry.to_line(), line);
    });
    assert_eq!(*store.journal_head().borrow(), 200);
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
