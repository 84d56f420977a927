//! Docker, over its socket. Every call has a deadline of its own here, and every answer is turned into what planning knows; nothing is
//! decided.
//!
//! In reading order: [`DockerEngine`]; `spec` is what the engine is sent, `inspect` what it shows, `failure` what its errors mean, all pure;
//! `pull`, `events` and `logs` are its streams; `volumes` removes one when a person asks; `listeners` finds the process of the host that holds a port.

mod events;
mod failure;
mod inspect;
mod listeners;
mod logs;
mod pull;
mod spec;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, ListContainersOptions, ListNetworksOptions,
    RemoveContainerOptions, StopContainerOptions,
};
use clos_plan::action::{EngineAction, Target};
use clos_plan::container::{ContainerOptions, NetworkOptions};
use clos_plan::observed::{Image, Network, Observed, Volume};
use clos_resources::host::{Capacity, EngineInfo};
use clos_resources::names;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;
use tokio::sync::Mutex;

pub use self::volumes::VolumeRemoval;

use self::events::Pace;
use self::failure::Call;
use crate::engine::{Done, Engine, Info, Listed, Progress, Scope};
use crate::error::Error;
use crate::events::EngineEvent;
use crate::logs::{LogLine, LogOptions};

/// The oldest API that clos speaks: the one of Docker 20.10.
const OLDEST_API: (u32, u32) = (1, 41);

/// A Docker Engine behind a unix socket. Nothing is kept open between calls: an engine that was restarted is simply asked again. Clones
/// speak to the same engine.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    address: String,
    /// Held while a network is made: older engines make several of one name without a word.
    making_network: Arc<Mutex<()>>,
}

impl DockerEngine {
    /// Names the engine at an address as `DOCKER_HOST` has it: `unix:///var/run/docker.sock`. Asks it nothing yet. An address of another
    /// kind is [`Error::Refused`].
    pub fn connect(address: &str) -> Result<Self, Error> {
        match address.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self {
                address: address.to_owned(),
                making_network: Arc::default(),
            }),
            Some(_) => Err(Error::Refused(format!(
                "{address:?} is no address of a container engine: the socket's path must be absolute, as in unix:///var/run/docker.sock"
            ))),
            None => Err(Error::Refused(format!(
                "{address:?} is no address of a container engine that clos can use: give a unix socket, as in unix:///var/run/docker.sock"
            ))),
        }
    }

    /// A client for one call. It keeps no connection anyway, and a socket that does not exist yet is no reason to fail for good.
    fn client(&self, call: &Call) -> Result<Docker, Error> {
        /// The client's own timeout must never end a call: each has a deadline here.
        const NO_TIMEOUT: u64 = 365 * 24 * 3600;
        Docker::connect_with_unix(&self.address, NO_TIMEOUT, bollard::API_DEFAULT_VERSION)
            .map_err(|error| call.failed(&self.address, &error))
    }

    /// One call within its deadline.
    async fn ask<T, F>(&self, call: Call, ask: impl FnOnce(Docker) -> F + Send) -> Result<T, Error>
    where
        F: Future<Output = Result<T, ClientError>> + Send,
    {
        let client = self.client(&call)?;
        match tokio::time::timeout(call.deadline, ask(client)).await {
            Err(_) => Err(call.late()),
            Ok(Err(error)) => Err(call.failed(&self.address, &error)),
            Ok(Ok(value)) => Ok(value),
        }
    }

    async fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>, Error> {
        let call = Call::new(format!("inspect container {id}"));
        let asked = self.ask(call, |client| async move {
            client
                .inspect_container(id, None::<InspectContainerOptions>)
                .await
        });
        found(asked.await)
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
        Ok(listed.into_iter().map(inspect::network).collect())
    }

    async fn networks_named(&self, name: &str) -> Result<Vec<Network>, Error> {
        // The engine's filter finds parts of names, too.
        let mut networks = self.networks_where(("name", name.to_owned())).await?;
        networks.retain(|network| network.name == name);
        networks.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(networks)
    }

    async fn volume(&self, name: &str) -> Result<Option<Volume>, Error> {
        let call = Call::new(format!("inspect volume {name}"));
        let asked = self.ask(
            call,
            |client| async move { client.inspect_volume(name).await },
        );
        Ok(found(asked.await)?.map(inspect::volume))
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, Error> {
        let call = Call::new(format!("inspect image {name}"));
        let asked = self.ask(
            call,
            |client| async move { client.inspect_image(name).await },
        );
        Ok(found(asked.await)?.map(inspect::image))
    }

    async fn look(&self, scope: &Scope) -> Result<Observed, Error> {
        let volumes = future::try_join_all(scope.volumes.iter().map(|name| self.volume(name)));
        let (by_name, by_label, networks, volumes, image) = future::try_join5(
            self.inspect(&scope.container_name),
            self.ids_of_instance(&scope.instance_uid),
            self.networks_named(&scope.network_name),
            volumes,
            self.image(&scope.image),
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
        let containers = others
            .into_iter()
            .flatten()
            .map(inspect::container)
            .chain(by_name);
        Ok(Observed {
            containers: containers
                .map(|container| (container.id.clone(), container))
                .collect(),
            networks,
            volumes: volumes
                .into_iter()
                .flatten()
                .map(|volume| (volume.name.clone(), volume))
                .collect(),
            image,
        })
    }

    async fn what_it_is(&self) -> Result<Info, Error> {
        let version = self
            .ask(Call::new("version"), |client| async move {
                client.version().await
            })
            .await?;
        let api_version = version.api_version.unwrap_or_default();
        if !speaks(&api_version) {
            let (major, minor) = OLDEST_API;
            return Err(Error::TooOld {
                found: api_version,
                needed: format!("{major}.{minor}"),
            });
        }
        let info = self
            .ask(
                Call::new("info"),
                |client| async move { client.info().await },
            )
            .await?;
        // Numbers are quantities.
        let quantity = |number: i64| {
            number
                .max(0)
                .to_string()
                .parse()
                .map_err(|error| Error::Failed(format!("{number}: {error}")))
        };
        Ok(Info {
            engine: EngineInfo {
                name: version.platform.map_or_else(
                    || "Docker".to_owned(),
                    |platform| engine_name(&platform.name),
                ),
                version: version.version.unwrap_or_default(),
                api_version,
                architecture: version.arch.unwrap_or_default(),
                operating_system: version.os.unwrap_or_default(),
            },
            capacity: Capacity {
                cpu: quantity(info.ncpu.unwrap_or_default())?,
                memory: quantity(info.mem_total.unwrap_or_default())?,
            },
            hostname: info.name.unwrap_or_default(),
        })
    }

    async fn carry_out(
        &self,
        action: &EngineAction,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, Error> {
        let call = Call::new(action.to_string());
        match action {
            EngineAction::PullImage { image } => pull::pull(self, image, progress).await?,
            EngineAction::CreateNetwork(options) => self.create_network(call, options).await?,
            EngineAction::RemoveNetwork { id, .. } => {
                gone_is_fine(
                    self.ask(
                        call,
                        |client| async move { client.remove_network(id).await },
                    )
                    .await,
                )?;
            }
            EngineAction::CreateVolume(options) => {
                let body = spec::volume(options);
                self.ask(
                    call,
                    |client| async move { client.create_volume(body).await },
                )
                .await?;
            }
            EngineAction::CreateContainer(options) => {
                return self.create_container(call, options).await;
            }
            EngineAction::StartContainer { container } => {
                let id = existing(container)?;
                self.ask(call, |client| async move {
                    client.start_container(id, None).await
                })
                .await?;
            }
            EngineAction::StopContainer { container, grace } => {
                self.stop(call, existing(container)?, *grace).await?;
            }
            EngineAction::UnpauseContainer { container } => {
                let id = existing(container)?;
                let asked = self
                    .ask(
                        call,
                        |client| async move { client.unpause_container(id).await },
                    )
                    .await;
                there_already(asked, "is not paused")?;
            }
            EngineAction::RemoveContainer { container } => {
                let id = existing(container)?;
                // Anonymous volumes only: the engine keeps named ones, I11.
                let options = RemoveContainerOptions {
                    v: true,
                    force: false,
                    link: false,
                };
                let asked = self
                    .ask(call, |client| async move {
                        client.remove_container(id, Some(options)).await
                    })
                    .await;
                there_already(gone_is_fine(asked), "is already in progress")?;
            }
        }
        Ok(Done::Nothing)
    }

    async fn create_network(&self, call: Call, options: &NetworkOptions) -> Result<(), Error> {
        let _alone = self.making_network.lock().await;
        let there = self.networks_named(&options.name).await?;
        let installation =
            |labels: &BTreeMap<String, String>| labels.get(names::LABEL_INSTALLATION).cloned();
        if there
            .iter()
            .any(|network| installation(&network.labels) == installation(&options.labels))
        {
            return Ok(());
        }
        if let Some(foreign) = there.first() {
            return Err(Error::Refused(foreign_network(foreign)));
        }
        let body = spec::network(options);
        self.ask(
            call,
            |client| async move { client.create_network(body).await },
        )
        .await
        .map(drop)
    }

    async fn create_container(
        &self,
        call: Call,
        options: &ContainerOptions,
    ) -> Result<Done, Error> {
        let body = spec::container(options);
        let name = CreateContainerOptions {
            name: Some(options.name.clone()),
            ..CreateContainerOptions::default()
        };
        let made = self
            .ask(call, |client| async move {
                client.create_container(Some(name), body).await
            })
            .await?;
        Ok(Done::Container(made.id))
    }

    async fn stop(&self, call: Call, id: &str, grace: Duration) -> Result<(), Error> {
        let seconds = spec::whole_seconds(grace);
        let options = StopContainerOptions {
            signal: None,
            t: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
        };
        let call = Call::within(call.words, Call::DEADLINE.saturating_add(grace));
        gone_is_fine(
            self.ask(call, |client| async move {
                client.stop_container(id, Some(options)).await
            })
            .await,
        )
    }

    async fn who_publishes(&self, port: u16) -> Result<Vec<String>, Error> {
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
}

impl Engine for DockerEngine {
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>> {
        Box::pin(self.what_it_is())
    }

    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(self.look(scope))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(async move {
            let options = containers(true, Some(("label", names::LABEL_INSTALLATION.to_owned())));
            let listed = self
                .ask(Call::new("list containers"), |client| async move {
                    client.list_containers(Some(options)).await
                })
                .await?;
            let mut listed: Vec<Listed> = listed.into_iter().map(inspect::listed).collect();
            listed.sort();
            Ok(listed)
        })
    }

    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>> {
        Box::pin(self.carry_out(action, progress))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        events::follow(self.clone(), Pace::default())
    }

    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        logs::read(self.clone(), container.to_owned(), options)
    }

    fn networks(&self) -> BoxFuture<'_, Result<Vec<Network>, Error>> {
        Box::pin(self.networks_where(("label", names::LABEL_INSTALLATION.to_owned())))
    }

    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(self.who_publishes(port))
    }
}

fn existing(target: &Target) -> Result<&str, Error> {
    match target {
        Target::Existing { id, .. } => Ok(id),
        Target::MadeBy { name, .. } => {
            Err(Error::Refused(format!("container {name} was not made yet")))
        }
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

fn found<T>(asked: Result<T, Error>) -> Result<Option<T>, Error> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn gone_is_fine(asked: Result<(), Error>) -> Result<(), Error> {
    found(asked).map(|_| ())
}

fn foreign_network(network: &Network) -> String {
    let Network { id, name, .. } = network;
    format!(
        "network {name} ({}) exists and was not made by this installation of clos; remove or rename it",
        id.get(..12).unwrap_or(id)
    )
}

/// A refusal with these words says that the effect is there.
fn there_already(asked: Result<(), Error>, words: &str) -> Result<(), Error> {
    match asked {
        Err(Error::Refused(message) | Error::Failed(message)) if message.contains(words) => Ok(()),
        other => other,
    }
}

/// `Docker Engine - Community` is Docker, as are the distributions' builds, which leave the name out.
fn engine_name(platform: &str) -> String {
    if platform.is_empty() || platform.starts_with("Docker") {
        "Docker".to_owned()
    } else {
        platform.to_owned()
    }
}

fn speaks(api_version: &str) -> bool {
    let number = |part: Option<&str>| part.and_then(|part| part.parse::<u32>().ok());
    let mut parts = api_version.split('.');
    match (number(parts.next()), number(parts.next())) {
        (Some(major), Some(minor)) => (major, minor) >= OLDEST_API,
        _ => false,
    }
}
