//! Deletion: finalizers, namespaces that terminate, collections.

use serde_json::json;

use crate::support::{JSON, Server, WIDGETS};

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::new().await;
    let a = format!("{WIDGETS}/a");
    let object = json!({ "metadata": { "name": "a", "finalizers": ["example.dev/x"] }, "spec": { "size": 1 } });
    server.post(WIDGETS, &object).await;
    let held = server
        .send(
            "DELETE",
            &a,
            &[JSON],
            r#"{"propagationPolicy":"Foreground"}"#,
        )
        .await
        .json();
    assert_eq!(
        held["metadata"]["finalizers"],
        json!(["example.dev/x", "foregroundDeletion"])
    );
    assert_eq!(
        held["metadata"]["deletionTimestamp"],
        "2026-01-01T12:00:00Z"
    );
    let more = server.merge(&a, &json!({ "metadata": { "finalizers": ["example.dev/x", "foregroundDeletion", "example.dev/y"] } })).await;
    assert_eq!(
        more.failure(),
        "422 Invalid: Widget.example.dev \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the \
         object is being deleted, found new finalizers \"example.dev/y\""
    );
    let last = server
        .merge(&a, &json!({ "metadata": { "finalizers": null } }))
        .await;
    assert_eq!(
        (last.code, last.json()["metadata"]["name"].clone()),
        (200, json!("a"))
    );
    assert_eq!(server.get(&a).await.code, 404);
    // Without finalizers a delete answers with a success and the object's uid.
    let uid = server.widget("b").await["metadata"]["uid"].clone();
    let gone = server.delete(&format!("{WIDGETS}/b")).await.json();
    assert_eq!(
        gone["details"],
        json!({ "group": "example.dev", "kind": "widgets", "name": "b", "uid": uid })
    );
}

#[tokio::test]
async fn a_namespace_terminates_until_it_is_finalized() {
    let server = Server::new().await;
    server
        .post(
            "/api/v1/namespaces",
            &json!({ "metadata": { "name": "shop" } }),
        )
        .await;
    let shop = "/api/v1/namespaces/shop";
    let terminating = server.delete(shop).await.json();
    assert_eq!(
        (
            &terminating["status"]["phase"],
            &terminating["spec"]["finalizers"]
        ),
        (&json!("Terminating"), &json!(["kubernetes"]))
    );
    let refused = server
        .post(
            "/apis/example.dev/v1/namespaces/shop/widgets",
            &json!({ "metadata": { "name": "a" }, "spec": { "size": 1 } }),
        )
        .await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let mut finalized = terminating.clone();
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(
        server
            .put(&format!("{shop}/finalize"), &finalized)
            .await
            .code,
        200
    );
    assert_eq!(server.get(shop).await.code, 404);
}

#[tokio::test]
async fn namespaces_that_the_server_counts_on_are_never_deleted() {
    let server = Server::new().await;
    for name in ["kube-public", "kube-node-lease", "a-shop"] {
        let body = json!({ "metadata": { "name": name } });
        assert_eq!(server.post("/api/v1/namespaces", &body).await.code, 201);
    }
    let revision = server.store.revision();
    for name in [
        "default",
        "kube-system",
        "clos-system",
        "kube-public",
        "kube-node-lease",
    ] {
        for options in ["", "?dryRun=All", "?propagationPolicy=Foreground"] {
            let refused = server
                .delete(&format!("/api/v1/namespaces/{name}{options}"))
                .await;
            assert_eq!(
                refused.failure(),
                format!(
                    "403 Forbidden: namespaces \"{name}\" is forbidden: this namespace may not be deleted"
                )
            );
        }
    }
    // Not even those that come before them go.
    let refused = server.delete("/api/v1/namespaces").await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert_eq!(server.store.revision(), revision, "nothing was touched");
    // Objects of another kind may have such a name.
    server.widget("default").await;
    assert_eq!(server.delete(&format!("{WIDGETS}/default")).await.code, 200);
    assert_eq!(server.delete("/api/v1/namespaces/a-shop").await.code, 200);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let server = Server::new().await;
    for name in ["a", "b", "c"] {
        server.widget(name).await;
    }
    server
        .merge(
            &format!("{WIDGETS}/b"),
            &json!({ "metadata": { "labels": { "keep": "yes" } } }),
        )
        .await;
    let gone = server
        .delete(&format!("{WIDGETS}?labelSelector=keep!%3Dyes"))
        .await
        .json();
    assert_eq!(
        (
            gone["kind"].clone(),
            gone["items"].as_array().unwrap().len()
        ),
        (json!("WidgetList"), 2)
    );
    let left = server.get(WIDGETS).await.json();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}
