//! What is shared on the host: networks that may be there, ports that are held and that answer.

use std::collections::BTreeSet;

use clos_resources::names;

use crate::manifest::Names;
use crate::model::{Fate, GROUPS, Model};
use crate::seen::Seen;

/// No network is left over.
pub(super) fn networks(model: &Model, names: &Names, seen: &Seen, wrong: &mut Vec<String>) {
    let mut allowed: BTreeSet<String> = GROUPS
        .iter()
        .map(|group| names::network(&names.namespace, group))
        .collect();
    if model.guests {
        allowed.insert(names::network(&names.guests, "guests"));
    }
    wrong.extend(
        seen.networks
            .difference(&allowed)
            .map(|name| format!("network {name} is an orphan")),
    );
}

/// What is held is what listens, and that is what is declared.
pub(super) fn ports(model: &Model, names: &Names, seen: &Seen, wrong: &mut Vec<String>) {
    let mut listening = BTreeSet::new();
    for (slot, service) in &model.services {
        let Some(port) = service.port.map(|port| names.ports[port]) else {
            continue;
        };
        let holder = (
            names.namespace.clone(),
            names::instance(&Model::name(*slot), 0),
        );
        let runs = model.fate(*slot) == Some(Fate::Runs) && service.replicas > 0;
        if runs {
            listening.insert(port);
        }
        match seen.held.get(&port) {
            None if runs => wrong.push(format!(
                "port {port} is held by nobody and {} should",
                holder.1
            )),
            Some(other) if *other != holder => wrong.push(format!(
                "port {port} is held by {} and {} should",
                other.1, holder.1
            )),
            None | Some(_) => {}
        }
    }
    let declared: BTreeSet<u16> = model
        .services
        .values()
        .filter_map(|service| Some(names.ports[service.port?]))
        .collect();
    wrong.extend(
        seen.held
            .iter()
            .filter(|(port, _)| !declared.contains(port))
            .map(|(port, holder)| {
                format!("port {port} is held by {} and nobody asks for it", holder.1)
            }),
    );
    if let Some(answering) = &seen.answering {
        wrong.extend(
            listening
                .difference(answering)
                .map(|port| format!("port {port} does not answer")),
        );
        wrong.extend(
            answering
                .difference(&listening)
                .map(|port| format!("port {port} answers and nobody should listen")),
        );
    }
}
