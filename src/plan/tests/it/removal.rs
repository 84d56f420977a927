//! A deleted Instance, and containers that the engine removes slowly or not at all. Containers that stay are in `instance`.

use clos_plan::observed::ContainerState;

use crate::fixtures::{DB, running};

#[test]
fn a_deleted_instance_goes_step_by_step_and_frees_its_port_last() {
    let mut world = running();
    world.engine.pause(DB);
    world.delete_instance("db-0");
    let mut text = world.tell("db-0");
    text += &world.tell("db-0");
    insta::assert_snapshot!(text);
    assert_eq!(world.engine.volumes.len(), 1);
}

#[test]
fn i4_a_port_stays_held_while_the_engine_is_still_removing_the_container() {
    let mut world = running();
    world.engine.named(DB).state = ContainerState::Removing;
    world.delete_instance("db-0");
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
