//! Whether the world is as declared: what is seen against the declared truth. A pure function; the journal has its own in `journal`, what the server
//! costs in `cost`.

mod published;

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::names;
use jiff::Timestamp;

use crate::manifest::{self, Names};
use crate::model::{Fate, GROUPS, GUESTS, Model, Service};
use crate::seen::{Container, Seen};
use published::{networks, ports};

/// Everything in which the world differs from what is declared. `restarts` has the times at which restarts were asked for, by service.
pub(crate) fn differences(
    model: &Model,
    names: &Names,
    restarts: &BTreeMap<usize, String>,
    seen: &Seen,
) -> Vec<String> {
    let mut wrong = Vec::new();
    instances(model, names, seen, &mut wrong);
    orphans(names, seen, &mut wrong);
    for (slot, service) in &model.services {
        let fate = model.fate(*slot).unwrap_or(Fate::Unsettled);
        status(*slot, service, fate, names, seen, &mut wrong);
        containers(model, *slot, service, fate, names, seen, &mut wrong);
        if let (Fate::Runs, Some(asked)) = (fate, restarts.get(slot)) {
            let old = of_service(names, *slot, seen)
                .into_iter()
                .filter(|container| time(&container.started_at) < time(asked));
            wrong.extend(old.map(|container| {
                format!(
                    "{} was started at {}, before a restart was asked for at {asked}",
                    container.name, container.started_at
                )
            }));
        }
    }
    if model.guests {
        for number in 0..GUESTS {
            let instance = format!("g{number}-0");
            let runs = seen.containers.iter().any(|container| {
                container.namespace == names.guests
                    && container.instance == instance
                    && container.running
            });
            if !runs {
                wrong.push(format!("{instance} in {} does not run", names.guests));
            }
        }
    }
    networks(model, names, seen, &mut wrong);
    ports(model, names, seen, &mut wrong);
    wrong
}

/// What an engine or a declaration writes as a time.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn of_service<'s>(names: &Names, slot: usize, seen: &'s Seen) -> Vec<&'s Container> {
    let prefix = format!("{}-", Model::name(slot));
    let ours = seen
        .containers
        .iter()
        .filter(|container| container.namespace == names.namespace);
    ours.filter(|container| container.instance.starts_with(&prefix))
        .collect()
}

/// The objects that are there are those that are declared, and the Instances those that follow.
fn instances(model: &Model, names: &Names, seen: &Seen, wrong: &mut Vec<String>) {
    let mut services: BTreeSet<(String, String)> = model
        .services
        .keys()
        .map(|slot| (names.namespace.clone(), Model::name(*slot)))
        .collect();
    let mut instances: BTreeSet<(String, String)> = BTreeSet::new();
    for (slot, service) in &model.services {
        instances.extend((0..service.replicas).map(|ordinal| {
            (
                names.namespace.clone(),
                names::instance(&Model::name(*slot), ordinal),
            )
        }));
    }
    if model.guests {
        services.extend((0..GUESTS).map(|number| (names.guests.clone(), format!("g{number}"))));
        instances.extend((0..GUESTS).map(|number| (names.guests.clone(), format!("g{number}-0"))));
    }
    compare(
        "Service",
        &services,
        &seen.services.keys().cloned().collect(),
        wrong,
    );
    compare(
        "Instance",
        &instances,
        &seen.instances.keys().cloned().collect(),
        wrong,
    );
}

fn compare(
    kind: &str,
    declared: &BTreeSet<(String, String)>,
    there: &BTreeSet<(String, String)>,
    wrong: &mut Vec<String>,
) {
    wrong.extend(
        declared
            .difference(there)
            .map(|(namespace, name)| format!("{kind} {namespace}/{name} is missing")),
    );
    wrong.extend(
        there.difference(declared).map(|(namespace, name)| {
            format!("{kind} {namespace}/{name} is there and not declared")
        }),
    );
}

/// Each container belongs to an Instance that lives, and each Instance has one at most.
fn orphans(names: &Names, seen: &Seen, wrong: &mut Vec<String>) {
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for container in &seen.containers {
        let instance = seen
            .instances
            .get(&(container.namespace.clone(), container.instance.clone()));
        if instance != Some(&container.uid) {
            wrong.push(format!(
                "container {} is an orphan: it belongs to {}/{} ({})",
                container.name, container.namespace, container.instance, container.uid
            ));
        }
        *counts.entry(&container.uid).or_default() += 1;
        if ![&names.namespace, &names.guests].contains(&&container.namespace) {
            wrong.push(format!(
                "container {} is of namespace {}",
                container.name, container.namespace
            ));
        }
    }
    wrong.extend(
        counts
            .into_iter()
            .filter(|(_, count)| *count > 1)
            .map(|(uid, count)| format!("Instance {uid} has {count} containers")),
    );
}

fn status(
    slot: usize,
    service: &Service,
    fate: Fate,
    names: &Names,
    seen: &Seen,
    wrong: &mut Vec<String>,
) {
    let Some(status) = seen
        .services
        .get(&(names.namespace.clone(), Model::name(slot)))
    else {
        return;
    };
    let is_job = fate != Fate::Runs && service.program != crate::model::Program::Serve;
    let (ready, reasons): (&str, &[&str]) = match fate {
        Fate::Runs => ("True", &["Ready"]),
        // A job that is over stays so when it is declared as stopped.
        Fate::Stopped if is_job => ("", &["Suspended", "Completed", "Failed"]),
        Fate::Stopped => ("True", &["Suspended"]),
        Fate::Completed => ("True", &["Completed"]),
        Fate::Failed => ("False", &["Failed"]),
        Fate::Unsettled => (
            "False",
            &[
                "ImagePullFailed",
                "ConfigMissing",
                "DependencyNotReady",
                "CrashLoopBackOff",
            ],
        ),
    };
    let as_expected = (ready.is_empty() || status.ready == ready)
        && reasons.contains(&status.reason.as_str())
        && status.current;
    if !as_expected {
        wrong.push(format!(
            "Service {} should be Ready={ready} {reasons:?} and is Ready={} {} ({}){}",
            Model::name(slot),
            status.ready,
            status.reason,
            status.message,
            if status.current {
                ""
            } else {
                ", of an older declaration"
            }
        ));
    }
    if fate == Fate::Runs && status.counts != format!("{0}/{0}", service.replicas) {
        wrong.push(format!(
            "Service {} shows {} of {} replicas",
            Model::name(slot),
            status.counts,
            service.replicas
        ));
    }
}

fn containers(
    model: &Model,
    slot: usize,
    service: &Service,
    fate: Fate,
    names: &Names,
    seen: &Seen,
    wrong: &mut Vec<String>,
) {
    let there = of_service(names, slot, seen);
    if fate == Fate::Unsettled {
        return;
    }
    if fate != Fate::Runs {
        wrong.extend(
            there
                .iter()
                .filter(|container| container.running)
                .map(|container| format!("{} runs and is {fate:?}", container.name)),
        );
        return;
    }
    for ordinal in 0..service.replicas {
        let instance = names::instance(&Model::name(slot), ordinal);
        match there
            .iter()
            .find(|container| container.instance == instance)
        {
            None => wrong.push(format!("{instance} has no container")),
            Some(container) => wrong.extend(
                properties(model, service, names, container)
                    .into_iter()
                    .map(|what| format!("{instance}: {what}")),
            ),
        }
    }
}

/// In what a container differs that should run.
fn properties(
    model: &Model,
    service: &Service,
    names: &Names,
    container: &Container,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: &dyn std::fmt::Debug, good: bool| {
        if !good {
            wrong.push(format!("{what} is {is:?}"));
        }
    };
    expect(
        "running",
        &container.running,
        container.running && !container.paused,
    );
    expect(
        "image",
        &container.image,
        container.image == service.image.name(),
    );
    expect(
        "script",
        &container.script,
        container.script == service.program.script(),
    );
    expect(
        "env COLOUR",
        &container.env,
        container
            .env
            .contains(&format!("COLOUR={}", service.colour)),
    );
    let read = service.reads.and_then(|which| {
        Some(format!(
            "READ={}",
            manifest::value(which, model.values[which]?)
        ))
    });
    let reads = container
        .env
        .iter()
        .find(|variable| variable.starts_with("READ="));
    expect("env READ", &(reads, &read), reads == read.as_ref());
    expect(
        "label",
        &container.label,
        container.label == service.label.to_string(),
    );
    expect(
        "memory",
        &container.memory,
        container.memory == u64::from(service.memory) << 20,
    );
    let published: BTreeSet<u16> = service
        .port
        .map(|port| names.ports[port])
        .into_iter()
        .collect();
    expect(
        "published",
        &container.published,
        container.published == published,
    );
    let network = names::network(&names.namespace, GROUPS[service.group]);
    expect(
        "networks",
        &container.networks,
        container.networks == [network].into(),
    );
    let volumes: BTreeSet<String> = service
        .volume
        .then(|| names::volume(&names.namespace, "data"))
        .into_iter()
        .collect();
    expect("volumes", &container.volumes, container.volumes == volumes);
    wrong
}

#[cfg(test)]
mod tests;
