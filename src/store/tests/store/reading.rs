//! Ranges, pages, and the state at earlier revisions.

use clos_store::{Delete, Page, Range, ReadError, Store};

use crate::put;

fn keys(page: &Page) -> Vec<&str> {
    page.entries
        .iter()
        .map(|entry| entry.key.as_str())
        .collect()
}

fn text(page: &Page) -> Vec<String> {
    let show = |entry: &clos_store::Entry| {
        format!(
            "{}={}@{}",
            entry.key,
            String::from_utf8_lossy(&entry.value),
            entry.revision
        )
    };
    page.entries.iter().map(show).collect()
}

fn at(revision: u64) -> Range {
    Range {
        at: Some(revision),
        ..Range::default()
    }
}

#[tokio::test]
async fn a_range_holds_exactly_the_keys_with_its_prefix_in_order() {
    let store = Store::in_memory();
    for key in ["b", "a/2", "a/1", "a", "ab", "a/\u{10ffff}", "b/1"] {
        put(&store, key, "1").await;
    }
    let page = store.range(&Range::prefix("a/")).unwrap();
    assert_eq!(keys(&page), ["a/1", "a/2", "a/\u{10ffff}"]);
    assert_eq!((page.revision, page.more, page.remaining), (7, false, 0));
    assert_eq!(store.range(&Range::default()).unwrap().entries.len(), 7);
    assert_eq!(
        keys(&store.range(&Range::prefix("c")).unwrap()),
        Vec::<&str>::new()
    );
    assert_eq!(store.get("a/").unwrap(), None);
}

#[tokio::test]
async fn pages_at_one_revision_are_one_list_whatever_changes_between_them() {
    let store = Store::in_memory();
    for n in 0..5 {
        put(&store, &format!("k{n}"), "old").await;
    }
    let mut range = Range {
        limit: Some(2),
        ..Range::prefix("k")
    };
    let first = store.range(&range).unwrap();
    assert_eq!(
        (keys(&first), first.more, first.remaining),
        (vec!["k0", "k1"], true, 3)
    );
    store.delete(Delete::new("k3")).await.unwrap();
    put(&store, "k2", "new").await;
    put(&store, "k22", "new").await;
    put(&store, "k1", "new").await;

    range.at = Some(first.revision);
    range.after_key = Some("k1".into());
    let second = store.range(&range).unwrap();
    assert_eq!(text(&second), ["k2=old@3", "k3=old@4"]);
    assert_eq!(
        (second.revision, second.more, second.remaining),
        (5, true, 1)
    );
    range.after_key = Some("k3".into());
    let third = store.range(&range).unwrap();
    assert_eq!(
        (text(&third), third.more),
        (vec!["k4=old@5".to_owned()], false)
    );

    range.at = None;
    range.after_key = Some("k1".into());
    assert_eq!(
        text(&store.range(&range).unwrap()),
        ["k2=new@7", "k22=new@8"]
    );
}

#[tokio::test]
async fn the_limit_counts_what_is_left_also_where_earlier_states_are_merged_in() {
    let store = Store::in_memory();
    for key in ["a", "b", "c"] {
        put(&store, key, "1").await;
    }
    for key in ["a", "b", "c"] {
        store.delete(Delete::new(key)).await.unwrap();
    }
    put(&store, "bb", "1").await;
    let page = store
        .range(&Range {
            limit: Some(1),
            ..at(3)
        })
        .unwrap();
    assert_eq!((keys(&page), page.remaining), (vec!["a"], 2));
    let page = store
        .range(&Range {
            limit: Some(0),
            ..at(3)
        })
        .unwrap();
    assert_eq!(
        (page.entries.len(), page.more, page.remaining),
        (0, true, 3)
    );
}

#[tokio::test]
async fn an_earlier_state_is_what_was_there_before_the_first_change_after_it() {
    let store = Store::in_memory();
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    store.delete(Delete::new("a")).await.unwrap();
    put(&store, "a", "4").await;
    let expected = [vec![], vec!["a=1@1"], vec!["a=2@2"], vec![], vec!["a=4@4"]];
    for (revision, state) in (0..).zip(expected) {
        let page = store.range(&at(revision)).unwrap();
        assert_eq!(
            (text(&page), page.revision),
            (state.iter().map(ToString::to_string).collect(), revision)
        );
    }
    assert_eq!(store.range(&at(4)).unwrap().entries[0].created, 4);
}

#[tokio::test]
async fn a_revision_that_does_not_exist_yet_answers_with_the_newest() {
    let store = Store::in_memory();
    put(&store, "a", "1").await;
    assert!(matches!(
        store.range(&at(2)),
        Err(ReadError::Future {
            requested: 2,
            head: 1
        })
    ));
    assert!(matches!(
        store.range(&at(u64::MAX)),
        Err(ReadError::Future { .. })
    ));
}

#[tokio::test]
async fn the_compacted_revision_itself_can_be_read_and_the_one_below_cannot() {
    let store = Store::in_memory();
    for n in 1..=6 {
        put(&store, "a", &n.to_string()).await;
    }
    store.compact(4).await.unwrap();
    assert_eq!((store.compacted(), store.revision()), (4, 6));
    assert_eq!(text(&store.range(&at(4)).unwrap()), ["a=4@4"]);
    assert!(matches!(
        store.range(&at(3)),
        Err(ReadError::Compacted {
            requested: 3,
            oldest: 4
        })
    ));
    store.compact(2).await.unwrap();
    assert_eq!(store.compacted(), 4, "it never goes back");
    store.compact(u64::MAX).await.unwrap();
    assert_eq!(store.compacted(), 6, "beyond the newest means the newest");
    assert_eq!(text(&store.range(&at(6)).unwrap()), ["a=6@6"]);
    assert_eq!(put(&store, "a", "7").await, 7);
    assert_eq!(text(&store.range(&at(6)).unwrap()), ["a=6@6"]);
}
