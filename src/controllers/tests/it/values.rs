//! Values from Secrets and `ConfigMaps`: arriving late, changing, and never shown.

use std::collections::BTreeMap;

use clos_engine::Error;
use clos_engine::fake::Call;
use clos_plan::observed::Health;
use clos_resources::{Instance, Service, names};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::world::{World, message, runs};

const PASSWORD: &str = "correct-horse-battery-staple";

fn with_secret() -> serde_json::Value {
    json!({ "env": [{ "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "shop", "key": "password" } } }] })
}

async fn create_secret(world: &World, value: &str) {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "shop" }, "stringData": { "password": value } });
    world
        .api::<Secret>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(secret).unwrap(),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn a_secret_that_arrives_later_starts_the_container() {
    let world = World::new().await;
    world.service("db", with_secret()).await;
    world
        .until_instance("db-0", |db| {
            message(db).starts_with("ConfigMissing: ") && message(db).contains("shop")
        })
        .await;
    assert_eq!(world.engine.containers().len(), 0);
    create_secret(&world, PASSWORD).await;
    world.ready("db").await;
}

#[tokio::test]
async fn a_changed_secret_replaces_the_container_and_an_unchanged_one_does_not() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    world.service("db", with_secret()).await;
    world.ready("db").await;
    world.settle().await;
    let before = world.container("db-0");
    let labels = json!({ "metadata": { "labels": { "team": "shop" } } });
    world.patch::<Secret>("shop", labels).await;
    world.settle().await;
    assert_eq!(world.container("db-0").id, before.id);
    world
        .patch::<Secret>(
            "shop",
            json!({ "stringData": { "password": "another-password-entirely" } }),
        )
        .await;
    world
        .until_containers("a new container", |all| {
            all.iter()
                .any(|container| container.id != before.id && runs(container))
        })
        .await;
    world.ready("db").await;
    assert_ne!(
        world.container("db-0").labels[names::LABEL_SPEC_DIGEST],
        before.labels[names::LABEL_SPEC_DIGEST]
    );
}

/// A Service with three replicas that take a password from a Secret.
async fn three_replicas() -> World {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    let mut web = with_secret();
    web["replicas"] = json!(3);
    world.service("web", web).await;
    world.ready("web").await;
    world.settle().await;
    world
}

async fn change_password(world: &World) {
    let password = json!({ "stringData": { "password": "another-password-entirely" } });
    world.patch::<Secret>("shop", password).await;
}

/// The ids of the containers by their names.
fn ids(world: &World) -> BTreeMap<String, String> {
    let containers = world.engine.containers().into_iter();
    containers
        .map(|container| (container.name, container.id))
        .collect()
}

/// The versions that the Instances are to have.
async fn noted(world: &World) -> Vec<Vec<String>> {
    let api = world.api::<Instance>();
    let listed = api.list(&ListParams::default()).await.unwrap();
    let versions = |instance: &Instance| {
        let values = instance.spec.values.iter();
        values.map(|value| value.resource_version.clone()).collect()
    };
    listed.items.iter().map(versions).collect()
}

async fn version_of_secret(world: &World) -> String {
    let secret = world.api::<Secret>().get("shop").await.unwrap();
    secret.metadata.resource_version.unwrap()
}

/// Waits until all three Instances are to have the Secret as it is now.
async fn until_noted(world: &World) {
    let now = version_of_secret(world).await;
    let has = |instance: &Instance| {
        let values = instance.spec.values.iter();
        values.map(|value| &value.resource_version).eq([&now])
    };
    world
        .until_all(world.api::<Instance>(), "the newest versions", |all| {
            all.len() == 3 && all.values().all(has)
        })
        .await;
}

#[tokio::test]
async fn a_changed_secret_replaces_one_replica_after_the_other() {
    let world = three_replicas().await;
    let before = ids(&world);
    change_password(&world).await;
    world
        .until_containers("three new containers", |all| {
            let running = all.iter().filter(|container| runs(container));
            let new = running
                .clone()
                .filter(|container| before.get(&container.name) != Some(&container.id));
            assert!(running.count() >= 2, "{all:#?}");
            new.count() == 3
        })
        .await;
    world.ready("web").await;
    world.settle().await;
    until_noted(&world).await;
    let entries = world.reconciles("Service", "web").await;
    let told = format!("{entries:?}");
    assert!(
        told.contains("a Secret or ConfigMap it takes values from changed"),
        "{told}"
    );
}

#[tokio::test]
async fn a_value_that_no_container_starts_with_stops_at_the_first_replica() {
    let world = three_replicas().await;
    let before = ids(&world);
    let refused = clos_engine::Error::Refused("bad environment".to_owned());
    world
        .engine
        .fail_next(Call::CreateContainer, 1000, &refused);
    change_password(&world).await;
    world
        .until_instance("web-0", |web| message(web).contains("bad environment"))
        .await;
    for name in ["web-1", "web-2"] {
        world.engine.kill_by_hand(&world.container(name).id);
    }
    world
        .until_containers("the killed ones again", |all| {
            all.len() == 2 && all.iter().all(runs)
        })
        .await;
    let now = version_of_secret(&world).await;
    let noted = noted(&world).await;
    let updated = noted.iter().filter(|versions| **versions == [now.clone()]);
    assert_eq!(updated.count(), 1, "{noted:?}");
    for (name, id) in ids(&world) {
        assert_eq!(before[&name], id);
    }
}

#[tokio::test]
async fn i2_an_edit_that_changes_no_value_is_noted_by_every_replica_and_replaces_none() {
    let world = three_replicas().await;
    let before = ids(&world);
    world.engine.forget_calls();
    let labels = json!({ "metadata": { "labels": { "team": "shop" } } });
    world.patch::<Secret>("shop", labels).await;
    until_noted(&world).await;
    world.settle().await;
    assert_eq!(ids(&world), before);
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
}

#[tokio::test]
async fn replicas_of_a_version_that_noted_nothing_keep_their_containers() {
    let mut world = three_replicas().await;
    world.stop().await;
    let before = ids(&world);
    world.engine.forget_calls();
    for ordinal in 0..3 {
        let nothing = json!({ "spec": { "values": null } });
        world
            .patch::<Instance>(&format!("web-{ordinal}"), nothing)
            .await;
    }
    assert_eq!(noted(&world).await, vec![Vec::<String>::new(); 3]);
    world.start();
    until_noted(&world).await;
    world.ready("web").await;
    world.settle().await;
    assert_eq!(ids(&world), before);
    assert_eq!(world.engine.mutating_calls(), [""; 0]);
}

#[tokio::test]
async fn a_service_without_instances_takes_the_values_of_when_it_gets_some() {
    let world = three_replicas().await;
    world.change("web", json!({ "replicas": 0 })).await;
    world.ready("web").await;
    change_password(&world).await;
    world.change("web", json!({ "replicas": 3 })).await;
    until_noted(&world).await;
    world.ready("web").await;
    let web = world.api::<Service>().get("web").await.unwrap();
    assert_eq!(web.status.unwrap().ready.as_deref(), Some("3/3"));
}

#[tokio::test]
async fn a_config_map_that_goes_leaves_the_container_running() {
    let world = World::new().await;
    let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "shop" }, "data": { "level": "debug" } });
    world
        .api::<ConfigMap>()
        .create(
            &PostParams::default(),
            &serde_json::from_value(config).unwrap(),
        )
        .await
        .unwrap();
    world.service("web", json!({ "env": [{ "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "shop", "key": "level" } } }] })).await;
    world.ready("web").await;
    let before = world.container("web-0").id;
    world.delete::<ConfigMap>("shop").await;
    world.settle().await;
    let after = world.container("web-0");
    assert!(after.id == before && runs(&after));
}

#[tokio::test]
async fn i9_a_secret_s_values_are_known_as_long_as_an_instance_takes_them() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    for name in ["db", "other"] {
        world.service(name, with_secret()).await;
        world.ready(name).await;
    }
    let redactor = world.journal.redactor();
    world.delete::<Secret>("shop").await;
    world.settle().await;
    world.delete::<Service>("db").await;
    until_gone(&world, "db-0").await;
    assert_eq!(redactor.mask(PASSWORD), "[redacted]", "one runs with them");
    world.delete::<Service>("other").await;
    until_gone(&world, "other-0").await;
    world.settle().await;
    assert_eq!(redactor.mask(PASSWORD), PASSWORD);
}

async fn until_gone(world: &World, instance: &str) {
    world
        .until_all(world.api::<Instance>(), "an instance to go", |all| {
            !all.contains_key(instance)
        })
        .await;
}

#[tokio::test]
async fn i9_no_secret_is_told_anywhere() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    let refused = clos_engine::Error::Refused(format!("bad environment: PASSWORD={PASSWORD}"));
    world.engine.fail_next(Call::CreateContainer, 1, &refused);
    world.service("db", with_secret()).await;
    world
        .until_instance("db-0", |db| message(db).contains("bad environment"))
        .await;
    world.settle().await;
    let instance = world.api::<Instance>().get("db-0").await.unwrap();
    let entries = world.reconciles("Instance", "db-0").await;
    let told = format!(
        "{entries:?} {:?} {instance:?} {:?}",
        world.news().await,
        world.engine.containers()
    );
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test]
async fn i9_what_a_failed_health_check_wrote_is_told_without_secrets() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    world.service("db", with_secret()).await;
    world.ready("db").await;
    let said = format!("login with {PASSWORD}\nis refused");
    let id = world.container("db-0").id;
    world.engine.set_health(&id, Health::Unhealthy { said });
    let mut told = String::new();
    world
        .until_instance("db-0", |db| {
            told = message(db);
            told.starts_with("Unhealthy: ")
        })
        .await;
    assert!(
        told.contains("its health check fails: login with ") && told.ends_with(" is refused"),
        "{told}"
    );
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test]
async fn i9_what_a_crashing_container_wrote_last_is_told_once_for_each_fault_and_without_secrets() {
    let world = World::new().await;
    create_secret(&world, PASSWORD).await;
    world.service("db", with_secret()).await;
    world.ready("db").await;
    let id = world.container("db-0").id;
    world.engine.crash(&id, 3);
    world
        .until_containers("the first restart", |all| all.iter().any(runs))
        .await;
    world
        .engine
        .write_line(&id, true, &format!("cannot log in with {PASSWORD}"));
    world.engine.crash(&id, 3);
    let mut told = String::new();
    world
        .until_instance("db-0", |db| {
            told = message(db);
            told.starts_with("CrashLoopBackOff: ")
        })
        .await;
    let lines = "; last lines: \"cannot log in with [redacted]\"";
    assert!(told.ends_with(lines), "{told}");
    world.settle().await;
    let reads = || {
        let calls = world.engine.calls();
        calls.iter().filter(|call| call.starts_with("logs")).count()
    };
    assert_eq!(reads(), 1);
    world.engine.break_events();
    world.settle().await;
    world.engine.fail_next(
        Call::Logs,
        1,
        &Error::Failed("configured logging driver does not support reading".to_owned()),
    );
    let (revision, calls) = (world.store.revision(), world.engine.calls().len());
    world
        .patch::<Instance>(
            "db-0",
            json!({ "metadata": { "finalizers": ["clos.dev/container", "example.org/held"] } }),
        )
        .await;
    world.engine.until_calls(|now| now.len() > calls).await;
    world.settle().await;
    assert_eq!(
        world.store.revision(),
        revision + 1,
        "I2: a pass with nothing new writes nothing"
    );
    assert_eq!(reads(), 1, "the same end is read once");

    world.advance(std::time::Duration::from_secs(11)).await;
    world
        .until_containers("the next start", |all| all.iter().any(runs))
        .await;
    world.engine.crash(&id, 3);
    world
        .until_instance("db-0", |db| {
            told = message(db);
            told.contains("3 times in a row")
        })
        .await;
    assert!(!told.contains("last lines"), "cannot be read: {told}");
    world.settle().await;
    let entries = world.reconciles("Instance", "db-0").await;
    let instance = world.api::<Instance>().get("db-0").await.unwrap();
    let told = format!("{entries:?} {instance:?} {:?}", world.news().await);
    assert!(!told.contains(PASSWORD), "{told}");
}
