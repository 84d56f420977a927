//! Containers of this installation that no Instance knows, as an older store leaves them: few go after a grace, many only when a person
//! confirms it, and a service that is declared again comes right by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use clos_resources::names::{self, ANNOTATION_CONFIRMED_REMOVALS};
use clos_resources::removals::Removals;
use clos_resources::{Host, Instance};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::{HOST, World, message, runs};

/// Runs containers as clos makes them, for Instances that nobody knows.
async fn forgotten(world: &World, names: impl IntoIterator<Item = String>) {
    world.service("template", json!({})).await;
    world.ready("template").await;
    let labels = world.container("template-0").labels;
    for instance in names {
        let mut labels = labels.clone();
        for (key, value) in [
            (names::LABEL_INSTANCE_UID, format!("forgotten-{instance}")),
            (names::LABEL_INSTANCE, instance.clone()),
        ] {
            labels.insert(key.to_owned(), value);
        }
        let name = names::container("default", &instance);
        world
            .engine
            .run_by_hand(&name, "web:1", labels, BTreeSet::new())
            .unwrap();
    }
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("old-{number}"))
}

async fn minutes(world: &World, count: usize) {
    for _ in 0..count {
        world.advance(Duration::from_secs(61)).await;
        world.settle().await;
    }
}

/// Waits until the Host reports so many orphans, held or not; gives the report.
async fn reported(world: &World, count: u32, held: bool) -> Removals {
    let mut found = None;
    world
        .until_host(|host| {
            let status = host.status.as_ref();
            found = status.and_then(|status| status.orphans.clone());
            let shown = status.is_some_and(|status| {
                status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "RemovalsHeld")
            });
            shown == held
                && found
                    .as_ref()
                    .is_some_and(|found| found.count == count && found.held == held)
        })
        .await;
    found.unwrap()
}

async fn confirm(world: &World, token: &str) {
    let patch = json!({ "metadata": { "annotations": { ANNOTATION_CONFIRMED_REMOVALS: token } } });
    Api::<Host>::all(world.client.clone())
        .patch(HOST, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn i8_many_orphans_stay_until_a_person_confirms_them_and_everybody_is_told() {
    let mut world = World::new().await;
    forgotten(&world, numbered(6)).await;
    minutes(&world, 1).await;
    let report = reported(&world, 6, true).await;
    assert_eq!((report.of, &*report.names[0]), (7, "clos_default_old-0"));
    world.until_news("RemovalsHeld: 6 of 7 containers").await;
    minutes(&world, 7).await;
    assert_eq!(world.engine.containers().len(), 7);
    assert!(world.metrics.encode().contains("clos_removals_held 6\n"));
    // Neither another start nor a token of something else changes that.
    world.stop().await;
    world.start();
    confirm(&world, "0123456789ab").await;
    minutes(&world, 7).await;
    assert_eq!(world.engine.containers().len(), 7);
    let told = world.news().await;
    let told = told
        .iter()
        .filter(|news| news.starts_with("RemovalsHeld"))
        .count();
    assert_eq!(told, 1, "once");

    confirm(&world, &report.token).await;
    world
        .until_containers("only the living one", |all| all.len() == 1)
        .await;
    world
        .until_host(|host| {
            let status = host.status.clone().unwrap();
            status.orphans.is_none() && status.conditions.len() == 1
        })
        .await;
    world.settle().await;
    assert!(world.metrics.encode().contains("clos_removals_held 0\n"));
    assert!(runs(&world.container("template-0")));
}

#[tokio::test]
async fn i2_orphans_that_wait_make_nobody_write() {
    let world = World::new().await;
    forgotten(&world, numbered(6)).await;
    minutes(&world, 1).await;
    reported(&world, 6, true).await;
    world.settle().await;
    let (revision, calls) = (world.store.revision(), world.engine.mutating_calls().len());
    minutes(&world, 3).await;
    assert_eq!(world.store.revision(), revision);
    assert_eq!(world.engine.mutating_calls().len(), calls);
}

#[tokio::test]
async fn few_orphans_are_listed_and_go_at_once_when_a_person_confirms_them() {
    let world = World::new().await;
    forgotten(&world, numbered(2)).await;
    minutes(&world, 1).await;
    let report = reported(&world, 2, false).await;
    assert_eq!(report.names, ["clos_default_old-0", "clos_default_old-1"]);
    assert_eq!(world.engine.containers().len(), 3, "within the grace");
    confirm(&world, &report.token).await;
    world
        .until_containers("only the living one", |all| all.len() == 1)
        .await;
}

#[tokio::test]
async fn a_service_declared_again_waits_for_the_container_of_its_forgotten_instance_and_then_comes_right()
 {
    let world = World::new().await;
    forgotten(&world, ["web-0".to_owned()]).await;
    let old = world.container("web-0").id;
    world.service("web", json!({})).await;
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("NameConflict: ") && message(web).contains("clos confirm")
        })
        .await;
    minutes(&world, 3).await;
    assert_eq!(world.container("web-0").id, old, "within the grace");
    assert!(runs(&world.container("web-0")));
    minutes(&world, 4).await;
    world.ready("web").await;
    assert_ne!(world.container("web-0").id, old);
    assert_eq!(world.engine.containers().len(), 2);
}

#[tokio::test]
async fn i1_an_emptied_store_is_another_installation_and_touches_nothing_of_the_old_one() {
    let world = World::new().await;
    let mut labels = std::collections::BTreeMap::new();
    for number in 0..8 {
        let instance = format!("web-{number}");
        labels.extend(
            [
                (names::LABEL_INSTALLATION, "the-old-one"),
                (names::LABEL_INSTANCE_UID, &format!("uid-{number}")),
                (names::LABEL_NAMESPACE, "default"),
                (names::LABEL_INSTANCE, &instance),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let name = names::container("default", &instance);
        world
            .engine
            .run_by_hand(&name, "web:1", labels.clone(), BTreeSet::new())
            .unwrap();
    }
    world.service("web", json!({ "replicas": 2 })).await;
    for instance in ["web-0", "web-1"] {
        world
            .until_instance(instance, |web| {
                message(web).starts_with("NameConflict: ")
                    && message(web).contains("was made by another clos installation")
            })
            .await;
    }
    minutes(&world, 8).await;
    let containers = world.engine.containers();
    assert!(containers.len() == 8 && containers.iter().all(runs));
    let instances: Api<Instance> = world.api();
    assert_eq!(instances.get("web-0").await.unwrap().spec.ordinal, 0);
    world
        .until_host(|host| {
            host.status
                .as_ref()
                .is_some_and(|status| status.orphans.is_none())
        })
        .await;
}
