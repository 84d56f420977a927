//! One Instance: what is found, what is done about it, and what is said.

use std::collections::BTreeMap;

use clos_plan::desired::Values;
use clos_plan::instance::DriftKind;
use clos_plan::observed::{ContainerState, Health};
use clos_plan::status::{FailureKind, Outcome, was_overtaken};
use clos_resources::instance::Backoff;
use clos_resources::names;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use serde_json::json;

use crate::engine::failure;
use crate::fixtures::{DB, Ended, declared, plain, running, secret};
use crate::world::{INSTALLATION, Pass, World, at, service};

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
fn a_container_out_of_memory_is_started_again_and_that_is_a_fault() {
    let mut world = running();
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    if let ContainerState::Exited { oom_killed, .. } = &mut world.engine.named(DB).state {
        *oom_killed = true;
    }
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_crash_loop_waits_longer_each_time_and_starts_afresh_after_a_stable_run() {
    let mut world = plain(json!({}));
    let mut text = String::new();
    for _ in 0..9 {
        world.pass_time(2);
        world.engine.end(DB, 1, world.now);
        text += &world.tell("db-0");
        while let Some(due) = world
            .plan_instance("db-0")
            .wake_at
            .filter(|_| world.engine.named(DB).state_ended())
        {
            world.now = due;
            text += &format!("{}\n", due.strftime("%H:%M:%S"));
            text += &world.tell("db-0");
        }
    }
    text += "stable\n";
    world.pass_time(301);
    text += &world.tell("db-0");
    world.engine.end(DB, 1, world.now);
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn the_last_lines_are_asked_for_once_for_each_fault_and_stay_in_the_message_until_the_next() {
    let mut world = plain(json!({}));
    crash_after(&mut world, 2000);
    let started = world.now;
    world.pass_time(2);
    world.engine.end(DB, 1, world.now);
    let id = world.engine.named(DB).id.clone();
    let unheard = world.plan_instance("db-0").unheard.unwrap();
    assert_eq!(unheard.container, id);
    let since = unheard.since.unwrap();
    let crashed = backoff_of(&world).last_fault.0;
    assert!(
        crashed < since && since < started,
        "not an earlier run's lines"
    );
    let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let said = lines(&["starting", "panic: no config"]);
    world.engine.last_lines.insert(id.clone(), said);
    assert_eq!(world.plan_instance("db-0").unheard, None);
    let mut text = world.tell("db-0");
    world.engine.last_lines.clear();
    assert_eq!(world.plan_instance("db-0").unheard, None);
    text += &world.tell("db-0");
    world.pass_time(11);
    world.pass_instance("db-0");
    world.pass_time(2);
    world.engine.end(DB, 1, world.now);
    world.engine.last_lines.insert(id, Vec::new());
    text += "it wrote nothing, or it cannot be read\n";
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn what_ends_alike_again_and_again_is_asked_for_its_last_lines_the_less_often() {
    let mut world = plain(json!({}));
    let mut asked = Vec::new();
    for _ in 0..17 {
        world.pass_time(2);
        world.engine.end(DB, 1, world.now);
        let planned = world.plan_instance("db-0");
        let backoff = planned.backoff.unwrap();
        let id = world.engine.named(DB).id.clone();
        if planned.unheard.is_some() {
            asked.push(backoff.faults);
            world
                .engine
                .last_lines
                .insert(id, vec!["no config".to_owned()]);
        }
        world.pass_instance("db-0");
        world.engine.last_lines.clear();
        // The first time it is started again at once.
        if backoff.faults > 1 {
            assert_eq!(backoff_of(&world).last_lines, ["no config"]);
            world.pass_time(301);
            world.pass_instance("db-0");
        }
    }
    assert_eq!(asked, [2, 3, 4, 8, 16]);
    world.pass_time(2);
    world.engine.end(DB, 2, world.now);
    let unheard = world.plan_instance("db-0").unheard;
    assert!(unheard.is_some(), "another end says something else");
}

#[test]
fn what_is_started_again_at_once_is_not_asked_for_its_last_lines() {
    let mut world = plain(json!({}));
    world.pass_time(2);
    world.engine.end(DB, 1, world.now);
    assert_eq!(world.plan_instance("db-0").unheard, None);
}

#[test]
fn the_same_end_is_counted_once() {
    let mut world = plain(json!({}));
    for _ in 0..2 {
        world.pass_time(2);
        world.engine.end(DB, 1, world.now);
        world.pass_instance("db-0");
    }
    let before = world.statuses();
    for _ in 0..3 {
        world.pass_instance("db-0");
    }
    assert_eq!(world.statuses(), before);
    assert_eq!(
        world.instances["db-0"]
            .status
            .as_ref()
            .unwrap()
            .backoff
            .as_ref()
            .unwrap()
            .faults,
        2
    );
}

/// Ends the running container some milliseconds after its start, and passes.
fn crash_after(world: &mut World, millis: i64) -> Pass {
    world.now += SignedDuration::from_millis(millis);
    world.engine.end(DB, 1, world.now);
    world.pass_instance("db-0")
}

#[test]
fn ends_within_one_second_are_faults_of_their_own() {
    let mut world = plain(json!({}));
    world.now = at("2026-11-23T12:00:30.1Z");
    assert_eq!(crash_after(&mut world, 0).planned.plan.steps.len(), 1);
    assert_eq!(crash_after(&mut world, 50).planned.plan.steps.len(), 0);
    assert_eq!(world.now, at("2026-11-23T12:00:30.25Z"));
    let backoff = backoff_of(&world);
    assert_eq!(
        (backoff.faults, backoff.next_try.0),
        (2, at("2026-11-23T12:00:40.25Z"))
    );
}

#[test]
fn faults_count_though_the_engines_clock_is_a_little_ahead() {
    let mut world = plain(json!({}));
    for _ in 0..2 {
        world.pass_time(2);
        let ahead = world.now + SignedDuration::from_millis(400);
        world.engine.end(DB, 1, ahead);
        world.pass_instance("db-0");
    }
    assert_eq!(backoff_of(&world).faults, 2);
    let before = world.statuses();
    world.pass_instance("db-0");
    assert_eq!(world.statuses(), before);
}

/// How often a container that ends at once is started within ten minutes, on an engine whose clock is this far ahead of ours.
fn starts_in_ten_minutes(ahead: SignedDuration) -> u32 {
    let mut world = plain(json!({}));
    let mut starts = 0;
    for _ in 0..600 {
        world.pass_time(1);
        let there = world.now + ahead;
        let started_at = there - SignedDuration::from_millis(900);
        let container = world.engine.named(DB);
        if let ContainerState::Running { health, .. } = container.state.clone() {
            container.state = ContainerState::Running { started_at, health };
            world.pass_instance("db-0");
            world.engine.end(DB, 1, there);
        }
        let pass = world.pass_instance("db-0");
        starts += u32::try_from(pass.planned.plan.steps.len()).unwrap();
    }
    starts
}

#[test]
fn a_crash_loop_waits_as_long_whatever_the_engines_clock_says() {
    let as_usual = starts_in_ten_minutes(SignedDuration::ZERO);
    assert!((5..=10).contains(&as_usual), "{as_usual}");
    for minutes in [1, 6, 600, -1, -6, -600] {
        let ahead = SignedDuration::from_mins(minutes);
        assert_eq!(
            starts_in_ten_minutes(ahead),
            as_usual,
            "{minutes} min ahead"
        );
    }
}

#[test]
fn faults_of_a_clock_that_was_set_back_are_forgotten() {
    let mut world = plain(json!({}));
    world.pass_time(2);
    crash_after(&mut world, 0);
    world.pass_time(-60);
    assert_eq!(world.plan_instance("db-0").backoff, None);
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

fn backoff_of(world: &World) -> Backoff {
    let status = world.instances["db-0"].status.clone().unwrap();
    status.backoff.unwrap()
}

#[test]
fn a_container_made_and_not_started_is_started() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Created;
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_start_that_failed_is_tried_again_with_a_new_container_and_later_each_time() {
    let mut world = plain(json!({}));
    world.engine.remove(DB);
    let refused = || {
        Some(failure(
            FailureKind::Failed,
            "cannot mount volume: no space left on device",
        ))
    };
    let mut text = String::new();
    for _ in 0..3 {
        for _ in 0..2 {
            world.engine.next_start = refused();
            text += &world.tell("db-0");
        }
        world.pass_time(15);
    }
    world.engine.next_start = None;
    world.pass_time(300);
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

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
fn a_new_container_comes_after_all_others_of_the_instance_are_gone() {
    let mut world = running();
    world.engine.named(DB).name = "renamed".into();
    world.engine.duplicate("renamed", DB, world.now);
    world.change("db", json!({"image": "shop/db:2"}));
    world.pass_service("db");
    insta::assert_snapshot!(world.tell("db-0"));
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
    world
        .instances
        .get_mut("db-0")
        .unwrap()
        .metadata
        .deletion_timestamp = Some(Time(world.now));
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
    world
        .instances
        .get_mut("db-0")
        .unwrap()
        .metadata
        .deletion_timestamp = Some(Time(world.now));
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

#[test]
fn a_clock_that_is_set_back_does_not_keep_a_container_down() {
    let mut world = plain(json!({}));
    for _ in 0..6 {
        world.pass_time(400);
        if !world.engine.named(DB).state_ended() {
            world.engine.end(DB, 1, world.now);
        }
        world.pass_instance("db-0");
    }
    world.now = at("2026-11-23T09:00:00Z");
    world.pass_instance("db-0");
    assert!(!world.engine.named(DB).state_ended());
}
