//! What is forecast of Services and their Instances that are not there yet, without a server.

use super::*;

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
    let Planned::Differences(text) = super::super::planned(&SyncPlan::default(), None, &[part])
    else {
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
