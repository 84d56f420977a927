//! Faults of a container: how they are counted, how long the next start waits, and what is said of them.

use clos_plan::observed::ContainerState;
use clos_plan::status::FailureKind;
use clos_resources::instance::Backoff;
use jiff::SignedDuration;
use serde_json::json;

use crate::engine::failure;
use crate::fixtures::{DB, Ended, plain, running};
use crate::world::{Pass, World, at};

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

fn backoff_of(world: &World) -> Backoff {
    let status = world.instances["db-0"].status.clone().unwrap();
    status.backoff.unwrap()
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
