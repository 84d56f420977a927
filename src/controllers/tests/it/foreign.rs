//! Nothing that is not ours is touched, whatever it is called and whatever its labels say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_resources::names;
use serde_json::json;

use crate::world::{World, message, runs};

#[tokio::test]
async fn i1_a_foreign_container_with_our_name_is_reported_and_left_alone() {
    let world = World::new().await;
    let theirs = world
        .engine
        .run_by_hand(
            "clos_default_web-0",
            "web:1",
            BTreeMap::new(),
            BTreeSet::new(),
        )
        .unwrap();
    world.service("web", json!({})).await;
    world
        .until_instance("web-0", |web| message(web).starts_with("NameConflict: "))
        .await;
    world.settle().await;
    let containers = world.engine.containers();
    assert_eq!(containers.len(), 1);
    assert!(containers[0].id == theirs && runs(&containers[0]));
    world.engine.remove_by_hand(&theirs).unwrap();
    world.advance(Duration::from_secs(61)).await;
    world.ready("web").await;
}

#[tokio::test]
async fn i1_a_foreign_container_with_copied_labels_is_left_alone() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let labels = world.container("web-0").labels;
    let theirs = world
        .engine
        .run_by_hand("copy", "web:1", labels, BTreeSet::new())
        .unwrap();
    world.settle().await;
    world.change("web", json!({ "image": "web:2" })).await;
    world.ready("web").await;
    world.delete::<clos_resources::Service>("web").await;
    world
        .until_containers("only theirs", |all| all.len() == 1)
        .await;
    world.settle().await;
    let containers = world.engine.containers();
    assert!(
        containers.len() == 1 && containers[0].id == theirs && runs(&containers[0]),
        "{containers:?}"
    );
}

#[tokio::test]
async fn i1_containers_of_another_installation_are_left_alone() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let mut labels = world.container("web-0").labels;
    labels.insert(names::LABEL_INSTALLATION.to_owned(), "another".to_owned());
    labels.insert(names::LABEL_INSTANCE_UID.to_owned(), "long-gone".to_owned());
    labels.insert(names::LABEL_INSTANCE.to_owned(), "old-0".to_owned());
    let theirs = world
        .engine
        .run_by_hand("clos_default_old-0", "web:1", labels, BTreeSet::new())
        .unwrap();
    for _ in 0..8 {
        world.advance(Duration::from_secs(61)).await;
        world.settle().await;
    }
    assert!(
        world
            .engine
            .containers()
            .iter()
            .any(|container| container.id == theirs && runs(container))
    );
}

#[tokio::test]
async fn an_orphan_of_ours_goes_after_the_grace_and_not_before() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let mut labels = world.container("web-0").labels;
    labels.insert(names::LABEL_INSTANCE_UID.to_owned(), "long-gone".to_owned());
    labels.insert(names::LABEL_INSTANCE.to_owned(), "old-0".to_owned());
    world
        .engine
        .run_by_hand("clos_default_old-0", "web:1", labels, BTreeSet::new())
        .unwrap();
    for _ in 0..4 {
        world.advance(Duration::from_secs(61)).await;
        world.settle().await;
    }
    assert!(
        world.engine.container("clos_default_old-0").is_some(),
        "within the grace"
    );
    for _ in 0..3 {
        world.advance(Duration::from_secs(61)).await;
        world.settle().await;
    }
    world
        .until_containers("no orphan", |all| all.len() == 1)
        .await;
    assert!(runs(&world.container("web-0")));
}
