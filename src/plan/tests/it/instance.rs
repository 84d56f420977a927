//! One Instance: what is found, what is done about it, and what is said.

use std::collections::BTreeMap;

use clos_plan::desired::Values;
use clos_plan::observed::{ContainerState, Health};
use clos_plan::status::{FailureKind, Outcome, was_overtaken};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;

use crate::engine::failure;
use crate::fixtures::{DB, declared, plain, running, secret};
use crate::world::{World, service};

#[test]
fn the_first_start_makes_all_that_is_missing_side_by_side_and_then_the_container() {
    let mut world = declared();
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn i2_a_pass_with_nothing_to_do_writes_nothing() {
    let mut world = running();
    let before = world.statuses();
    insta::assert_snapshot!(world.tell("db-0"));
    assert_eq!(world.statuses(), before);
}

#[test]
fn a_killed_container_is_started_again_in_place_at_once_and_that_is_no_fault() {
    let mut world = running();
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_container_stopped_by_hand_is_started_again() {
    let mut world = running();
    world.pass_time(60);
    world.engine.end(DB, 143, world.now);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_removed_container_is_made_anew_and_keeps_its_port_and_its_volume() {
    let mut world = running();
    world.engine.remove(DB);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_paused_container_is_thawed() {
    let mut world = running();
    world.engine.pause(DB);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_container_removed_while_it_is_started_again_is_no_fault_and_repaired() {
    let mut world = plain(json!({}));
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    let planned = world.plan_instance("db-0");
    world.engine.remove(DB);
    let outcome = Outcome::Failed {
        step: 0,
        failure: failure(FailureKind::Failed, "No such container"),
    };
    assert!(was_overtaken(&planned, &outcome, &world.view("db-0")));
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.backoff, None);
    world.instances.get_mut("db-0").unwrap().status = Some(status);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn what_clos_removed_is_not_taken_for_removed_by_somebody() {
    let mut world = plain(json!({}));
    world
        .instances
        .get_mut("db-0")
        .unwrap()
        .spec
        .container
        .image = "shop/db:2".to_owned();
    world.engine.offer("shop/db:2");
    let planned = world.plan_instance("db-0");
    let create = planned
        .plan
        .steps
        .iter()
        .position(|step| step.action.to_string().starts_with("create container"));
    world.engine.remove(DB);
    let outcome = Outcome::Failed {
        step: create.unwrap(),
        failure: failure(FailureKind::EngineUnknown, "it does not answer"),
    };
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.container_id, None);
    world.instances.get_mut("db-0").unwrap().status = Some(status);
    assert_eq!(world.plan_instance("db-0").drift, []);
}

#[test]
fn a_finished_run_that_was_cleaned_away_is_no_drift() {
    let mut world = plain(json!({"restartPolicy": "OnFailure"}));
    world.pass_time(60);
    world.engine.end(DB, 0, world.now);
    world.settle();
    world.engine.remove(DB);
    world.settle();
    world.pass_time(1);
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(MicroTime(world.now));
    let planned = world.plan_instance("db-0");
    assert!(!planned.plan.is_empty());
    assert_eq!(planned.drift, []);
}

#[test]
fn a_container_made_and_not_started_is_started() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Created;
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_new_container_comes_after_all_others_of_the_instance_are_gone() {
    let mut world = running();
    world.engine.named(DB).name = "renamed".into();
    world.engine.duplicate("renamed", DB, world.now);
    world.change("db", json!({"image": "shop/db:2"}));
    world.pass_service("db");
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_changed_secret_brings_a_new_container_and_is_called_what_it_is() {
    let mut world = running();
    world.values = secret("hunter3");
    let text = world.tell("db-0");
    assert!(!text.contains("hunter"));
    insta::assert_snapshot!(text);
}

#[test]
fn what_changed_is_said() {
    let mut world = running();
    let changes = json!({"env": [], "mounts": [], "args": ["-v"], "resources": {}, "labels": {"team": "shop"}});
    world.change("db", changes);
    world.pass_service("db");
    let plan = world.plan_instance("db-0").plan.to_string();
    assert!(
        plan.contains("the declaration changed: args, env, labels, limits, mounts"),
        "{plan}"
    );
}

#[test]
fn everything_but_the_start_is_done_while_a_dependency_is_not_there() {
    let mut world = World::new([
        service("db", json!({})),
        service(
            "web",
            json!({"dependsOn": [{"service": "db"}, {"service": "cache"}]}),
        ),
    ]);
    world.pass_service("db");
    world.pass_service("web");
    let mut text = world.tell("web-0");
    world.settle();
    text += "db runs\n";
    text += &world.tell("web-0");
    world
        .services
        .insert("cache".into(), service("cache", json!({})));
    world.engine.offer("shop/cache:1");
    world.pass_service("cache");
    world.pass_instance("cache-0");
    text += "cache runs, too\n";
    text += &world.tell("web-0");
    insta::assert_snapshot!(text);
}

#[test]
fn a_running_container_is_not_replaced_while_a_dependency_is_not_there() {
    let mut world = World::running([
        service("db", json!({})),
        service("web", json!({"dependsOn": [{"service": "db"}]})),
    ]);
    world.engine.end(DB, 1, world.now);
    world.instances.get_mut("db-0").unwrap().status = None;
    world.change("web", json!({"image": "shop/web:2"}));
    world.pass_service("web");
    insta::assert_snapshot!(world.tell("web-0"));
}

#[test]
fn i3_while_the_engine_is_unknown_nothing_is_done() {
    let mut world = running();
    world.engine.unknown_since = Some(world.now);
    insta::assert_snapshot!(world.tell("db-0"));
    let before = world.statuses();
    world.delete_instance("db-0");
    let planned = world.plan_instance("db-0");
    assert!(planned.plan.is_empty() && !planned.gone);
    world.pass_time(60);
    world.pass_instance("db-0");
    assert_eq!(world.statuses(), before);
}

#[test]
fn an_engine_that_goes_away_in_the_middle_leaves_the_state_unknown_and_counts_no_fault() {
    let mut world = running();
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    let planned = world.plan_instance("db-0");
    world.engine.unknown_since = Some(world.now);
    let outcome = world.execute(&planned.plan);
    let status = world.status_after("db-0", &planned, &outcome);
    assert_eq!(status.backoff, None);
    assert_eq!(status.conditions[0].reason, "EngineUnavailable");
    assert_eq!(
        status.container_id,
        world.instances["db-0"]
            .status
            .as_ref()
            .unwrap()
            .container_id
    );
}

#[test]
fn a_missing_secret_is_waited_for_and_named() {
    let mut world = declared();
    world.values = Values {
        secrets: BTreeMap::from([("shop".to_owned(), None)]),
        ..Values::default()
    };
    let mut text = world.tell("db-0");
    world
        .values
        .secrets
        .insert("shop".into(), Some(BTreeMap::new()));
    text += &world.tell("db-0");
    world.values = secret("hunter2");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn i7_a_secret_that_is_gone_leaves_the_container_running_and_repaired() {
    let mut world = running();
    world.values = Values::default();
    let mut text = world.tell("db-0");
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn health_is_said_as_the_image_says_it() {
    let mut world = running();
    let mut text = String::new();
    for health in [
        Health::Starting,
        Health::Healthy,
        Health::Unhealthy {
            said: format!("no answer\n  from db:5432 {}", "x".repeat(300)),
        },
    ] {
        world.engine.set_health(DB, health);
        text += &world.tell("db-0");
    }
    let status = world.instances["db-0"].status.as_ref().unwrap();
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == "Healthy" && condition.status == "False")
    );
    insta::assert_snapshot!(text);
}
