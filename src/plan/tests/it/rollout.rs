//! Updates and restarts of a Service's Instances, one by one.

use clos_resources::lifecycle::State;
use serde_json::json;

use crate::service::{rounds, web};
use crate::world::World;

#[test]
fn an_update_takes_one_instance_at_a_time_and_waits_until_it_is_ready() {
    let mut world = World::running([web(3)]);
    world.change("web", json!({"image": "shop/web:2"}));
    insta::assert_snapshot!(rounds(&mut world));
}

#[test]
fn i10_an_update_that_fails_stops_at_the_first_instance() {
    let mut world = World::running([web(3)]);
    world.change("web", json!({"image": "shop/web:2"}));
    world.engine.registry.remove("shop/web:2");
    insta::assert_snapshot!(rounds(&mut world));
    let old = world
        .instances
        .values()
        .filter(|instance| instance.spec.container.image == "shop/web:1");
    assert_eq!(old.count(), 2);
}

#[test]
fn an_update_begins_with_an_instance_that_is_broken_anyway() {
    let mut world = World::running([web(3)]);
    for _ in 0..2 {
        world.pass_time(2);
        world.engine.end("clos_default_web-2", 1, world.now);
        world.pass_instance("web-2");
    }
    world.change("web", json!({"image": "shop/web:2"}));
    let plan = world.plan_service("web").plan.to_string();
    assert!(plan.contains("update instance web-2"), "{plan}");
}

#[test]
fn a_b_a_ends_where_it_began() {
    let mut world = World::running([web(2)]);
    world.change("web", json!({"image": "shop/web:2"}));
    world.pass_service("web");
    world.change("web", json!({"image": "shop/web:1"}));
    world.settle();
    assert!(
        world
            .instances
            .values()
            .all(|instance| instance.spec.container.image == "shop/web:1")
    );
    assert_eq!(
        world.instances["web-1"].status.as_ref().unwrap().restarts,
        0
    );
}

#[test]
fn an_outdated_instance_stops_at_once_when_stopped_is_declared_in_the_middle_of_an_update() {
    let mut world = World::running([web(2)]);
    world.change("web", json!({"image": "shop/web:2"}));
    world.pass_service("web");
    world.change("web", json!({"state": "Stopped"}));
    world.pass_service("web");
    assert!(
        world
            .instances
            .values()
            .all(|instance| instance.spec.state == State::Stopped)
    );
}

#[test]
fn a_restart_is_asked_for_by_annotation_and_the_later_of_two_counts() {
    let mut world = World::running([web(1)]);
    world.pass_time(3600);
    let annotate = |metadata: &mut kube::api::ObjectMeta, time: &str| {
        metadata
            .annotations
            .get_or_insert_default()
            .insert("clos.dev/restarted-at".into(), time.into());
    };
    annotate(
        &mut world.services.get_mut("web").unwrap().metadata,
        "2026-11-23T12:30:00Z",
    );
    annotate(
        &mut world.group.as_mut().unwrap().metadata,
        "2026-11-23T13:40:00.25+01:00",
    );
    insta::assert_snapshot!(rounds(&mut world));
    assert_eq!(
        world.instances["web-0"]
            .spec
            .restarted_at
            .as_ref()
            .unwrap()
            .0
            .to_string(),
        "2026-11-23T12:40:00.25Z"
    );
    annotate(
        &mut world.services.get_mut("web").unwrap().metadata,
        "yesterday",
    );
    insta::assert_snapshot!("not_a_time", rounds(&mut world));
}

#[test]
fn i10_a_restart_takes_one_instance_at_a_time_and_waits_until_it_is_ready() {
    let mut world = World::running([web(3)]);
    world.pass_time(3600);
    let service = world.services.get_mut("web").unwrap();
    let annotations = service.metadata.annotations.get_or_insert_default();
    annotations.insert(
        "clos.dev/restarted-at".into(),
        "2026-11-23T12:30:00Z".into(),
    );
    insta::assert_snapshot!(rounds(&mut world));
}
