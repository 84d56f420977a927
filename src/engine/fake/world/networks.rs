//! Making and removing networks. Which container is in which is the container's own.

use std::collections::BTreeMap;

use clos_plan::container::NetworkOptions;
use clos_plan::observed::Network;
use clos_resources::names;

use super::ports::holds_ports;
use super::{Inhabitant, World, short};
use crate::error::Error;

impl World {
    pub(in crate::fake) fn create_network(
        &mut self,
        options: &NetworkOptions,
    ) -> Result<(), Error> {
        let installation =
            |labels: &BTreeMap<String, String>| labels.get(names::LABEL_INSTALLATION).cloned();
        let there: Vec<&Network> = self
            .networks
            .iter()
            .filter(|network| network.name == options.name)
            .collect();
        if there
            .iter()
            .any(|network| installation(&network.labels) == installation(&options.labels))
        {
            return Ok(());
        }
        if let Some(foreign) = there.first() {
            return Err(Error::Refused(format!(
                "network {} ({}) exists and was not made by this installation of clos; remove or rename it",
                foreign.name,
                short(&foreign.id)
            )));
        }
        self.add_network(options);
        Ok(())
    }

    /// As the engine does it, which allows several of one name.
    pub(in crate::fake) fn add_network(&mut self, options: &NetworkOptions) -> String {
        let id = self.next_id();
        self.networks.push(Network {
            id: id.clone(),
            name: options.name.clone(),
            labels: options.labels.clone(),
        });
        id
    }

    pub(in crate::fake) fn remove_network(&mut self, id: &str) -> Result<(), Error> {
        let Some(index) = self.networks.iter().position(|network| network.id == id) else {
            return Ok(());
        };
        let name = &self.networks[index].name;
        let attached = |container: &&Inhabitant| {
            container.shown.live.networks.contains_key(name) && holds_ports(&container.shown.state)
        };
        if self
            .containers
            .values()
            .any(|container| attached(&container))
        {
            return Err(Error::Failed(format!(
                "error while removing network: network {name} id {id} has active endpoints"
            )));
        }
        self.networks.remove(index);
        Ok(())
    }
}
