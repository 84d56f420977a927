//! What waits for what.

use clos_plan::observed::Health;
use clos_plan::order::{dependency_state, mistakes};
use clos_resources::Service;
use clos_resources::lifecycle::{Dependency, DependencyCondition};
use proptest::prelude::*;
use serde_json::json;

use crate::world::{World, service};

fn depends(name: &str, on: &[&str]) -> Service {
    let on: Vec<_> = on.iter().map(|other| json!({"service": other})).collect();
    service(name, json!({"dependsOn": on}))
}

#[test]
fn cycles_are_written_out_for_each_service_in_them() {
    let services = [
        depends("a", &["b"]),
        depends("b", &["c"]),
        depends("c", &["a", "d"]),
        depends("d", &["d"]),
        depends("e", &["a"]),
        depends("f", &["nobody"]),
    ];
    let text: Vec<String> = mistakes(&services)
        .into_iter()
        .map(|(name, words)| format!("{name}: {words}"))
        .collect();
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn what_lies_between_two_cycles_is_in_none() {
    let services = [
        depends("a", &["b"]),
        depends("b", &["a", "m"]),
        depends("m", &["x"]),
        depends("x", &["y"]),
        depends("y", &["x"]),
    ];
    assert_eq!(
        mistakes(&services).into_keys().collect::<Vec<_>>(),
        ["a", "b", "x", "y"]
    );
}

proptest! {
    #[test]
    fn services_that_depend_on_earlier_ones_only_have_no_cycle(edges in prop::collection::vec((0usize..20, 0usize..20), 0..60)) {
        let services: Vec<Service> = (0..20)
            .map(|number: usize| {
                let on: Vec<String> = edges.iter().filter(|(from, to)| *from == number && to < from).map(|(_, to)| format!("s{to}")).collect();
                depends(&format!("s{number}"), &on.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        prop_assert!(mistakes(&services).is_empty());
    }

    #[test]
    fn a_service_has_a_mistake_exactly_if_it_reaches_itself(edges in prop::collection::vec((0usize..8, 0usize..8), 0..20)) {
        let services: Vec<Service> = (0..8)
            .map(|number: usize| {
                let on: Vec<String> = edges.iter().filter(|(from, _)| *from == number).map(|(_, to)| format!("s{to}")).collect();
                depends(&format!("s{number}"), &on.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let mut reach = [[false; 8]; 8];
        for &(from, to) in &edges {
            reach[from][to] = true;
        }
        for via in 0..8 {
            for from in 0..8 {
                for to in 0..8 {
                    reach[from][to] |= reach[from][via] && reach[via][to];
                }
            }
        }
        let found = mistakes(&services);
        for (number, reached) in reach.iter().enumerate() {
            prop_assert_eq!(found.contains_key(&format!("s{number}")), reached[number]);
        }
    }
}

fn why_not(world: &World, condition: DependencyCondition) -> String {
    let dependency = Dependency {
        service: "db".into(),
        condition,
    };
    let state = dependency_state(
        &dependency,
        world.services.get("db"),
        &world.instances_of("db"),
    );
    assert_eq!(state.met, state.why_not.is_empty());
    format!(
        "{condition:?}: {}\n",
        if state.met {
            "met"
        } else {
            state.why_not.as_str()
        }
    )
}

fn all(world: &World) -> String {
    [
        DependencyCondition::Started,
        DependencyCondition::Healthy,
        DependencyCondition::Completed,
    ]
    .into_iter()
    .map(|condition| why_not(world, condition))
    .collect()
}

#[test]
fn a_dependency_says_why_it_is_not_met() {
    let mut world = World::new([service("db", json!({}))]);
    let mut text = format!("no instance\n{}", all(&world));
    world.pass_service("db");
    text += &format!("no container\n{}", all(&world));
    world.settle();
    text += &format!("runs\n{}", all(&world));
    for health in [
        Health::Starting,
        Health::Healthy,
        Health::Unhealthy {
            said: String::new(),
        },
    ] {
        let name = format!("{health:?}");
        world.engine.set_health("clos_default_db-0", health);
        world.settle();
        text += &format!("{}\n{}", name.split(' ').next().unwrap(), all(&world));
    }
    world.change("db", json!({"state": "Stopped"}));
    text += &format!("declared as stopped\n{}", all(&world));
    world.change("db", json!({"replicas": 0, "state": "Running"}));
    text += &format!("no replicas\n{}", all(&world));
    world.services.clear();
    text += &format!("no service\n{}", all(&world));
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_to_completion_counts_as_started_and_completed_once_it_succeeded() {
    let mut world = World::running([service("db", json!({"restartPolicy": "OnFailure"}))]);
    let before = all(&world);
    world.pass_time(2);
    world.engine.end("clos_default_db-0", 0, world.now);
    world.settle();
    insta::assert_snapshot!(format!("runs\n{before}succeeded\n{}", all(&world)));
}
