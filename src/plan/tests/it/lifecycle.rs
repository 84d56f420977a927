//! One Instance's life as declared: restarts that are asked for, stops, runs to completion.

use clos_plan::observed::{ContainerState, Health};
use clos_resources::lifecycle::State;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;

use crate::fixtures::{DB, Ended, db, plain, running, secret};
use crate::world::{World, at};

#[test]
fn a_restart_that_is_asked_for_stops_and_starts_once() {
    let mut world = running();
    world.pass_time(60);
    let asked = world.now;
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(MicroTime(asked));
    world.pass_time(1);
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn a_restart_that_is_asked_for_in_the_second_of_the_start_is_carried_out() {
    let mut world = running();
    let ContainerState::Running { started_at, .. } = world.engine.named(DB).state else {
        panic!("it runs");
    };
    let asked = started_at + SignedDuration::from_millis(100);
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(MicroTime(asked));
    world.pass_time(1);
    assert!(world.tell("db-0").contains("a restart was asked for"));
}

#[test]
fn a_restart_asked_for_in_the_future_waits_for_its_time() {
    let mut world = running();
    let later = at("2026-11-23T13:00:00Z");
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(MicroTime(later));
    let planned = world.plan_instance("db-0");
    assert!(planned.plan.is_empty());
    assert_eq!(planned.wake_at, Some(later));
}

#[test]
fn a_restart_that_is_asked_for_does_not_wait_for_the_backoff() {
    let mut world = plain(json!({}));
    for _ in 0..3 {
        world.pass_time(2);
        if !world.engine.named(DB).state_ended() {
            world.engine.end(DB, 1, world.now);
        }
        world.pass_instance("db-0");
    }
    assert!(world.plan_instance("db-0").plan.is_empty());
    world.pass_time(1);
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(MicroTime(world.now));
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn declared_as_stopped_stops_and_keeps_the_container_and_its_port() {
    let mut world = running();
    world.instances.get_mut("db-0").unwrap().spec.state = State::Stopped;
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    text += "somebody starts it\n";
    let now = world.now;
    world.engine.named(DB).state = ContainerState::Running {
        started_at: now,
        health: Health::None,
    };
    text += &world.tell("db-0");
    text += "declared as running\n";
    world.instances.get_mut("db-0").unwrap().spec.state = State::Running;
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
    assert_eq!(world.ports.len(), 1);
}

#[test]
fn a_run_to_completion_completes_and_is_not_repeated() {
    let mut world = plain(json!({"restartPolicy": "OnFailure"}));
    world.pass_time(5);
    world.engine.end(DB, 0, world.now);
    let mut text = world.tell("db-0");
    text += "somebody cleans up\n";
    world.engine.remove(DB);
    text += &world.tell("db-0");
    text += "stopped and running again\n";
    world.change("db", json!({"state": "Stopped"}));
    world.pass_service("db");
    text += &world.tell("db-0");
    world.change("db", json!({"state": "Running"}));
    world.pass_service("db");
    text += &world.tell("db-0");
    text += "another declaration\n";
    world.change("db", json!({"args": ["again"]}));
    world.pass_service("db");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_to_completion_that_fails_is_tried_again_and_one_that_is_killed_too() {
    let mut world = plain(json!({"restartPolicy": "OnFailure"}));
    world.pass_time(5);
    world.engine.end(DB, 3, world.now);
    let mut text = world.tell("db-0");
    world.pass_time(5);
    world.engine.end(DB, 137, world.now);
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn a_single_run_is_not_repeated_whatever_came_of_it() {
    let mut world = plain(json!({"restartPolicy": "Never"}));
    world.pass_time(5);
    world.engine.end(DB, 3, world.now);
    let mut text = world.tell("db-0");
    world.engine.remove(DB);
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn exit_code_0_proves_no_success_when_the_engine_did_not_see_the_end() {
    let mut world = plain(json!({"restartPolicy": "OnFailure"}));
    world.pass_time(5);
    world.engine.end(DB, 0, world.now);
    if let ContainerState::Exited { finished_at, .. } = &mut world.engine.named(DB).state {
        *finished_at = at("0001-01-01T00:00:00Z");
    }
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_completed_run_is_not_repeated_because_a_secret_changed() {
    let mut service = db();
    service.spec.restart_policy = clos_resources::lifecycle::RestartPolicy::OnFailure;
    let mut world = World::new([service]);
    world.values = secret("hunter2");
    world.settle();
    world.pass_time(5);
    world.engine.end(DB, 0, world.now);
    world.settle();
    world.values = secret("hunter3");
    assert!(world.plan_instance("db-0").plan.is_empty());
}
