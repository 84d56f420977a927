//! Secrets and `ConfigMaps` that change under a running Service: who takes the new values when.

use std::collections::BTreeSet;

use clos_plan::observed::{ContainerState, Health};
use clos_resources::instance::ValueVersion;
use clos_resources::names;
use serde_json::json;

use crate::world::{World, secret_version, service};

/// Three replicas that run with the password `hunter2`.
fn running() -> World {
    let mut world = World::new([service(
        "web",
        json!({
            "replicas": 3,
            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}],
        }),
    )]);
    world.store_secret(1, "hunter2");
    world.settle();
    world
}

fn containers(world: &World) -> BTreeSet<String> {
    world.engine.containers.keys().cloned().collect()
}

fn running_count(world: &World) -> usize {
    let runs = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
    let all = world.engine.containers.values();
    all.filter(|container| runs(&container.state)).count()
}

fn have(world: &World, number: u32) -> usize {
    let wanted = secret_version(number);
    let has = |values: &[ValueVersion]| values.iter().eq(&wanted);
    let all = world.instances.values();
    all.filter(|instance| has(&instance.spec.values)).count()
}

#[test]
fn a_changed_value_is_taken_by_one_instance_after_the_other() {
    let mut world = running();
    let before = containers(&world);
    world.store_secret(2, "hunter3");
    let mut text = String::new();
    for round in 1..=3 {
        text += &world.tell_service("web");
        assert_eq!(have(&world, 2), round);
        for name in ["web-0", "web-1", "web-2"] {
            text += &world.tell(name);
        }
        let new = containers(&world).difference(&before).count();
        assert_eq!((new, running_count(&world)), (round, 3));
    }
    insta::assert_snapshot!(text);
    world.settle();
    assert!(containers(&world).is_disjoint(&before));
}

#[test]
fn i2_an_instance_that_waits_for_its_turn_is_ready_and_nothing_is_written() {
    let mut world = running();
    world.store_secret(2, "hunter3");
    let before = world.statuses();
    for name in ["web-0", "web-1", "web-2"] {
        let planned = world.pass_instance(name).planned;
        assert!(planned.plan.is_empty() && planned.wake_at.is_none());
    }
    assert_eq!(world.statuses(), before);
}

#[test]
fn a_value_that_breaks_the_first_instance_reaches_no_other() {
    let mut world = running();
    let before = containers(&world);
    world.store_secret(2, "hunter3");
    world.round();
    let said = "wrong password".to_owned();
    world
        .engine
        .set_health("clos_default_web-0", Health::Unhealthy { said });
    world.pass_instance("web-0");
    for _ in 0..6 {
        world.round();
    }
    assert_eq!(have(&world, 2), 1);
    assert_eq!(containers(&world).intersection(&before).count(), 2);
    world.store_secret(3, "hunter2");
    world.pass_time(600);
    world.settle();
    assert_eq!((have(&world, 3), running_count(&world)), (3, 3));
    assert_eq!(containers(&world).intersection(&before).count(), 2);
}

#[test]
fn a_crashed_container_is_started_again_while_it_waits_and_a_removed_one_takes_the_new_value() {
    let mut world = running();
    world.store_secret(2, "hunter3");
    world.pass_time(60);
    world.engine.end("clos_default_web-1", 137, world.now);
    world.engine.remove("clos_default_web-2");
    let old = world.engine.named("clos_default_web-1").id.clone();
    let digest = |world: &mut World, name: &str| {
        world.engine.named(name).labels[names::LABEL_SPEC_DIGEST].clone()
    };
    let before = digest(&mut world, "clos_default_web-0");
    world.pass_instance("web-1");
    world.pass_instance("web-2");
    assert_eq!(running_count(&world), 3);
    assert_eq!(world.engine.named("clos_default_web-1").id, old);
    assert_ne!(digest(&mut world, "clos_default_web-2"), before);
    let taken = world.engine.named("clos_default_web-2").id.clone();
    world.settle();
    assert_eq!(have(&world, 2), 3);
    assert_eq!(world.engine.named("clos_default_web-2").id, taken);
}

#[test]
fn a_new_version_with_the_same_values_reaches_every_instance_and_replaces_nothing() {
    let mut world = running();
    let before = containers(&world);
    world.store_secret(2, "hunter2");
    world.settle();
    assert_eq!((have(&world, 2), containers(&world)), (3, before));
}

#[test]
fn instances_that_note_no_versions_take_them_over_and_keep_their_containers() {
    let mut world = running();
    let before = containers(&world);
    for instance in world.instances.values_mut() {
        instance.spec.values.clear();
    }
    world.settle();
    assert_eq!((have(&world, 1), containers(&world)), (3, before));
}

#[test]
fn a_changed_declaration_is_not_held_back_by_values() {
    let mut world = running();
    world.store_secret(2, "hunter3");
    world.change("web", json!({"image": "shop/web:2"}));
    world.pass_service("web");
    let web = &world.instances["web-0"].spec;
    assert_eq!(
        (web.container.image.as_str(), have(&world, 2)),
        ("shop/web:2", 1)
    );
    world.settle();
    assert_eq!((have(&world, 2), running_count(&world)), (3, 3));
}

#[test]
fn a_secret_that_is_gone_stops_nothing_and_one_made_again_is_taken_in_turn() {
    let mut world = running();
    let before = containers(&world);
    world.delete_secret();
    world.settle();
    assert_eq!(
        (containers(&world), running_count(&world)),
        (before.clone(), 3)
    );
    world.store_secret(3, "hunter3");
    world.round();
    assert!(containers(&world).intersection(&before).count() >= 2);
    world.settle();
    assert!(containers(&world).is_disjoint(&before));
    assert_eq!((have(&world, 3), running_count(&world)), (3, 3));
}

#[test]
fn stopped_instances_note_new_versions_all_at_once() {
    let mut world = running();
    world.change("web", json!({"state": "Stopped"}));
    world.settle();
    world.store_secret(2, "hunter3");
    world.pass_service("web");
    assert_eq!(have(&world, 2), 3);
}
