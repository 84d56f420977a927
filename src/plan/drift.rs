//! In what a container of ours differs from what is declared, and how to say it. What to do about it is not here.

use std::collections::{BTreeMap, BTreeSet};

use clos_resources::instance::InstanceStatus;
use clos_resources::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::container::ContainerOptions;
use crate::desired::Desired;
use crate::observed::Container;

/// The condition of an Instance that says which options the engine keeps otherwise than it was asked. `Unknown` when they differed from the very
/// first look at a new container, `True` when they did so for two containers in a row, so that no other container would be better.
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
pub(crate) fn digest_label(digest: &str, options: &ContainerOptions) -> String {
    let mut label = digest.to_owned();
    for (part, digest) in options.part_digests() {
        label.extend([" ", part, "=", &digest]);
    }
    label
}

/// Whether the container is as declared: made from exactly this, or from older values while the Instance waits for its turn to take the
/// newer ones.
pub(crate) fn is_declared(container: &Container, desired: &Desired<'_>) -> bool {
    let label = container.labels.get(names::LABEL_SPEC_DIGEST);
    label.is_some_and(|label| head(label) == desired.digest)
        || (desired.awaits_its_turn && only_values_differ(container, desired))
}

/// Whether the container was made from the same declaration with other values.
fn only_values_differ(container: &Container, desired: &Desired<'_>) -> bool {
    has_revision(container, desired.revision()) && changed_parts(container, desired) == ["env"]
}

fn has_revision(container: &Container, revision: &str) -> bool {
    container
        .labels
        .get(names::LABEL_REVISION)
        .is_some_and(|label| label == revision)
}

/// What changed since the container was made, for users; none when nothing did.
pub(crate) fn declaration_change(container: &Container, desired: &Desired<'_>) -> Option<String> {
    if is_declared(container, desired) {
        return None;
    }
    Some(match changed_parts(container, desired).as_slice() {
        [] => "the declaration changed".to_owned(),
        ["env"] if has_revision(container, desired.revision()) => {
            "a value it takes from a Secret or ConfigMap changed".to_owned()
        }
        changed => format!("the declaration changed: {}", changed.join(", ")),
    })
}

/// The parts that are not as when the container was made; none when it was not noted how they were.
fn changed_parts<'c>(container: &'c Container, desired: &Desired<'_>) -> Vec<&'c str> {
    let label = container.labels.get(names::LABEL_SPEC_DIGEST);
    let label = label.map_or("", String::as_str);
    let before: BTreeMap<&str, &str> = label
        .split(' ')
        .filter_map(|part| part.split_once('='))
        .collect();
    if before.is_empty() {
        return Vec::new();
    }
    let after = desired.options().part_digests();
    let all: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    all.into_iter()
        .filter(|part| before.get(part).copied() != after.get(part).map(String::as_str))
        .collect()
}

/// What somebody changed behind our back, without what the engine keeps otherwise by itself.
pub(crate) fn live_changes(
    container: &Container,
    desired: &Desired<'_>,
    tolerated: &BTreeSet<String>,
) -> Vec<Aspect> {
    let (live, wanted) = (&container.live, desired.options());
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
    let condition = status.and_then(|status| difference(&status.conditions));
    condition
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.message.split(", ").map(str::to_owned).collect())
        .unwrap_or_default()
}

/// The condition that says what differed from the first look on.
pub(crate) fn difference(conditions: &[Condition]) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == CONDITION_ENGINE_DIFFERS)
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
