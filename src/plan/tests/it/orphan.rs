//! Containers whose Instance is gone.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::observed::ContainerState;
use clos_plan::orphan::{OrphanPlan, plan};
use clos_resources::names;
use serde_json::json;

use crate::world::{INSTALLATION, World, service};

const WEB: &str = "clos_default_web-0";

fn orphaned() -> World {
    let mut world = World::running([service("web", json!({}))]);
    world.instances.clear();
    world
}

fn look(world: &World, since: &OrphanPlan) -> OrphanPlan {
    let living: BTreeSet<String> = world
        .instances
        .values()
        .filter_map(|instance| instance.metadata.uid.clone())
        .collect();
    plan(
        &world.engine.containers,
        &living,
        &since.since,
        INSTALLATION,
        world.now,
    )
}

fn nothing() -> OrphanPlan {
    OrphanPlan {
        plan: clos_plan::action::Plan::default(),
        since: BTreeMap::new(),
    }
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
    let second = plan(
        &world.engine.containers,
        &BTreeSet::from([living]),
        &first.since,
        INSTALLATION,
        world.now,
    );
    assert!(second.plan.is_empty() && second.since.is_empty());
    assert!(look(&world, &second).plan.is_empty());
}

#[test]
fn i1_only_what_is_ours_in_every_respect_is_an_orphan() {
    let long_ago = |world: &World| OrphanPlan {
        since: world
            .engine
            .containers
            .keys()
            .map(|id| (id.clone(), world.now - jiff::SignedDuration::from_hours(1)))
            .collect(),
        ..nothing()
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
    assert_eq!(second.since.values().next(), Some(&world.now));
}
