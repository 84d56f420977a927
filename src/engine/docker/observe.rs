//! Looking at what is on the host: an instance's things together, every container and network of ours, who holds a port. What the
//! engine's answers mean is in `inspect`.

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListNetworksOptions,
};
use clos_plan::observed::{Container, Image, Network, Observed, Volume};
use clos_resources::names;
use futures::future;

use super::failure::Call;
use super::{DockerEngine, found, inspect, listeners, reference};
use crate::engine::{Listed, Scope};
use crate::error::Error;

impl DockerEngine {
    pub(super) async fn look(&self, scope: &Scope) -> Result<Observed, Error> {
        let volumes = future::try_join_all(scope.volumes.iter().map(|name| self.volume(name)));
        let (by_name, by_label, networks, volumes, image) = future::try_join5(
            self.inspect(&scope.container_name),
            self.ids_of_instance(&scope.instance_uid),
            self.networks_named(&scope.network_name),
            volumes,
            self.image(scope.image.as_deref()),
        )
        .await?;
        // The engine takes the beginning of an id for a name, too.
        let by_name = by_name
            .map(inspect::container)
            .filter(|container| container.name == scope.container_name);
        let others = by_label.iter().filter(|id| {
            by_name
                .as_ref()
                .is_none_or(|container| container.id != **id)
        });
        let others = future::try_join_all(others.map(|id| self.inspect(id))).await?;
        let mut containers: Vec<Container> = others
            .into_iter()
            .flatten()
            .map(inspect::container)
            .chain(by_name)
            .collect();
        future::join_all(
            containers
                .iter_mut()
                .map(|container| self.ends.settle(container)),
        )
        .await;
        Ok(Observed {
            containers: containers
                .into_iter()
                .map(|container| (container.id.clone(), container))
                .collect(),
            networks,
            volumes: volumes
                .into_iter()
                .flatten()
                .map(|volume| (volume.name.clone(), volume))
                .collect(),
            image,
            ..Observed::default()
        })
    }

    pub(super) async fn list_ours(&self) -> Result<Vec<Listed>, Error> {
        let options = containers(true, Some(("label", names::LABEL_INSTALLATION.to_owned())));
        let listed = self
            .ask(Call::new("list containers"), |client| async move {
                client.list_containers(Some(options)).await
            })
            .await?;
        let mut listed: Vec<Listed> = listed.into_iter().map(inspect::listed).collect();
        listed.sort();
        Ok(listed)
    }

    pub(super) async fn networks_ours(&self) -> Result<Vec<Network>, Error> {
        self.networks_where(("label", names::LABEL_INSTALLATION.to_owned()))
            .await
    }

    pub(super) async fn who_publishes(&self, port: u16) -> Result<Vec<String>, Error> {
        let options = containers(false, None);
        let listed = self
            .ask(Call::new("list containers"), |client| async move {
                client.list_containers(Some(options)).await
            })
            .await?;
        let publish = listed.into_iter().filter(|container| {
            let ports = container.ports.iter().flatten();
            ports
                .into_iter()
                .any(|published| published.public_port == Some(port))
        });
        let mut found: Vec<String> = publish
            .map(|container| {
                let name = container
                    .names
                    .into_iter()
                    .flatten()
                    .next()
                    .unwrap_or_default();
                let id = container.id.unwrap_or_default();
                format!(
                    "container {} ({})",
                    name.trim_start_matches('/'),
                    id.get(..12).unwrap_or(&id)
                )
            })
            .collect();
        // Behind a container's port are processes of the engine's own: they say nothing more.
        if found.is_empty() {
            found = listeners::of_port(port).await;
        }
        Ok(found)
    }

    pub(super) async fn inspect(
        &self,
        id: &str,
    ) -> Result<Option<ContainerInspectResponse>, Error> {
        let call = Call::new(format!("inspect container {id}"));
        let asked = self.ask(call, |client| async move {
            client
                .inspect_container(id, None::<InspectContainerOptions>)
                .await
        });
        found(asked.await)
    }

    pub(super) async fn networks_named(&self, name: &str) -> Result<Vec<Network>, Error> {
        // The engine's filter finds parts of names, too.
        let mut networks = self.networks_where(("name", name.to_owned())).await?;
        networks.retain(|network| network.name == name);
        Ok(networks)
    }

    pub(super) async fn volume(&self, name: &str) -> Result<Option<Volume>, Error> {
        let call = Call::new(format!("inspect volume {name}"));
        let asked = self.ask(
            call,
            |client| async move { client.inspect_volume(name).await },
        );
        Ok(found(asked.await)?.map(inspect::volume))
    }

    async fn image(&self, name: Option<&str>) -> Result<Option<Image>, Error> {
        // The client puts the name into the request as it is: what is no name must not become another request.
        let Some(name) = name.filter(|name| reference::is_plain(name)) else {
            return Ok(None);
        };
        let call = Call::new(format!("inspect image {name}"));
        let asked = self.ask(
            call,
            |client| async move { client.inspect_image(name).await },
        );
        match found(asked.await) {
            // A name that the engine does not take is one of no image; pulling it says what is wrong with it.
            Err(Error::Refused(_)) => Ok(None),
            other => Ok(other?.map(inspect::image)),
        }
    }

    async fn ids_of_instance(&self, uid: &str) -> Result<Vec<String>, Error> {
        let label = format!("{}={uid}", names::LABEL_INSTANCE_UID);
        let options = containers(true, Some(("label", label)));
        let listed = self
            .ask(Call::new("list containers"), |client| async move {
                client.list_containers(Some(options)).await
            })
            .await?;
        Ok(listed
            .into_iter()
            .filter_map(|container| container.id)
            .collect())
    }

    async fn networks_where(&self, filter: (&str, String)) -> Result<Vec<Network>, Error> {
        let options = ListNetworksOptions {
            filters: Some(
                [(filter.0.to_owned(), vec![filter.1])]
                    .into_iter()
                    .collect(),
            ),
        };
        let listed = self
            .ask(Call::new("list networks"), |client| async move {
                client.list_networks(Some(options)).await
            })
            .await?;
        Ok(inspect::networks(listed))
    }
}

fn containers(all: bool, filter: Option<(&str, String)>) -> ListContainersOptions {
    ListContainersOptions {
        all,
        limit: None,
        size: false,
        filters: filter.map(|(key, value)| [(key.to_owned(), vec![value])].into_iter().collect()),
    }
}
