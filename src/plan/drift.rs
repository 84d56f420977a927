//! In what a container of ours differs from what is declared, and how to say it. What to do about it is not here.

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::instance::InstanceStatus;
use clos_resources::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::container::ContainerOptions;
use crate::desired::Desired;
use crate::observed::Container;

/// The condition of an Instance that says which options the engine keeps otherwise than it was asked: they differed from the very
/// first look at the new container, so no other container would be better.
pub const CONDITION_ENGINE_DIFFERS: &str = "EngineDiffers";

/// What of a container can change after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    Network,
    Limits,
    Mounts,
    Ports,
    RestartPolicy,
}

impl Aspect {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Limits => "limits",
            Self::Mounts => "mounts",
            Self::Ports => "ports",
            Self::RestartPolicy => "restart policy",
        }
    }
}

/// The label's value: the digest, and after it short digests of the parts. Only the first decides; the others are for words, so that a
/// part added by a later version recreates nothing.
pub(crate) fn digest_label(options: &ContainerOptions) -> String {
    let parts = options
        .part_digests()
        .into_iter()
        .map(|(part, digest)| format!("{part}={digest}"));
    std::iter::once(options.digest())
        .chain(parts)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether the container was made from exactly this.
pub(crate) fn is_declared(container: &Container, desired: &Desired) -> bool {
    let digest = |labels: &BTreeMap<String, String>| {
        labels
            .get(names::LABEL_SPEC_DIGEST)
            .map(|label| head(label).to_owned())
    };
    let found = digest(&container.labels);
    found.is_some() && found == digest(&desired.container.labels)
}

/// What changed since the container was made, for users; none when nothing did.
pub(crate) fn declaration_change(
    container: &Container,
    desired: &Desired,
    revision: &str,
) -> Option<String> {
    if is_declared(container, desired) {
        return None;
    }
    let parts = |labels: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let label = labels
            .get(names::LABEL_SPEC_DIGEST)
            .map_or("", String::as_str);
        let pairs = label.split(' ').filter_map(|part| part.split_once('='));
        pairs
            .map(|(part, digest)| (part.to_owned(), digest.to_owned()))
            .collect()
    };
    let (before, after) = (parts(&container.labels), parts(&desired.container.labels));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<&str> = all
        .into_iter()
        .filter(|part| before.get(*part) != after.get(*part))
        .map(String::as_str)
        .collect();
    let same_revision = container
        .labels
        .get(names::LABEL_REVISION)
        .is_some_and(|label| label == revision);
    Some(match changed.as_slice() {
        _ if before.is_empty() => "the declaration changed".to_owned(),
        [] => "the declaration changed".to_owned(),
        ["env"] if same_revision => {
            "a value it takes from a Secret or ConfigMap changed".to_owned()
        }
        changed => format!("the declaration changed: {}", changed.join(", ")),
    })
}

/// What somebody changed behind our back, without what the engine keeps otherwise by itself.
pub(crate) fn live_changes(
    container: &Container,
    desired: &Desired,
    tolerated: &BTreeSet<String>,
) -> Vec<Aspect> {
    let (live, wanted) = (&container.live, &desired.container);
    let attached = live
        .networks
        .get(&wanted.network)
        .is_some_and(|aliases| aliases.is_superset(&wanted.aliases));
    let differences = [
        (Aspect::Network, !attached),
        (Aspect::Limits, live.limits != wanted.limits),
        (Aspect::Mounts, live.mounts != wanted.mounts),
        (Aspect::Ports, live.ports != wanted.ports),
        (
            Aspect::RestartPolicy,
            !matches!(live.restart_policy.as_str(), "" | "no"),
        ),
    ];
    let found = differences
        .into_iter()
        .filter(|(aspect, differs)| *differs && !tolerated.contains(aspect.words()));
    found.map(|(aspect, _)| aspect).collect()
}

/// What the engine is known to keep otherwise for this container.
pub(crate) fn tolerated(
    status: Option<&InstanceStatus>,
    container: &Container,
) -> BTreeSet<String> {
    let status =
        status.filter(|status| status.container_id.as_deref() == Some(container.id.as_str()));
    let condition = status.and_then(|status| engine_differs(&status.conditions));
    condition
        .map(|condition| condition.message.split(", ").map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The condition that says what the engine keeps otherwise.
pub(crate) fn engine_differs(conditions: &[Condition]) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == CONDITION_ENGINE_DIFFERS && condition.status == "True")
}

/// Words joined for a sentence or the condition's message.
pub(crate) fn words(aspects: &[Aspect]) -> String {
    aspects
        .iter()
        .map(|aspect| aspect.words())
        .collect::<Vec<_>>()
        .join(", ")
}

fn head(label: &str) -> &str {
    label.split(' ').next().unwrap_or_default()
}
