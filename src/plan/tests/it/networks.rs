//! Networks and volumes of an Instance: gone, foreign, two of one name, unusable. Containers are in `instance`.

use std::collections::BTreeMap;

use clos_plan::action::{Action, EngineAction, Step};
use clos_plan::observed::{Network, Volume};
use clos_plan::status::{FailureKind, Outcome};
use clos_resources::instance::InstanceState;
use jiff::SignedDuration;
use serde_json::json;

use crate::engine::failure;
use crate::fixtures::{DB, declared, running};
use crate::world::{World, service, words};

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
fn of_two_networks_of_ours_the_younger_goes_before_a_container_is_made() {
    let mut world = running();
    let second = Network {
        id: "n2".into(),
        ..world.engine.networks[0].clone()
    };
    let first = world.engine.networks[0].id.clone();
    world.engine.networks.push(second);
    world.engine.remove(DB);
    let planned = world.plan_instance("db-0").plan.to_string();
    let position = |words| planned.find(words).unwrap_or(usize::MAX);
    assert!(
        position("remove network") < position("create container"),
        "{planned}"
    );
    world.settle();
    let left = world.engine.networks.iter();
    let left: Vec<&String> = left.map(|network| &network.id).collect();
    assert_eq!(left, [&first]);
}

#[test]
fn a_second_network_of_ours_goes_while_the_container_runs_on() {
    let mut world = running();
    let second = Network {
        id: "n2".into(),
        ..world.engine.networks[0].clone()
    };
    world.engine.networks.push(second);
    let planned = world.plan_instance("db-0").plan.to_string();
    assert_eq!(planned.lines().count(), 1, "{planned}");
    assert!(planned.contains("remove network"), "{planned}");
}

#[test]
fn i1_a_foreign_network_of_the_name_stays_though_ours_is_older() {
    let mut world = running();
    let second = Network {
        id: "n2".into(),
        labels: BTreeMap::new(),
        ..world.engine.networks[0].clone()
    };
    world.engine.networks.push(second);
    assert!(world.plan_instance("db-0").plan.is_empty());
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
fn a_network_without_addresses_is_tried_again_within_40_seconds_however_often_it_failed() {
    let mut world = World::new([service("db", json!({}))]);
    world.pass_service("db");
    let mut tried = 0;
    for _ in 0..600 {
        let planned = world.plan_instance("db-0");
        if let Some(step) = planned.plan.steps.iter().position(makes_network) {
            tried += 1;
            let failure = failure(FailureKind::NoAddresses, "no addresses left");
            let outcome = Outcome::Failed { step, failure };
            let status = world.status_after("db-0", &planned, &outcome);
            let next_try = status.backoff.as_ref().unwrap().next_try.0;
            assert!(next_try.duration_since(world.now) <= SignedDuration::from_secs(40));
            world.instances.get_mut("db-0").unwrap().status = Some(status);
        }
        world.pass_time(1);
    }
    assert!((14..=18).contains(&tried), "{tried}");
    assert!(words(&world.instances["db-0"]).contains("no addresses left; next try at"));
    world.pass_time(40);
    world.settle();
    assert_eq!(
        world.instances["db-0"].status.as_ref().unwrap().state,
        Some(InstanceState::Running)
    );
}

fn makes_network(step: &Step) -> bool {
    matches!(step.action, Action::Engine(EngineAction::CreateNetwork(_)))
}
