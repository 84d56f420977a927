//! Who holds a port of the host, a container or a process, and when two clash.

use clos_plan::container::PortOptions;
use clos_plan::observed::ContainerState;

use super::{Inhabitant, World, short};
use crate::error::Error;

impl World {
    pub(in crate::fake) fn publishers(&self, port: u16) -> Vec<String> {
        let containers = self.containers.values().filter(|container| {
            holds_ports(&container.shown.state)
                && container
                    .shown
                    .live
                    .ports
                    .iter()
                    .any(|published| published.host_port == port)
        });
        let processes = self
            .listeners
            .iter()
            .filter(|((_, number), _)| *number == port);
        containers
            .map(|container| {
                format!(
                    "container {} ({})",
                    container.shown.name,
                    short(&container.shown.id)
                )
            })
            .chain(processes.map(|(_, process)| format!("process {process}")))
            .collect()
    }

    pub(super) fn port_clash(&self, id: &str) -> Option<Error> {
        let container = self.containers.get(id)?;
        for port in &container.shown.live.ports {
            let PortOptions {
                protocol,
                host_ip,
                host_port,
                ..
            } = port;
            let held =
                |other: &Inhabitant| other.shown.live.ports.iter().any(|held| clash(held, port));
            let taken = |message: String| Error::PortTaken {
                message,
                port: Some(*host_port),
            };
            let of_docker = "driver failed programming external connectivity on endpoint";
            if self
                .containers
                .values()
                .any(|other| other.shown.id != id && holds_ports(&other.shown.state) && held(other))
            {
                return Some(taken(format!(
                    "{of_docker} {} ({}): Bind for {host_ip}:{host_port} failed: port is already allocated",
                    container.shown.name, id
                )));
            }
            if self.listeners.contains_key(&(*protocol, *host_port)) {
                return Some(taken(format!(
                    "{of_docker} {} ({}): Error starting userland proxy: listen {}4 {host_ip}:{host_port}: bind: address already in use",
                    container.shown.name,
                    id,
                    protocol.as_str()
                )));
            }
        }
        None
    }
}

pub(super) fn holds_ports(state: &ContainerState) -> bool {
    match state {
        ContainerState::Running { .. }
        | ContainerState::Paused { .. }
        | ContainerState::Restarting => true,
        ContainerState::Created
        | ContainerState::Exited { .. }
        | ContainerState::Removing
        | ContainerState::Dead => false,
    }
}

fn clash(a: &PortOptions, b: &PortOptions) -> bool {
    let anywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
    a.protocol == b.protocol
        && a.host_port == b.host_port
        && (a.host_ip == b.host_ip || anywhere(&a.host_ip) || anywhere(&b.host_ip))
}
