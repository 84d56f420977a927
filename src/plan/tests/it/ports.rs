//! Host ports: claimed before a container is made, released after it is gone, and never held by two.

use clos_plan::status::{FailureKind, HELD_BY};
use clos_resources::Port;
use clos_resources::lifecycle::State;
use serde_json::json;

use crate::engine::failure;
use crate::fixtures::declared;
use crate::world::{World, service};

fn web(port: u16) -> clos_resources::Service {
    service(
        "web",
        json!({"ports": [{"containerPort": 80, "hostPort": port}]}),
    )
}

fn api(port: u16) -> clos_resources::Service {
    service(
        "api",
        json!({"ports": [{"containerPort": 80, "hostPort": port}]}),
    )
}

fn reserved(port: u16, purpose: &str) -> Port {
    serde_json::from_value(json!({
        "apiVersion": "clos.dev/v1alpha1", "kind": "Port",
        "metadata": {"name": format!("box-tcp-{port}"), "uid": "uid-port"},
        "spec": {"host": "box", "protocol": "TCP", "port": port, "reservedFor": purpose},
    }))
    .unwrap()
}

#[test]
fn i4_a_port_held_by_another_instance_is_waited_for_and_taken_when_it_is_free() {
    let mut world = World::running([web(8080)]);
    world.services.insert("api".into(), api(8080));
    world.engine.offer("shop/api:1");
    world.pass_service("api");
    let mut text = world.tell("api-0");
    text += "web moves away\n";
    world.change(
        "web",
        json!({"ports": [{"containerPort": 80, "hostPort": 9090}]}),
    );
    world.pass_service("web");
    text += &world.tell("web-0");
    text += &world.tell("api-0");
    insta::assert_snapshot!(text);
}

#[test]
fn a_reserved_port_goes_to_nobody() {
    let mut world = World::new([web(8080)]);
    world.ports.push(reserved(8080, "the printer"));
    world.pass_service("web");
    insta::assert_snapshot!(world.tell("web-0"));
}

#[test]
fn i7_a_port_that_cannot_be_had_leaves_the_old_container_running() {
    let mut world = World::running([web(8080)]);
    world.ports.push(reserved(9090, "the printer"));
    world.change(
        "web",
        json!({"ports": [{"containerPort": 80, "hostPort": 9090}]}),
    );
    world.pass_service("web");
    insta::assert_snapshot!(world.tell("web-0"));
    assert_eq!(world.engine.names(), ["clos_default_web-0"]);
}

#[test]
fn a_port_that_a_process_of_the_host_has_is_tried_again_until_it_is_free() {
    let mut world = World::new([web(8080)]);
    world.engine.taken.insert(8080);
    world.pass_service("web");
    let mut text = world.tell("web-0");
    text += &world.tell("web-0");
    text += &world.tell("web-0");
    world.engine.taken.clear();
    world.pass_time(10);
    text += &world.tell("web-0");
    insta::assert_snapshot!(text);
}

#[test]
fn an_earlier_instance_of_the_name_is_waited_for() {
    let mut world = World::running([web(8080)]);
    world.instances.get_mut("web-0").unwrap().metadata.uid = Some("uid-later".into());
    world.engine.remove("clos_default_web-0");
    insta::assert_snapshot!(world.tell("web-0"));
}

#[test]
fn a_port_whose_claim_was_deleted_by_hand_is_claimed_again_under_the_running_container() {
    let mut world = World::running([web(8080)]);
    world.ports.clear();
    insta::assert_snapshot!(world.tell("web-0"));
    assert!(world.plan_instance("web-0").plan.is_empty());
}

#[test]
fn i4_a_port_that_is_not_declared_any_more_is_given_back_with_the_stopped_container_that_has_it() {
    let mut world = World::running([web(8080)]);
    world.change("web", json!({"state": "Stopped"}));
    world.settle();
    world.change("web", json!({"ports": []}));
    world.settle();
    assert_eq!(world.instances["web-0"].spec.state, State::Stopped);
    assert!(world.ports.is_empty());
    assert!(world.engine.containers.is_empty());
    world.change("web", json!({"state": "Running"}));
    world.settle();
    assert!(world.ports.is_empty());
    assert_eq!(world.engine.containers.len(), 1);
}

#[test]
fn somebody_who_was_faster_is_no_fault() {
    let mut world = World::new([web(8080)]);
    world.pass_service("web");
    let planned = world.plan_instance("web-0");
    world.ports.push(reserved(8080, "the printer"));
    let outcome = world.execute(&planned.plan);
    let status = world.status_after("web-0", &planned, &outcome);
    assert_eq!(status.backoff, None);
    assert_eq!(status.conditions[0].reason, "Progressing");
}

#[test]
fn i4_a_port_whose_holder_is_gone_is_tried_at_once_and_one_whose_holder_was_not_known_waits() {
    for (who, known) in [
        (format!("{HELD_BY}container proxy (0f0f); stop that"), true),
        (
            " is in use; stop the program that listens there".to_owned(),
            false,
        ),
    ] {
        let mut world = declared();
        for _ in 0..2 {
            let words = format!("host port 5432{who}");
            world.engine.next_start = Some(failure(FailureKind::PortTaken, &words));
            world.pass_instance("db-0");
        }
        let planned = world.plan_instance("db-0");
        assert!(planned.plan.is_empty());
        assert_eq!(planned.held, if known { vec![5432] } else { Vec::new() });
        let holder = vec!["container proxy (0f0f)".to_owned()];
        world.engine.holders.insert(5432, holder);
        assert!(world.plan_instance("db-0").plan.is_empty());
        world.engine.holders.insert(5432, Vec::new());
        assert_eq!(world.plan_instance("db-0").plan.is_empty(), !known);
    }
}
