//! Host ports of one Instance: which it holds, which it must claim, which somebody else has. A port has one holder: the Port object's name
//! is the lock.

use clos_resources::port::{PortHolder, PortSpec};
use clos_resources::{Instance, Port};

use crate::desired::uid;

/// The ports of one Instance, sorted by what to do about them.
pub(crate) struct Ports<'a> {
    /// Declared and held by nobody.
    pub(crate) unclaimed: Vec<&'a Port>,
    /// Declared and held by somebody else, in words.
    pub(crate) conflicts: Vec<String>,
    /// Held and not declared any more.
    pub(crate) superfluous: Vec<&'a Port>,
}

impl<'a> Ports<'a> {
    /// `claims` are the declared ones, `ports` all that exist under their names or are held by the Instance.
    pub(crate) fn of(instance: &Instance, claims: &'a [Port], ports: &'a [Port]) -> Self {
        let mut sorted = Self {
            unclaimed: Vec::new(),
            conflicts: Vec::new(),
            superfluous: held(instance, ports),
        };
        sorted.superfluous.retain(|port| {
            !claims
                .iter()
                .any(|claim| claim.metadata.name == port.metadata.name)
        });
        for claim in claims {
            match ports
                .iter()
                .find(|port| port.metadata.name == claim.metadata.name)
            {
                None => sorted.unclaimed.push(claim),
                Some(port) if is_held(instance, port) => {}
                Some(port) => sorted.conflicts.push(conflict(instance, &port.spec)),
            }
        }
        sorted
    }
}

/// The ports the Instance holds, in order of their names.
pub(crate) fn held<'a>(instance: &Instance, ports: &'a [Port]) -> Vec<&'a Port> {
    let mut held: Vec<&Port> = ports
        .iter()
        .filter(|port| is_held(instance, port))
        .collect();
    held.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    held
}

fn is_held(instance: &Instance, port: &Port) -> bool {
    let uid = uid(instance);
    !uid.is_empty()
        && port
            .spec
            .holder
            .as_ref()
            .is_some_and(|holder| holder.uid == uid)
}

fn conflict(instance: &Instance, port: &PortSpec) -> String {
    let which = format!(
        "port {}/{} of host {}",
        port.port,
        port.protocol.as_str(),
        port.host
    );
    let earlier = |holder: &PortHolder| {
        Some(&holder.namespace) == instance.metadata.namespace.as_ref()
            && Some(&holder.instance) == instance.metadata.name.as_ref()
    };
    match (&port.holder, &port.reserved_for) {
        (Some(holder), _) if earlier(holder) => {
            format!(
                "{which} is still held by an earlier {}; it comes free when that one's container is gone",
                holder.instance
            )
        }
        (Some(holder), _) => format!(
            "{which} is held by instance {}/{}; give one of the two another hostPort",
            holder.namespace, holder.instance
        ),
        (None, Some(purpose)) => {
            format!(
                "{which} is reserved for {purpose}; choose another hostPort, or delete the Port that reserves it"
            )
        }
        (None, None) => format!(
            "{which} is held, and the Port does not say by whom; choose another hostPort, or delete that Port"
        ),
    }
}
