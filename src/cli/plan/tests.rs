//! Plans against a real API server in memory and an engine in memory. Carrying a plan out is done here by hand, as the server would.

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

fn service(name: &str, more: &serde_json::Value) -> Service {
    let mut value = json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "generation": 1},
        "spec": {"group": "shop", "image": "shop/web:1"}});
    for (field, of) in more.as_object().unwrap() {
        value["spec"][field] = of.clone();
    }
    serde_json::from_value(value).unwrap()
}

fn world(services: Vec<Service>) -> World {
    let group: Group = serde_json::from_value(json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Group", "metadata": {"name": "shop", "namespace": "default"}, "spec": {}})).unwrap();
    World {
        services: services
            .into_iter()
            .map(|service| (place(&service), service))
            .collect(),
        groups: BTreeMap::from([(place(&group), group)]),
        host: "local".to_owned(),
        ..World::default()
    }
}

fn causes(forecast: &Forecast<'_>) -> Vec<String> {
    forecast
        .plan
        .steps
        .iter()
        .map(|step| step.action.to_string())
        .collect()
}

#[test]
fn instances_are_forecast_to_the_end() {
    let world = world(vec![service("web", &json!({"replicas": 3}))]);
    let web = &world.services[&("default".to_owned(), "web".to_owned())];
    let forecast = forecast::instances(&world, web, now());
    assert_eq!(
        causes(&forecast),
        [
            "create instance web-0",
            "create instance web-1",
            "create instance web-2"
        ]
    );
    assert_eq!(forecast.instances.len(), 3);
    assert!(
        forecast
            .instances
            .iter()
            .all(|instance| instance.status.is_none()),
        "what was only assumed must not be taken for observed"
    );
}

#[test]
fn services_that_wait_for_each_other_are_planned_no_further() {
    let depends_on = |name: &str| json!({"dependsOn": [{"service": name}]});
    let world = world(vec![
        service("a", &depends_on("b")),
        service("b", &depends_on("a")),
    ]);
    let a = &world.services[&("default".to_owned(), "a".to_owned())];
    let forecast = forecast::instances(&world, a, now());
    assert_eq!(causes(&forecast), Vec::<String>::new());
    assert_eq!(forecast.waits_for.unwrap().reason.as_str(), "InvalidSpec");
}

#[test]
fn a_service_is_concerned_by_itself_by_its_group_and_by_values_it_takes() {
    let mut world = world(vec![
        service("web", &json!({})),
        service("db", &json!({"group": "other"})),
    ]);
    let instance: Instance = serde_json::from_value(json!({"apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
        "metadata": {"name": "db-0", "namespace": "default", "ownerReferences": [{"apiVersion": "clos.dev/v1alpha1", "kind": "Service", "name": "db", "uid": "uid-db"}]},
        "spec": {"service": "db", "group": "other", "host": "local", "ordinal": 0, "revision": "r", "container": {"image": "x",
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "a"}}}]}}}))
    .unwrap();
    world.instances.push(instance);
    let at = |name: &str| ("default".to_owned(), name.to_owned());
    let concerned = |places: &DeclaredPlaces| {
        world
            .concerned(places)
            .iter()
            .map(|service| service.name_any())
            .collect::<Vec<_>>()
    };
    assert_eq!(concerned(&DeclaredPlaces::default()), Vec::<String>::new());
    assert_eq!(
        concerned(&DeclaredPlaces {
            services: [at("web")].into(),
            ..DeclaredPlaces::default()
        }),
        ["web"]
    );
    assert_eq!(
        concerned(&DeclaredPlaces {
            groups: [at("shop")].into(),
            ..DeclaredPlaces::default()
        }),
        ["web"]
    );
    assert_eq!(
        concerned(&DeclaredPlaces {
            config_maps: [at("conf")].into(),
            ..DeclaredPlaces::default()
        }),
        ["db"]
    );
    assert_eq!(
        concerned(&DeclaredPlaces {
            secrets: [at("conf")].into(),
            ..DeclaredPlaces::default()
        }),
        Vec::<String>::new()
    );
}

#[test]
fn a_fixed_port_that_two_services_want_is_given_once() {
    let ports = json!({"ports": [{"containerPort": 80, "hostPort": 8080}]});
    let world = world(vec![service("first", &ports), service("second", &ports)]);
    let forecasts: Vec<Forecast<'_>> = world
        .services
        .values()
        .map(|service| forecast::instances(&world, service, now()))
        .collect();
    let views: BTreeMap<String, clos_plan::observed::EngineView> = forecasts
        .iter()
        .flat_map(|forecast| &forecast.instances)
        .map(|instance| {
            let image = clos_plan::observed::Image {
                id: "i".to_owned(),
                architecture: "amd64".to_owned(),
                operating_system: "linux".to_owned(),
                has_health_check: false,
            };
            let observed = clos_plan::observed::Observed {
                image: Some(image),
                ..clos_plan::observed::Observed::default()
            };
            (
                instance.uid().unwrap(),
                clos_plan::observed::EngineView::Known(observed),
            )
        })
        .collect();
    let platform = clos_resources::host::EngineInfo {
        architecture: "amd64".to_owned(),
        operating_system: "linux".to_owned(),
        ..Default::default()
    };
    let surroundings = Surroundings {
        views: &views,
        platform: &platform,
        installation: "inst",
        now: now(),
    };
    let all = forecast::parts(&world, &forecasts, &surroundings);
    let creates = |part: &&Part| {
        part.plan.steps.iter().any(|step| {
            matches!(
                &step.action,
                Action::Engine(EngineAction::CreateContainer(_))
            )
        })
    };
    assert_eq!(
        all.iter()
            .filter(creates)
            .filter_map(|part| part.instance.as_deref())
            .collect::<Vec<_>>(),
        ["first-0"]
    );
    let waits: Vec<&str> = all
        .iter()
        .filter_map(|part| part.waits_for.as_ref())
        .map(|summary| summary.reason.as_str())
        .collect();
    assert_eq!(waits, ["PortConflict"]);
}

#[test]
fn a_container_s_options_never_reach_the_text() {
    let options = ContainerOptions {
        name: "clos_default_web-0".to_owned(),
        image: "x".to_owned(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        working_dir: None,
        user: None,
        env: BTreeMap::from([(
            "PASSWORD".to_owned(),
            clos_plan::container::Sensitive::new("hunter2"),
        )]),
        labels: BTreeMap::new(),
        mounts: BTreeMap::new(),
        network: "n".to_owned(),
        aliases: std::collections::BTreeSet::new(),
        ports: std::collections::BTreeSet::new(),
        limits: clos_plan::container::LimitOptions::default(),
        stop_timeout: std::time::Duration::ZERO,
        stop_signal: None,
    };
    let mut plan = Plan::default();
    plan.push(
        Action::Engine(EngineAction::CreateContainer(Box::new(options))),
        clos_plan::action::Cause::new("instance web-0 has none"),
        [],
    );
    let part = Part {
        namespace: "default".to_owned(),
        group: "shop".to_owned(),
        service: "web".to_owned(),
        instance: Some("web-0".to_owned()),
        plan,
        waits_for: None,
    };
    let Planned::Differences(text) = super::planned(&SyncPlan::default(), None, &[part]) else {
        panic!("there is a difference")
    };
    assert!(
        text.contains("create container clos_default_web-0") && !text.contains("hunter2"),
        "{text}"
    );
}

/// The Instances of a Service that was carried out, as they would be read back.
fn carried_out(of: &Service) -> Vec<Instance> {
    let before = world(vec![of.clone()]);
    let mut instances =
        forecast::instances(&before, before.services.values().next().unwrap(), now()).instances;
    for instance in &mut instances {
        let labels = instance.metadata.labels.clone();
        assert!(
            labels
                .is_some_and(|labels| labels.get("clos.dev/service") == of.metadata.name.as_ref())
        );
    }
    instances
}

#[test]
fn fewer_replicas_delete_the_highest_and_leave_the_others_alone() {
    let instances = carried_out(&service("web", &json!({"replicas": 3})));
    let mut world = world(vec![service("web", &json!({"replicas": 1}))]);
    world.instances = instances;
    let forecast = forecast::instances(&world, world.services.values().next().unwrap(), now());
    let mut deleted = causes(&forecast);
    deleted.sort();
    assert_eq!(deleted, ["delete instance web-1", "delete instance web-2"]);
    let going: Vec<bool> = forecast
        .instances
        .iter()
        .map(|instance| instance.metadata.deletion_timestamp.is_some())
        .collect();
    assert_eq!(going, [false, true, true]);
}

#[test]
fn i6_a_service_that_was_carried_out_needs_nothing_more() {
    let web = service("web", &json!({"replicas": 3}));
    let mut world = world(vec![web.clone()]);
    world.instances = carried_out(&web);
    let forecast = forecast::instances(&world, &web, now());
    assert_eq!(causes(&forecast), Vec::<String>::new());
    assert_eq!(forecast.waits_for, None);
}

#[test]
fn a_new_image_updates_every_instance_although_each_waits_for_the_one_before() {
    let instances = carried_out(&service("web", &json!({"replicas": 3})));
    let mut world = world(vec![service(
        "web",
        &json!({"replicas": 3, "image": "shop/web:2"}),
    )]);
    world.instances = instances;
    let forecast = forecast::instances(&world, world.services.values().next().unwrap(), now());
    let mut updated = causes(&forecast);
    updated.sort();
    assert_eq!(
        updated,
        [
            "update instance web-0",
            "update instance web-1",
            "update instance web-2"
        ]
    );
    assert!(
        forecast
            .instances
            .iter()
            .all(|instance| instance.spec.container.image == "shop/web:2")
    );
}

#[test]
fn a_service_without_its_group_waits_for_it() {
    let mut world = world(vec![service("web", &json!({}))]);
    world.groups.clear();
    let forecast = forecast::instances(&world, world.services.values().next().unwrap(), now());
    assert_eq!(causes(&forecast), Vec::<String>::new());
    let waits_for = forecast.waits_for.unwrap();
    assert_eq!(waits_for.reason.as_str(), "DependencyNotReady");
    assert!(waits_for.message.contains("shop"), "{}", waits_for.message);
}

#[test]
fn without_a_look_at_the_engine_nothing_is_asked_of_it() {
    let world = world(vec![service("web", &json!({}))]);
    let forecasts = [forecast::instances(
        &world,
        world.services.values().next().unwrap(),
        now(),
    )];
    let platform = clos_resources::host::EngineInfo::default();
    let surroundings = Surroundings {
        views: &BTreeMap::new(),
        platform: &platform,
        installation: "inst",
        now: now(),
    };
    let all = forecast::parts(&world, &forecasts, &surroundings);
    let of_instance = all.iter().find(|part| part.instance.is_some()).unwrap();
    assert!(of_instance.plan.is_empty());
    assert_eq!(
        of_instance.waits_for.as_ref().unwrap().reason.as_str(),
        "EngineUnavailable"
    );
}
