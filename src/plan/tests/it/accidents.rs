//! Worlds in which anything happens, for the invariants.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::observed::{ContainerState, Network};
use clos_plan::status::FailureKind;
use clos_resources::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::json;

use crate::engine::failure;
use crate::world::{World, service};

/// Something that happens to a world.
#[derive(Clone, Debug)]
pub(crate) enum Accident {
    End { container: usize, code: i64 },
    Remove(usize),
    Pause(usize),
    Rename(usize),
    State { container: usize, dead: bool },
    Limits(usize),
    Duplicate(usize),
    Copy(usize),
    Foreign(usize),
    RemoveNetworks,
    ForeignNetwork,
    StartFails,
    PortTaken,
    PortFree,
    DropPorts,
    Replicas(u32),
    Image(u8),
    Stop,
    Run,
    Restart,
    Secret { version: u32, value: u8 },
    DeleteInstance(usize),
    ForgetStatus(usize),
    Time(i64),
    Round,
    HalfAPlan { instance: usize, steps: usize },
}

pub(crate) fn accident() -> impl Strategy<Value = Accident> {
    prop_oneof![
        3 => (0..4usize, prop::sample::select(vec![0, 1, 137, 143])).prop_map(|(container, code)| Accident::End { container, code }),
        2 => (0..4usize).prop_map(Accident::Remove),
        1 => (0..4usize).prop_map(Accident::Pause),
        1 => (0..4usize).prop_map(Accident::Rename),
        1 => (0..4usize, any::<bool>()).prop_map(|(container, dead)| Accident::State { container, dead }),
        1 => (0..4usize).prop_map(Accident::Limits),
        2 => (0..4usize).prop_map(Accident::Duplicate),
        1 => (0..4usize).prop_map(Accident::Copy),
        1 => (0..4usize).prop_map(Accident::Foreign),
        1 => Just(Accident::RemoveNetworks),
        1 => Just(Accident::ForeignNetwork),
        1 => Just(Accident::StartFails),
        1 => Just(Accident::PortTaken),
        2 => Just(Accident::PortFree),
        1 => Just(Accident::DropPorts),
        2 => (0..4u32).prop_map(Accident::Replicas),
        2 => (1..4u8).prop_map(Accident::Image),
        1 => Just(Accident::Stop),
        2 => Just(Accident::Run),
        1 => Just(Accident::Restart),
        2 => (0..4u32, 0..3u8).prop_map(|(version, value)| Accident::Secret { version, value }),
        1 => (0..4usize).prop_map(Accident::DeleteInstance),
        1 => (0..4usize).prop_map(Accident::ForgetStatus),
        3 => (0..400i64).prop_map(Accident::Time),
        4 => Just(Accident::Round),
        3 => (0..4usize, 0..6usize).prop_map(|(instance, steps)| Accident::HalfAPlan { instance, steps }),
    ]
}

pub(crate) fn world() -> World {
    let mut world = World::new([
        service(
            "web",
            json!({
                "replicas": 2,
                "dependsOn": [{"service": "db"}],
                "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "password"}}}],
            }),
        ),
        service(
            "db",
            json!({
                "mounts": [{"mountPath": "/data", "volume": {"name": "db"}}],
                "ports": [{"containerPort": 80, "hostPort": 80}],
            }),
        ),
    ]);
    world.hasty = true;
    world.store_secret(1, "first");
    world
}

/// Applies an accident; ids of containers that are not ours are noted.
#[expect(clippy::too_many_lines, reason = "one arm for each accident")]
pub(crate) fn happen(world: &mut World, foreign: &mut BTreeSet<String>, accident: &Accident) {
    let now = world.now;
    let ours: Vec<String> = world
        .engine
        .containers
        .keys()
        .filter(|id| !foreign.contains(*id))
        .cloned()
        .collect();
    let pick = |index: usize| ours.get(index % ours.len().max(1)).cloned();
    let instance = |index: usize| {
        world
            .instances
            .keys()
            .nth(index % world.instances.len().max(1))
            .cloned()
    };
    match *accident {
        Accident::End { container, code } => {
            if let Some(container) =
                pick(container).and_then(|id| world.engine.containers.get_mut(&id))
                && let ContainerState::Running { started_at, .. } = container.state
            {
                container.state = ContainerState::Exited {
                    code,
                    oom_killed: false,
                    error: String::new(),
                    started_at,
                    finished_at: now,
                };
            }
        }
        Accident::Remove(container) => {
            drop(pick(container).map(|id| world.engine.containers.remove(&id)));
        }
        Accident::Pause(container) => {
            if let Some(container) =
                pick(container).and_then(|id| world.engine.containers.get_mut(&id))
                && let ContainerState::Running { started_at, .. } = container.state
            {
                container.state = ContainerState::Paused { started_at };
            }
        }
        Accident::Rename(container) => {
            // Only what was recorded can be told from a copy afterwards.
            let recorded = recorded(world);
            if let Some(id) = pick(container).filter(|id| recorded.contains(id)) {
                world.engine.containers.get_mut(&id).unwrap().name =
                    format!("renamed-{}", &id[..12]);
            }
        }
        Accident::State { container, dead } => {
            if let Some(container) =
                pick(container).and_then(|id| world.engine.containers.get_mut(&id))
            {
                container.state = if dead {
                    ContainerState::Dead
                } else {
                    ContainerState::Created
                };
            }
        }
        Accident::Limits(container) => {
            if let Some(container) =
                pick(container).and_then(|id| world.engine.containers.get_mut(&id))
            {
                container.live.limits.memory = Some(1);
            }
        }
        Accident::Duplicate(container) => {
            // Somebody renames a container that is on record, and clos, killed before it noticed, made another one.
            let recorded = recorded(world);
            if let Some(id) = pick(container).filter(|id| recorded.contains(id)) {
                let labels = &world.engine.containers[&id].labels;
                let wanted = names::container(
                    &labels[names::LABEL_NAMESPACE],
                    &labels[names::LABEL_INSTANCE],
                );
                let renamed = format!("renamed-{}", &id[..12]);
                world
                    .engine
                    .containers
                    .get_mut(&id)
                    .unwrap()
                    .name
                    .clone_from(&renamed);
                if !world.engine.names().contains(&wanted.as_str()) {
                    world.engine.duplicate(&renamed, &wanted, now);
                }
            }
        }
        Accident::Copy(container) => {
            if let Some(id) = pick(container) {
                let labels = world.engine.containers[&id].labels.clone();
                let number = world.engine.containers.len();
                foreign.insert(world.engine.add_foreign(
                    &format!("copy-{number}-{}", &id[..12]),
                    labels,
                    now,
                ));
            }
        }
        Accident::Foreign(index) => {
            if let Some(name) =
                instance(index).map(|instance| names::container("default", &instance))
                && !world.engine.names().contains(&name.as_str())
            {
                foreign.insert(world.engine.add_foreign(&name, BTreeMap::new(), now));
            }
        }
        Accident::RemoveNetworks => world.engine.networks.clear(),
        Accident::ForeignNetwork => {
            let id = format!("n-foreign-{}", world.engine.networks.len());
            world.engine.networks.push(Network {
                id,
                name: "clos_default_shop".into(),
                labels: BTreeMap::new(),
            });
        }
        Accident::StartFails => world.engine.next_start = Some(failure(FailureKind::Failed, "no")),
        Accident::PortTaken => drop(world.engine.taken.insert(80)),
        Accident::PortFree => world.engine.taken.clear(),
        Accident::DropPorts => world.ports.clear(),
        Accident::Replicas(replicas) => world.change("web", json!({"replicas": replicas})),
        Accident::Image(tag) => world.change("web", json!({"image": format!("shop/web:{tag}")})),
        Accident::Stop => world.change("db", json!({"state": "Stopped"})),
        Accident::Run => world.change("db", json!({"state": "Running"})),
        Accident::Restart => {
            let annotations = &mut world.services.get_mut("web").unwrap().metadata.annotations;
            annotations
                .get_or_insert_default()
                .insert(names::ANNOTATION_RESTARTED_AT.into(), now.to_string());
        }
        Accident::Secret { version: 0, .. } => world.delete_secret(),
        Accident::Secret { version, value } => world.store_secret(version, &value.to_string()),
        Accident::DeleteInstance(index) => {
            if let Some(name) = instance(index) {
                world
                    .instances
                    .get_mut(&name)
                    .unwrap()
                    .metadata
                    .deletion_timestamp = Some(Time(now));
            }
        }
        Accident::ForgetStatus(index) => {
            // What no status records and has lost its name cannot be told from a copy: not part of this game.
            let renamed = world
                .engine
                .names()
                .iter()
                .any(|name| name.starts_with("renamed"));
            if let Some(name) = instance(index).filter(|_| !renamed) {
                world.instances.get_mut(&name).unwrap().status = None;
            }
        }
        Accident::Time(seconds) => world.pass_time(seconds),
        Accident::Round => drop(world.round()),
        Accident::HalfAPlan {
            instance: index,
            steps,
        } => {
            // clos is killed in the middle of a plan: some steps are done and no status is written.
            if let Some(name) = instance(index) {
                let mut plan = world.plan_instance(&name).plan;
                plan.steps.truncate(steps);
                world.execute(&plan);
            }
        }
    }
}

/// Containers that a status has on record.
pub(crate) fn recorded(world: &World) -> BTreeSet<String> {
    let statuses = world
        .instances
        .values()
        .filter_map(|instance| instance.status.as_ref());
    statuses
        .filter_map(|status| status.container_id.clone())
        .collect()
}
