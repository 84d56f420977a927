//! Watches as clients read them: line by line.

use std::collections::BTreeMap;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::{Server, WIDGETS, admin};

/// The lines of a watch that is open.
struct Lines {
    body: BodyDataStream,
    text: Vec<u8>,
}

impl Lines {
    async fn open(server: &Server, query: &str, accept: &str) -> Self {
        let uri = format!("{WIDGETS}?watch=true&{query}");
        let response = server
            .open(
                Some(admin()),
                "GET",
                &uri,
                &[("accept", accept)],
                Body::empty(),
            )
            .await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body().into_data_stream(),
            text: Vec::new(),
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = self.body.next().await?;
            self.text.extend_from_slice(&chunk.unwrap());
        }
    }

    /// The next events as `TYPE name version`.
    async fn words(&mut self, count: usize) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..count {
            let event = self.next().await.unwrap();
            let metadata = &event["object"]["metadata"];
            let (kind, name) = (
                event["type"].as_str().unwrap(),
                metadata["name"].as_str().unwrap_or("-"),
            );
            words.push(format!(
                "{kind} {name} {}",
                metadata["resourceVersion"].as_str().unwrap()
            ));
        }
        words
    }
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap()
}

#[tokio::test]
async fn i5_what_follows_a_list_is_watched_without_gap_or_repetition() {
    let server = Server::new().await;
    server.widget("before").await;
    let listed = server.get(WIDGETS).await.version();
    let a = version(&server.widget("a").await);
    let changed = server
        .merge(&format!("{WIDGETS}/a"), &json!({ "spec": { "size": 2 } }))
        .await
        .json();
    server.delete(&format!("{WIDGETS}/a")).await;
    let mut lines = Lines::open(
        &server,
        &format!("resourceVersion={listed}"),
        "application/json",
    )
    .await;
    let expected = [
        format!("ADDED a {a}"),
        format!("MODIFIED a {}", a + 1),
        format!("DELETED a {}", a + 2),
    ];
    assert_eq!(lines.words(3).await, expected);
    let live = version(&server.widget("b").await);
    assert_eq!(lines.words(1).await, [format!("ADDED b {live}")]);
    assert_eq!(version(&changed), a + 1);
}

#[tokio::test]
async fn i5_events_after_any_revision_make_the_present_of_that_past() {
    let server = Server::new().await;
    let first = server.store.revision();
    let mut random = StdRng::seed_from_u64(5);
    for size in 2..80 {
        let name = ["a", "b", "c", "d"][random.random_range(0..4)];
        match random.random_range(0..3) {
            0 => drop(server.delete(&format!("{WIDGETS}/{name}")).await),
            1 => drop(
                server
                    .merge(
                        &format!("{WIDGETS}/{name}"),
                        &json!({ "spec": { "size": size } }),
                    )
                    .await,
            ),
            _ => drop(
                server
                    .post(
                        WIDGETS,
                        &json!({ "metadata": { "name": name }, "spec": { "size": 1 } }),
                    )
                    .await,
            ),
        }
    }
    let versions = |list: Value| -> BTreeMap<String, u64> {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| {
                (
                    item["metadata"]["name"].as_str().unwrap().to_owned(),
                    version(item),
                )
            })
            .collect()
    };
    let present = versions(server.get(WIDGETS).await.json());
    let head = server.store.revision();
    for past in first..=head {
        let query = format!("resourceVersion={past}&resourceVersionMatch=Exact");
        let mut state = versions(server.get(&format!("{WIDGETS}?{query}")).await.json());
        let mut lines = Lines::open(
            &server,
            &format!("resourceVersion={past}"),
            "application/json",
        )
        .await;
        let mut last = past;
        while last < head {
            let event = lines.next().await.unwrap();
            let (kind, object) = (event["type"].as_str().unwrap(), &event["object"]);
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            let known = state.contains_key(&name);
            assert_eq!(version(object), last + 1, "no gap and no repetition");
            last = version(object);
            match kind {
                "ADDED" => assert_eq!((known, state.insert(name, last)), (false, None)),
                "MODIFIED" => assert!(known && state.insert(name, last).is_some()),
                "DELETED" => assert!(state.remove(&name).is_some()),
                other => panic!("{other}"),
            }
        }
        assert_eq!(state, present, "from {past}");
    }
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let server = Server::new().await;
    let a = version(&server.widget("a").await);
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::open(&server, query, "application/json").await;
    assert_eq!(lines.words(1).await, [format!("ADDED a {a}")]);
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"],
        json!({ "k8s.io/initial-events-end": "true" })
    );
    assert_eq!(version(&bookmark["object"]), server.store.revision());
    let b = version(&server.widget("b").await);
    assert_eq!(lines.words(1).await, [format!("ADDED b {b}")]);
}

#[tokio::test]
async fn an_object_enters_and_leaves_a_selection_as_added_and_deleted() {
    let server = Server::new().await;
    let start = version(&server.widget("a").await);
    let mut lines = Lines::open(
        &server,
        &format!("resourceVersion={start}&labelSelector=on%3Dyes"),
        "application/json",
    )
    .await;
    let label = |value: Value| json!({ "metadata": { "labels": { "on": value } } });
    let a = format!("{WIDGETS}/a");
    for patch in [
        label(json!("yes")),
        json!({ "spec": { "size": 2 } }),
        label(json!("no")),
        json!({ "spec": { "size": 3 } }),
        label(json!("yes")),
    ] {
        assert_eq!(server.merge(&a, &patch).await.code, 200);
    }
    server.delete(&a).await;
    let expected = [
        format!("ADDED a {}", start + 1),
        format!("MODIFIED a {}", start + 2),
        format!("DELETED a {}", start + 3),
        format!("ADDED a {}", start + 5),
        format!("DELETED a {}", start + 6),
    ];
    assert_eq!(lines.words(5).await, expected);
}

#[tokio::test]
async fn a_watch_of_tables_defines_its_columns_once() {
    let server = Server::new().await;
    server.widget("a").await;
    server.widget("b").await;
    let mut lines = Lines::open(
        &server,
        "",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )
    .await;
    let first = lines.next().await.unwrap();
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"], json!(["a", 1]));
    assert_eq!(
        lines.next().await.unwrap()["object"]["columnDefinitions"],
        Value::Null
    );
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_says_so_in_the_stream() {
    let server = Server::new().await;
    server.widget("a").await;
    server.store.compact(server.store.revision()).await.unwrap();
    let mut lines = Lines::open(&server, "resourceVersion=1", "application/json").await;
    let error = lines.next().await.unwrap();
    let head = server.store.revision();
    assert_eq!(error["type"], "ERROR");
    assert_eq!(
        error["object"],
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("too old resource version: 1 ({head})"), "reason": "Expired", "code": 410,
        })
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn a_watch_from_the_future_waits_for_it() {
    let server = Server::new().await;
    let a = version(&server.widget("a").await);
    let mut lines = Lines::open(
        &server,
        &format!("resourceVersion={}", a + 1),
        "application/json",
    )
    .await;
    server.widget("b").await;
    let c = version(&server.widget("c").await);
    assert_eq!(lines.words(1).await, [format!("ADDED c {c}")]);
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over_and_says_before_how_far_it_was() {
    let server = Server::new().await;
    let listed = server.get(WIDGETS).await.version();
    let query = format!("resourceVersion={listed}&allowWatchBookmarks=true&timeoutSeconds=3");
    let mut lines = Lines::open(&server, &query, "application/json").await;
    let secrets = "/api/v1/namespaces/default/secrets";
    server
        .post(secrets, &json!({ "metadata": { "name": "other" } }))
        .await;
    let bookmark = lines.next().await.unwrap();
    // Other kinds move on, too: the bookmark lets the client start there.
    assert_eq!(
        (
            bookmark["type"].as_str().unwrap(),
            version(&bookmark["object"])
        ),
        ("BOOKMARK", server.store.revision())
    );
    assert_eq!(lines.next().await, None);
}

#[tokio::test]
async fn contradicting_watch_options_are_refused() {
    let server = Server::new().await;
    let mut texts = Vec::new();
    for query in [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
        "sendInitialEvents=true&resourceVersionMatch=Exact",
        "resourceVersion=x",
        "timeoutSeconds=x",
    ] {
        let answer = server.get(&format!("{WIDGETS}?watch=true&{query}")).await;
        texts.push(format!("{query}: {}", answer.failure()));
    }
    let yaml = server
        .send(
            "GET",
            &format!("{WIDGETS}?watch=true"),
            &[("accept", "application/yaml")],
            Body::empty(),
        )
        .await;
    assert_eq!(yaml.code, 406);
    insta::assert_snapshot!(texts.join("\n"));
}
