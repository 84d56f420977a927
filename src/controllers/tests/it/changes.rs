//! Declarations that change while they are carried out or after.

use std::time::Duration;

use clos_engine::fake::{Call, FakeImage, Program};
use clos_plan::observed::ContainerState;
use clos_resources::{Group, Instance, Service};
use serde_json::json;

use crate::world::{World, clock, engine, message, runs};

#[tokio::test]
async fn a_changed_image_replaces_one_instance_after_the_other() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 3 })).await;
    world.ready("web").await;
    world.engine.hold(Call::StartContainer);
    world.change("web", json!({ "image": "web:2" })).await;
    let started = |calls: &[String]| {
        calls
            .iter()
            .filter(|call| call.starts_with("start"))
            .count()
    };
    world.engine.until_calls(|calls| started(calls) == 4).await;
    world.settle().await;
    let running = world
        .engine
        .containers()
        .iter()
        .filter(|container| runs(container))
        .count();
    assert_eq!(running, 2, "while the first new one starts, the others run");
    world.engine.release(Call::StartContainer);
    world
        .until_service("web", |web| {
            web.status
                .as_ref()
                .is_some_and(|status| status.updated_replicas == 3)
        })
        .await;
    world.ready("web").await;
    for container in world.engine.containers() {
        assert_eq!(
            world.engine.image_of(&container.id).as_deref(),
            Some("web:2")
        );
    }
    assert_eq!(started(&world.engine.calls()), 6);
}

#[tokio::test]
async fn i7_an_update_that_cannot_start_leaves_the_other_replicas_alone() {
    let world = World::with(
        engine()
            .present(FakeImage::new("bad:1").program(Program::refused("no such command: serve"))),
    )
    .await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.change("web", json!({ "image": "bad:1" })).await;
    world
        .until_all(world.api::<Instance>(), "a failure", |all| {
            all.values()
                .any(|instance| message(instance).contains("no such command"))
        })
        .await;
    world.settle().await;
    assert_eq!(
        world
            .engine
            .containers()
            .iter()
            .filter(|container| runs(container))
            .count(),
        1
    );
    world.change("web", json!({ "image": "web:1" })).await;
    world.ready("web").await;
}

#[tokio::test]
async fn scaling_adds_and_removes_the_highest_replicas() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 1 })).await;
    world.ready("web").await;
    let first = world.container("web-0").id;
    world.change("web", json!({ "replicas": 3 })).await;
    world
        .until_containers("three", |all| {
            all.iter().filter(|container| runs(container)).count() == 3
        })
        .await;
    world.change("web", json!({ "replicas": 1 })).await;
    world.until_containers("one", |all| all.len() == 1).await;
    assert_eq!(world.container("web-0").id, first);
    world.change("web", json!({ "replicas": 0 })).await;
    world.until_containers("none", <[_]>::is_empty).await;
}

#[tokio::test]
async fn a_stopped_service_keeps_its_containers_and_runs_again() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let id = world.container("web-0").id;
    world.change("web", json!({ "state": "Stopped" })).await;
    world.until_reason("web", "Suspended").await;
    assert!(matches!(
        world.container("web-0").state,
        ContainerState::Exited { .. }
    ));
    world.change("web", json!({ "state": "Running" })).await;
    world.ready("web").await;
    assert_eq!(world.container("web-0").id, id);
}

#[tokio::test]
async fn a_stopped_group_stops_its_services() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world
        .patch::<Group>("shop", json!({ "spec": { "state": "Stopped" } }))
        .await;
    world.until_reason("web", "Suspended").await;
    assert!(!runs(&world.container("web-0")));
}

#[tokio::test]
async fn the_restart_annotation_restarts_what_was_started_before() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let started = |world: &World| match world.container("web-0").state {
        ContainerState::Running { started_at, .. } => started_at,
        other => panic!("{other:?}"),
    };
    let before = started(&world);
    world.advance(Duration::from_secs(5)).await;
    let annotations = json!({ "clos.dev/restarted-at": clock().to_string() });
    world
        .patch::<Service>("web", json!({ "metadata": { "annotations": annotations } }))
        .await;
    world
        .until_containers("a restart", |all| {
            all.iter().any(|container| matches!(container.state, ContainerState::Running { started_at, .. } if started_at > before))
        })
        .await;
    world.ready("web").await;
    world.settle().await;
    let again = started(&world);
    world.engine.forget_calls();
    world.engine.overflow_events();
    world
        .engine
        .until_calls(|calls| calls.iter().any(|call| call.starts_with("list")))
        .await;
    world.settle().await;
    assert_eq!(
        started(&world),
        again,
        "a restart that was asked for once happens once"
    );
}

#[tokio::test]
async fn declarations_that_change_back_and_forth_end_with_the_last() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    for image in ["web:2", "web:1", "web:2", "web:1", "web:2"] {
        world.change("web", json!({ "image": image })).await;
    }
    let newest = world
        .api::<Service>()
        .get("web")
        .await
        .unwrap()
        .metadata
        .generation;
    world
        .until_service("web", |web| {
            web.status
                .as_ref()
                .is_some_and(|status| status.observed_generation == newest)
        })
        .await;
    world.ready("web").await;
    let images: Vec<_> = world
        .engine
        .containers()
        .iter()
        .map(|container| world.engine.image_of(&container.id).unwrap())
        .collect();
    assert_eq!(images, ["web:2", "web:2"]);
}
