//! What was changed behind our back, and what the engine keeps otherwise: each is repaired once or known for good. Ends are in `instance`.

use clos_plan::container::LimitOptions;

use crate::fixtures::{DB, declared, running};

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
    // Replaced once, in case somebody had been quicker than the first look.
    assert_eq!(status.restarts, 1);
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
fn a_change_by_hand_before_the_first_look_is_repaired_and_not_taken_for_the_engines_doing() {
    let mut world = declared();
    let declared_limits = {
        let mut other = declared();
        other.settle();
        other.engine.named(DB).live.limits.clone()
    };
    world.engine.limits_kept = Some(LimitOptions {
        memory: Some(1),
        nano_cpus: None,
        pids: None,
    });
    world.pass_instance("db-0");
    assert_eq!(world.engine.named(DB).live.limits.memory, Some(1));
    world.engine.limits_kept = None;
    world.settle();
    assert_eq!(world.engine.named(DB).live.limits, declared_limits);
    let conditions = &world.instances["db-0"].status.as_ref().unwrap().conditions;
    assert!(
        conditions
            .iter()
            .all(|condition| condition.type_ != "EngineDiffers")
    );
}

#[test]
fn what_the_engine_keeps_otherwise_is_known_for_the_next_container_too() {
    let mut world = declared();
    world.engine.limits_kept = Some(LimitOptions {
        memory: Some(1),
        nano_cpus: None,
        pids: None,
    });
    world.settle();
    world.engine.named(DB).live.networks.clear();
    world.pass_instance("db-0");
    assert!(world.plan_instance("db-0").plan.is_empty());
}
