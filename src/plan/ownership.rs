//! Which of the containers, networks and volumes that the engine shows are ours. Names prove nothing; what is not ours is named when it is in the way,
//! and never changed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clos_resources::names;

use crate::desired::{self, Desired};
use crate::drift;
use crate::instance::InstanceInput;
use crate::observed::{Container, ContainerState, Network, Observed, Volume};

/// The containers the engine shows, sorted by what they are to one Instance.
pub(crate) struct Sorted<'a> {
    /// The one to keep.
    pub(crate) kept: Option<&'a Container>,
    /// Others of ours, by id.
    pub(crate) surplus: Vec<&'a Container>,
    /// Ours, and the engine is removing them.
    pub(crate) leaving: Vec<&'a Container>,
    /// Not ours, with the name that ours has or would get.
    pub(crate) in_the_way: Vec<&'a Container>,
    /// Not ours, with labels that say so.
    pub(crate) pretenders: Vec<&'a Container>,
}

impl<'a> Sorted<'a> {
    pub(crate) fn of(input: &InstanceInput<'_>, observed: &'a Observed) -> Self {
        let name = desired::container_name(input.instance);
        let recorded = input
            .instance
            .status
            .as_ref()
            .and_then(|status| status.container_id.as_deref());
        let mut sorted = Self {
            kept: None,
            surplus: Vec::new(),
            leaving: Vec::new(),
            in_the_way: Vec::new(),
            pretenders: Vec::new(),
        };
        for container in observed.containers.values() {
            let labelled = has_labels(container, input.installation, desired::uid(input.instance));
            // Labels can be copied. A container of ours has the name it was made with, or was recorded before somebody renamed it.
            if labelled && (container.name == name || recorded == Some(container.id.as_str())) {
                match container.state {
                    ContainerState::Removing => sorted.leaving.push(container),
                    ContainerState::Created
                    | ContainerState::Running { .. }
                    | ContainerState::Paused { .. }
                    | ContainerState::Restarting
                    | ContainerState::Exited { .. }
                    | ContainerState::Dead => sorted.surplus.push(container),
                }
            } else if container.name == name {
                sorted.in_the_way.push(container);
            } else if labelled {
                sorted.pretenders.push(container);
            }
        }
        let desired = input.desired.as_ref().ok();
        let best = (0..sorted.surplus.len())
            .max_by_key(|&index| Reverse(rank(sorted.surplus[index], desired)));
        sorted.kept = best.map(|index| sorted.surplus.remove(index));
        sorted
    }

    /// Whether nothing of ours is left.
    pub(crate) fn nothing_left(&self) -> bool {
        self.kept.is_none() && self.surplus.is_empty() && self.leaving.is_empty()
    }
}

/// The smallest is kept: made from what is declared, running, oldest.
fn rank<'c>(
    container: &'c Container,
    desired: Option<&Desired>,
) -> (bool, bool, jiff::Timestamp, &'c str) {
    let outdated = desired.is_some_and(|desired| !drift::is_declared(container, desired));
    (
        outdated,
        !runs(container),
        container.created_at,
        &container.id,
    )
}

/// Whether the container has processes.
pub(crate) fn runs(container: &Container) -> bool {
    match container.state {
        ContainerState::Running { .. }
        | ContainerState::Paused { .. }
        | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Exited { .. }
        | ContainerState::Removing
        | ContainerState::Dead => false,
    }
}

/// The first digits of an id, as people know them from the engine's tables.
pub(crate) fn short_id(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

/// Whether a network was made by this installation for this group.
pub(crate) fn is_our_network(
    network: &Network,
    installation: &str,
    namespace: &str,
    group: &str,
) -> bool {
    let is = |key: &str, value: &str| {
        !value.is_empty() && network.labels.get(key).is_some_and(|label| label == value)
    };
    is(names::LABEL_INSTALLATION, installation)
        && is(names::LABEL_NAMESPACE, namespace)
        && is(names::LABEL_GROUP, group)
}

/// Why no container can be attached to a network of the wanted name, if so.
pub(crate) fn network_in_the_way(
    networks: &[Network],
    input: &InstanceInput<'_>,
) -> Option<String> {
    let name = desired::network_name(input.instance);
    let foreign = networks
        .iter()
        .filter(|network| !is_network_of(network, input))
        .min_by_key(|network| &network.id)?;
    Some(format!(
        "a network named {name} exists and was not made by this clos (id {}); remove it with: docker network rm {}",
        short_id(&foreign.id),
        short_id(&foreign.id)
    ))
}

/// Networks of ours but the oldest: an engine that took a request for a network long after it was given up made them, and cannot attach
/// containers by the name any more. Nothing is in them.
pub(crate) fn surplus_networks<'a>(
    networks: &'a [Network],
    input: &InstanceInput<'_>,
) -> Vec<&'a Network> {
    let ours = networks
        .iter()
        .filter(|network| is_network_of(network, input));
    ours.skip(1).collect()
}

fn is_network_of(network: &Network, input: &InstanceInput<'_>) -> bool {
    is_our_network(
        network,
        input.installation,
        desired::namespace(input.instance),
        &input.instance.spec.group,
    )
}

/// Why a volume must not be mounted, if so. Data outlives installations, so labels do not count; but a volume with another driver or with options can be
/// any folder of the host or a share of another one.
pub(crate) fn volume_in_the_way(
    volumes: &BTreeMap<String, Volume>,
    desired: &Desired,
) -> Option<String> {
    let wanted = desired.volumes().into_iter();
    let wanted = wanted.filter_map(|volume| volumes.get(&volume.name));
    let foreign = wanted
        .filter(|volume| volume.driver != "local" || !volume.options.is_empty())
        .min_by_key(|volume| &volume.name)?;
    let what = if foreign.driver == "local" {
        let options: Vec<&str> = foreign.options.keys().map(String::as_str).collect();
        format!("options ({})", options.join(", "))
    } else {
        format!("the driver {}", foreign.driver)
    };
    Some(format!(
        "volume {} exists with {what}, and clos mounts plain local volumes only; remove it, or mount a volume of another name",
        foreign.name
    ))
}

fn has_labels(container: &Container, installation: &str, uid: &str) -> bool {
    let is = |key: &str, value: &str| {
        !value.is_empty()
            && container
                .labels
                .get(key)
                .is_some_and(|label| label == value)
    };
    is(names::LABEL_INSTALLATION, installation) && is(names::LABEL_INSTANCE_UID, uid)
}
