//! How a group is as a whole.

use std::collections::BTreeMap;

use clos_plan::group::{removal, status};
use clos_plan::observed::Network;
use clos_resources::conditions;
use clos_resources::lifecycle::State;
use serde_json::json;

use crate::world::{INSTALLATION, World, group, service};

fn tell(world: &World) -> String {
    let services: Vec<_> = world.services.values().cloned().collect();
    let status = status(world.group.as_ref().unwrap(), &services, world.now);
    let ready = conditions::ready(&status.conditions).unwrap();
    format!(
        "{:?} {} health {}: {}, {}\n",
        status.state.unwrap(),
        status.running.unwrap(),
        status.health_score.unwrap(),
        ready.reason,
        ready.message
    )
}

#[test]
fn a_group_says_how_its_services_are() {
    let mut world = World::new([
        service("db", json!({})),
        service("web", json!({"replicas": 2})),
        service("job", json!({"restartPolicy": "Never"})),
    ]);
    let mut text = format!("new: {}", tell(&world));
    world.settle();
    text += &format!("running: {}", tell(&world));
    world.pass_time(2);
    for _ in 0..2 {
        world.pass_time(2);
        world.engine.end("clos_default_web-1", 1, world.now);
        world.pass_instance("web-1");
    }
    world.settle();
    text += &format!("web-1 crashes: {}", tell(&world));
    world.engine.end("clos_default_job-0", 4, world.now);
    world.settle();
    text += &format!("job failed: {}", tell(&world));
    world.group.as_mut().unwrap().spec.state = State::Stopped;
    text += &format!("stopping: {}", tell(&world));
    world.settle();
    text += &format!("stopped: {}", tell(&world));
    world.group.as_mut().unwrap().spec.state = State::Running;
    world.services.clear();
    text += &format!("empty: {}", tell(&world));
    insta::assert_snapshot!(text);
}

#[test]
fn services_of_other_groups_do_not_count() {
    let world = World::running([service("db", json!({}))]);
    let services: Vec<_> = world.services.values().cloned().collect();
    assert_eq!(
        status(&group("other"), &services, world.now).services,
        Vec::<String>::new()
    );
}

#[test]
fn i2_an_unchanged_group_has_an_unchanged_status() {
    let mut world = World::running([service("db", json!({}))]);
    let services: Vec<_> = world.services.values().cloned().collect();
    let first = status(world.group.as_ref().unwrap(), &services, world.now);
    world.group.as_mut().unwrap().status = Some(first.clone());
    world.pass_time(60);
    assert_eq!(
        status(world.group.as_ref().unwrap(), &services, world.now),
        first
    );
}

#[test]
fn i1_a_deleted_group_takes_its_own_network_and_only_after_its_instances() {
    let mut world = World::running([service("db", json!({}))]);
    let foreign = Network {
        id: "n-foreign".into(),
        name: "clos_default_shop".into(),
        labels: BTreeMap::new(),
    };
    world.engine.networks.push(foreign);
    let group = world.group.clone().unwrap();
    let instances: Vec<_> = world.instances.values().cloned().collect();
    let waiting = removal(&group, &instances, &world.engine.networks, INSTALLATION);
    assert!(waiting.plan.is_empty());
    assert_eq!(
        waiting.waits_for.unwrap().message,
        "group shop waits until its instances are deleted: db-0"
    );
    let going = removal(&group, &[], &world.engine.networks, INSTALLATION);
    assert_eq!(going.waits_for, None);
    insta::assert_snapshot!(going.plan.to_string());
    assert_eq!(removal(&group, &[], &[], INSTALLATION).plan.steps.len(), 0);
}
