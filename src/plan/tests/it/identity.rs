//! Which containers are an Instance's own: names and labels that others copied change nothing.

use std::collections::BTreeMap;

use clos_plan::instance::DriftKind;
use clos_resources::names;
use serde_json::json;

use crate::fixtures::{DB, declared, running};
use crate::world::{INSTALLATION, World, service};

#[test]
fn of_several_containers_the_right_running_oldest_one_is_kept() {
    let mut world = running();
    let id = world.engine.named(DB).id.clone();
    world.engine.named(DB).name = "renamed".into();
    world.pass_time(5);
    world.engine.duplicate("renamed", DB, world.now);
    insta::assert_snapshot!(world.tell("db-0"));
    assert_eq!(world.engine.containers.keys().collect::<Vec<_>>(), [&id]);
}

#[test]
fn i1_a_foreign_container_of_the_wanted_name_is_named_and_left_alone() {
    let mut world = declared();
    world.engine.add_foreign(DB, BTreeMap::new(), world.now);
    insta::assert_snapshot!(world.tell("db-0"));
    assert_eq!(world.engine.names(), [DB]);
    world.engine.remove(DB);
    world.pass_instance("db-0");
    assert_eq!(world.engine.names(), [DB]);
}

#[test]
fn i1_copied_labels_do_not_make_a_container_ours() {
    let mut world = running();
    let labels = world.engine.named(DB).labels.clone();
    let id = world.engine.add_foreign("copy", labels, world.now);
    insta::assert_snapshot!(world.tell("db-0"));
    world.delete_instance("db-0");
    world.pass_instance("db-0");
    assert_eq!(world.engine.containers.keys().collect::<Vec<_>>(), [&id]);
}

#[test]
fn i1_labels_of_another_installation_do_not_make_a_container_ours() {
    let mut world = running();
    let mut labels = world.engine.named(DB).labels.clone();
    labels.insert(
        names::LABEL_INSTALLATION.into(),
        format!("{INSTALLATION}-other"),
    );
    world.engine.named(DB).labels = labels;
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_renamed_container_stays_ours() {
    let mut world = running();
    world.engine.named(DB).name = "renamed".into();
    assert!(world.plan_instance("db-0").plan.is_empty());
}

#[test]
fn a_container_that_was_found_by_its_name_and_renamed_while_it_was_started_stays_ours() {
    let mut world = running();
    world.instances.get_mut("db-0").unwrap().status = None;
    world.engine.named(DB).state = clos_plan::observed::ContainerState::Created;
    let planned = world.plan_instance("db-0");
    let outcome = world.execute(&planned.plan);
    let container = world.engine.named(DB);
    container.name = "renamed".to_owned();
    let id = container.id.clone();
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.container_id, Some(id));
}

#[test]
fn a_container_that_was_renamed_before_the_first_look_at_it_stays_ours() {
    let mut world = World::new([service("db", json!({}))]);
    world.pass_service("db");
    let planned = world.plan_instance("db-0");
    let outcome = world.execute(&planned.plan);
    let container = world.engine.named(DB);
    container.name = "renamed".to_owned();
    let id = container.id.clone();
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.container_id, Some(id));
    world.instances.get_mut("db-0").unwrap().status = Some(status);
    let next = world.plan_instance("db-0");
    assert!(next.plan.is_empty() && next.drift.is_empty(), "{next:?}");
}

#[test]
fn i1_a_copy_of_the_labels_is_not_taken_for_the_container_that_was_just_made() {
    let mut world = World::new([service("db", json!({}))]);
    world.pass_service("db");
    let planned = world.plan_instance("db-0");
    let outcome = world.execute(&planned.plan);
    let made = world.engine.named(DB).id.clone();
    world.engine.named(DB).name = "renamed".to_owned();
    world.engine.duplicate("renamed", "decoy", world.now);
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.container_id, Some(made));
    world.instances.get_mut("db-0").unwrap().status = Some(status);
    let next = world.plan_instance("db-0");
    assert!(next.plan.is_empty(), "{next:?}");
    let found: Vec<DriftKind> = next.drift.iter().map(|drift| drift.kind).collect();
    assert_eq!(found, [DriftKind::Foreign]);
}
