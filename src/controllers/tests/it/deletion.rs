//! The end of things: Services, Groups, namespaces, and whatever owns something.

use clos_resources::{Group, Instance, Service};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::world::{World, runs};

#[tokio::test]
async fn a_deleted_service_takes_its_containers_along_and_leaves_its_volumes() {
    let world = World::new().await;
    world.service("db", json!({ "replicas": 2, "mounts": [{ "mountPath": "/data", "volume": { "name": "db" } }] })).await;
    world.ready("db").await;
    world.delete::<Service>("db").await;
    world.until_containers("nothing", <[_]>::is_empty).await;
    world
        .until_all(
            world.api::<Instance>(),
            "no instances",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    let volumes: Vec<String> = world
        .engine
        .volumes()
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    assert_eq!(volumes, ["clos_default_db"], "I11");
}

#[tokio::test]
async fn a_service_deleted_in_the_foreground_goes_after_its_containers() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.engine.hold(clos_engine::fake::Call::RemoveContainer);
    world
        .api::<Service>()
        .delete("web", &DeleteParams::foreground())
        .await
        .unwrap();
    world
        .engine
        .until_calls(|calls| {
            calls
                .iter()
                .any(|call| call.starts_with("remove container"))
        })
        .await;
    assert!(
        world
            .api::<Service>()
            .get_opt("web")
            .await
            .unwrap()
            .is_some()
    );
    world
        .engine
        .release(clos_engine::fake::Call::RemoveContainer);
    world
        .until_all(
            world.api::<Service>(),
            "no service",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    assert_eq!(world.engine.containers().len(), 0);
}

#[tokio::test]
async fn a_service_deleted_with_orphans_leaves_its_instances() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    world.api::<Service>().delete("web", &params).await.unwrap();
    world
        .until_all(
            world.api::<Service>(),
            "no service",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    world.settle().await;
    let instance = world.api::<Instance>().get("web-0").await.unwrap();
    assert!(instance.owner_references().is_empty());
    assert!(runs(&world.container("web-0")));
}

#[tokio::test]
async fn a_service_made_anew_under_the_same_name_gets_containers_of_its_own() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let before = world.container("web-0").id;
    world.delete::<Service>("web").await;
    world.service("web", json!({})).await;
    world
        .until_containers("a new container", |all| {
            all.iter()
                .any(|container| container.id != before && runs(container))
        })
        .await;
    world.ready("web").await;
    assert_eq!(world.engine.containers().len(), 1);
}

#[tokio::test]
async fn a_group_waits_for_its_services_and_takes_its_network_along() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let has_network = |world: &World| {
        world
            .engine
            .all_networks()
            .iter()
            .any(|network| network.name == "clos_default_shop")
    };
    assert!(has_network(&world));
    world.delete::<Group>("shop").await;
    world
        .until_all(world.api::<Group>(), "the reason", |all| {
            let conditions = all["shop"]
                .status
                .as_ref()
                .map(|status| status.conditions.as_slice())
                .unwrap_or_default();
            clos_resources::conditions::ready(conditions)
                .is_some_and(|ready| ready.reason == "Terminating" && ready.message.contains("web"))
        })
        .await;
    assert!(has_network(&world) && runs(&world.container("web-0")));
    world.delete::<Service>("web").await;
    world
        .until_all(
            world.api::<Group>(),
            "no group",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    assert!(!has_network(&world));
}

#[tokio::test]
async fn i1_a_deleted_group_leaves_a_foreign_network_of_its_name() {
    let world = World::new().await;
    let theirs = world
        .engine
        .create_network_by_hand("clos_default_shop", std::collections::BTreeMap::new());
    world.delete::<Group>("shop").await;
    world
        .until_all(
            world.api::<Group>(),
            "no group",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    assert!(
        world
            .engine
            .all_networks()
            .iter()
            .any(|network| network.id == theirs)
    );
}

#[tokio::test]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let world = World::new().await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let named = |name: &str| json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(named("test")).unwrap(),
        )
        .await
        .unwrap();
    let groups: Api<Group> = Api::namespaced(world.client.clone(), "test");
    let services: Api<Service> = Api::namespaced(world.client.clone(), "test");
    groups
        .create(
            &PostParams::default(),
            &Group::new("shop", clos_resources::group::GroupSpec::default()),
        )
        .await
        .unwrap();
    let service = json!({
        "apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": { "name": "web" }, "spec": { "group": "shop", "image": "web:1" },
    });
    services
        .create(
            &PostParams::default(),
            &serde_json::from_value(service).unwrap(),
        )
        .await
        .unwrap();
    let config =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" } });
    let maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), "test");
    maps.create(
        &PostParams::default(),
        &serde_json::from_value(config).unwrap(),
    )
    .await
    .unwrap();
    world
        .until_containers("a container", |all| all.iter().any(runs))
        .await;
    namespaces
        .delete("test", &DeleteParams::default())
        .await
        .unwrap();
    world
        .until_all(namespaces, "no namespace", |all| !all.contains_key("test"))
        .await;
    assert_eq!(world.engine.containers().len(), 0);
    assert!(
        world
            .engine
            .all_networks()
            .iter()
            .all(|network| network.name != "clos_test_shop")
    );
    assert_eq!(
        maps.list(&ListParams::default()).await.unwrap().items.len(),
        0
    );
}

async fn owned(world: &World, name: &str, owner: &str, uid: &str) {
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": owner, "uid": uid, "blockOwnerDeletion": true });
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "ownerReferences": [owner] } });
    world
        .api::<ConfigMap>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(map).unwrap(),
        )
        .await
        .unwrap();
}

async fn map(world: &World, name: &str) -> String {
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
    world
        .api::<ConfigMap>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(map).unwrap(),
        )
        .await
        .unwrap()
        .uid()
        .unwrap()
}

#[tokio::test]
async fn what_a_deleted_object_owned_is_collected() {
    let world = World::new().await;
    let owner = map(&world, "owner").await;
    owned(&world, "child", "owner", &owner).await;
    owned(&world, "stray", "never", "no-such-uid").await;
    let free = map(&world, "free").await;
    world
        .until_all(world.api::<ConfigMap>(), "the stray collected", |all| {
            all.len() == 3
        })
        .await;
    world.delete::<ConfigMap>("owner").await;
    world
        .until_all(world.api::<ConfigMap>(), "the child collected", |all| {
            all.len() == 1
        })
        .await;
    assert_eq!(
        world
            .api::<ConfigMap>()
            .get("free")
            .await
            .unwrap()
            .uid()
            .unwrap(),
        free
    );
}

#[tokio::test]
async fn a_stop_before_anything_is_known_is_no_failure() {
    let mut world = World::new().await;
    world.stop().await;
    for patience in 0..30 {
        world.start();
        for _ in 0..patience * 4 {
            tokio::task::yield_now().await;
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn on_a_cluster_its_own_collector_collects_and_ours_does_not() {
    let mut world = World::new().await;
    world.stop().await;
    world.start_as(|config| config.standalone = false);
    owned(&world, "stray", "never", "no-such-uid").await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let lab = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab" } });
    namespaces
        .create(
            &PostParams::default(),
            &serde_json::from_value(lab).unwrap(),
        )
        .await
        .unwrap();
    namespaces
        .delete("lab", &DeleteParams::default())
        .await
        .unwrap();
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    assert!(world.api::<ConfigMap>().get("stray").await.is_ok());
    assert!(namespaces.get("lab").await.is_ok());
    world.stop().await;
    world.start();
    world
        .until_all(
            world.api::<ConfigMap>(),
            "the stray collected",
            std::collections::BTreeMap::is_empty,
        )
        .await;
    world
        .until_all(namespaces, "no namespace lab", |all| {
            !all.contains_key("lab")
        })
        .await;
}

#[tokio::test]
async fn objects_that_own_each_other_do_not_block_a_foreground_deletion() {
    let world = World::new().await;
    let a = map(&world, "a").await;
    owned(&world, "b", "a", &a).await;
    let b = world
        .api::<ConfigMap>()
        .get("b")
        .await
        .unwrap()
        .uid()
        .unwrap();
    let owner = json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "b", "uid": b, "blockOwnerDeletion": true });
    world
        .patch::<ConfigMap>("a", json!({ "metadata": { "ownerReferences": [owner] } }))
        .await;
    world
        .api::<ConfigMap>()
        .delete("a", &DeleteParams::foreground())
        .await
        .unwrap();
    world
        .until_all(
            world.api::<ConfigMap>(),
            "both collected",
            std::collections::BTreeMap::is_empty,
        )
        .await;
}
