//! What the audit journal tells of requests.

use axum::body::Body;
use clos_auth::Identity;
use serde_json::json;

use crate::support::{Server, WIDGETS, read, user};

#[tokio::test]
async fn i9_every_mutation_and_denial_has_exactly_one_audit_event() {
    let server = Server::new().await;
    let before = server.journal_lines().len();
    let a = format!("{WIDGETS}/a");
    server.widget("a").await;
    server.merge(&a, &json!({ "spec": { "size": 2 } })).await;
    server.merge(&a, &json!({ "spec": { "size": 2 } })).await;
    server
        .merge(
            &format!("{a}/status"),
            &json!({ "status": { "note": "by hand" } }),
        )
        .await;
    server
        .merge(&format!("{a}/scale"), &json!({ "spec": { "replicas": 2 } }))
        .await;
    server.get(&a).await;
    server
        .post(
            WIDGETS,
            &json!({ "metadata": { "name": "bad" }, "spec": {} }),
        )
        .await;
    server.delete(&a).await;
    server.delete(&a).await;
    read(server.open(None, "GET", WIDGETS, &[], Body::empty()).await).await;
    read(
        server
            .open(
                Some(user("jane", &["shop"])),
                "DELETE",
                &a,
                &[],
                Body::empty(),
            )
            .await,
    )
    .await;
    read(
        server
            .open(
                Some(user("jane", &["shop"])),
                "GET",
                "/metrics",
                &[],
                Body::empty(),
            )
            .await,
    )
    .await;
    let lines = server.journal_lines().split_off(before);
    insta::assert_snapshot!(lines.join("\n"));
}

#[tokio::test]
async fn i9_a_denial_says_what_the_client_was_told() {
    let server = Server::new().await;
    for identity in [None, Some(user("jane", &["shop"]))] {
        let answer = read(
            server
                .open(
                    identity,
                    "DELETE",
                    &format!("{WIDGETS}/a"),
                    &[],
                    Body::empty(),
                )
                .await,
        )
        .await;
        let told: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        let event = server.journal().pop().unwrap();
        assert_eq!(event.cause.as_deref(), told["message"].as_str());
        let request = event.request.unwrap();
        assert_eq!(request.reason.as_deref(), told["reason"].as_str());
        assert_eq!(told["code"], request.code);
        assert!(
            request.code == 401 || request.code == 403,
            "{}",
            request.code
        );
    }
}

#[tokio::test]
async fn a_component_is_not_audited_for_reporting_but_for_everything_else() {
    let server = Server::new().await;
    server.widget("a").await;
    let before = server.journal_lines().len();
    let component = || Some(Identity::component("controller:test"));
    let json = [("content-type", "application/json")];
    let merge = [("content-type", "application/merge-patch+json")];
    let requests = [
        (
            "PATCH",
            format!("{WIDGETS}/a/status"),
            merge,
            json!({ "status": { "note": "n" } }),
        ),
        (
            "POST",
            "/api/v1/namespaces/default/events".to_owned(),
            json,
            json!({ "metadata": { "name": "e" } }),
        ),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/clos-system/leases".to_owned(),
            json,
            json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "me" } }),
        ),
        (
            "PATCH",
            format!("{WIDGETS}/a"),
            merge,
            json!({ "spec": { "size": 4 } }),
        ),
    ];
    for (method, uri, headers, body) in requests {
        let answer = read(
            server
                .open(component(), method, &uri, &headers, body.to_string())
                .await,
        )
        .await;
        assert!(answer.code < 300, "{uri}: {}", answer.text);
    }
    let lines = server.journal_lines().split_off(before);
    assert_eq!(
        lines,
        ["controller:test patch example.dev/v1 Widget default/a Allowed 200"]
    );
}

#[tokio::test]
async fn an_audit_event_names_the_object_and_the_request() {
    let server = Server::new().await;
    let made = server.widget("a").await;
    let last = || -> clos_audit::Entry {
        let records = server
            .store
            .journal(&clos_store::JournalQuery::default())
            .unwrap();
        serde_json::from_slice(&records.last().unwrap().bytes).unwrap()
    };
    let entry = last();
    assert_eq!(entry.event.uid.as_deref(), made["metadata"]["uid"].as_str());
    let request = entry.event.request.unwrap();
    assert_eq!((request.code, request.id.len()), (201, 36));
    assert_eq!(
        entry.event.cause.as_deref(),
        Some("requested by a client that does not name itself")
    );

    let component = Some(Identity::component("controller:test"));
    let uri = format!("{WIDGETS}/a");
    let deleted = server
        .open(component, "DELETE", &uri, &[], Body::empty())
        .await;
    assert_eq!(deleted.status(), 200);
    assert_eq!(
        last().event.cause.as_deref(),
        Some("requested by controller:test")
    );
}
