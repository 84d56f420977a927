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

fn words(host: &Host) -> String {
    let conditions = host.status.iter().flat_map(|status| &status.conditions);
    conditions.map(|one| one.message.clone()).collect()
}

#[tokio::test]
async fn an_engine_whose_events_end_at_once_is_kept_in_step_with_by_lists_and_says_so() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    for _ in 0..3 {
        world.engine.end_events_at_once();
        world.settle().await;
    }
    let ends_at_once = |host: &Host| {
        condition(host) == "Ready" && words(host).contains("its events end as soon as they begin")
    };
    world.until_host(ends_at_once).await;
    assert!(
        world
            .metrics
            .encode()
            .contains("clos_engine_events_broken 1")
    );
    world.engine.kill_by_hand(&world.container("web-0").id);
    world.engine.end_events_at_once();
    world
        .until_containers("a repair by a list", |all| all.iter().all(runs))
        .await;
    world.ready("web").await;
    world.engine.keep_events();
    world.settle().await;
    world.advance(std::time::Duration::from_secs(6)).await;
    world
        .until_host(|host| condition(host) == "Ready" && !ends_at_once(host))
        .await;
    assert!(
        world
            .metrics
            .encode()
            .contains("clos_engine_events_broken 0")
    );
}

#[tokio::test]
async fn i3_an_engine_that_goes_away_after_its_events_ended_at_once_is_unknown() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    for _ in 0..4 {
        world.engine.end_events_at_once();
        world.settle().await;
    }
    world.engine.forget_calls();
    world.engine.go_away();
    world
        .until_host(|host| condition(host) == "EngineUnavailable")
        .await;
    world.change("web", json!({ "replicas": 2 })).await;
    world.settle().await;
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
    world.engine.keep_events();
    world.engine.come_back();
    world.ready("web").await;
}

#[tokio::test]
async fn an_instance_that_the_engine_keeps_failing_to_show_says_so_until_it_is_shown() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    let busy = clos_engine::Error::Failed("devmapper is busy".to_owned());
    world.engine.fail_next(Call::Observe, 3, &busy);
    world.engine.kill_by_hand(&world.container("web-0").id);
    world
        .until_instance("web-0", |web| {
            message(web).starts_with(
                "EngineUnavailable: cannot look at container clos_default_web-0: devmapper is busy, since ",
            )
        })
        .await;
    world
        .until_containers("a repair", |all| all.iter().all(runs))
        .await;
    world.ready("web").await;
}
