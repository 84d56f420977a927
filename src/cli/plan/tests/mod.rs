//! Plans against a real API server in memory and an engine in memory. Carrying a plan out is done here by hand, as the server would.

mod forecasts;

use std::collections::BTreeMap;
use std::path::Path;

use clos_engine::engine::Done;
use clos_engine::fake::FakeEngine;
use clos_plan::action::{Action, ApiAction, EngineAction, Plan, Target};
use clos_plan::container::ContainerOptions;
use clos_resources::{Group, Host, Instance, Service};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::world::{DeclaredPlaces, World, place};
use super::*;
use crate::tests::server;

const SHOP: &str = "\
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop }
spec: {}
---
apiVersion: v1
kind: Secret
metadata: { name: shop }
stringData: { password: hunter2 }
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: db }
spec:
  group: shop
  image: postgres:17
  env: [{ name: PASSWORD, valueFrom: { secretKeyRef: { name: shop, key: password } } }]
  mounts: [{ mountPath: /data, volume: { name: db } }]
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web }
spec:
  group: shop
  image: shop/web:1
  replicas: 2
  dependsOn: [{ service: db }]
";

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn manifests(text: &str) -> Manifests {
    let mut manifests = Manifests::default();
    manifests.read(Path::new("shop.yaml"), text.as_bytes());
    manifests
}

/// A server that has a Host, and an engine that has the images of the shop.
async fn fresh() -> (Client, FakeEngine) {
    let client = server().await;
    let host: Host = serde_json::from_value(json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Host", "metadata": {"name": "local"}, "spec": {}})).unwrap();
    Api::<Host>::all(client.clone())
        .create(&PostParams::default(), &host)
        .await
        .unwrap();
    (
        client,
        FakeEngine::builder()
            .image("postgres:17")
            .image("shop/web:1")
            .image("shop/web:2")
            .build(),
    )
}

async fn planned(client: &Client, engine: &FakeEngine, text: &str) -> Planned {
    plan(client, engine, manifests(text), now()).await.unwrap()
}

/// Everything the API server holds that a plan could have changed.
async fn held(client: &Client) -> Vec<String> {
    let everything = ListParams::default();
    let mut held = Vec::new();
    held.extend(
        Api::<Group>::all(client.clone())
            .list(&everything)
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any),
    );
    held.extend(
        Api::<Service>::all(client.clone())
            .list(&everything)
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any),
    );
    held.extend(
        Api::<Instance>::all(client.clone())
            .list(&everything)
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any),
    );
    held.extend(
        Api::<k8s_openapi::api::core::v1::Secret>::all(client.clone())
            .list(&everything)
            .await
            .unwrap()
            .iter()
            .map(ResourceExt::name_any),
    );
    held
}

/// Does what the server would do after applying: Instances, then containers, until nothing is left.
async fn carry_out(client: &Client, engine: &FakeEngine) {
    let services = Api::<Service>::default_namespaced(client.clone())
        .list(&ListParams::default())
        .await
        .unwrap()
        .items;
    let set = declared::set(client, manifests(SHOP)).await.unwrap();
    let (world, _) = read::world(client, &set, &SyncPlan::default())
        .await
        .unwrap();
    for service in &services {
        for step in forecast::instances(&world, service, now()).plan.steps {
            let Action::Api(ApiAction::CreateInstance(instance)) = step.action else {
                panic!("only new instances here: {}", step.action)
            };
            Api::<Instance>::default_namespaced(client.clone())
                .create(&PostParams::default(), &instance)
                .await
                .unwrap();
        }
    }
    let (mut world, _) = read::world(client, &set, &SyncPlan::default())
        .await
        .unwrap();
    let forecasts: Vec<Forecast<'_>> = services
        .iter()
        .map(|service| forecast::instances(&world, service, now()))
        .collect();
    read::values(
        client,
        &mut world,
        forecasts.iter().flat_map(|forecast| &forecast.instances),
    )
    .await
    .unwrap();
    let platform = engine.info().await.unwrap().engine;
    let installation = Api::<Namespace>::all(client.clone())
        .get("kube-system")
        .await
        .unwrap()
        .uid()
        .unwrap();
    for forecast in &forecasts {
        for instance in &forecast.instances {
            let alone = [Forecast {
                service: forecast.service,
                plan: Plan::default(),
                instances: vec![instance.clone()],
                waits_for: None,
            }];
            let views = read::views(engine, &alone).await.unwrap();
            let surroundings = Surroundings {
                views: &views,
                platform: &platform,
                installation: &installation,
                now: now(),
            };
            let part = forecast::parts(&world, &alone, &surroundings)
                .pop()
                .unwrap();
            let container = execute(engine, &part.plan).await;
            let status = json!({"status": {"containerId": container, "startedAt": now(), "state": "Running"}});
            let api = Api::<Instance>::default_namespaced(client.clone());
            api.patch_status(
                &instance.name_any(),
                &PatchParams::default(),
                &Patch::Merge(&status),
            )
            .await
            .unwrap();
        }
    }
}

/// Carries out the engine's part of a plan and gives the container's id.
async fn execute(engine: &FakeEngine, plan: &Plan) -> String {
    let mut made = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let Action::Engine(action) = &step.action else {
            continue;
        };
        let action = match action {
            EngineAction::StartContainer {
                container: Target::MadeBy { step, name },
            } => {
                let id: &String = &made[step];
                EngineAction::StartContainer {
                    container: Target::Existing {
                        id: id.clone(),
                        name: name.clone(),
                    },
                }
            }
            other => other.clone(),
        };
        if let Done::Container(id) = engine.execute(&action, &|_| {}).await.unwrap() {
            made.insert(index, id);
        }
    }
    made.into_values().next().unwrap()
}

#[tokio::test]
async fn a_new_shop_is_planned_down_to_each_call_and_nothing_is_done() {
    let (client, engine) = fresh().await;
    let Planned::Differences(text) = planned(&client, &engine, SHOP).await else {
        panic!("there are differences")
    };
    insta::assert_snapshot!(text);
    assert_eq!(engine.mutating_calls(), Vec::<String>::new());
    assert_eq!(held(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn i6_planning_again_after_a_plan_was_carried_out_finds_everything_as_declared() {
    let (client, engine) = fresh().await;
    crate::apply::apply(&client, manifests(SHOP), &mut |_| Ok(()))
        .await
        .unwrap();
    carry_out(&client, &engine).await;
    let (before, calls) = (held(&client).await, engine.mutating_calls());
    match planned(&client, &engine, SHOP).await {
        Planned::AsDeclared(text) => assert_eq!(text, "Plan: everything is as declared.\n"),
        other => panic!("{other:?}"),
    }
    assert_eq!(engine.mutating_calls(), calls);
    assert_eq!(held(&client).await, before);
}

#[tokio::test]
async fn an_update_of_several_instances_is_shown_whole_and_a_secret_s_value_never() {
    let (client, engine) = fresh().await;
    crate::apply::apply(&client, manifests(SHOP), &mut |_| Ok(()))
        .await
        .unwrap();
    carry_out(&client, &engine).await;
    let calls = engine.mutating_calls();
    let changed = SHOP
        .replace("shop/web:1", "shop/web:2")
        .replace("hunter2", "correct horse");
    let Planned::Differences(text) = planned(&client, &engine, &changed).await else {
        panic!("there are differences")
    };
    insta::assert_snapshot!(text);
    assert!(!text.contains("horse") && !text.contains("hunter2"));
    assert_eq!(engine.mutating_calls(), calls);
}

#[tokio::test]
async fn a_change_that_touches_no_container_says_so() {
    let (client, engine) = fresh().await;
    crate::apply::apply(&client, manifests(SHOP), &mut |_| Ok(()))
        .await
        .unwrap();
    carry_out(&client, &engine).await;
    let changed = SHOP.replace(
        "  image: postgres:17\n",
        "  image: postgres:17\n  description: The shop's data\n",
    );
    let Planned::Differences(text) = planned(&client, &engine, &changed).await else {
        panic!("there is a difference")
    };
    insta::assert_snapshot!(text, @r"
    Objects
      change Service default/db: spec.description is not as declared
    Plan: 1 object to write; no container is touched. Nothing was changed.
    ");
}

#[tokio::test]
async fn objects_of_a_namespace_that_is_declared_with_them_are_planned_too() {
    let (client, engine) = fresh().await;
    let text = "\
apiVersion: v1
kind: Namespace
metadata: { name: lab }
---
apiVersion: clos.dev/v1alpha1
kind: Group
metadata: { name: shop, namespace: lab }
spec: {}
---
apiVersion: clos.dev/v1alpha1
kind: Service
metadata: { name: web, namespace: lab }
spec: { group: shop, image: \"shop/web:1\" }
";

    let Planned::Differences(text) = planned(&client, &engine, text).await else {
        panic!("there are differences")
    };
    insta::assert_snapshot!(text);
    assert_eq!(held(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn mistakes_are_told_instead_of_a_plan() {
    let (client, engine) = fresh().await;
    let Planned::Mistakes(text) = planned(
        &client,
        &engine,
        &SHOP.replace("replicas: 2", "replicas: two"),
    )
    .await
    else {
        panic!("that is a mistake")
    };
    assert!(text.starts_with("shop.yaml:"), "{text}");
    assert!(
        text.ends_with("1 mistake, nothing was applied. The running services were not touched."),
        "{text}"
    );
}

#[tokio::test]
async fn without_an_engine_to_look_at_there_is_no_plan() {
    let (client, engine) = fresh().await;
    engine.go_away();
    let error = plan(&client, &engine, manifests(SHOP), now())
        .await
        .unwrap_err();
    assert!(
        clos_telemetry::Chain(error.as_ref())
            .to_string()
            .starts_with("a plan needs to look at the engine: cannot reach a container engine"),
        "{error:#}"
    );
}
