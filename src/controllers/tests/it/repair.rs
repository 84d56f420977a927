//! Whatever happens to a container of ours is put right, told once and recorded.

use std::time::Duration;

use clos_audit::event::Outcome;
use clos_engine::fake::Call;
use clos_plan::container::LimitOptions;
use clos_plan::observed::{Container, ContainerState};
use k8s_openapi::api::events::v1::Event;
use serde_json::json;

use crate::world::{World, runs};

async fn running() -> World {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    world
}

fn since(container: &Container) -> jiff::Timestamp {
    match container.state {
        ContainerState::Running { started_at, .. } => started_at,
        ref other => panic!("{other:?}"),
    }
}

/// Breaks the running container and waits until one runs that was started later.
async fn repaired(world: &World, by: impl FnOnce(&str)) -> (Container, Container) {
    let before = world.container("web-0");
    let started = since(&before);
    world.advance(Duration::from_millis(5)).await;
    by(&before.id);
    world
        .until_containers("a repair", |all| {
            all.iter()
                .any(|container| runs(container) && since(container) > started)
        })
        .await;
    world.ready("web").await;
    (before, world.container("web-0"))
}

#[tokio::test]
async fn a_killed_container_is_started_again_in_place() {
    let world = running().await;
    let (before, after) = repaired(&world, |id| world.engine.kill_by_hand(id)).await;
    assert_eq!(before.id, after.id);
}

#[tokio::test]
async fn a_crashed_container_is_started_again_in_place() {
    let world = running().await;
    let (before, after) = repaired(&world, |id| world.engine.crash(id, 3)).await;
    assert_eq!(before.id, after.id);
}

#[tokio::test]
async fn a_stopped_container_is_started_again_in_place() {
    let world = running().await;
    let (before, after) = repaired(&world, |id| world.engine.stop_by_hand(id)).await;
    assert_eq!(before.id, after.id);
}

#[tokio::test]
async fn a_removed_container_is_made_anew() {
    let world = running().await;
    let (before, after) = repaired(&world, |id| world.engine.remove_by_hand(id).unwrap()).await;
    assert_ne!(before.id, after.id);
    assert_eq!(world.engine.containers().len(), 1);
}

#[tokio::test]
async fn a_container_removed_while_it_is_started_again_is_repaired_with_that_cause() {
    let world = running().await;
    let id = world.container("web-0").id;
    world.engine.hold(Call::StartContainer);
    world.engine.kill_by_hand(&id);
    world
        .engine
        .until_calls(|calls| {
            calls
                .iter()
                .filter(|call| call.starts_with("start"))
                .count()
                == 2
        })
        .await;
    world.engine.remove_by_hand(&id).unwrap();
    world.engine.release(Call::StartContainer);
    world.until_news("Repaired: a new container").await;
    world.settle().await;
    let cause = "container clos_default_web-0 was removed, not by clos";
    let entries = world.reconciles("Instance", "web-0").await;
    let repair = &entries.last().unwrap().event;
    assert_eq!(
        (repair.cause.as_deref(), repair.result),
        (Some(cause), Outcome::Repaired),
        "{entries:#?}"
    );
    let news = world.news().await;
    assert!(news.contains(&format!("Drift: {cause}")), "{news:#?}");
    assert!(
        news.iter().all(|line| !line.starts_with("Failed")),
        "{news:#?}"
    );
    let text = world.metrics.encode();
    for count in ["clos_drift_found_total", "clos_drift_repaired_total"] {
        assert!(
            text.contains(&format!("{count}{{cause=\"removed\"}} 1")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_paused_container_is_thawed() {
    let world = running().await;
    let id = world.container("web-0").id;
    world.engine.pause_by_hand(&id);
    world
        .engine
        .until_calls(|calls| calls.iter().any(|call| call.starts_with("unpause")))
        .await;
    world
        .until_containers("a thaw", |all| all.iter().all(runs))
        .await;
    assert_eq!(world.container("web-0").id, id);
}

#[tokio::test]
async fn changed_limits_are_put_right_by_a_new_container_once() {
    let world = running().await;
    let limits = LimitOptions {
        memory: Some(64 << 20),
        ..LimitOptions::default()
    };
    let (before, after) = repaired(&world, |id| world.engine.update_by_hand(id, limits)).await;
    assert_ne!(before.id, after.id);
    world.settle().await;
    let created = world
        .engine
        .calls()
        .iter()
        .filter(|call| call.starts_with("create container"))
        .count();
    assert_eq!(created, 2, "{:#?}", world.engine.calls());
}

#[tokio::test]
async fn a_disconnected_network_is_put_right() {
    let world = running().await;
    let (_, after) = repaired(&world, |id| {
        world.engine.disconnect_by_hand(id, "clos_default_shop");
    })
    .await;
    assert!(after.live.networks.contains_key("clos_default_shop"));
}

#[tokio::test]
async fn a_renamed_container_is_known_by_its_id_and_not_doubled() {
    let world = running().await;
    let before = world.container("web-0");
    world
        .engine
        .rename_by_hand(&before.id, "somebody-renamed-me");
    world.settle().await;
    let running: Vec<Container> = world.engine.containers().into_iter().filter(runs).collect();
    assert_eq!(running.len(), 1, "{running:?}");
}

#[tokio::test]
async fn a_container_renamed_before_the_first_look_at_it_is_not_doubled() {
    let world = World::new().await;
    world.engine.hold(Call::StartContainer);
    world.service("web", json!({})).await;
    world
        .until_containers("a container", |all| !all.is_empty())
        .await;
    let made = world.container("web-0").id;
    world.engine.rename_by_hand(&made, "somebody-renamed-me");
    world.engine.release(Call::StartContainer);
    world.ready("web").await;
    world.settle().await;
    let all: Vec<String> = world
        .engine
        .containers()
        .into_iter()
        .map(|c| c.id)
        .collect();
    assert_eq!(all, [made]);
    world.delete::<clos_resources::Service>("web").await;
    world
        .until_containers("the removal", <[Container]>::is_empty)
        .await;
}

#[tokio::test]
async fn what_no_event_told_is_found_by_the_next_list() {
    let world = running().await;
    world.engine.drop_events(10);
    let id = world.container("web-0").id;
    world.engine.kill_by_hand(&id);
    assert!(!runs(&world.container("web-0")));
    world.engine.drop_events(0);
    world.engine.overflow_events();
    world
        .until_containers("a repair", |all| all.iter().all(runs))
        .await;
}

#[tokio::test]
async fn the_minutely_list_finds_what_no_event_told() {
    let world = running().await;
    world.engine.drop_events(10);
    world.engine.kill_by_hand(&world.container("web-0").id);
    world.engine.drop_events(0);
    world.advance(std::time::Duration::from_secs(61)).await;
    world
        .until_containers("a repair", |all| all.iter().all(runs))
        .await;
}

#[tokio::test]
async fn doubled_and_reversed_events_do_no_harm() {
    let world = running().await;
    world.engine.double_events(true);
    world.engine.hold_events();
    world.engine.kill_by_hand(&world.container("web-0").id);
    world.engine.release_events(true);
    world
        .until_containers("a repair", |all| all.iter().all(runs))
        .await;
    world.settle().await;
    let starts = world
        .engine
        .calls()
        .iter()
        .filter(|call| call.starts_with("start"))
        .count();
    assert_eq!(starts, 2);
}

#[tokio::test]
async fn a_failed_start_is_tried_again() {
    let world = World::new().await;
    world.engine.fail_next(
        Call::StartContainer,
        1,
        &clos_engine::Error::Failed("the daemon is busy".to_owned()),
    );
    world.service("web", json!({})).await;
    world
        .until_all(
            world.api::<clos_resources::Instance>(),
            "the failure",
            |all| {
                all.get("web-0")
                    .is_some_and(|web| crate::world::message(web).contains("the daemon is busy"))
                    || world.engine.containers().iter().any(runs)
            },
        )
        .await;
    world.advance(std::time::Duration::from_secs(11)).await;
    world.ready("web").await;
}

#[tokio::test]
async fn drift_and_repair_are_told_once_each() {
    let world = running().await;
    repaired(&world, |id| world.engine.kill_by_hand(id)).await;
    world.until_news("Repaired: ").await;
    world.settle().await;
    let news = world.news().await;
    let count = |reason: &str| news.iter().filter(|line| line.starts_with(reason)).count();
    assert_eq!((count("Drift: "), count("Repaired: ")), (1, 1), "{news:#?}");
    assert!(
        news.iter()
            .any(|line| line.starts_with("Repaired: started again in ")
                && line.ends_with(" (1 action)")),
        "{news:#?}"
    );
    let text = world.metrics.encode();
    assert!(
        text.contains("clos_drift_repaired_total{cause=\"ended\"} 1"),
        "{text}"
    );
}

#[tokio::test]
async fn repairs_of_different_kinds_are_told_apart() {
    let world = running().await;
    repaired(&world, |id| world.engine.kill_by_hand(id)).await;
    world.until_news("Repaired: started again in ").await;
    world.settle().await;
    world.engine.pause_by_hand(&world.container("web-0").id);
    world.until_news("Repaired: thawed in ").await;
}

#[tokio::test]
async fn limits_that_were_changed_while_events_were_dropped_are_put_right() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    let limits = LimitOptions {
        memory: Some(8 << 20),
        ..LimitOptions::default()
    };
    let (before, after) = repaired(&world, |id| {
        world.engine.drop_events(1);
        world.engine.update_by_hand(id, limits);
        world.engine.overflow_events();
    })
    .await;
    assert_ne!(before.id, after.id);
}

#[tokio::test]
async fn the_same_news_again_are_counted_on_their_event_and_told_anew_when_it_is_gone() {
    let world = running().await;
    repaired(&world, |id| world.engine.kill_by_hand(id)).await;
    world.settle().await;
    let first = until_drift(&world, 1).await;

    world.engine.kill_by_hand(&world.container("web-0").id);
    assert_eq!(until_drift(&world, 2).await, first);

    // The pass that starts it again sees this end itself, and it is told all the same, and once.
    kill_when_started(&world, Duration::from_secs(30)).await;
    assert_eq!(until_drift(&world, 3).await, first);

    world.delete::<Event>(&first).await;
    kill_when_started(&world, Duration::from_mins(1)).await;
    assert_ne!(until_drift(&world, 1).await, first);
}

/// Lets the time pass until the container is started again, and kills it.
async fn kill_when_started(world: &World, due: Duration) {
    world.advance(due).await;
    world
        .until_containers("the next start", |all| all.iter().any(runs))
        .await;
    world.engine.kill_by_hand(&world.container("web-0").id);
}

/// Waits until there is one event of drift, told so often, and answers its name.
async fn until_drift(world: &World, told: i32) -> String {
    let mut name = String::new();
    world
        .until_all(world.api::<Event>(), "an event of drift", |events| {
            let mut drift = events
                .iter()
                .filter(|(_, event)| event.reason.as_deref() == Some("Drift"));
            let (Some((found, event)), None) = (drift.next(), drift.next()) else {
                return false;
            };
            found.clone_into(&mut name);
            event.series.as_ref().map_or(1, |series| series.count) == told
        })
        .await;
    name
}
