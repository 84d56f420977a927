//! Services that are deleted and made again under the same name, while their Instances are still there.

use std::collections::BTreeMap;

use clos_engine::fake::Call;
use clos_resources::{Instance, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, PropagationPolicy};
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_service_that_is_made_again_takes_over_the_instances_that_were_left_to_nobody() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.settle().await;
    let before = world.container("web-0").id;
    let services = world.api::<Service>();
    let orphaning = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    services.delete("web", &orphaning).await.unwrap();
    world
        .until_all(world.api::<Service>(), "no service", BTreeMap::is_empty)
        .await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    world.settle().await;
    assert_eq!(world.container("web-0").id, before);
    let made = services.get("web").await.unwrap();
    for instance in ["web-0", "web-1"] {
        let instance = world.api::<Instance>().get(instance).await.unwrap();
        assert_eq!(instance.owner_references()[0].uid, made.uid().unwrap());
    }
}

#[tokio::test]
async fn a_service_that_is_made_again_at_once_waits_for_the_instances_of_before() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.settle().await;
    world.engine.hold(Call::RemoveContainer);
    let before = world.reconciles("Service", "web").await.len();
    world.delete::<Service>("web").await;
    world
        .until_all(world.api::<Service>(), "no service", BTreeMap::is_empty)
        .await;
    world.service("web", json!({})).await;
    world
        .until_service("web", |web| {
            web.status.as_ref().is_some_and(|status| {
                let waits = "waits until the earlier web-0 is gone";
                let conditions = &status.conditions;
                conditions
                    .iter()
                    .any(|condition| condition.message.contains(waits))
            })
        })
        .await;
    assert_eq!(world.reconciles("Service", "web").await.len(), before);
    world.engine.release(Call::RemoveContainer);
    world.ready("web").await;
}
