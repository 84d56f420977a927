//! This run's corner of the engine: what is made there carries the run's label and is removed by it. Making the floor's containers is not
//! here.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::{
    EventsOptions, ListContainersOptions, ListNetworksOptions, RemoveContainerOptions,
    RemoveImageOptions, StartContainerOptions,
};
use clos_resources::names;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use tokio::process::Command;

use crate::second::script;
use crate::{between, now};

/// The image of all containers, made without a registry.
pub(crate) const IMAGE: &str = "clos-bench/busybox:1";

/// The label of everything a run makes; its value says which run.
pub(crate) const LABEL_RUN: &str = "clos-bench.run";

/// The label that says what a container was made by.
pub(crate) const LABEL_SIDE: &str = "clos-bench.side";

/// What every container runs: it does nothing, and it ends as soon as it is asked to, as if the signal had ended it.
pub(crate) const COMMAND: [&str; 3] = ["sh", "-c", "trap 'exit 143' TERM; sleep 100000 & wait"];

/// The longest wait for anything of which there are a few hundred.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// How many calls at a time where it is not what is measured.
const WIDE: usize = 8;

/// How often containers are removed until there are none.
const MOST_ATTEMPTS: u32 = 50;

/// What a container is made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Nothing but the engine's API.
    Raw,
    /// clos.
    Clos,
    /// Docker Swarm.
    Swarm,
}

/// One run's corner of the engine.
pub(crate) struct Engine {
    docker: Docker,
    address: String,
    run: String,
    /// How often everything was removed.
    cleared: AtomicU32,
}

/// Something that happened to a container.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// What, as the engine calls it.
    pub(crate) what: String,
    /// The container's id.
    pub(crate) id: String,
}

/// A container that runs.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// Its id.
    pub(crate) id: String,
    /// Its first process, as the host counts.
    pub(crate) pid: u32,
    /// Since when.
    pub(crate) started_at: Timestamp,
}

impl Side {
    /// The label's value.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Clos => "clos",
            Self::Swarm => "swarm",
        }
    }
}

impl Engine {
    /// The engine at this socket, which must be on this machine: its clock and its processes are looked at.
    pub(crate) async fn connect(address: &str) -> anyhow::Result<Self> {
        ensure!(
            address.starts_with("unix://") || address.starts_with('/'),
            "{address} is not on this machine: give the engine's socket, such as unix:///var/run/docker.sock"
        );
        let docker = Docker::connect_with_unix(address, 120, bollard::API_DEFAULT_VERSION)
            .with_context(|| format!("cannot use the engine at {address}"))?
            .negotiate_version()
            .await
            .with_context(|| format!("no engine answers at {address}; `make engine` starts one"))?;
        Ok(Self {
            docker,
            address: address.to_owned(),
            run: format!("{}-{}", std::process::id(), now().as_second()),
            cleared: AtomicU32::new(0),
        })
    }

    /// The engine's socket.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// For what only one measurement does.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The run's name, the value of [`LABEL_RUN`].
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// The namespace of the run's services.
    pub(crate) fn namespace(&self) -> String {
        format!("bench-{}", self.run)
    }

    /// A name of the run.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("clos-bench-{}_{name}", self.run)
    }

    /// Which engine it is.
    pub(crate) async fn version(&self) -> anyhow::Result<String> {
        let version = self
            .docker
            .version()
            .await
            .context("cannot ask for the engine's version")?;
        Ok(format!(
            "Docker {} (API {})",
            version.version.unwrap_or_default(),
            version.api_version.unwrap_or_default()
        ))
    }

    /// Makes the image.
    pub(crate) async fn provide_image(&self) -> anyhow::Result<()> {
        let script = script();
        let label = format!("LABEL {LABEL_RUN}={}", self.run);
        let status = Command::new(&script)
            .args(["image", IMAGE, "--change", &label])
            .env("DOCKER_HOST", &self.address)
            .stdin(Stdio::null())
            .status()
            .await
            .with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(status.success(), "{} cannot make {IMAGE}", script.display());
        Ok(())
    }

    /// Starts a container.
    pub(crate) async fn start(&self, id: &str) -> anyhow::Result<()> {
        match self
            .docker
            .start_container(id, None::<StartContainerOptions>)
            .await
        {
            // It runs already.
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 304, ..
            }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot start container {id}")),
        }
    }

    /// The running container of this name or id, or none.
    pub(crate) async fn running(&self, container: &str) -> anyhow::Result<Option<Running>> {
        let inspected = match self.docker.inspect_container(container, None).await {
            Ok(inspected) => inspected,
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => {
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot inspect container {container}"));
            }
        };
        let state = inspected.state.unwrap_or_default();
        if state.running != Some(true) {
            return Ok(None);
        }
        let started_at = state.started_at.unwrap_or_default();
        Ok(Some(Running {
            id: inspected.id.unwrap_or_default(),
            pid: state
                .pid
                .and_then(|pid| u32::try_from(pid).ok())
                .unwrap_or_default(),
            started_at: started_at
                .parse()
                .with_context(|| format!("{started_at:?} is no time"))?,
        }))
    }

    /// What happens to the run's containers of one side, from `since` on.
    pub(crate) fn events(
        &self,
        side: Side,
        since: Timestamp,
    ) -> BoxStream<'_, anyhow::Result<Event>> {
        let filters = [
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), self.labels(side)),
        ];
        let options = EventsOptions {
            since: Some(format!(
                "{}.{:09}",
                since.as_second(),
                since.subsec_nanosecond()
            )),
            filters: Some(filters.into_iter().collect()),
            ..EventsOptions::default()
        };
        let events = self.docker.events(Some(options));
        events
            .map(|event| {
                event
                    .context("the engine's events broke off")
                    .map(Event::from)
            })
            .boxed()
    }

    /// Waits until so many different containers of a side were started after `since`.
    pub(crate) async fn until_started(
        &self,
        side: Side,
        since: Timestamp,
        count: usize,
    ) -> anyhow::Result<()> {
        let mut events = self.events(side, since);
        let mut started = BTreeSet::new();
        let counting = async {
            while started.len() < count {
                match events.next().await {
                    Some(event) => {
                        let event = event?;
                        if event.what == "start" {
                            started.insert(event.id);
                        }
                    }
                    None => bail!("the engine's events ended"),
                }
            }
            Ok(())
        };
        let counted = tokio::time::timeout(PATIENCE, counting).await;
        counted.unwrap_or_else(|_| {
            Err(anyhow::anyhow!(
                "not all of {count} containers were started within {} s",
                PATIENCE.as_secs()
            ))
        })
    }

    /// From `since` until the last of so many containers of a side was started, by the engine's clock. All must run.
    pub(crate) async fn last_start(
        &self,
        side: Side,
        since: Timestamp,
        count: usize,
    ) -> anyhow::Result<Duration> {
        let ids = self.containers(self.labels(side)).await?;
        ensure!(
            ids.len() == count,
            "{} containers instead of {count}",
            ids.len()
        );
        let starts = futures::stream::iter(ids).map(|id| async move {
            let running = self.running(&id).await?;
            Ok::<_, anyhow::Error>(
                running
                    .with_context(|| format!("container {id} does not run"))?
                    .started_at,
            )
        });
        let starts: Vec<Timestamp> = starts.buffer_unordered(WIDE).try_collect().await?;
        let last = starts.into_iter().max().unwrap_or(since);
        Ok(between(since, last))
    }

    /// The name of the floor's network.
    pub(crate) fn network(&self) -> String {
        self.name(&self.unused("net"))
    }

    /// A name that is another one each time after everything was removed: the network that bore the last one may have been left behind.
    pub(crate) fn unused(&self, name: &str) -> String {
        format!("{name}-{}", self.cleared.load(Ordering::Relaxed))
    }

    /// Removes the run's containers and networks.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        self.cleared.fetch_add(1, Ordering::Relaxed);
        let mut attempts = 0;
        // A server that was killed may have left the engine a call that is still carried out.
        loop {
            let mut ids = self
                .containers(vec![format!("{LABEL_RUN}={}", self.run)])
                .await?;
            ids.extend(self.containers(vec![self.namespace_label()]).await?);
            ids.sort_unstable();
            ids.dedup();
            if ids.is_empty() {
                break;
            }
            attempts += 1;
            ensure!(
                attempts < MOST_ATTEMPTS,
                "{} containers cannot be removed",
                ids.len()
            );
            let removals =
                futures::stream::iter(ids).map(|id| async move { self.remove(&id).await });
            removals.buffer_unordered(WIDE).try_collect::<()>().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for label in [format!("{LABEL_RUN}={}", self.run), self.namespace_label()] {
            let options = ListNetworksOptions {
                filters: Some(std::iter::once(("label".to_owned(), vec![label])).collect()),
            };
            let networks = self
                .docker
                .list_networks(Some(options))
                .await
                .context("cannot list networks")?;
            for id in networks.into_iter().filter_map(|network| network.id) {
                match self.docker.remove_network(&id).await {
                    // Docker 20.10 now and then forgets to take a removed container off its network, which then stays until it is started anew.
                    Err(Error::DockerResponseServerError {
                        status_code: 403,
                        message,
                    }) => crate::say(&format!("left behind: {message}")),
                    removed => removed.context("cannot remove a network")?,
                }
            }
        }
        Ok(())
    }

    /// Removes everything of the run.
    pub(crate) async fn clean(&self) -> anyhow::Result<()> {
        self.clear().await?;
        let options = RemoveImageOptions {
            force: true,
            ..RemoveImageOptions::default()
        };
        match self.docker.remove_image(IMAGE, Some(options), None).await {
            // Another run uses it, or has removed it.
            Ok(_)
            | Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(error).context("cannot remove the image"),
        }
    }

    /// Removes a container, whatever it does.
    pub(crate) async fn remove(&self, id: &str) -> anyhow::Result<()> {
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            ..RemoveContainerOptions::default()
        };
        match self.docker.remove_container(id, Some(options)).await {
            // Gone already, or on its way.
            Ok(())
            | Err(Error::DockerResponseServerError {
                status_code: 404 | 409,
                ..
            }) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot remove container {id}")),
        }
    }

    /// Ids of the containers with all these labels.
    pub(crate) async fn containers(&self, labels: Vec<String>) -> anyhow::Result<Vec<String>> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(std::iter::once(("label".to_owned(), labels)).collect()),
            ..ListContainersOptions::default()
        };
        let containers = self
            .docker
            .list_containers(Some(options))
            .await
            .context("cannot list containers")?;
        Ok(containers
            .into_iter()
            .filter_map(|container| container.id)
            .collect())
    }

    /// The labels of the run's containers of one side.
    pub(crate) fn labels(&self, side: Side) -> Vec<String> {
        vec![
            format!("{LABEL_RUN}={}", self.run),
            format!("{LABEL_SIDE}={}", side.as_str()),
        ]
    }

    fn namespace_label(&self) -> String {
        format!("{}={}", names::LABEL_NAMESPACE, self.namespace())
    }
}

impl From<EventMessage> for Event {
    fn from(message: EventMessage) -> Self {
        Self {
            what: message.action.unwrap_or_default(),
            id: message.actor.and_then(|actor| actor.id).unwrap_or_default(),
        }
    }
}
