//! Writes: what is stored, what is refused and in which words, and what leaves no trace.

use serde_json::{Value, json};

use crate::support::{Server, WIDGETS};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const JSON: (&str, &str) = ("content-type", "application/json");

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
async fn i12_all_mistakes_in_an_object_are_told_at_once() {
    let server = Server::new().await;
    let wrong = json!({
        "metadata": { "name": "Not_A_Name", "labels": { "-": "x" } },
        "spec": { "size": 0, "color": "blue", "colour": "red", "parts": [{ "name": "p" }, { "name": "p" }, {}] },
    });
    let before = server.store.revision();
    let answer = server
        .send(
            "POST",
            &format!("{WIDGETS}?fieldValidation=Strict"),
            &[JSON],
            wrong.to_string(),
        )
        .await;
    let answer = answer.json();
    let causes = answer["details"]["causes"].as_array().unwrap();
    let fields: Vec<&str> = causes
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    for field in [
        "metadata.name",
        "metadata.labels",
        "spec.size",
        "spec.color",
        "spec.colour",
        "spec.parts[1]",
        "spec.parts[2].name",
    ] {
        assert!(fields.contains(&field), "{field} is missing in {fields:?}");
    }
    assert_eq!(
        (answer["code"].clone(), answer["details"]["kind"].clone()),
        (json!(422), json!("Widget"))
    );
    assert_eq!(server.store.revision(), before, "nothing was written");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table, one case after the other")]
async fn refusals_have_the_code_and_the_words_clients_know() {
    let server = Server::new().await;
    let stored = server.widget("a").await;
    let object = |patch: Value| {
        let mut object = json!({ "apiVersion": "example.dev/v1", "kind": "Widget", "metadata": { "name": "b" }, "spec": { "size": 1 } });
        json_patch::merge(&mut object, &patch);
        object
    };
    let a = format!("{WIDGETS}/a");
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let mut lines = Vec::new();
    for (what, answer) in [
        (
            "exists",
            server
                .post(WIDGETS, &object(json!({ "metadata": { "name": "a" } })))
                .await,
        ),
        (
            "no such namespace",
            server
                .post(
                    "/apis/example.dev/v1/namespaces/nowhere/widgets",
                    &object(json!({})),
                )
                .await,
        ),
        (
            "other namespace",
            server
                .post(
                    WIDGETS,
                    &object(json!({ "metadata": { "namespace": "x" } })),
                )
                .await,
        ),
        (
            "other version",
            server
                .post(WIDGETS, &object(json!({ "apiVersion": "example.dev/v2" })))
                .await,
        ),
        (
            "other kind",
            server
                .post(WIDGETS, &object(json!({ "kind": "Gadget" })))
                .await,
        ),
        (
            "no name",
            server
                .post(WIDGETS, &object(json!({ "metadata": { "name": null } })))
                .await,
        ),
        (
            "with version",
            server
                .post(
                    WIDGETS,
                    &object(json!({ "metadata": { "resourceVersion": "1" } })),
                )
                .await,
        ),
        (
            "rule",
            server
                .post(WIDGETS, &object(json!({ "spec": { "replicas": 11 } })))
                .await,
        ),
        (
            "unknown field",
            server
                .post(&strict, &object(json!({ "spec": { "bogus": 1 } })))
                .await,
        ),
        ("not JSON", server.send("POST", WIDGETS, &[JSON], "{").await),
        (
            "text",
            server
                .send("POST", WIDGETS, &[("content-type", "text/plain")], "{}")
                .await,
        ),
        (
            "protobuf",
            server
                .send(
                    "POST",
                    SECRETS,
                    &[("content-type", "application/vnd.kubernetes.protobuf")],
                    "k8s",
                )
                .await,
        ),
        (
            "dry run",
            server
                .post(&format!("{WIDGETS}?dryRun=Some"), &object(json!({})))
                .await,
        ),
        ("missing", server.get(&format!("{WIDGETS}/b")).await),
        (
            "put missing",
            server
                .put(
                    &format!("{WIDGETS}/b"),
                    &object(json!({ "metadata": { "resourceVersion": "1" } })),
                )
                .await,
        ),
        (
            "put without version",
            server
                .put(&format!("{WIDGETS}/b"), &object(json!({})))
                .await,
        ),
        (
            "put stale",
            server
                .put(
                    &a,
                    &object(json!({ "metadata": { "name": "a", "resourceVersion": "1" } })),
                )
                .await,
        ),
        (
            "put other name",
            server
                .put(
                    &a,
                    &object(json!({ "metadata": { "resourceVersion": "1" } })),
                )
                .await,
        ),
        (
            "strategic on a custom kind",
            server
                .send(
                    "PATCH",
                    &a,
                    &[("content-type", "application/strategic-merge-patch+json")],
                    "{}",
                )
                .await,
        ),
        (
            "apply",
            server
                .send(
                    "PATCH",
                    &a,
                    &[("content-type", "application/apply-patch+yaml")],
                    "{}",
                )
                .await,
        ),
        (
            "force",
            server
                .send(
                    "PATCH",
                    &format!("{a}?force=true"),
                    &[("content-type", "application/merge-patch+json")],
                    "{}",
                )
                .await,
        ),
        (
            "patched uid",
            server
                .merge(&a, &json!({ "metadata": { "uid": "x" } }))
                .await,
        ),
        (
            "strict patch",
            server
                .merge(
                    &format!("{a}?fieldValidation=Strict"),
                    &json!({ "spec": { "bogus": 1 } }),
                )
                .await,
        ),
        (
            "test failed",
            server
                .send(
                    "PATCH",
                    &a,
                    &[("content-type", "application/json-patch+json")],
                    r#"[{"op":"test","path":"/spec/size","value":9}]"#,
                )
                .await,
        ),
        (
            "no list in all namespaces for writing",
            server
                .post("/apis/example.dev/v1/widgets", &object(json!({})))
                .await,
        ),
        (
            "read-only",
            server
                .delete(
                    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.dev",
                )
                .await,
        ),
        (
            "precondition",
            server
                .send("DELETE", &a, &[JSON], r#"{"preconditions":{"uid":"x"}}"#)
                .await,
        ),
    ] {
        let uid = stored["metadata"]["uid"].as_str().unwrap();
        lines.push(format!("{what}: {}", answer.failure().replace(uid, "UID")));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn unknown_and_duplicated_fields_are_dropped_with_a_warning_unless_asked_otherwise() {
    let server = Server::new().await;
    let body = |name: &str| {
        format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{{"size":1,"size":2,"bogus":1}}}}"#)
    };
    let answer = server.send("POST", WIDGETS, &[JSON], body("a")).await;
    assert_eq!(answer.json()["spec"], json!({ "size": 2, "replicas": 1 }));
    assert_eq!(
        answer.warnings(),
        [
            r#"299 - "duplicate field \"spec.size\"""#,
            r#"299 - "unknown field \"spec.bogus\"""#
        ]
    );
    let answer = server
        .send(
            "POST",
            &format!("{WIDGETS}?fieldValidation=Ignore"),
            &[JSON],
            body("b"),
        )
        .await;
    assert_eq!((answer.code, answer.warnings().len()), (201, 0));
    let answer = server
        .send(
            "POST",
            &format!("{WIDGETS}?fieldValidation=Strict"),
            &[JSON],
            body("c"),
        )
        .await;
    assert_eq!(
        answer.failure(),
        "400 BadRequest: Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: duplicate field \"spec.size\""
    );
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
