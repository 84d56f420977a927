//! A checker that cannot fail is a defect: each kind of wrong world is shown to it, and one that is right.

use super::*;
use crate::model::{Image, Program};
use crate::seen;

const UID: &str = "uid";

fn names() -> Names {
    Names {
        namespace: "ns".to_owned(),
        guests: "ns-g".to_owned(),
        ports: vec![2001, 2002, 2003, 2004],
    }
}

fn model() -> Model {
    let mut model = Model::new(4);
    let service = Service {
        port: Some(1),
        reads: Some(0),
        volume: true,
        ..Service::plain(0)
    };
    model.services.insert(0, service);
    model
}

/// The world in which the model is carried out.
fn world() -> Seen {
    let container = Container {
        name: "clos_ns_s0-0".to_owned(),
        namespace: "ns".to_owned(),
        instance: "s0-0".to_owned(),
        uid: UID.to_owned(),
        running: true,
        paused: false,
        image: Image::One.name().to_owned(),
        env: ["COLOUR=0".to_owned(), "READ=secret-0".to_owned()].into(),
        label: "0".to_owned(),
        script: Program::Serve.script().to_owned(),
        memory: 32 << 20,
        published: [2002].into(),
        networks: ["clos_ns_blue".to_owned()].into(),
        volumes: ["clos_ns_data".to_owned()].into(),
        started_at: "2026-01-01T00:00:01Z".to_owned(),
    };
    let service = seen::Service {
        ready: "True".to_owned(),
        reason: "Ready".to_owned(),
        message: String::new(),
        counts: "1/1".to_owned(),
        current: true,
    };
    let key = |name: &str| ("ns".to_owned(), name.to_owned());
    Seen {
        containers: vec![container],
        networks: ["clos_ns_blue".to_owned()].into(),
        volumes: BTreeSet::new(),
        services: [(key("s0"), service)].into(),
        instances: [(key("s0-0"), UID.to_owned())].into(),
        held: [(2002, key("s0-0"))].into(),
        answering: Some([2002].into()),
    }
}

fn found(model: &Model, seen: &Seen) -> Vec<String> {
    differences(model, &names(), &BTreeMap::new(), seen)
}

#[test]
fn a_world_as_declared_has_no_differences() {
    assert_eq!(found(&model(), &world()), [""; 0]);
    assert_eq!(found(&Model::new(4), &Seen::default()), [""; 0]);
}

#[test]
fn each_property_of_a_container_is_looked_at() {
    let spoil: [fn(&mut Container); 11] = [
        |container| container.running = false,
        |container| container.paused = true,
        |container| container.image.push('x'),
        |container| drop(container.env.pop_first()),
        |container| drop(container.env.pop_last()),
        |container| container.label.push('x'),
        |container| container.script.push('x'),
        |container| container.memory += 1,
        |container| container.published.clear(),
        |container| container.networks.clear(),
        |container| container.volumes.clear(),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut world = world();
        spoil(&mut world.containers[0]);
        assert_eq!(found(&model(), &world).len(), 1, "property {number}");
    }
}

#[test]
fn a_variable_that_is_not_declared_is_found() {
    let mut model = model();
    model.services.get_mut(&0).unwrap().reads = None;
    assert_eq!(found(&model, &world()).len(), 1);
}

#[test]
fn missing_and_surplus_objects_and_containers_are_found() {
    let mut without = world();
    without.containers.clear();
    assert_eq!(found(&model(), &without), ["s0-0 has no container"]);
    let mut double = world();
    double.containers.push(double.containers[0].clone());
    assert_eq!(found(&model(), &double), ["Instance uid has 2 containers"]);
    let mut orphan = world();
    orphan.containers[0].uid = "another".to_owned();
    assert_eq!(found(&model(), &orphan).len(), 1);
    let mut nobody = world();
    nobody.services.clear();
    nobody.instances.clear();
    assert_eq!(
        found(&model(), &nobody).len(),
        3,
        "Service, Instance, orphan"
    );
    let mut surplus = world();
    surplus
        .instances
        .insert(("ns".to_owned(), "s0-1".to_owned()), "u".to_owned());
    assert_eq!(
        found(&model(), &surplus),
        ["Instance ns/s0-1 is there and not declared"]
    );
    let mut left = world();
    left.networks.insert("clos_ns-g_guests".to_owned());
    assert_eq!(
        found(&model(), &left),
        ["network clos_ns-g_guests is an orphan"]
    );
}

#[test]
fn a_status_that_says_something_else_is_found() {
    let spoil: [fn(&mut seen::Service); 4] = [
        |service| service.ready = "False".to_owned(),
        |service| service.reason = "Progressing".to_owned(),
        |service| service.counts = "0/1".to_owned(),
        |service| service.current = false,
    ];
    for spoil in spoil {
        let mut world = world();
        world.services.values_mut().for_each(spoil);
        assert_eq!(found(&model(), &world).len(), 1);
    }
}

#[test]
fn what_is_to_be_stopped_and_runs_is_found() {
    let mut model = model();
    model.stopped[0] = true;
    let mut world = world();
    world.answering = None;
    let all = found(&model, &world);
    assert!(
        all.iter().any(|what| what.contains("runs and is Stopped")),
        "{all:?}"
    );
    assert!(all.iter().any(|what| what.contains("Suspended")), "{all:?}");
}

#[test]
fn ports_that_are_held_published_and_answering_must_be_the_same() {
    let mut nobody = world();
    nobody.held.clear();
    assert_eq!(
        found(&model(), &nobody),
        ["port 2002 is held by nobody and s0-0 should"]
    );
    let mut other = world();
    other
        .held
        .insert(2002, ("ns".to_owned(), "s1-0".to_owned()));
    assert_eq!(found(&model(), &other).len(), 1);
    let mut left = world();
    left.held.insert(2004, ("ns".to_owned(), "s1-0".to_owned()));
    assert_eq!(
        found(&model(), &left),
        ["port 2004 is held by s1-0 and nobody asks for it"]
    );
    let mut silent = world();
    silent.answering = Some([2001].into());
    assert_eq!(found(&model(), &silent).len(), 2);
}

#[test]
fn a_restart_that_was_not_done_is_found() {
    let asked = |time: &str| BTreeMap::from([(0, time.to_owned())]);
    let find = |time: &str| differences(&model(), &names(), &asked(time), &world());
    assert_eq!(find("2026-01-01T00:00:00Z"), [""; 0]);
    assert_eq!(find("2026-01-01T00:00:02Z").len(), 1);
}

#[test]
fn guests_run_or_are_gone() {
    let mut model = model();
    model.guests = true;
    let wrong = found(&model, &world());
    assert!(
        wrong.contains(&"g0-0 in ns-g does not run".to_owned()),
        "{wrong:?}"
    );
    assert!(
        wrong.contains(&"Service ns-g/g1 is missing".to_owned()),
        "{wrong:?}"
    );
}
