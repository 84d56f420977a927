//! Events with any text in them: bounded, on one line, and without secrets.

use super::*;

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
