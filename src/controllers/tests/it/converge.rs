//! From a declaration to running containers: starts, updates, scale, stops, restarts, dependencies, ends.

use std::time::Duration;

use clos_engine::fake::{Call, FakeImage, Program};
use clos_plan::observed::ContainerState;
use clos_resources::instance::InstanceState;
use clos_resources::{Group, Instance, Service};
use kube::ResourceExt;
use serde_json::json;

use crate::world::{World, engine, message, runs};

#[tokio::test]
async fn a_declared_service_runs_and_its_statuses_say_so() {
    let world = World::new().await;
    world.service("web", json!({ "replicas": 2 })).await;
    world.ready("web").await;
    let names: Vec<String> = world
        .engine
        .containers()
        .into_iter()
        .filter(runs)
        .map(|container| container.name)
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let web = world.api::<Service>().get("web").await.unwrap();
    assert_eq!(web.status.unwrap().ready.as_deref(), Some("2/2"));
    world
        .until_all(world.api::<Group>(), "the group", |all| {
            all["shop"]
                .status
                .as_ref()
                .is_some_and(|status| status.running.as_deref() == Some("1/1"))
        })
        .await;
}

#[tokio::test]
async fn an_image_that_is_not_here_is_pulled_and_the_status_says_so_meanwhile() {
    let world = World::with(engine().pullable(FakeImage::new("far:1"))).await;
    world.engine.hold(Call::Pull);
    world.service("web", json!({ "image": "far:1" })).await;
    world
        .until_instance("web-0", |web| {
            message(web) == "Progressing: pulling image far:1"
        })
        .await;
    world
        .until_service("web", |web| {
            said(web) == "0 of 1 instances are ready; web-0: pulling image far:1"
        })
        .await;
    world.engine.release(Call::Pull);
    world.ready("web").await;
    world.until_news("Pulled: pulled image far:1").await;
}

#[tokio::test]
async fn a_pull_is_told_even_while_a_dependency_is_waited_for() {
    let world = World::with(engine().pullable(FakeImage::new("far:1"))).await;
    world.engine.hold(Call::Pull);
    world
        .service(
            "web",
            json!({ "image": "far:1", "dependsOn": [{ "service": "db" }] }),
        )
        .await;
    world
        .until_instance("web-0", |web| {
            message(web) == "Progressing: pulling image far:1"
                && web.status.as_ref().unwrap().state == Some(InstanceState::Pulling)
        })
        .await;
    world.engine.release(Call::Pull);
    world.until_reason("web", "DependencyNotReady").await;
}

/// The message of a Service's `Ready` condition.
fn said(service: &Service) -> &str {
    let status = service.status.as_ref();
    let conditions = status.map(|status| status.conditions.as_slice());
    conditions
        .and_then(clos_resources::conditions::ready)
        .map_or("", |ready| &ready.message)
}

#[tokio::test]
async fn a_slow_pull_holds_up_nobody_else() {
    let world = World::with(engine().pullable(FakeImage::new("far:1"))).await;
    world.engine.hold(Call::Pull);
    world
        .service("slow", json!({ "image": "far:1", "replicas": 20 }))
        .await;
    world
        .engine
        .until_calls(|calls| calls.iter().filter(|call| call.starts_with("pull")).count() >= 8)
        .await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    world.engine.release(Call::Pull);
    world.ready("slow").await;
}

#[tokio::test]
async fn a_denied_image_is_told_in_the_registrys_words() {
    let world = World::with(engine().denied("secret:1", "pull access denied for secret")).await;
    world.service("web", json!({ "image": "secret:1" })).await;
    world
        .until_instance("web-0", |web| {
            message(web).starts_with("ImagePullFailed: ")
                && message(web).contains("pull access denied")
        })
        .await;
    world.until_reason("web", "ImagePullFailed").await;
}

#[tokio::test]
async fn a_service_that_runs_to_completion_completes_and_is_not_started_again() {
    let world =
        World::with(engine().present(FakeImage::new("job:1").program(Program::exits(0)))).await;
    world
        .service(
            "job",
            json!({ "image": "job:1", "restartPolicy": "OnFailure" }),
        )
        .await;
    world.until_reason("job", "Completed").await;
    world.settle().await;
    let starts = world
        .engine
        .calls()
        .iter()
        .filter(|call| call.starts_with("start"))
        .count();
    assert_eq!(starts, 1);
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_goes_on_when_the_time_has_come() {
    let world = World::with(
        engine().present(FakeImage::new("flaky:1").program(Program::exits_first(2, 1))),
    )
    .await;
    let starts = |world: &World| {
        world
            .engine
            .calls()
            .iter()
            .filter(|call| call.starts_with("start"))
            .count()
    };
    world.service("worker", json!({ "image": "flaky:1" })).await;
    world
        .engine
        .until_calls(|calls| calls.iter().any(|call| call.starts_with("start")))
        .await;
    world.until_reason("worker", "CrashLoopBackOff").await;
    assert_eq!(
        starts(&world),
        2,
        "the first restart comes at once, the second waits"
    );
    world.advance(Duration::from_secs(11)).await;
    world.ready("worker").await;
    assert_eq!(starts(&world), 3);
}

#[tokio::test]
async fn a_service_starts_after_what_it_depends_on() {
    let world = World::new().await;
    world
        .service("web", json!({ "dependsOn": [{ "service": "db" }] }))
        .await;
    world.until_reason("web", "DependencyNotReady").await;
    assert!(
        world
            .engine
            .containers()
            .iter()
            .all(|container| !runs(container))
    );
    world.service("db", json!({})).await;
    world.ready("web").await;
    let started = |name: &str| match world.container(name).state {
        ContainerState::Running { started_at, .. } => started_at,
        other => panic!("{other:?}"),
    };
    assert!(started("db-0") < started("web-0"));
}

#[tokio::test]
async fn a_cycle_is_named_and_nothing_is_made() {
    let world = World::new().await;
    world
        .service("a", json!({ "dependsOn": [{ "service": "b" }] }))
        .await;
    world
        .service("b", json!({ "dependsOn": [{ "service": "a" }] }))
        .await;
    world.until_reason("a", "InvalidSpec").await;
    world.until_reason("b", "InvalidSpec").await;
    world.change("b", json!({ "dependsOn": null })).await;
    world.ready("a").await;
}

#[tokio::test]
async fn a_service_of_a_group_that_does_not_exist_waits_for_it() {
    let world = World::new().await;
    world.service("web", json!({ "group": "later" })).await;
    world.until_reason("web", "DependencyNotReady").await;
    assert_eq!(
        world
            .api::<Instance>()
            .list(&kube::api::ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        0
    );
    world
        .create(json!({ "kind": "Group", "metadata": { "name": "later" }, "spec": {} }))
        .await;
    world.ready("web").await;
}

#[tokio::test]
async fn instances_belong_to_their_service_and_carry_our_finalizer() {
    let world = World::new().await;
    world.service("web", json!({})).await;
    world.ready("web").await;
    let web = world.api::<Service>().get("web").await.unwrap();
    let instance = world.api::<Instance>().get("web-0").await.unwrap();
    let owner = &instance.owner_references()[0];
    assert_eq!(
        (owner.controller, Some(owner.uid.clone())),
        (Some(true), web.uid())
    );
    assert_eq!(instance.finalizers(), ["clos.dev/container"]);
}

#[tokio::test]
async fn an_image_that_the_registry_has_for_other_platforms_alone_is_told_as_that() {
    let world = World::new().await;
    let error = clos_engine::Error::Pull {
        message: "no matching manifest for linux/arm64 in the manifest list entries".to_owned(),
        transient: false,
    };
    world.engine.fail_next(Call::Pull, 1, &error);
    world.service("web", json!({ "image": "web:arm" })).await;
    world.until_reason("web", "ImageArchMismatch").await;
}

#[tokio::test]
async fn a_service_that_cannot_be_as_declared_tells_why_once() {
    let world = World::new().await;
    world.service("web", json!({ "group": "other" })).await;
    world
        .until_news("DependencyNotReady: group other does not exist")
        .await;
    world.settle().await;
    let news = world.news().await;
    let told = news
        .iter()
        .filter(|line| line.starts_with("DependencyNotReady: "));
    assert_eq!(told.count(), 1, "{news:#?}");
}
