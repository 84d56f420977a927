//! Images as plans see them: missing, of another architecture, denied, always pulled, changed. Containers are in `instance`.

use clos_plan::status::FailureKind;
use serde_json::json;

use crate::engine::{failure, image};
use crate::fixtures::{DB, Ended, declared, plain, running};
use crate::world::{World, service};

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
