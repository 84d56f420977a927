//! What the API refuses, and in which words; what it drops with a warning.

use serde_json::{Value, json};

use crate::support::{JSON, Server, WIDGETS};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

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
