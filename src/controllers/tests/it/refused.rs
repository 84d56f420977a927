//! Requests of the controllers that the API refuses for a while, one kind of request after the other: everything comes right afterwards,
//! and nothing is left. Also what is deleted in the middle of things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clos_engine::fake::Call;
use clos_resources::{Group, Instance, Port, Service};
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::world::{World, runs};

/// Every kind of request that the controllers make in the life of a service, reads included, by method and a part of the path.
const REQUESTS: [(Method, &str); 16] = [
    (Method::GET, "/groups/shop"),
    (Method::GET, "/services/web"),
    (Method::GET, "/instances/web-0"),
    (Method::GET, "/configmaps/settings"),
    (Method::PATCH, "/groups/shop"),
    (Method::PATCH, "/groups/shop/status"),
    (Method::PATCH, "/services/web/status"),
    (Method::PATCH, "/instances/web-0"),
    (Method::PATCH, "/instances/web-0/status"),
    (Method::PATCH, "/hosts/box/status"),
    (Method::POST, "/instances"),
    (Method::POST, "/ports"),
    (Method::POST, "/events"),
    (Method::PUT, "/instances/web-0"),
    (Method::DELETE, "/instances/web-0"),
    (Method::DELETE, "/ports/box-tcp-8080"),
];

/// From now on the first requests of a kind are refused; the count goes up each time.
fn refuse(world: &World, method: &Method, part: &str, code: StatusCode) -> Arc<AtomicUsize> {
    const TIMES: usize = 2;
    let refused = Arc::new(AtomicUsize::new(0));
    let (counted, method, part) = (Arc::clone(&refused), method.clone(), part.to_owned());
    world.refuse(move |asked, path| {
        let hit =
            *asked == method && path.ends_with(&part) && counted.load(Ordering::SeqCst) < TIMES;
        counted.fetch_add(usize::from(hit), Ordering::SeqCst);
        hit.then_some(code)
    });
    refused
}

/// A service comes, changes and goes, and its group after it.
async fn live(world: &World) {
    let settings = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "colour": "green" } });
    let maps = world.api::<ConfigMap>();
    let settings = serde_json::from_value(settings).unwrap();
    maps.create(&PostParams::default(), &settings)
        .await
        .unwrap();
    let colour = json!({ "configMapKeyRef": { "name": "settings", "key": "colour" } });
    let spec = json!({
        "ports": [{ "containerPort": 80, "hostPort": 8080 }],
        "env": [{ "name": "COLOUR", "valueFrom": colour }],
    });
    world.service("web", spec).await;
    world.ready("web").await;
    world.change("web", json!({ "image": "web:2" })).await;
    world
        .until_containers("the other image", |all| {
            let [container] = all else { return false };
            runs(container) && world.engine.image_of(&container.id).as_deref() == Some("web:2")
        })
        .await;
    world.ready("web").await;
    world.delete::<Service>("web").await;
    world
        .until_all(world.api::<Instance>(), "no instance", BTreeMap::is_empty)
        .await;
    let ports: Api<Port> = Api::all(world.client.clone());
    world
        .until_all(ports, "a free port", BTreeMap::is_empty)
        .await;
    world.delete::<Group>("shop").await;
    world
        .until_all(world.api::<Group>(), "no group", BTreeMap::is_empty)
        .await;
}

async fn lives_through(code: StatusCode) {
    let lives = REQUESTS.iter().map(|(method, part)| async move {
        let mut world = World::new().await;
        // What is asked at the start is refused as well.
        world.stop().await;
        let refused = refuse(&world, method, part, code);
        world.start();
        live(&world).await;
        let refused = refused.load(Ordering::SeqCst);
        assert!(refused > 0, "{method} {part} was never asked");
        let left = world.engine.containers();
        assert!(left.is_empty(), "{method} {part}: {left:#?}");
        let networks = world.engine.all_networks();
        assert!(
            networks.iter().all(|network| network.name == "bridge"),
            "{method} {part}: {networks:#?}"
        );
    });
    futures::future::join_all(lives).await;
}

#[tokio::test]
async fn a_service_lives_and_goes_whatever_loses_against_another_write() {
    lives_through(StatusCode::CONFLICT).await;
}

#[tokio::test]
async fn a_service_lives_and_goes_whatever_fails_for_a_while() {
    lives_through(StatusCode::INTERNAL_SERVER_ERROR).await;
}

#[tokio::test]
async fn a_service_deleted_while_its_container_is_made_leaves_nothing() {
    let world = World::new().await;
    world.engine.hold(Call::CreateContainer);
    world.service("web", json!({})).await;
    world
        .engine
        .until_calls(|calls| {
            calls
                .iter()
                .any(|call| call.starts_with("create container"))
        })
        .await;
    world.delete::<Service>("web").await;
    world
        .until_instance("web-0", |web| web.metadata.deletion_timestamp.is_some())
        .await;
    world.engine.release(Call::CreateContainer);
    world
        .until_all(world.api::<Instance>(), "no instance", BTreeMap::is_empty)
        .await;
    assert_eq!(world.engine.containers().len(), 0);
}

#[tokio::test]
async fn a_namespace_waits_for_what_somebody_else_holds_and_then_goes() {
    let world = World::new().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let lab = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab" } });
    let post = PostParams::default();
    let lab = serde_json::from_value(lab).unwrap();
    namespaces.create(&post, &lab).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "lab");
    for (name, finalizers) in [
        ("held", json!(["example.org/archive"])),
        ("free", json!([])),
    ] {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "finalizers": finalizers } });
        let map = serde_json::from_value(map).unwrap();
        maps.create(&post, &map).await.unwrap();
    }
    namespaces
        .delete("lab", &DeleteParams::default())
        .await
        .unwrap();
    world
        .until_all(maps.clone(), "what is held is left", |all| {
            let held = all.get("held");
            all.len() == 1 && held.is_some_and(|held| held.metadata.deletion_timestamp.is_some())
        })
        .await;
    world.settle().await;
    let lab = namespaces.get("lab").await.unwrap();
    assert!(lab.metadata.deletion_timestamp.is_some(), "{lab:#?}");
    let free = json!({ "metadata": { "finalizers": [] } });
    maps.patch("held", &PatchParams::default(), &Patch::Merge(free))
        .await
        .unwrap();
    world
        .until_all(namespaces, "no namespace", |all| {
            !all.values().any(|namespace| namespace.name_any() == "lab")
        })
        .await;
}
