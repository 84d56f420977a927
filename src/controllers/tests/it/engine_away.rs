//! Unknown is not dead: while the engine's state is unknown nothing is made or removed, and afterwards nothing is doubled.

use clos_engine::fake::{Call, FakeEngine};
use clos_resources::Host;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::world::{World, clock, engine, message, runs};

fn condition(host: &Host) -> &str {
    let conditions = host
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    clos_resources::conditions::ready(conditions).map_or("", |ready| ready.reason.as_str())
}

#[tokio::test]
async fn i3_nothing_is_made_or_removed_while_the_engine_is_away() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.settle().await;
    let before: Vec<String> = world
        .engine
        .containers()
        .into_iter()
        .map(|container| container.id)
        .collect();
    world.engine.forget_calls();
    world.engine.go_away();
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("EngineUnavailable: ")
        })
        .await;
    world
        .until_host(|host| condition(host) == "EngineUnavailable")
        .await;
    world
        .change("web", json!({ "image": "web:2", "replicas": 3 }))
        .await;
    world.settle().await;
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
    let after: Vec<String> = world
        .engine
        .containers()
        .into_iter()
        .map(|container| container.id)
        .collect();
    assert_eq!(before, after);
    world.engine.come_back();
    world
        .until_service("web", |web| {
            web.status
                .as_ref()
                .is_some_and(|status| status.ready.as_deref() == Some("3/3"))
        })
        .await;
    world.ready("web").await;
    world.until_host(|host| condition(host) == "Ready").await;
    assert_eq!(world.engine.containers().len(), 3);
}

#[tokio::test]
async fn i3_an_engine_that_was_away_while_everything_ran_on_is_not_touched_after() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.settle().await;
    world.engine.forget_calls();
    world.engine.go_away();
    world
        .until_instance("web-1", |web| {
            message(web).starts_with("EngineUnavailable: ")
        })
        .await;
    world.engine.come_back();
    world.ready("web").await;
    world.settle().await;
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
}

#[tokio::test]
async fn an_engine_that_hangs_is_unknown_too() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.engine.hang();
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("EngineUnavailable: ")
        })
        .await;
    world.engine.come_back();
    world.ready("web").await;
    assert_eq!(world.engine.containers().len(), 1);
}

#[tokio::test]
async fn containers_that_an_engine_restart_ended_are_started_again() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.engine.restart_engine_by_sigkill();
    world
        .until_containers("all running", |all| {
            all.iter().filter(|container| runs(container)).count() == 2
        })
        .await;
    world.ready("web").await;
    assert_eq!(world.engine.containers().len(), 2);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_makes_no_second_container() {
    let world = World::new().await;
    world.engine.cut_answer_of_next(Call::CreateContainer);
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    assert_eq!(world.engine.containers().len(), 1);
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_no_fault() {
    let world = World::new().await;
    world.engine.cut_answer_of_next(Call::StartContainer);
    world.service("web", json!({})).await;
    world.ready("web").await;
    assert_eq!(world.engine.containers().len(), 1);
}

#[tokio::test]
async fn an_engine_that_is_away_at_the_start_is_waited_for() {
    let fake: FakeEngine = engine().build();
    fake.go_away();
    let world = World::seeing(fake.clone(), std::sync::Arc::new(fake)).await;
    world.service("web", json!({})).await;
    world
        .until_host(|host| condition(host) == "EngineUnavailable")
        .await;
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("EngineUnavailable: ")
        })
        .await;
    world.engine.come_back();
    world.ready("web").await;
}

#[tokio::test]
async fn the_host_says_what_its_engine_is() {
    let world = World::new().await;
    world.until_host(|host| condition(host) == "Ready").await;
    let host: Host = Api::all(world.client.clone()).get("box").await.unwrap();
    let status = host.status.clone().unwrap();
    assert!(
        status.engine.is_some() && status.capacity.is_some(),
        "{status:?}"
    );
    let hosts: Api<Host> = Api::all(world.client.clone());
    hosts
        .delete("box", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world
        .until_host(|new| new.uid() != host.uid() && condition(new) == "Ready")
        .await;
}

#[tokio::test]
async fn stopping_leaves_the_containers_and_starting_again_touches_nothing() {
    let mut world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.settle().await;
    world.stop().await;
    assert_eq!(
        world
            .engine
            .containers()
            .iter()
            .filter(|container| runs(container))
            .count(),
        2
    );
    let revision = world.store.revision();
    world.engine.forget_calls();
    world.start();
    world
        .engine
        .until_calls(|calls| {
            calls
                .iter()
                .filter(|call| call.starts_with("observe"))
                .count()
                >= 2
        })
        .await;
    world.settle().await;
    assert_eq!(
        (world.engine.mutating_calls().len(), world.store.revision()),
        (0, revision),
        "at {}",
        clock()
    );
}
