//! Reading the journal: followed, filtered, and damaged.

use super::*;

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
