//! What `clos plan` prints.

use clos_plan::report::{Part, Report};
use serde_json::json;

use crate::world::{World, service};

fn parts(world: &World) -> Vec<Part> {
    let part = |name: &String| {
        let planned = world.plan_instance(name);
        let waits = planned.plan.is_empty()
            && planned.summary.reason.outlook() != clos_resources::conditions::Outlook::Ready;
        Part {
            namespace: "default".into(),
            group: "shop".into(),
            service: world.instances[name].spec.service.clone(),
            instance: Some(name.clone()),
            plan: planned.plan,
            waits_for: waits.then_some(planned.summary),
        }
    };
    world.instances.keys().map(part).collect()
}

fn shop() -> World {
    let mut world = World::new([
        service(
            "db",
            json!({"mounts": [{"mountPath": "/data", "volume": {"name": "db"}}]}),
        ),
        service(
            "web",
            json!({"replicas": 2, "dependsOn": [{"service": "db"}]}),
        ),
    ]);
    world.pass_service("db");
    world.pass_service("web");
    world
}

#[test]
fn steps_are_grouped_and_numbered_through_and_what_is_shared_stands_once() {
    let world = shop();
    let report = Report::new(&parts(&world));
    assert!(!report.is_empty());
    insta::assert_snapshot!(report.to_string());
}

#[test]
fn nothing_to_do_is_said_in_one_line() {
    let mut world = shop();
    world.settle();
    let report = Report::new(&parts(&world));
    assert!(report.is_empty());
    assert_eq!(report.to_string(), "Plan: everything is as declared.\n");
}

#[test]
fn what_waits_is_named_with_its_reason() {
    let mut world = shop();
    world.settle();
    world.engine.remove("clos_default_db-0");
    world.engine.add_foreign(
        "clos_default_db-0",
        std::collections::BTreeMap::new(),
        world.now,
    );
    insta::assert_snapshot!(Report::new(&parts(&world)).to_string());
}

#[test]
fn plans_for_services_count_the_instances_they_make() {
    let world = World::new([service("web", json!({"replicas": 2}))]);
    let plan = world.plan_service("web").plan;
    let part = Part {
        namespace: "prod".into(),
        group: "shop".into(),
        service: "web".into(),
        instance: None,
        plan,
        waits_for: None,
    };
    insta::assert_snapshot!(Report::new(&[part]).to_string());
}
