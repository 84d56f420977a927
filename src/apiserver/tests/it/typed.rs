//! The way of clos' own controllers: `kube::Client` over the router, without a socket.

use std::collections::BTreeMap;

use clos_auth::Identity;
use futures::StreamExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, Resource as _};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};
use serde_json::json;

use crate::support::Server;

fn widgets(server: &Server) -> Api<DynamicObject> {
    let resource = resource();
    Api::namespaced_with(
        server.api.client(Identity::component("controller:test")),
        "default",
        &resource,
    )
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("example.dev", "v1", "Widget"),
        "widgets",
    )
}

fn widget(name: &str) -> DynamicObject {
    DynamicObject::new(name, &resource()).data(json!({ "spec": { "size": 2 } }))
}

#[tokio::test]
async fn a_typed_client_creates_reads_changes_and_deletes() {
    let server = Server::new().await;
    let api = widgets(&server);
    let made = api
        .create(&PostParams::default(), &widget("a"))
        .await
        .unwrap();
    assert_eq!(made.data["spec"], json!({ "size": 2, "replicas": 1 }));
    assert_eq!(made.metadata.generation, Some(1));

    let patch = Patch::Merge(json!({ "spec": { "size": 3 } }));
    let changed = api
        .patch("a", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(changed.metadata.generation, Some(2));

    let status = Patch::Merge(json!({ "status": { "note": "fine" }, "spec": { "size": 9 } }));
    let told = api
        .patch_status("a", &PatchParams::default(), &status)
        .await
        .unwrap();
    assert_eq!(
        told.data,
        json!({ "spec": { "size": 3, "replicas": 1 }, "status": { "note": "fine" } })
    );
    assert_eq!(told.metadata.generation, Some(2));

    let mut stale = changed.clone();
    stale.data["spec"]["size"] = json!(4);
    let error = api
        .replace("a", &PostParams::default(), &stale)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 409),
        "{error}"
    );

    let scaled = api
        .patch_scale(
            "a",
            &PatchParams::default(),
            &Patch::Merge(json!({ "spec": { "replicas": 3 } })),
        )
        .await
        .unwrap();
    assert_eq!(scaled.spec.unwrap().replicas, Some(3));

    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let error = api.get("a").await.unwrap_err();
    assert!(
        matches!(&error, kube::Error::Api(status) if status.code == 404),
        "{error}"
    );
}

#[tokio::test]
async fn i5_a_reflector_holds_exactly_what_the_server_holds_after_churn() {
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let server = Server::new().await;
        let api = widgets(&server);
        for index in 0..20 {
            api.create(&PostParams::default(), &widget(&format!("before-{index}")))
                .await
                .unwrap();
        }
        let writer = reflector::store::Writer::new(resource());
        let reader = writer.as_reader();
        let stream = watcher(api.clone(), config)
            .default_backoff()
            .reflect(writer);
        let mut stream = std::pin::pin!(stream);
        let churn = async {
            for index in 0..100 {
                let name = format!("w-{}", index % 17);
                match index % 3 {
                    0 => drop(api.create(&PostParams::default(), &widget(&name)).await),
                    1 => {
                        let patch = Patch::Merge(json!({ "spec": { "size": index + 1 } }));
                        drop(api.patch(&name, &PatchParams::default(), &patch).await);
                    }
                    _ => drop(api.delete(&name, &DeleteParams::default()).await),
                }
            }
            api.create(&PostParams::default(), &widget("last"))
                .await
                .unwrap();
        };
        let follow = async {
            while let Some(event) = stream.next().await {
                event.unwrap();
                if reader
                    .state()
                    .iter()
                    .any(|object| object.metadata.name.as_deref() == Some("last"))
                {
                    return;
                }
            }
        };
        futures::join!(churn, follow);
        let versions = |objects: Vec<DynamicObject>| -> BTreeMap<_, _> {
            objects
                .into_iter()
                .map(|object| {
                    (
                        object.metadata.name.unwrap(),
                        object.metadata.resource_version.unwrap(),
                    )
                })
                .collect()
        };
        let seen = versions(
            reader
                .state()
                .iter()
                .map(|object| (**object).clone())
                .collect(),
        );
        let there = versions(api.list(&ListParams::default()).await.unwrap().items);
        assert_eq!(seen, there);
    }
}

#[tokio::test]
async fn what_a_recorder_tells_is_found_by_the_object_it_is_about() {
    let server = Server::new().await;
    let client = server.api.client(Identity::component("controller:test"));
    let object = widgets(&server)
        .create(&PostParams::default(), &widget("a"))
        .await
        .unwrap();
    let recorder = Recorder::new(client.clone(), "clos".into());
    let event = Event {
        type_: EventType::Normal,
        reason: "Repaired".to_owned(),
        note: Some("started again in 512 ms".to_owned()),
        action: "Start".to_owned(),
        secondary: None,
    };
    for _ in 0..2 {
        recorder
            .publish(&event, &object.object_ref(&resource()))
            .await
            .unwrap();
    }
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(client, "default");
    let uid = object.metadata.uid.unwrap();
    let parameters = ListParams::default().fields(&format!(
        "involvedObject.uid={uid},involvedObject.kind=Widget"
    ));
    let told = events.list(&parameters).await.unwrap().items;
    assert_eq!(told.len(), 1, "the second is a repetition of the first");
    assert_eq!(told[0].message.as_deref(), Some("started again in 512 ms"));
    assert_eq!(told[0].reporting_component.as_deref(), Some("clos"));
    assert_eq!(
        told[0].series.as_ref().and_then(|series| series.count),
        Some(2)
    );
}

#[tokio::test]
async fn an_expired_watch_makes_a_watcher_start_anew() {
    let server = Server::new().await;
    let api = widgets(&server);
    api.create(&PostParams::default(), &widget("a"))
        .await
        .unwrap();
    let before = server.store.revision();
    for index in 0..20 {
        let patch = Patch::Merge(json!({ "spec": { "size": index + 5 } }));
        api.patch("a", &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
    server.store.compact(server.store.revision()).await.unwrap();
    // A watch from before the compaction gets an event, not an HTTP error.
    let parameters = kube::api::WatchParams::default();
    let mut stream = api
        .watch(&parameters, &before.to_string())
        .await
        .unwrap()
        .boxed();
    let event = stream.next().await.unwrap().unwrap();
    let kube::api::WatchEvent::Error(status) = event else {
        panic!("{event:?}")
    };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
    assert!(stream.next().await.is_none());
    // And the watcher recovers to the present state by itself.
    let mut objects = std::pin::pin!(
        watcher(api, watcher::Config::default())
            .default_backoff()
            .applied_objects()
    );
    let object = objects.next().await.unwrap().unwrap();
    assert_eq!(object.data["spec"]["size"], json!(24));
}
