//! A server over time: restarts, new versions of its kinds, history and events that grow old, faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use clos_apiserver::Retention;
use clos_store::Store;
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSON, JSONSchemaProps};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, WIDGETS};

/// Runs the maintenance until `done`, which the other future decides.
async fn maintained(server: &Server, done: impl Future<Output = ()>) {
    let stop = CancellationToken::new();
    let work = server.api.maintain(stop.clone());
    futures::join!(work, async {
        done.await;
        stop.cancel();
    });
}

#[tokio::test]
async fn objects_get_the_defaults_of_a_newer_definition_once() {
    let store = Store::in_memory();
    let old = Server::on(store.clone()).await;
    old.widget("a").await;
    drop(old);
    let start = || {
        Server::with(store.clone(), |config| {
            let version = &mut config.crds[0].spec.versions[0];
            let schema = version
                .schema
                .as_mut()
                .unwrap()
                .open_api_v3_schema
                .as_mut()
                .unwrap();
            let spec = schema.properties.as_mut().unwrap().get_mut("spec").unwrap();
            let shape = JSONSchemaProps {
                type_: Some("string".to_owned()),
                default: Some(JSON(json!("round"))),
                ..Default::default()
            };
            spec.properties
                .as_mut()
                .unwrap()
                .insert("shape".to_owned(), shape);
        })
    };
    let new = start().await;
    assert_eq!(
        new.get(&format!("{WIDGETS}/a")).await.json()["spec"]["shape"],
        "round"
    );
    let crd = new
        .get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.dev")
        .await
        .json();
    assert_eq!(crd["status"]["conditions"][1]["type"], "Established");
    let revision = new.store.revision();
    assert_eq!(
        start().await.store.revision(),
        revision,
        "the second start changes nothing"
    );
}

#[tokio::test]
async fn events_are_removed_an_hour_after_their_last_sign() {
    static NOW: AtomicI64 = AtomicI64::new(1_767_268_800);
    fn clock() -> Timestamp {
        Timestamp::from_second(NOW.load(Ordering::Relaxed)).unwrap()
    }
    let server = Server::with(Store::in_memory(), |config| {
        config.clock = clock;
        config.retention.interval = Duration::from_millis(1);
    })
    .await;
    let events = "/api/v1/namespaces/default/events";
    server
        .post(events, &json!({ "metadata": { "name": "old" } }))
        .await;
    server
        .post(
            "/api/v1/namespaces/default/configmaps",
            &json!({ "metadata": { "name": "kept" } }),
        )
        .await;
    NOW.fetch_add(3000, Ordering::Relaxed);
    server
        .post(events, &json!({ "metadata": { "name": "new" } }))
        .await;
    NOW.fetch_add(600, Ordering::Relaxed);
    maintained(&server, async {
        while server.get(&format!("{events}/old")).await.code != 404 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.get(&format!("{events}/new")).await.code, 200);
    assert_eq!(
        server
            .get("/api/v1/namespaces/default/configmaps/kept")
            .await
            .code,
        200
    );
}

#[tokio::test]
async fn old_history_is_forgotten_and_an_idle_server_writes_nothing() {
    let retention = Retention {
        history: Duration::ZERO,
        revisions: 3,
        interval: Duration::from_millis(1),
    };
    let server = Server::with(Store::in_memory(), |config| config.retention = retention).await;
    server.widget("a").await;
    maintained(&server, async {
        // The newest revision is a mark only when a later look finds another one.
        let mut size = 2;
        while server.store.compacted() + 4 < server.store.revision()
            || server.store.compacted() == 0
        {
            server
                .merge(
                    &format!("{WIDGETS}/a"),
                    &json!({ "spec": { "size": size } }),
                )
                .await;
            size += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert!(
        server.store.compacted() + 3 <= server.store.revision(),
        "the last three changes are kept"
    );
    let (revision, commits) = (server.store.revision(), server.store.stats().commits);
    let looks = std::cell::Cell::new(0);
    maintained(&server, async {
        while looks.get() < 20 {
            looks.set(looks.get() + 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert_eq!(
        (server.store.revision(), server.store.stats().commits),
        (revision, commits)
    );
}

#[tokio::test]
async fn a_panic_is_an_answer_and_not_the_end() {
    let server = Server::with(Store::in_memory(), |config| {
        config.readiness = Arc::new(|| panic!("a fault"));
    })
    .await;
    let answer = server.get("/readyz").await;
    assert_eq!(
        answer.failure(),
        "500 InternalError: Internal error occurred: this is a fault of the server; its log says more"
    );
    assert_eq!(server.get("/version").await.code, 200);
}

#[tokio::test]
async fn readiness_says_in_words_what_is_missing() {
    let server = Server::with(Store::in_memory(), |config| {
        config.readiness = Arc::new(|| Err("the container engine is not reachable".to_owned()));
    })
    .await;
    let answer = server.get("/readyz").await;
    assert_eq!(
        (answer.code, answer.text.as_str()),
        (500, "not ready: the container engine is not reachable\n")
    );
    assert_eq!(server.get("/livez").await.code, 200);
    let health = server.get("/health").await;
    assert_eq!(
        (health.code, health.json()["reason"].clone()),
        (503, json!("the container engine is not reachable"))
    );
}

#[tokio::test]
async fn the_kinds_of_clos_are_served_with_everything_their_definitions_say() {
    let server = Server::with(Store::in_memory(), |config| {
        config.crds = clos_resources::crds();
    })
    .await;
    let list = server.get("/apis/clos.dev/v1alpha1").await.json();
    let names: Vec<&str> = list["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    for name in [
        "services",
        "services/status",
        "services/scale",
        "groups",
        "groups/status",
        "ports",
        "instances",
        "instances/status",
        "hosts",
        "hosts/status",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    let services = "/apis/clos.dev/v1alpha1/namespaces/default/services";
    let service = json!({ "metadata": { "name": "web" }, "spec": { "group": "shop", "image": "shop/web:1" } });
    let made = server
        .post(&format!("{services}?fieldValidation=Strict"), &service)
        .await;
    assert_eq!(made.code, 201, "{}", made.text);
    let scale = server.get(&format!("{services}/web/scale")).await.json();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
}
