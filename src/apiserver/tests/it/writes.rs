//! Writes: what is stored, what is refused and in which words, and what leaves no trace.

use serde_json::json;

use crate::support::{JSON, Server, WIDGETS};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

#[tokio::test]
async fn a_new_object_gets_what_only_the_server_may_set() {
    let server = Server::new().await;
    let wanted = json!({
        "metadata": { "name": "a", "uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z", "selfLink": "/x" },
        "spec": { "size": 1 },
        "status": { "note": "mine" },
    });
    let mut made = server.post(WIDGETS, &wanted).await.json();
    assert_ne!(made["metadata"]["uid"], "mine");
    made["metadata"]["uid"] = json!("UID");
    let version = made["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert_eq!(version, server.store.revision());
    made["metadata"]["resourceVersion"] = json!("N");
    insta::assert_snapshot!(made, @r#"{"apiVersion":"example.dev/v1","kind":"Widget","metadata":{"creationTimestamp":"2026-01-01T12:00:00Z","generation":1,"name":"a","namespace":"default","resourceVersion":"N","uid":"UID"},"spec":{"replicas":1,"size":1}}"#);
}

#[tokio::test]
async fn i2_a_write_that_changes_nothing_writes_nothing() {
    let server = Server::new().await;
    let stored = server.widget("a").await;
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "k": "v" } });
    let made = server.post(SECRETS, &secret).await.json();
    let (revision, events) = (server.store.revision(), server.journal_lines().len());
    let a = format!("{WIDGETS}/a");
    for answer in [
        server.put(&a, &stored).await,
        server.put(&format!("{a}/status"), &stored).await,
        server.merge(&a, &json!({})).await,
        server
            .merge(&a, &json!({ "spec": { "size": 1, "replicas": null } }))
            .await,
        server
            .merge(&a, &json!({ "status": { "note": "not here" } }))
            .await,
        server
            .merge(&format!("{a}/scale"), &json!({ "spec": { "replicas": 1 } }))
            .await,
    ] {
        assert_eq!(
            (answer.code, answer.version()),
            (
                200,
                stored["metadata"]["resourceVersion"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            )
        );
    }
    let again = server
        .merge(
            &format!("{SECRETS}/s"),
            &json!({ "stringData": { "k": "v" } }),
        )
        .await
        .json();
    assert_eq!(again, made);
    assert_eq!(
        (server.store.revision(), server.journal_lines().len()),
        (revision, events)
    );
    // A restart on the same store makes nothing anew either.
    let restarted = Server::on(server.store.clone()).await;
    assert_eq!(
        (restarted.store.revision(), restarted.journal_lines().len()),
        (revision, events)
    );
}

#[tokio::test]
async fn generation_counts_what_is_declared_and_nothing_else() {
    let server = Server::new().await;
    server.widget("a").await;
    let a = format!("{WIDGETS}/a");
    let generation =
        |answer: crate::support::Answer| answer.json()["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(
        generation(
            server
                .merge(&a, &json!({ "metadata": { "labels": { "a": "b" } } }))
                .await
        ),
        1
    );
    assert_eq!(
        generation(
            server
                .merge(
                    &a,
                    &json!({ "metadata": { "finalizers": ["example.dev/x"] } })
                )
                .await
        ),
        1
    );
    assert_eq!(
        generation(
            server
                .merge(
                    &format!("{a}/status"),
                    &json!({ "status": { "note": "n" } })
                )
                .await
        ),
        1
    );
    assert_eq!(
        generation(server.merge(&a, &json!({ "spec": { "size": 5 } })).await),
        2
    );
    assert_eq!(
        server
            .merge(&format!("{a}/scale"), &json!({ "spec": { "replicas": 4 } }))
            .await
            .json()["spec"]["replicas"],
        4
    );
    assert_eq!(generation(server.get(&a).await), 3);
    assert_eq!(generation(server.delete(&a).await), 4);
    assert_eq!(
        generation(server.delete(&a).await),
        4,
        "a second delete is none"
    );
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_stores_nothing() {
    let server = Server::new().await;
    let stored = server.widget("a").await;
    let (revision, events) = (server.store.revision(), server.journal_lines().len());
    let made = server
        .post(
            &format!("{WIDGETS}?dryRun=All"),
            &json!({ "metadata": { "name": "b" }, "spec": { "size": 1 } }),
        )
        .await;
    assert_eq!(made.code, 201);
    assert!(
        made.json()["metadata"]["uid"].is_string()
            && made.json()["metadata"].get("resourceVersion").is_none()
    );
    let changed = server
        .merge(
            &format!("{WIDGETS}/a?dryRun=All"),
            &json!({ "spec": { "size": 9 } }),
        )
        .await;
    assert_eq!(changed.json()["spec"]["size"], 9);
    assert_eq!(
        changed.version(),
        stored["metadata"]["resourceVersion"].as_str().unwrap()
    );
    let gone = server
        .send(
            "DELETE",
            &format!("{WIDGETS}/a"),
            &[JSON],
            r#"{"dryRun":["All"]}"#,
        )
        .await;
    assert_eq!(gone.json()["status"], "Success");
    assert_eq!(
        (server.store.revision(), server.journal_lines().len()),
        (revision, events)
    );
}

#[tokio::test]
async fn names_are_generated_from_a_prefix() {
    let server = Server::new().await;
    let object = json!({ "metadata": { "generateName": "w-" }, "spec": { "size": 1 } });
    let (one, two) = (
        server.post(WIDGETS, &object).await.json(),
        server.post(WIDGETS, &object).await.json(),
    );
    let name = one["metadata"]["name"].as_str().unwrap();
    assert!(name.len() == 7 && name.starts_with("w-"), "{name}");
    assert_ne!(one["metadata"]["name"], two["metadata"]["name"]);
}

#[tokio::test]
async fn concurrent_patches_all_arrive() {
    let server = Server::new().await;
    server.widget("a").await;
    let patches = (0..12).map(|index| {
        let server = &server;
        let label = json!({ "metadata": { "labels": { format!("l{index}"): "x" } } });
        async move { server.merge(&format!("{WIDGETS}/a"), &label).await.code }
    });
    let codes = futures::future::join_all(patches).await;
    assert_eq!(codes, vec![200; 12]);
    let labels = server.get(&format!("{WIDGETS}/a")).await.json()["metadata"]["labels"]
        .as_object()
        .unwrap()
        .len();
    assert_eq!(labels, 12);
}

#[tokio::test]
async fn core_kinds_are_replaced_without_a_resource_version_and_patched_strategically() {
    let server = Server::new().await;
    server
        .post(
            SECRETS,
            &json!({ "metadata": { "name": "s" }, "data": { "a": "eA==" } }),
        )
        .await;
    let put = server
        .put(
            &format!("{SECRETS}/s"),
            &json!({ "metadata": { "name": "s" }, "data": { "b": "eA==" }, "type": "Opaque" }),
        )
        .await;
    assert_eq!(
        (put.code, put.json()["data"].clone()),
        (200, json!({ "b": "eA==" }))
    );
    let headers = [("content-type", "application/strategic-merge-patch+json")];
    let patched = server
        .send(
            "PATCH",
            &format!("{SECRETS}/s"),
            &headers,
            r#"{"data":{"c":"eA==","b":null}}"#,
        )
        .await;
    assert_eq!(patched.json()["data"], json!({ "c": "eA==" }));
    let typed = server
        .merge(&format!("{SECRETS}/s"), &json!({ "type": "other" }))
        .await;
    assert_eq!(
        typed.failure(),
        "422 Invalid: Secret \"s\" is invalid: type: Invalid value: \"other\": field is immutable"
    );
}
