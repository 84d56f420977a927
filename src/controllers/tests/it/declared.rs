//! What is declared is not known at once after a start: a store that was restored from an older backup has older declarations than the
//! folder that is about to be looked at, and than the containers.

use std::time::Duration;

use clos_resources::{Instance, Service};
use serde_json::{Value, json};

use crate::world::{World, runs};

const REPLICAS: usize = 2;

/// A machine whose containers are of `web:2`, whose store is of the time before, and whose controllers start with this.
async fn restored() -> World {
    let mut world = World::new().await;
    world.service("web", json!({ "replicas": REPLICAS })).await;
    world.ready("web").await;
    let before = specs(&world).await;
    world.change("web", json!({ "image": "web:2" })).await;
    world
        .until_containers("the new version", |all| {
            let new = |id: &str| world.engine.image_of(id).as_deref() == Some("web:2");
            all.len() == REPLICAS && all.iter().all(|one| runs(one) && new(&one.id))
        })
        .await;
    world.ready("web").await;
    world.stop().await;
    let [service, first, second] = before;
    world
        .patch::<Service>("web", json!({ "spec": service }))
        .await;
    world
        .patch::<Instance>("web-0", json!({ "spec": first }))
        .await;
    world
        .patch::<Instance>("web-1", json!({ "spec": second }))
        .await;
    world.engine.forget_calls();
    world.declared.send_replace(false);
    world.start();
    world.settle().await;
    world
}

async fn specs(world: &World) -> [Value; 3] {
    let service = world.api::<Service>().get("web").await.unwrap();
    let first = world.api::<Instance>().get("web-0").await.unwrap();
    let second = world.api::<Instance>().get("web-1").await.unwrap();
    [json!(service.spec), json!(first.spec), json!(second.spec)]
}

#[tokio::test]
async fn no_container_is_replaced_by_an_older_one_before_the_sources_were_looked_at() {
    let world = restored().await;
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
    world.change("web", json!({ "image": "web:2" })).await;
    world.declared.send_replace(true);
    world.ready("web").await;
    world.settle().await;
    world.advance(Duration::from_secs(61)).await;
    world.settle().await;
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
}

#[tokio::test]
async fn what_the_sources_do_not_declare_otherwise_is_as_the_store_says() {
    let world = restored().await;
    world.declared.send_replace(true);
    world
        .until_containers("the old version", |all| {
            let old = |id: &str| world.engine.image_of(id).as_deref() == Some("web:1");
            all.len() == REPLICAS && all.iter().all(|one| runs(one) && old(&one.id))
        })
        .await;
}

#[tokio::test]
async fn what_died_is_started_again_before_the_sources_were_looked_at() {
    let mut world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.stop().await;
    world.declared.send_replace(false);
    world.engine.kill_by_hand(&world.container("web-0").id);
    world.start();
    world
        .until_containers("a repair", |all| all.iter().all(runs))
        .await;
}
