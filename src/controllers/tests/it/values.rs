//! Values from Secrets and `ConfigMaps`: arriving late, changing, and never shown.

use clos_resources::names;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::PostParams;
use serde_json::json;

use crate::world::{World, message, runs};

const PASSWORD: &str = "correct-horse-battery-staple";

fn with_secret() -> serde_json::Value {
    json!({ "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "shop", "key": "password" } } }] })
}

async fn create_secret(world: &World, value: &str) {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "shop" }, "stringData": { "password": value } });
    world
        .api::<Secret>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(secret).unwrap(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_secret_that_arrives_later_starts_the_container() {
    let world = World::new().await;
    world.service("db", with_secret()).await;
    world
        .until_instance("db-0", |db| {
            message(db).starts_with("ConfigMissing: ") && message(db).contains("shop")
        })
        .await;
    assert_eq!(world.engine.containers().len(), 0);
    create_secret(&world, PASSWORD).await;
    world.ready("db").await;
}

#[tokio::test]
async fn a_changed_secret_replaces_the_container_and_an_unchanged_one_does_not() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    world.service("db", with_secret()).await;
    world.ready("db").await;
    world.settle().await;
    let before = world.container("db-0");
    let labels = json!({ "metadata": { "labels": { "team": "shop" } } });
    world.patch::<Secret>("shop", labels).await;
    world.settle().await;
    assert_eq!(world.container("db-0").id, before.id);
    world
        .patch::<Secret>(
            "shop",
            json!({ "stringData": { "password": "another-password-entirely" } }),
        )
        .await;
    world
        .until_containers("a new container", |all| {
            all.iter()
                .any(|container| container.id != before.id && runs(container))
        })
        .await;
    world.ready("db").await;
    assert_ne!(
        world.container("db-0").labels[names::LABEL_SPEC_DIGEST],
        before.labels[names::LABEL_SPEC_DIGEST]
    );
}

#[tokio::test]
async fn a_config_map_that_goes_leaves_the_container_running() {
    let world = World::new().await;
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop" }, "data": { "level": "debug" } });
    world
        .api::<ConfigMap>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(config).unwrap(),
        )
        .await
        .unwrap();
    world.service("web", json!({ "env": [{ "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "shop", "key": "level" } } }] })).await;
    world.ready("web").await;
    let before = world.container("web-0").id;
    world.delete::<ConfigMap>("shop").await;
    world.settle().await;
    let after = world.container("web-0");
    assert!(after.id == before && runs(&after));
}

#[tokio::test]
async fn i9_no_secret_is_told_anywhere() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    let refused = clos_engine::Error::Refused(format!("bad environment: PASSWORD={PASSWORD}"));
    world
        .engine
        .fail_next(clos_engine::fake::Call::CreateContainer, 1, &refused);
    world.service("db", with_secret()).await;
    world
        .until_instance("db-0", |db| message(db).contains("bad environment"))
        .await;
    world.settle().await;
    let instance = world
        .api::<clos_resources::Instance>()
        .get("db-0")
        .await
        .unwrap();
    let entries = world.reconciles("Instance", "db-0").await;
    let told = format!(
        "{entries:?} {:?} {instance:?} {:?}",
        world.news().await,
        world.engine.containers()
    );
    assert!(!told.contains(PASSWORD), "{told}");
}
