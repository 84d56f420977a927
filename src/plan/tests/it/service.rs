//! One Service: which Instances should exist, and how it says it is.

use clos_plan::action::{Action, ApiAction};
use clos_plan::service::{self, revision};
use clos_resources::Service;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_resources::lifecycle::State;
use serde_json::json;

use crate::world::{World, service};

pub(crate) fn web(replicas: u32) -> Service {
    service(
        "web",
        json!({"replicas": replicas, "ports": [{"containerPort": 8080}]}),
    )
}

/// Rounds of both controllers until nothing happens, as text.
pub(crate) fn rounds(world: &mut World) -> String {
    let mut text = String::new();
    for _ in 0..20 {
        let before = world.statuses();
        text += &world.tell_service("web");
        let names: Vec<String> = world.instances.keys().cloned().collect();
        for name in names {
            world.pass_instance(&name);
        }
        if world.statuses() == before {
            return text;
        }
    }
    panic!("does not settle:\n{text}");
}

#[test]
fn a_new_service_gets_its_instances_at_once() {
    let mut world = World::new([web(3)]);
    insta::assert_snapshot!(rounds(&mut world));
}

#[test]
fn i2_a_service_as_declared_is_left_alone() {
    let mut world = World::running([web(2)]);
    let before = world.statuses();
    world.pass_time(60);
    assert!(world.pass_service("web").plan.is_empty());
    assert_eq!(world.statuses(), before);
}

#[test]
fn the_first_instance_that_is_on_its_way_says_what_it_does() {
    let mut world = World::new([service("web", json!({"replicas": 2}))]);
    world.pass_service("web");
    let planned = world.plan_instance("web-1");
    world.pass_instance("web-0");
    let conditions = planned.summary.conditions(Some(1), &[], world.now);
    world.instances.get_mut("web-1").unwrap().status = Some(InstanceStatus {
        observed_generation: Some(1),
        state: Some(planned.state),
        conditions,
        ..InstanceStatus::default()
    });
    insta::assert_snapshot!(world.tell_service("web"), @r"
      nothing to do
      web Starting: 1/2 Progressing, 1 of 2 instances are ready; web-1: pulling image shop/web:1
    ");
}

#[test]
fn i2_the_bytes_of_a_pull_do_not_change_what_the_service_says() {
    let mut world = World::new([web(1)]);
    world.pass_service("web");
    let mut said = Vec::new();
    for megabytes in [34, 35] {
        let words = format!("pulling image shop/web:1: {megabytes} of 120 MB");
        let summary = Summary::new(Reason::Progressing, words);
        world.instances.get_mut("web-0").unwrap().status = Some(InstanceStatus {
            observed_generation: Some(1),
            state: Some(InstanceState::Pulling),
            conditions: summary.conditions(Some(1), &[], world.now),
            ..InstanceStatus::default()
        });
        said.push(world.tell_service("web"));
    }
    assert_eq!(said[0], said[1]);
    insta::assert_snapshot!(said[0], @r"
      nothing to do
      web Starting: 0/1 Progressing, 0 of 1 instances are ready; web-0: pulling image shop/web:1
    ");
}

/// A running service that was deleted and made again while its Instance was still there.
pub(crate) fn made_again() -> World {
    let mut world = World::running([web(1)]);
    world.services.get_mut("web").unwrap().metadata.uid = Some("another".to_owned());
    world
}

#[test]
fn a_service_waits_until_the_instances_of_an_earlier_one_are_gone() {
    let mut world = made_again();
    insta::assert_snapshot!(world.tell_service("web"), @r"
      nothing to do
      web Starting: 0/1 Progressing, 0 of 1 instances are ready; waits until the earlier web-0 is gone
    ");
    world.instances.clear();
    world.engine.containers.clear();
    world.settle();
    let plan = world.plan_service("web").plan;
    assert!(plan.is_empty() && world.instances.len() == 1, "{plan}");
}

#[test]
fn an_instance_that_belongs_to_nobody_is_taken_over_as_it_is() {
    let mut world = made_again();
    let web = world.instances.get_mut("web-0").unwrap();
    web.metadata.owner_references = None;
    let uid = web.metadata.uid.clone();
    let containers = world.engine.containers.clone();
    insta::assert_snapshot!(rounds(&mut world), @r"
    1  update instance web-0    it belongs to no service
    web Starting: 1/1 Progressing, a change is on its way to the instances
    nothing to do
    web Running: 1/1 Ready, 1 of 1 instance is ready
    nothing to do
    web Running: 1/1 Ready, 1 of 1 instance is ready
    ");
    assert_eq!(world.instances["web-0"].metadata.uid, uid);
    assert_eq!(world.engine.containers, containers);
}

#[test]
fn an_instance_of_another_group_is_not_taken_over() {
    let mut world = made_again();
    let web = world.instances.get_mut("web-0").unwrap();
    web.metadata.owner_references = None;
    web.spec.group = "other".to_owned();
    let plan = world.plan_service("web").plan;
    assert!(plan.is_empty(), "{plan}");
}

#[test]
fn scaling_adds_at_the_end_and_takes_from_the_end() {
    let mut world = World::running([web(1)]);
    world.change("web", json!({"replicas": 3}));
    let mut text = rounds(&mut world);
    world.change("web", json!({"replicas": 1}));
    text += "down to 1\n";
    text += &rounds(&mut world);
    world.change("web", json!({"replicas": 0}));
    text += "down to 0\n";
    text += &rounds(&mut world);
    insta::assert_snapshot!(text);
    assert!(world.engine.containers.is_empty());
}

#[test]
fn stopped_is_declared_for_all_instances_together_and_keeps_them() {
    let mut world = World::running([web(2)]);
    world.change("web", json!({"state": "Stopped"}));
    let mut text = rounds(&mut world);
    world.change("web", json!({"state": "Running"}));
    text += "running again\n";
    text += &rounds(&mut world);
    insta::assert_snapshot!(text);
}

#[test]
fn a_stopped_group_stops_its_services() {
    let mut world = World::running([web(2)]);
    world.group.as_mut().unwrap().spec.state = State::Stopped;
    world.settle();
    assert_eq!(
        world.services["web"].status.as_ref().unwrap().conditions[0].reason,
        "Suspended"
    );
    world.group.as_mut().unwrap().spec.state = State::Running;
    world.settle();
    assert_eq!(
        world.services["web"].status.as_ref().unwrap().conditions[0].reason,
        "Ready"
    );
}

#[test]
fn i7_without_its_group_a_service_keeps_what_runs_and_gets_nothing_new() {
    let mut world = World::running([web(1)]);
    world.group = None;
    world.change("web", json!({"replicas": 2, "image": "shop/web:2"}));
    insta::assert_snapshot!(rounds(&mut world));
}

#[test]
fn i7_a_dependency_cycle_keeps_what_runs_and_is_written_out() {
    let mut world = World::running([web(1), service("db", json!({}))]);
    world.change(
        "web",
        json!({"dependsOn": [{"service": "db"}], "image": "shop/web:2"}),
    );
    world.change("db", json!({"dependsOn": [{"service": "web"}]}));
    insta::assert_snapshot!(rounds(&mut world));
}

#[test]
fn a_deleted_service_deletes_its_instances() {
    let mut world = World::running([web(2)]);
    world
        .services
        .get_mut("web")
        .unwrap()
        .metadata
        .deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        world.now,
    ));
    insta::assert_snapshot!(rounds(&mut world));
    assert!(world.instances.is_empty());
}

#[test]
fn an_instance_has_an_owner_a_finalizer_and_labels() {
    let world = World::new([web(1)]);
    let planned = world.plan_service("web");
    let Action::Api(ApiAction::CreateInstance(instance)) = &planned.plan.steps[0].action else {
        panic!("no instance")
    };
    insta::assert_json_snapshot!(instance);
}

#[test]
fn lost_labels_are_put_back() {
    let mut world = World::running([web(1)]);
    world.instances.get_mut("web-0").unwrap().metadata.labels = None;
    assert_eq!(world.plan_service("web").plan.steps.len(), 1);
    world.settle();
    assert!(world.instances["web-0"].metadata.labels.is_some());
}

#[test]
fn the_revision_counts_what_makes_another_container_and_nothing_else() {
    let of = |fields: serde_json::Value| revision(&service("web", fields));
    let before = of(json!({}));
    for same in [
        json!({"replicas": 3}),
        json!({"state": "Stopped"}),
        json!({"description": "x", "tags": ["y"]}),
        json!({"dependsOn": [{"service": "db"}]}),
        json!({"restartPolicy": "Never"}),
        json!({"imagePullPolicy": "Always"}),
    ] {
        assert_eq!(of(same.clone()), before, "{same}");
    }
    for other in [
        json!({"image": "shop/web:2"}),
        json!({"env": [{"name": "A", "value": "b"}]}),
        json!({"mounts": [{"mountPath": "/data", "volume": {"name": "web"}}]}),
        json!({"ports": [{"containerPort": 80, "hostPort": 80}]}),
        json!({"resources": {"limits": {"cpu": "1"}}}),
    ] {
        assert_ne!(of(other.clone()), before, "{other}");
    }
    assert_eq!(
        of(json!({"ports": [{"containerPort": 80}]})),
        of(json!({"ports": [{"containerPort": 80, "name": "http"}]}))
    );
}

#[test]
fn the_published_ports_are_shown_as_declared() {
    let ports = json!({"ports": [
        {"containerPort": 80, "hostPort": 8080},
        {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIp": "::1"},
        {"containerPort": 9},
    ]});
    let world = World::new([service("web", ports)]);
    let status = world.plan_service("web").status;
    assert_eq!(
        status.ports.unwrap(),
        "127.0.0.1:8080->80, [::1]:53->53/udp"
    );
}

#[test]
fn the_worst_instance_speaks_for_the_service() {
    let mut world = World::running([web(3)]);
    world.pass_time(2);
    for _ in 0..2 {
        world.pass_time(2);
        world.engine.end("clos_default_web-1", 7, world.now);
        world.pass_instance("web-1");
    }
    world.engine.set_health(
        "clos_default_web-0",
        clos_plan::observed::Health::Unhealthy {
            said: String::new(),
        },
    );
    world.pass_instance("web-0");
    insta::assert_snapshot!(world.tell_service("web"));
}

#[test]
fn many_services_have_as_many_steps_as_there_is_to_do_and_then_none() {
    // An Instance, a container and a start for each of 600; one network and one image for all.
    let mut services: Vec<Service> = (0..200)
        .map(|number| service(&format!("s{number}"), json!({"replicas": 3})))
        .collect();
    for service in &mut services {
        service.spec.container.image = "shop/all:1".into();
    }
    let mut world = World::new(services);
    assert_eq!(world.round(), 600 + 600 * 2 + 2);
    assert_eq!(world.round(), 0);
}

#[test]
fn two_looks_in_another_order_find_the_same() {
    let mut world = World::running([web(4)]);
    world.change("web", json!({"image": "shop/web:2", "replicas": 3}));
    let mut instances = world.instances_of("web");
    let plan = |instances: &[clos_resources::Instance]| {
        service::plan(&service::ServiceInput {
            service: &world.services["web"],
            group: world.group.as_ref(),
            instances,
            mistake: None,
            values: None,
            host: crate::world::HOST,
            now: world.now,
        })
    };
    let forwards = plan(&instances);
    instances.reverse();
    assert_eq!(plan(&instances), forwards);
}
