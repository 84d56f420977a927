//! Containers whose Instance is gone.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::observed::{Container, ContainerState};
use clos_plan::orphan::{OrphanInput, OrphanPlan, Seen, plan};
use clos_resources::names;
use clos_resources::removals::{Removals, too_many};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{INSTALLATION, World, service};

const WEB: &str = "clos_default_web-0";

fn orphaned() -> World {
    let mut world = World::running([service("web", json!({}))]);
    world.instances.clear();
    world
}

/// One look, as the sweep does it. Somebody else's Instance lives, so that there is one.
fn look(world: &World, before: &OrphanPlan) -> OrphanPlan {
    let living: BTreeSet<String> = world
        .instances
        .values()
        .filter_map(|instance| instance.metadata.uid.clone())
        .chain(["elsewhere".to_owned()])
        .collect();
    plan(&OrphanInput {
        living: &living,
        ..input(&world.engine.containers, before, world.now)
    })
}

fn input<'a>(
    containers: &'a BTreeMap<String, Container>,
    before: &'a OrphanPlan,
    now: Timestamp,
) -> OrphanInput<'a> {
    const NOBODY: &BTreeSet<String> = &BTreeSet::new();
    OrphanInput {
        containers,
        managed: containers.len(),
        living: NOBODY,
        seen: &before.seen,
        reported: before.orphans.as_ref(),
        confirmed: None,
        installation: INSTALLATION,
        now,
    }
}

fn nothing() -> OrphanPlan {
    OrphanPlan::default()
}

#[test]
fn an_orphan_is_removed_after_its_grace() {
    let mut world = orphaned();
    let first = look(&world, &nothing());
    assert!(first.plan.is_empty());
    world.pass_time(299);
    let second = look(&world, &first);
    assert!(second.plan.is_empty());
    world.pass_time(1);
    world.engine.pause(WEB);
    let third = look(&world, &second);
    insta::assert_snapshot!(third.plan.to_string());
    world.execute(&third.plan);
    assert!(world.engine.containers.is_empty());
}

#[test]
fn an_instance_that_comes_back_starts_the_grace_anew() {
    let mut world = orphaned();
    let first = look(&world, &nothing());
    world.pass_time(600);
    let living = world.engine.named(WEB).labels[names::LABEL_INSTANCE_UID].clone();
    let second = plan(&OrphanInput {
        living: &BTreeSet::from([living]),
        ..input(&world.engine.containers, &first, world.now)
    });
    assert_eq!(second, nothing());
    assert!(look(&world, &second).plan.is_empty());
}

#[test]
fn i1_only_what_is_ours_in_every_respect_is_an_orphan() {
    let long_ago = |world: &World| {
        let seen = Seen {
            since: world.now - SignedDuration::from_hours(1),
            confirmed: false,
            held: false,
        };
        let ids = world.engine.containers.keys();
        OrphanPlan {
            seen: ids.map(|id| (id.clone(), seen)).collect(),
            ..nothing()
        }
    };
    let is_removed = |change: &dyn Fn(&mut World)| {
        let mut world = orphaned();
        change(&mut world);
        !look(&world, &long_ago(&world)).plan.is_empty()
    };
    assert!(is_removed(&|_| {}));
    let relabel = |key: &'static str, value: &'static str| {
        move |world: &mut World| {
            world
                .engine
                .named(WEB)
                .labels
                .extend([(key.to_owned(), value.to_owned())]);
        }
    };
    assert!(!is_removed(&relabel(names::LABEL_INSTALLATION, "another")));
    assert!(!is_removed(&relabel(names::LABEL_INSTANCE_UID, "")));
    assert!(!is_removed(&relabel(names::LABEL_NAMESPACE, "other")));
    assert!(!is_removed(&relabel(names::LABEL_INSTANCE, "api-0")));
    assert!(!is_removed(
        &|world| world.engine.named(WEB).name = "copy".into()
    ));
    assert!(!is_removed(
        &|world| world.engine.named(WEB).state = ContainerState::Removing
    ));
}

#[test]
fn a_clock_that_is_set_back_starts_the_grace_anew() {
    let mut world = orphaned();
    let first = look(&world, &nothing());
    world.pass_time(-3600);
    let second = look(&world, &first);
    assert!(second.plan.is_empty());
    assert_eq!(second.seen.values().next().unwrap().since, world.now);
}

const START: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

/// So many containers of ours that run.
fn containers(count: usize) -> BTreeMap<String, Container> {
    let mut world = World::running([service("web", json!({}))]);
    let one = world.engine.named(WEB).clone();
    let numbered = |number: usize| {
        let mut container = one.clone();
        let instance = format!("web-{number}");
        container.id = format!("c{number:03}");
        container.name = names::container("default", &instance);
        for (key, value) in [
            (names::LABEL_INSTANCE_UID, format!("uid-{number}")),
            (names::LABEL_INSTANCE, instance),
        ] {
            container.labels.insert(key.to_owned(), value);
        }
        (container.id.clone(), container)
    };
    (0..count).map(numbered).collect()
}

/// The UIDs of the Instances with these numbers.
fn living(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers
        .into_iter()
        .map(|number| format!("uid-{number}"))
        .collect()
}

/// How many containers a plan removes.
fn removed(planned: &OrphanPlan) -> usize {
    let lines = planned.plan.to_string();
    lines
        .lines()
        .filter(|line| line.contains("remove container"))
        .count()
}

/// A first look and one after the grace, at containers of which so many have no Instance.
fn after_the_grace(orphans: usize, of: usize) -> OrphanPlan {
    let (all, living) = (containers(of), living(orphans..of));
    let look = |before: &OrphanPlan, now| {
        plan(&OrphanInput {
            living: &living,
            ..input(&all, before, now)
        })
    };
    look(&look(&nothing(), at(0)), at(300))
}

#[test]
fn many_orphans_at_once_are_held_back_and_few_go() {
    for (orphans, of, gone) in [
        (0, 3, 0),
        (1, 2, 1),
        (4, 5, 4),
        (5, 19, 0),
        (5, 20, 5),
        (6, 20, 0),
        (6, 24, 6),
        (19, 20, 0),
    ] {
        let planned = after_the_grace(orphans, of);
        assert_eq!(removed(&planned), gone, "{orphans} of {of}");
        let held = planned.orphans.as_ref().is_some_and(|report| report.held);
        assert_eq!(held, gone < orphans, "{orphans} of {of}");
    }
}

#[test]
fn i8_a_store_without_any_instance_removes_nothing_however_few_containers_there_are() {
    for of in 1..7 {
        let planned = after_the_grace(of, of);
        assert_eq!(removed(&planned), 0, "{of} of {of}");
        let report = planned.orphans.unwrap();
        assert!(report.held && report.count == u32::try_from(of).unwrap());
    }
}

#[test]
fn a_confirmation_lets_exactly_those_go_that_were_reported() {
    let (all, alive) = (containers(8), living(6..8));
    let look =
        |all: &BTreeMap<String, Container>, before: &OrphanPlan, token: Option<&str>, now| {
            plan(&OrphanInput {
                living: &alive,
                confirmed: token,
                ..input(all, before, now)
            })
        };
    let first = look(&all, &nothing(), None, at(0));
    let token = first.orphans.as_ref().unwrap().token.clone();
    assert_eq!(removed(&look(&all, &first, Some("another"), at(301))), 0);
    let go = look(&all, &first, Some(&token), at(1));
    assert_eq!((removed(&go), &go.orphans), (6, &None), "without the grace");
    // Half of it was carried out, and the token is not that of what is left.
    let rest: BTreeMap<_, _> = all.clone().into_iter().skip(3).collect();
    assert_eq!(removed(&look(&rest, &go, Some(&token), at(2))), 3);
    // One that came later is another matter.
    let (more, alive) = (containers(9), living(7..9));
    let later = plan(&OrphanInput {
        living: &alive,
        confirmed: Some(&token),
        ..input(&more, &go, at(3))
    });
    assert_eq!(removed(&later), 6);
    assert_eq!(later.orphans.unwrap().names, ["clos_default_web-6"]);
}

#[test]
fn what_was_held_back_stays_so_when_others_are_added_and_after_a_start() {
    let first = after_the_grace(6, 20);
    let (more, alive) = (containers(60), living(6..60));
    let look = |before: &OrphanPlan, now| {
        plan(&OrphanInput {
            living: &alive,
            ..input(&more, before, now)
        })
    };
    assert_eq!(removed(&look(&first, at(301))), 0);
    let started = OrphanPlan {
        seen: BTreeMap::new(),
        ..first.clone()
    };
    let after_the_start = look(&started, at(1000));
    assert_eq!(removed(&look(&after_the_start, at(2000))), 0);
    let without_a_report = OrphanPlan::default();
    let new = look(&without_a_report, at(1000));
    assert_eq!(removed(&look(&new, at(2000))), 6, "6 of 60 are few");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn i1_i8_no_course_of_events_removes_many_unconfirmed_or_any_that_lives(
        looks in prop::collection::vec((prop::collection::btree_set(0..12usize, 0..12), 0..400i64, any::<bool>()), 1..8),
    ) {
        let all = containers(12);
        let mut before = nothing();
        let mut now = 0;
        for (alive, pause, confirm) in looks {
            now += pause;
            let token = before.orphans.as_ref().map(|report| report.token.clone()).filter(|_| confirm);
            let alive = living(alive);
            let planned = plan(&OrphanInput {
                living: &alive,
                confirmed: token.as_deref(),
                ..input(&all, &before, at(now))
            });
            let unconfirmed = planned.seen.values().filter(|seen| !seen.confirmed).count();
            let due = planned.seen.values().filter(|seen| seen.confirmed).count();
            let gone = removed(&planned);
            prop_assert!(gone >= due);
            prop_assert!(gone - due == 0 || (!too_many(unconfirmed, 12) && !alive.is_empty()));
            for step in &planned.plan.steps {
                let line = step.action.to_string();
                let lives = alive.iter().any(|uid| line.ends_with(&format!("web-{}", uid.trim_start_matches("uid-"))));
                prop_assert!(!lives, "{line}");
            }
            // I6: nothing that is still an orphan is forgotten, and a report says what is not going.
            let report = planned.orphans.as_ref().map_or(0, |report| report.count);
            prop_assert_eq!(usize::try_from(report).unwrap(), unconfirmed);
            before = planned;
        }
    }
}

#[test]
fn a_report_is_of_the_orphans_among_all_containers() {
    let report = after_the_grace(6, 20).orphans.unwrap();
    let expected = Removals {
        names: (0..6)
            .map(|number| format!("clos_default_web-{number}"))
            .collect(),
        token: report.token.clone(),
        count: 6,
        of: 20,
        held: true,
    };
    assert_eq!(report, expected);
}
