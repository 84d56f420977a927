//! One Instance: what is found, what is done about it, and what is said.

use std::collections::BTreeMap;

use clos_plan::container::LimitOptions;
use clos_plan::desired::Values;
use clos_plan::observed::{ContainerState, Health, Network, Volume};
use clos_plan::status::{FailureKind, Outcome, was_overtaken};
use clos_resources::instance::Backoff;
use clos_resources::names;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use crate::engine::{failure, image};
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
    world.instances.get_mut("db-0").unwrap().spec.restarted_at = Some(Time(world.now));
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
fn a_network_that_is_gone_is_made_again_with_a_container_on_it() {
    let mut world = running();
    world.pass_time(60);
    world.engine.end(DB, 143, world.now);
    world.engine.networks.clear();
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn i1_a_foreign_network_of_the_name_is_named_and_left_alone() {
    let mut world = declared();
    world.engine.networks.push(Network {
        id: "n123".into(),
        name: "clos_default_shop".into(),
        labels: BTreeMap::new(),
    });
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn two_networks_of_the_name_are_told_about() {
    let mut world = running();
    let second = Network {
        id: "n2".into(),
        ..world.engine.networks[0].clone()
    };
    world.engine.networks.push(second);
    assert!(world.plan_instance("db-0").plan.is_empty());
    world.engine.remove(DB);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_volume_with_driver_options_is_not_mounted_and_its_options_are_not_shown() {
    let mut world = declared();
    let options = BTreeMap::from([
        ("device".to_owned(), "/etc".to_owned()),
        ("o".to_owned(), "bind".to_owned()),
    ]);
    let volume = Volume {
        name: "clos_default_db".into(),
        driver: "local".into(),
        options,
        labels: BTreeMap::new(),
    };
    world.engine.volumes.insert(volume.name.clone(), volume);
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_plain_volume_of_an_earlier_installation_is_mounted_as_it_is() {
    let mut world = declared();
    let volume = Volume {
        name: "clos_default_db".into(),
        driver: "local".into(),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
    };
    world
        .engine
        .volumes
        .insert(volume.name.clone(), volume.clone());
    world.settle();
    assert_eq!(world.engine.volumes["clos_default_db"], volume);
    assert_eq!(world.engine.names(), [DB]);
}

#[test]
fn an_image_for_another_architecture_is_told_about_and_nothing_is_made() {
    let mut world = declared();
    world
        .engine
        .images
        .insert("shop/db:1".into(), image(9, "arm64"));
    insta::assert_snapshot!(world.tell("db-0"));
    assert!(world.engine.containers.is_empty());
}

#[test]
fn a_pull_that_is_denied_waits_longer_each_time_and_a_new_image_is_tried_at_once() {
    let mut world = declared();
    world.engine.registry.clear();
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    text += &world.tell("db-0");
    text += "another image is declared\n";
    world.change("db", json!({"image": "shop/db:2"}));
    world.pass_service("db");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
}

#[test]
fn an_image_that_somebody_else_brings_ends_the_wait() {
    let mut world = declared();
    world.engine.registry.clear();
    for _ in 0..2 {
        world.pass_instance("db-0");
    }
    world
        .engine
        .images
        .insert("shop/db:1".into(), image(1, "amd64"));
    assert!(world.tell("db-0").contains("start container"));
}

#[test]
fn a_transient_pull_failure_is_progress_until_it_lasts() {
    let mut world = declared();
    let down = failure(
        FailureKind::ImagePull { transient: true },
        "registry answered 503",
    );
    world.engine.registry.insert("shop/db:1".into(), Err(down));
    let mut reasons = Vec::new();
    for _ in 0..4 {
        world.pass_instance("db-0");
        world.pass_time(301);
        reasons.push(
            world.instances["db-0"].status.as_ref().unwrap().conditions[0]
                .reason
                .clone(),
        );
    }
    assert_eq!(
        reasons,
        [
            "Progressing",
            "Progressing",
            "Progressing",
            "ImagePullFailed"
        ]
    );
}

#[test]
fn an_image_that_must_not_be_pulled_and_is_not_there_is_asked_for() {
    let mut world = World::new([service("db", json!({"imagePullPolicy": "Never"}))]);
    world.pass_service("db");
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn an_image_that_is_always_pulled_is_pulled_before_each_new_container_and_not_before_each_start() {
    let mut world = plain(json!({"imagePullPolicy": "Always"}));
    world.pass_time(60);
    world.engine.end(DB, 137, world.now);
    assert!(!world.tell("db-0").contains("pull"));
    world.engine.remove(DB);
    assert!(world.tell("db-0").contains("pull"));
}

#[test]
fn a_changed_image_is_pulled_before_the_old_container_is_stopped() {
    let mut world = running();
    world.change("db", json!({"image": "shop/db:2"}));
    world.pass_service("db");
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn i7_a_new_image_that_cannot_be_pulled_leaves_the_old_container_running() {
    let mut world = running();
    world.change("db", json!({"image": "shop/db:2"}));
    world.engine.registry.remove("shop/db:2");
    world.pass_service("db");
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
    assert!(!world.engine.named(DB).state_ended());
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
fn changes_behind_our_back_are_repaired_once_each() {
    let change = |change: &dyn Fn(&mut clos_plan::observed::Container)| {
        let mut world = running();
        change(world.engine.named(DB));
        let planned = world.pass_instance("db-0").planned;
        assert!(world.plan_instance("db-0").plan.is_empty());
        let words: Vec<_> = planned
            .drift
            .iter()
            .map(|drift| format!("{}: {}\n", drift.kind.as_str(), drift.words))
            .collect();
        assert_eq!(planned.plan.steps.len(), 4, "{}", planned.plan);
        words.concat()
    };
    let mut text = change(&|container| container.live.limits.memory = Some(1));
    text += &change(&|container| container.live.networks.clear());
    text += &change(&|container| container.live.restart_policy = "always".into());
    text += &change(&|container| container.live.mounts.clear());
    text += &change(&|container| container.live.ports.clear());
    insta::assert_snapshot!(text);
}

#[test]
fn another_network_beside_ours_and_the_engines_own_alias_are_no_change() {
    let mut world = running();
    let live = &mut world.engine.named(DB).live;
    live.networks
        .insert("proxy".into(), ["x".to_owned()].into());
    live.networks
        .get_mut("clos_default_shop")
        .unwrap()
        .insert("c00000000001".into());
    live.restart_policy = String::new();
    assert!(world.plan_instance("db-0").plan.is_empty());
}

#[test]
fn what_the_engine_keeps_otherwise_from_the_start_is_not_repaired_for_ever() {
    let mut world = declared();
    world.engine.limits_kept = Some(LimitOptions {
        memory: Some(1),
        nano_cpus: None,
        pids: None,
    });
    world.settle();
    let status = world.instances["db-0"].status.as_ref().unwrap();
    assert_eq!(status.restarts, 0);
    let differs = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "EngineDiffers")
        .unwrap();
    assert_eq!(differs.message, "limits");
    world.engine.named(DB).live.networks.clear();
    assert_eq!(world.plan_instance("db-0").drift.len(), 1);
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
fn a_deleted_instance_goes_step_by_step_and_frees_its_port_last() {
    let mut world = running();
    world.engine.pause(DB);
    world
        .instances
        .get_mut("db-0")
        .unwrap()
        .metadata
        .deletion_timestamp = Some(Time(world.now));
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
    assert_eq!(world.engine.volumes.len(), 1);
}

#[test]
fn i4_a_port_stays_held_while_the_engine_is_still_removing_the_container() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Removing;
    world
        .instances
        .get_mut("db-0")
        .unwrap()
        .metadata
        .deletion_timestamp = Some(Time(world.now));
    let planned = world.plan_instance("db-0");
    assert!(planned.plan.is_empty() && !planned.gone && planned.wake_at.is_some());
    world.engine.remove(DB);
    world.pass_instance("db-0");
    assert!(world.ports.is_empty());
}

#[test]
fn a_container_that_the_engine_could_not_remove_is_removed_again_and_replaced() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Dead;
    insta::assert_snapshot!(world.tell("db-0"));
}

#[test]
fn a_container_that_is_being_removed_is_waited_for() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Removing;
    insta::assert_snapshot!(world.tell("db-0"));
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
        config_maps: BTreeMap::new(),
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
    for health in [Health::Starting, Health::Healthy, Health::Unhealthy] {
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
