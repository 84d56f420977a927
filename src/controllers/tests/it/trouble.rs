//! What trouble costs: calls to the engine for each crash, for each look, and what ends a wait without a look.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_engine::fake::{FakeImage, Program};
use clos_plan::container::PortOptions;
use clos_resources::container::Protocol;
use serde_json::json;

use crate::world::{World, engine, message};

/// The calls that somebody's trouble makes, by kind: what is listed once in a while is for everybody.
fn calls(world: &World) -> Vec<String> {
    let calls = world.engine.calls();
    let kinds = calls.iter().filter_map(|call| call.split(' ').next());
    let own = kinds.filter(|kind| !["info", "list", "networks"].contains(kind));
    own.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_crash_costs_a_look_before_the_start_one_after_the_end_and_not_always_one_at_the_last_lines()
 {
    let bad = FakeImage::new("bad:1").program(Program::exits(3));
    let world = World::with(engine().present(bad)).await;
    world.service("worker", json!({ "image": "bad:1" })).await;
    world.until_reason("worker", "CrashLoopBackOff").await;
    // A list sees it for the first time, and has it looked at.
    world.advance(Duration::from_secs(5)).await;
    world.engine.break_events();
    for faults in 3..6 {
        world.settle().await;
        world.engine.forget_calls();
        world.advance(Duration::from_mins(6)).await;
        world
            .until_instance("worker-0", |worker| {
                message(worker).contains(&format!("{faults} times in a row"))
            })
            .await;
        world.settle().await;
        let mut expected = vec!["observe", "start", "observe"];
        // The fifth end like those before says nothing new.
        expected.extend((faults < 5).then_some("logs"));
        assert_eq!(calls(&world), expected, "{faults} faults");
    }
}

#[tokio::test]
async fn a_repair_costs_a_look_before_and_one_after() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    world.engine.forget_calls();
    let id = world.container("web-0").id;
    world.engine.crash(&id, 1);
    world.until_news("Repaired: started again").await;
    world.settle().await;
    assert_eq!(calls(&world), ["observe", "start", "observe"]);
}

#[tokio::test]
async fn what_waits_for_an_image_that_somebody_brings_is_looked_at_when_one_comes_and_seldom_else()
{
    let world = World::new().await;
    let never = json!({ "image": "far:1", "imagePullPolicy": "Never" });
    world.service("web", never).await;
    world.until_reason("web", "ImagePullFailed").await;
    world.settle().await;
    world.engine.forget_calls();
    world.advance(Duration::from_mins(4)).await;
    world.settle().await;
    assert_eq!(calls(&world), [""; 0]);
    world.engine.load_image(FakeImage::new("far:1"));
    world.ready("web").await;
}

#[tokio::test]
async fn an_image_that_came_without_an_event_is_found_all_the_same() {
    let world = World::new().await;
    let never = json!({ "image": "far:1", "imagePullPolicy": "Never" });
    world.service("web", never).await;
    world.until_reason("web", "ImagePullFailed").await;
    world.settle().await;
    world.engine.drop_events(1);
    world.engine.load_image(FakeImage::new("far:1"));
    world.advance(Duration::from_mins(6)).await;
    world.ready("web").await;
}

#[tokio::test]
async fn a_port_that_a_foreign_container_gives_back_is_taken_at_once() {
    let world = World::new().await;
    let port = PortOptions {
        protocol: Protocol::Tcp,
        host_ip: "0.0.0.0".to_owned(),
        host_port: 8080,
        container_port: 80,
    };
    let foreign = world
        .engine
        .run_by_hand("proxy", "web:1", BTreeMap::new(), BTreeSet::from([port]))
        .unwrap();
    let other = world
        .engine
        .run_by_hand("other", "web:1", BTreeMap::new(), BTreeSet::new())
        .unwrap();
    let http = json!({ "ports": [{ "containerPort": 80, "hostPort": 8080 }] });
    world.service("web", http).await;
    // Its first tries follow each other; then the pauses grow.
    for _ in 0..6 {
        world.until_reason("web", "PortConflict").await;
        world.settle().await;
        world.advance(Duration::from_mins(6)).await;
    }
    world.until_reason("web", "PortConflict").await;
    world.settle().await;
    world.engine.forget_calls();
    world.engine.kill_by_hand(&other);
    world.settle().await;
    assert_eq!(
        calls(&world),
        [""; 0],
        "it holds nothing that is waited for"
    );
    world.engine.kill_by_hand(&foreign);
    world.ready("web").await;
}

#[tokio::test]
async fn the_engine_is_asked_what_it_is_once_for_each_connection() {
    let world = World::new().await;
    world.settle().await;
    let count = |kind: &str| {
        let calls = world.engine.calls();
        calls.iter().filter(|call| *call == kind).count()
    };
    world.engine.forget_calls();
    for lists in 1..=3 {
        world.advance(Duration::from_mins(1)).await;
        world.settle().await;
        assert_eq!((count("list"), count("info")), (lists, 0));
    }
    world.engine.break_events();
    world.settle().await;
    assert_eq!((count("list"), count("info")), (4, 1));
}
