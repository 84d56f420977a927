//! Passes that act leave exactly one audit event; passes with nothing to do leave nothing but a count.

use std::time::Duration;

use clos_audit::event::Outcome;
use clos_engine::fake::Call;
use clos_plan::observed::Container;
use http::{Method, StatusCode};
use serde_json::json;

use crate::world::{World, message, runs, within};

#[tokio::test]
async fn i2_a_pass_with_nothing_to_do_writes_nothing() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 3 })).await;
    world
        .service(
            "db",
            json!({ "mounts": [{ "mountPath": "/data", "volume": { "name": "db" } }] }),
        )
        .await;
    world.ready("web").await;
    world.ready("db").await;
    world.settle().await;
    let (revision, entries) = (world.store.revision(), *world.store.journal_head().borrow());
    world.engine.forget_calls();
    for _ in 0..3 {
        world.advance(Duration::from_secs(61)).await;
        world.engine.overflow_events();
        world.settle().await;
    }
    assert!(
        world
            .engine
            .calls()
            .iter()
            .any(|call| call.starts_with("list")),
        "{:?}",
        world.engine.calls()
    );
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
    assert_eq!(
        (world.store.revision(), *world.store.journal_head().borrow()),
        (revision, entries)
    );
}

#[tokio::test]
async fn i9_a_repair_leaves_exactly_one_audit_event_with_its_cause() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    let before = world.reconciles("Instance", "web-0").await.len();
    world.engine.kill_by_hand(&world.container("web-0").id);
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
    world.settle().await;
    let entries = world.reconciles("Instance", "web-0").await;
    assert_eq!(entries.len(), before + 1, "{entries:#?}");
    let event = &entries.last().unwrap().event;
    assert_eq!(
        (event.actor.as_str(), event.result),
        ("controller:instance", Outcome::Repaired)
    );
    assert_eq!(event.actions, ["start container clos_default_web-0"]);
    assert!(
        event.cause.as_ref().is_some_and(|cause| !cause.is_empty())
            && event.duration_ms.is_some()
            && event.uid.is_some()
    );
}

#[tokio::test]
async fn i9_a_failed_pass_is_recorded_with_what_failed() {
    let world = World::new().await;
    world.engine.fail_next(
        Call::CreateContainer,
        1,
        &clos_engine::Error::Refused("invalid mount config".to_owned()),
    );
    world.service("web", json!({})).await;
    world
        .until_instance("web-0", |web| message(web).contains("invalid mount config"))
        .await;
    world.settle().await;
    let entries = world.reconciles("Instance", "web-0").await;
    assert_eq!(entries[0].event.result, Outcome::Failed, "{entries:#?}");
    assert!(
        entries[0]
            .event
            .actions
            .last()
            .unwrap()
            .ends_with(": invalid mount config"),
        "{entries:#?}"
    );
}

#[tokio::test]
async fn the_controllers_act_under_their_own_names() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let made = world
        .next_entry(0, |entry| {
            entry.event.verb == "create" && format!("{:?}", entry.event.object).contains("Instance")
        })
        .await;
    assert_eq!(made.event.actor, "controller:service");
    let service = world.reconciles("Service", "web").await;
    assert_eq!(service[0].event.actions, ["create instance web-0"]);
}

/// A world with a service of one replica that runs, and how many audit events its Instance has.
async fn running() -> (World, usize) {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    let before = world.reconciles("Instance", "web-0").await.len();
    (world, before)
}

async fn killed_and_repaired(world: &World) {
    world.engine.kill_by_hand(&world.container("web-0").id);
    let running = |all: &[Container]| all.iter().all(runs);
    world.until_containers("a repair", running).await;
    world.settle().await;
}

async fn is_repaired_once_since(world: &World, before: usize) {
    let entries = world.reconciles("Instance", "web-0").await;
    let repairs = entries[before..].iter().map(|entry| entry.event.result);
    assert_eq!(repairs.collect::<Vec<_>>(), [Outcome::Repaired]);
}

#[tokio::test]
async fn i9_a_repair_while_the_disk_is_full_is_recorded_when_it_is_not_any_more() {
    let (world, before) = running().await;
    world.disk.set_full(true);
    killed_and_repaired(&world).await;
    assert_eq!(world.reconciles("Instance", "web-0").await.len(), before);
    world.disk.set_full(false);
    within("space", world.store.writable()).await;
    world.journal.record_kept().await.unwrap();
    world.advance(Duration::from_secs(61)).await;
    world.settle().await;
    is_repaired_once_since(&world, before).await;
}

#[tokio::test]
async fn i9_a_repair_leaves_its_audit_event_though_its_status_cannot_be_written() {
    let (world, before) = running().await;
    world.refuse(|method, path| {
        let status = *method == Method::PATCH && path.ends_with("/status");
        status.then_some(StatusCode::INTERNAL_SERVER_ERROR)
    });
    killed_and_repaired(&world).await;
    is_repaired_once_since(&world, before).await;
}
