//! What holds in every world: random declarations, random containers, random accidents.

use std::collections::BTreeSet;

use clos_plan::action::{Action, EngineAction, Plan, Target};
use clos_plan::observed::{ContainerState, EngineView, Health};
use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_resources::names;
use proptest::prelude::*;
use serde_json::json;

use crate::accidents::{Accident, accident, happen, world};
use crate::world::{World, service};

/// Containers and networks that a plan names.
fn named(plan: &Plan) -> Vec<&str> {
    let mut ids = Vec::new();
    for step in &plan.steps {
        let Action::Engine(action) = &step.action else {
            continue;
        };
        match action {
            EngineAction::StartContainer { container }
            | EngineAction::StopContainer { container, .. }
            | EngineAction::UnpauseContainer { container }
            | EngineAction::RemoveContainer { container } => {
                if let Target::Existing { id, .. } = container {
                    ids.push(id.as_str());
                }
            }
            EngineAction::RemoveNetwork { id, .. } => ids.push(id),
            EngineAction::PullImage { .. }
            | EngineAction::CreateNetwork(_)
            | EngineAction::CreateVolume(_)
            | EngineAction::CreateContainer(_) => {}
        }
    }
    ids
}

/// What must be true of every plan in every world.
fn check(world: &World, foreign: &BTreeSet<String>) -> Result<(), TestCaseError> {
    for name in world.instances.keys() {
        let planned = world.plan_instance(name);
        prop_assert_eq!(
            &planned,
            &world.plan_instance(name),
            "the same question has the same answer"
        );
        for id in named(&planned.plan) {
            prop_assert!(
                !foreign.contains(id),
                "i1: {} is not ours:\n{}",
                id,
                planned.plan
            );
        }
        for (index, step) in planned.plan.steps.iter().enumerate() {
            prop_assert!(
                step.after.iter().all(|before| *before < index),
                "order:\n{}",
                planned.plan
            );
        }
        let shuffled = world.with_input(name, &world.view(name), |input| {
            let ports: Vec<_> = input.ports.iter().rev().cloned().collect();
            let dependencies: Vec<_> = input.dependencies.iter().rev().cloned().collect();
            let EngineView::Known(mut observed) = input.view.clone() else {
                panic!("known")
            };
            observed.networks.reverse();
            let view = EngineView::Known(observed);
            let input = clos_plan::instance::InstanceInput {
                ports: &ports,
                dependencies: &dependencies,
                view: &view,
                ..*input
            };
            clos_plan::instance::plan(&input)
        });
        prop_assert_eq!(&planned, &shuffled, "the order of lists decides nothing");
        let unknown = EngineView::Unknown {
            since: world.now,
            reason: "gone".into(),
        };
        let blind = world.with_input(name, &unknown, clos_plan::instance::plan);
        prop_assert!(
            blind.plan.is_empty() && !blind.gone,
            "i3: nothing while the engine is unknown"
        );
    }
    for name in world.services.keys() {
        let planned = world.plan_service(name);
        prop_assert_eq!(&planned, &world.plan_service(name));
        let updates = planned
            .plan
            .steps
            .iter()
            .filter(|step| {
                let cause = step.cause.to_string();
                cause.starts_with("the declaration changed")
                    || cause == "a Secret or ConfigMap it takes values from changed"
            })
            .count();
        prop_assert!(updates <= 1, "one instance at a time:\n{}", planned.plan);
    }
    Ok(())
}

/// No Instance ever has two containers that run, and none runs that nobody declared.
fn check_settled(world: &World, foreign: &BTreeSet<String>) -> Result<(), TestCaseError> {
    let ours: Vec<_> = world
        .engine
        .containers
        .values()
        .filter(|container| !foreign.contains(&container.id))
        .collect();
    let uids: BTreeSet<&String> = ours
        .iter()
        .map(|container| &container.labels[names::LABEL_INSTANCE_UID])
        .collect();
    prop_assert_eq!(uids.len(), ours.len(), "one container an instance");
    let living: BTreeSet<&String> = world
        .instances
        .values()
        .filter_map(|instance| instance.metadata.uid.as_ref())
        .collect();
    prop_assert!(uids.is_subset(&living), "no container without an instance");
    for service in world.services.values() {
        let count = world
            .instances_of(service.metadata.name.as_ref().unwrap())
            .len();
        prop_assert_eq!(
            count,
            service.spec.replicas as usize,
            "as many instances as replicas"
        );
    }
    for port in &world.ports {
        prop_assert!(
            living.contains(&port.spec.holder.as_ref().unwrap().uid),
            "i4: ports are held by the living"
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn i1_i3_plans_are_safe_ordered_and_the_same_for_the_same_world(accidents in prop::collection::vec(accident(), 0..20)) {
        let mut world = world();
        world.settle();
        let mut foreign = BTreeSet::new();
        for accident in &accidents {
            happen(&mut world, &mut foreign, accident);
            check(&world, &foreign)?;
        }
        prop_assert!(foreign.iter().all(|id| world.engine.containers.contains_key(id)), "i1: what is foreign is still there");
    }

    #[test]
    fn i6_planning_again_after_a_plan_was_carried_out_changes_nothing(accidents in prop::collection::vec(accident(), 0..20)) {
        let mut world = world();
        let mut foreign = BTreeSet::new();
        for accident in &accidents {
            happen(&mut world, &mut foreign, accident);
        }
        // People tidy up what is in the way, and time passes until every wait is over.
        world.engine.taken.clear();
        world.engine.next_start = None;
        world.engine.containers.retain(|id, _| !foreign.contains(id));
        world.engine.networks.retain(|network| !network.labels.is_empty());
        world.services.get_mut("db").unwrap().spec.state = clos_resources::lifecycle::State::Running;
        if world.values.versions.as_ref().is_some_and(BTreeSet::is_empty) {
            world.store_secret(9, "again");
        }
        for _ in 0..30 {
            world.pass_time(301);
            world.round();
        }
        let before = world.statuses();
        prop_assert_eq!(world.round(), 0, "a fixpoint");
        prop_assert_eq!(world.statuses(), before, "i2: no write");
        check_settled(&world, &foreign)?;
        for instance in world.instances.values() {
            let status = instance.status.as_ref().unwrap();
            prop_assert_eq!(&status.conditions[0].status, "True", "{}", &status.conditions[0].message);
            prop_assert!(instance.spec.values.iter().eq(world.values.versions.iter().flatten()), "every turn has come");
        }
    }

    #[test]
    fn i11_no_volume_is_ever_removed(accidents in prop::collection::vec(accident(), 0..20)) {
        let mut world = world();
        world.settle();
        let volumes = world.engine.volumes.clone();
        let mut foreign = BTreeSet::new();
        for accident in &accidents {
            happen(&mut world, &mut foreign, accident);
            world.round();
            prop_assert_eq!(&world.engine.volumes, &volumes);
        }
    }

    #[test]
    fn an_instance_never_has_two_running_containers_by_our_doing(accidents in prop::collection::vec(accident(), 0..20)) {
        let mut world = world();
        let mut foreign = BTreeSet::new();
        for accident in accidents.iter().filter(|accident| !matches!(accident, Accident::Duplicate(_))) {
            happen(&mut world, &mut foreign, accident);
            world.round();
            let ours = world.engine.containers.values().filter(|container| !foreign.contains(&container.id));
            let mut running = ours.filter(|container| matches!(container.state, ContainerState::Running { .. }));
            let mut seen = BTreeSet::new();
            let unique = running.all(|container| seen.insert(&container.labels[names::LABEL_INSTANCE_UID]));
            prop_assert!(unique);
            for name in ["web", "db"] {
                let living = world.instances_of(name).iter().filter(|instance| instance.metadata.deletion_timestamp.is_none()).count();
                prop_assert!(living <= world.services[name].spec.replicas as usize);
            }
        }
    }
}

#[test]
fn a_container_that_somebody_keeps_unhealthy_is_no_reason_to_write_again_and_again() {
    let mut world = world();
    world.settle();
    world.engine.set_health(
        "clos_default_web-0",
        Health::Unhealthy {
            said: String::new(),
        },
    );
    world.settle();
    let before = world.statuses();
    world.round();
    assert_eq!(world.statuses(), before);
}

#[test]
fn i6_a_stale_status_never_replaces_a_container_that_is_right() {
    let mut world = World::running([service("web", json!({}))]);
    let right = world.instances["web-0"].status.clone().unwrap();
    let id = right.container_id.clone().unwrap();
    let stale = |reason: Reason| InstanceStatus {
        container_id: Some("the-one-before".to_owned()),
        state: Some(InstanceState::Starting),
        conditions: Summary::new(reason, "of before").conditions(Some(1), &[], world.now),
        ..right.clone()
    };
    let mut statuses = vec![None, Some(InstanceStatus::default())];
    for reason in [
        Reason::Progressing,
        Reason::ContainerFailed,
        Reason::CrashLoopBackOff,
        Reason::EngineUnavailable,
    ] {
        statuses.push(Some(stale(reason)));
    }
    for status in statuses {
        world.instances.get_mut("web-0").unwrap().status = status.clone();
        assert!(world.plan_instance("web-0").plan.is_empty(), "{status:?}");
        world.pass_instance("web-0");
        let after = world.instances["web-0"].status.as_ref().unwrap();
        assert_eq!(after.container_id.as_ref(), Some(&id), "{status:?}");
    }
}

#[test]
fn i6_a_container_on_record_is_not_forgotten_for_another_one_before_it_is_gone() {
    let mut world = world();
    world.settle();
    let mut foreign = BTreeSet::new();
    // Renamed, and another one made in its place; the start that follows fails and nothing is removed.
    for accident in [
        Accident::Duplicate(1),
        Accident::Restart,
        Accident::StartFails,
        Accident::Round,
    ] {
        happen(&mut world, &mut foreign, &accident);
    }
    for _ in 0..5 {
        world.pass_time(301);
        world.round();
    }
    check_settled(&world, &foreign).unwrap();
}
