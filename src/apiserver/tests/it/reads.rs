//! Reads: forms of answers, lists in pages, selectors, discovery, health.

use axum::body::Body;
use serde_json::{Value, json};

use crate::support::{Server, WIDGETS, read};

const TABLE: (&str, &str) = (
    "accept",
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
);

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_list_in_pages_is_one_snapshot() {
    let server = Server::new().await;
    for name in ["a", "b", "c", "d", "e"] {
        server.widget(name).await;
    }
    let first = server.get(&format!("{WIDGETS}?limit=2")).await.json();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    server.widget("bb").await;
    server.delete(&format!("{WIDGETS}/c")).await;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    let second = server
        .get(&format!("{WIDGETS}?limit=2&continue={token}"))
        .await
        .json();
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token_two = second["metadata"]["continue"].as_str().unwrap();
    let third = server
        .get(&format!("{WIDGETS}?limit=2&continue={token_two}"))
        .await
        .json();
    assert_eq!(
        (names(&third), third["metadata"].get("continue")),
        (vec!["e"], None)
    );

    // The snapshot is gone: the answer carries a token that reads on in the present state.
    server.store.compact(server.store.revision()).await.unwrap();
    let expired = server
        .get(&format!("{WIDGETS}?limit=2&continue={token}"))
        .await;
    assert_eq!(
        (expired.code, expired.json()["reason"].clone()),
        (410, json!("Expired"))
    );
    let status = expired.json();
    let fresh = status["metadata"]["continue"].as_str().unwrap();
    let rest = server
        .get(&format!("{WIDGETS}?limit=9&continue={fresh}"))
        .await
        .json();
    assert_eq!(names(&rest), ["bb", "d", "e"]);
}

#[tokio::test]
async fn a_token_that_was_not_given_for_this_list_is_refused() {
    let server = Server::new().await;
    server.widget("a").await;
    server.widget("b").await;
    let token = server.get(&format!("{WIDGETS}?limit=1")).await.json()["metadata"]["continue"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut tampered = token.clone().into_bytes();
    let at = tampered.len() / 2;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    for uri in [
        format!("{WIDGETS}?continue={tampered}"),
        format!("{WIDGETS}?continue=garbage"),
        format!("/api/v1/namespaces/default/secrets?continue={token}"),
        format!("{WIDGETS}?continue={token}&resourceVersion=5"),
    ] {
        assert_eq!(server.get(&uri).await.code, 400, "{uri}");
    }
}

#[tokio::test]
async fn resource_versions_choose_the_state_that_is_read() {
    let server = Server::new().await;
    let old = server.widget("a").await["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    server.widget("b").await;
    let head = server.store.revision();
    let list = async |query: &str| server.get(&format!("{WIDGETS}?{query}")).await;
    let old_list = list(&format!("resourceVersion={old}&resourceVersionMatch=Exact"))
        .await
        .json();
    assert_eq!(
        (
            names(&old_list),
            old_list["metadata"]["resourceVersion"].as_str().unwrap()
        ),
        (vec!["a"], old.as_str())
    );
    let fresh = list(&format!(
        "resourceVersion={old}&resourceVersionMatch=NotOlderThan"
    ))
    .await
    .json();
    assert_eq!(names(&fresh), ["a", "b"]);
    let mut lines = Vec::new();
    for query in [
        format!("resourceVersion={}", head + 1000),
        "resourceVersionMatch=Exact".to_owned(),
        "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
        "resourceVersion=0&resourceVersionMatch=Never".to_owned(),
        "sendInitialEvents=true".to_owned(),
        "resourceVersion=abc".to_owned(),
        "limit=-1".to_owned(),
        "fieldSelector=spec.size%3D1".to_owned(),
        "labelSelector=a+b".to_owned(),
    ] {
        lines.push(
            format!("{query}: {}", list(&query).await.failure())
                .replace(&(head + 1000).to_string(), "HEAD+1000"),
        );
    }
    let future = list(&format!("resourceVersion={}", head + 1000)).await;
    assert_eq!(future.headers["retry-after"], "1");
    let text = lines
        .join("\n")
        .replace(&format!("current: {head}"), "current: HEAD");
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn selectors_choose_by_label_field_and_name() {
    let server = Server::new().await;
    for (name, color, tier) in [
        ("a", "red", "front"),
        ("b", "green", "front"),
        ("c", "red", "back"),
    ] {
        let object = json!({ "metadata": { "name": name, "labels": { "tier": tier } }, "spec": { "size": 1, "color": color } });
        server.post(WIDGETS, &object).await;
    }
    for (query, expected) in [
        ("labelSelector=tier%3Dfront", vec!["a", "b"]),
        ("labelSelector=tier+in+(back)", vec!["c"]),
        ("fieldSelector=spec.color%3Dred", vec!["a", "c"]),
        (
            "fieldSelector=spec.color%3Dred&labelSelector=tier!%3Dback",
            vec!["a"],
        ),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db&limit=1", vec!["a"]),
        ("labelSelector=tier%3Dfront&limit=1", vec!["a"]),
    ] {
        let list = server.get(&format!("{WIDGETS}?{query}")).await.json();
        assert_eq!(names(&list), expected, "{query}");
        assert!(
            list["metadata"].get("remainingItemCount").is_none(),
            "a selector leaves the rest unknown"
        );
    }
}

#[tokio::test]
async fn an_answer_takes_the_form_that_is_asked_for() {
    let server = Server::new().await;
    let stored = server.widget("a").await;
    let a = format!("{WIDGETS}/a");
    assert_eq!(server.get(&a).await.json(), stored);
    let yaml = server
        .send("GET", &a, &[("accept", "application/yaml")], Body::empty())
        .await;
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml.text).unwrap(), stored);
    let partial = [(
        "accept",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
    )];
    let metadata = server.send("GET", &a, &partial, Body::empty()).await.json();
    assert_eq!(
        (metadata["kind"].clone(), metadata.get("spec")),
        (json!("PartialObjectMetadata"), None)
    );
    let table = server
        .send("GET", WIDGETS, &[TABLE], Body::empty())
        .await
        .json();
    assert_eq!(table["rows"][0]["cells"], json!(["a", 1]));
    assert_eq!(
        table["metadata"]["resourceVersion"],
        server.get(WIDGETS).await.json()["metadata"]["resourceVersion"]
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(
        server
            .send("GET", WIDGETS, &partial, Body::empty())
            .await
            .code,
        406
    );
    assert_eq!(
        server
            .send("GET", &a, &[("accept", "text/html")], Body::empty())
            .await
            .code,
        406
    );
}

#[tokio::test]
async fn events_written_to_one_api_are_read_from_the_other() {
    let server = Server::new().await;
    let event = json!({
        "metadata": { "name": "a.1" }, "regarding": { "kind": "Widget", "name": "a", "namespace": "default" }, "note": "hello",
        "reason": "Repaired", "type": "Normal", "action": "Start", "reportingController": "clos", "reportingInstance": "x",
        "eventTime": "2026-01-01T11:59:00.000000Z",
    });
    let made = server
        .post("/apis/events.k8s.io/v1/namespaces/default/events", &event)
        .await;
    assert_eq!(
        (made.code, made.json()["note"].clone()),
        (201, json!("hello"))
    );
    let patched = server
        .merge(
            "/apis/events.k8s.io/v1/namespaces/default/events/a.1",
            &json!({ "note": "again" }),
        )
        .await;
    assert_eq!(patched.json()["note"], "again");
    let query = "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Da,involvedObject.kind%3DWidget";
    let list = server.get(query).await.json();
    assert_eq!(list["items"][0]["message"], "again");
    assert_eq!(list["items"][0]["apiVersion"], "v1");
    assert_eq!(list["items"][0]["involvedObject"]["name"], "a");
}

#[tokio::test]
async fn discovery_tells_every_kind_in_both_forms() {
    let server = Server::new().await;
    let aggregated = [(
        "accept",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
    )];
    let answer = server
        .send("GET", "/apis", &aggregated, Body::empty())
        .await;
    assert_eq!(
        answer.headers["content-type"],
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let document = answer.json();
    let groups: Vec<&str> = document["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    for group in [
        "example.dev",
        "events.k8s.io",
        "coordination.k8s.io",
        "apiextensions.k8s.io",
        "authorization.k8s.io",
    ] {
        assert!(groups.contains(&group), "{group} is missing in {groups:?}");
    }
    assert_eq!(server.get("/apis").await.json()["kind"], "APIGroupList");
    let resources = server.get("/apis/example.dev/v1").await.json();
    let listed: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ["widgets", "widgets/status", "widgets/scale"]);
    assert_eq!(server.get("/api").await.json()["versions"], json!(["v1"]));
}

#[tokio::test]
async fn schemas_are_not_sent_twice() {
    let server = Server::new().await;
    let index = server.get("/openapi/v3").await;
    let tag = index.headers["etag"].to_str().unwrap().to_owned();
    let again = server
        .send(
            "GET",
            "/openapi/v3",
            &[("if-none-match", &tag)],
            Body::empty(),
        )
        .await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));
    let url = index.json()["paths"]["apis/example.dev/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = server.get(&url).await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(
        document.json()["components"]["schemas"]
            .get("dev.example.v1.Widget")
            .is_some()
    );
}

#[tokio::test]
async fn nobody_is_anonymous_but_for_health_and_version() {
    let server = Server::new().await;
    let mut lines = Vec::new();
    for path in [
        "/health", "/healthz", "/livez", "/readyz", "/version", "/metrics", "/apis", WIDGETS,
        "/nothing",
    ] {
        let answer = read(server.open(None, "GET", path, &[], Body::empty()).await).await;
        lines.push(format!("{} {path}", answer.code));
    }
    assert_eq!(
        lines,
        [
            "200 /health",
            "200 /healthz",
            "200 /livez",
            "200 /readyz",
            "200 /version",
            "401 /metrics",
            "401 /apis",
            &format!("401 {WIDGETS}"),
            "401 /nothing",
        ]
    );
    assert_eq!(
        server.get("/version").await.json()["gitVersion"],
        "v1.36.0+clos"
    );
    let lost = server.get("/nothing").await;
    assert_eq!(
        (lost.code, lost.text.as_str()),
        (404, "404 page not found\n")
    );
    assert_eq!(server.get("/api/v1/pods").await.code, 404);
    assert_eq!(
        server
            .send("OPTIONS", WIDGETS, &[], Body::empty())
            .await
            .code,
        405
    );
    assert!(
        server
            .get("/metrics")
            .await
            .text
            .contains("clos_api_requests_total")
    );
}

#[tokio::test]
async fn a_client_learns_who_it_is_and_what_it_may_do() {
    let server = Server::new().await;
    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let who = server
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)
        .await;
    assert_eq!(
        (
            who.code,
            who.json()["status"]["userInfo"]["username"].clone()
        ),
        (201, json!("admin"))
    );
    let jane = crate::support::user("jane", &[]);
    let body = json!({ "spec": { "resourceAttributes": { "verb": "get", "resource": "secrets", "namespace": "default" } } });
    let uri = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let may = read(
        server
            .open(
                Some(jane),
                "POST",
                uri,
                &[("content-type", "application/json")],
                body.to_string(),
            )
            .await,
    )
    .await;
    assert_eq!(may.json()["status"]["allowed"], false);
}

#[tokio::test]
async fn a_body_beyond_three_mebibytes_is_refused() {
    let server = Server::new().await;
    let answer = server
        .send(
            "POST",
            WIDGETS,
            &[("content-type", "application/json")],
            vec![b' '; 3 * 1024 * 1024 + 1],
        )
        .await;
    assert_eq!(
        answer.failure(),
        "413 RequestEntityTooLarge: Request entity too large: limit is 3145728"
    );
}
