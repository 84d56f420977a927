//! What every test stands on: the engine, a network, things of its own with a label of its own, and that all of them go again, also after a
//! panic. What is tested is not here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{
    ListContainersOptions, ListNetworksOptions, ListVolumesOptions, RemoveContainerOptions,
    RemoveVolumeOptions,
};
use clos_engine::docker::DockerEngine;
use clos_engine::engine::{Done, Engine, Progress, Scope};
use clos_engine::error::Error;
use clos_engine::events::{EngineEvent, Happened};
use clos_engine::logs::LogOptions;
use clos_plan::action::{EngineAction, Target};
use clos_plan::container::{ContainerOptions, LimitOptions, NetworkOptions};
use clos_plan::observed::{Container, ContainerState, Observed};
use clos_resources::names;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::image;

/// Nothing that a test waits for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// One test's corner of the engine.
pub(crate) struct Bench {
    pub(crate) engine: DockerEngine,
    /// For what people do by hand.
    pub(crate) docker: Docker,
    pub(crate) address: String,
    /// The label's value, and the beginning of every name.
    pub(crate) installation: String,
}

impl Bench {
    /// Finds the engine, makes the image and the test's network.
    pub(crate) async fn new() -> Self {
        static TESTS: AtomicU32 = AtomicU32::new(0);
        let address = address();
        let engine = DockerEngine::connect(&address).unwrap();
        if let Err(error) = engine.info().await {
            panic!("{error}. Run the tests with `make test`, which sees to it that one runs.");
        }
        let docker = client(&address);
        image::provide().await;
        let installation = format!(
            "clostest-{}-{}",
            std::process::id(),
            TESTS.fetch_add(1, Ordering::SeqCst)
        );
        let bench = Self {
            engine,
            docker,
            address,
            installation,
        };
        bench
            .execute(EngineAction::CreateNetwork(bench.network()))
            .await
            .unwrap();
        bench
    }

    /// The name of a thing of this test.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.installation)
    }

    /// The test's network.
    pub(crate) fn network(&self) -> NetworkOptions {
        NetworkOptions {
            name: self.name("net"),
            labels: self.labels("net"),
        }
    }

    /// Labels as clos gives them to a container of this name.
    pub(crate) fn labels(&self, name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (
                names::LABEL_INSTALLATION.to_owned(),
                self.installation.clone(),
            ),
            (names::LABEL_INSTANCE_UID.to_owned(), self.name(name)),
            (names::LABEL_NAMESPACE.to_owned(), "default".to_owned()),
            (names::LABEL_INSTANCE.to_owned(), name.to_owned()),
        ])
    }

    /// A container that runs a shell script on the test's network.
    pub(crate) fn options(&self, name: &str, script: &str) -> ContainerOptions {
        ContainerOptions {
            name: self.name(name),
            image: image::BUSYBOX.to_owned(),
            entrypoint: Vec::new(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            labels: self.labels(name),
            mounts: BTreeMap::new(),
            network: self.name("net"),
            aliases: BTreeSet::new(),
            ports: BTreeSet::new(),
            limits: LimitOptions::default(),
            stop_timeout: Duration::from_secs(10),
            stop_signal: None,
        }
    }

    /// What an Instance of this name is about.
    pub(crate) fn scope(&self, name: &str) -> Scope {
        Scope {
            instance_uid: self.name(name),
            container_name: self.name(name),
            network_name: self.name("net"),
            volumes: vec![self.name("volume")],
            image: Some(image::BUSYBOX.to_owned()),
        }
    }

    pub(crate) async fn execute(&self, action: EngineAction) -> Result<Done, Error> {
        self.engine.execute(&action, &|_: Progress| {}).await
    }

    pub(crate) async fn create(&self, options: ContainerOptions) -> Result<String, Error> {
        match self
            .execute(EngineAction::CreateContainer(Box::new(options)))
            .await?
        {
            Done::Container(id) => Ok(id),
            Done::Nothing => panic!("a container was made without an id"),
        }
    }

    pub(crate) async fn start(&self, id: &str) -> Result<Done, Error> {
        self.execute(EngineAction::StartContainer {
            container: existing(id),
        })
        .await
    }

    pub(crate) async fn stop(&self, id: &str, grace: Duration) -> Result<Done, Error> {
        self.execute(EngineAction::StopContainer {
            container: existing(id),
            grace,
        })
        .await
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<Done, Error> {
        self.execute(EngineAction::RemoveContainer {
            container: existing(id),
        })
        .await
    }

    /// Makes and starts a container.
    pub(crate) async fn run(&self, options: ContainerOptions) -> String {
        let id = self.create(options).await.unwrap();
        self.start(&id).await.unwrap();
        id
    }

    /// Waits until the container's script has said so often that it is ready: before, it would not hear a signal.
    pub(crate) async fn ready(&self, id: &str, times: usize) {
        let lines = self.engine.logs(
            id,
            LogOptions {
                follow: true,
                ..LogOptions::default()
            },
        );
        let said = lines.take(times).try_collect::<Vec<_>>();
        let lines = tokio::time::timeout(PATIENCE, said)
            .await
            .expect("the script says that it is ready")
            .unwrap();
        assert_eq!(lines.len(), times, "it ended instead");
    }

    pub(crate) async fn observe(&self, name: &str) -> Observed {
        self.engine.observe(&self.scope(name)).await.unwrap()
    }

    /// The container of this name as it is now.
    pub(crate) async fn container(&self, name: &str) -> Container {
        let observed = self.observe(name).await;
        observed
            .containers
            .into_values()
            .find(|container| container.name == self.name(name))
            .expect("the container is there")
    }

    /// Waits until the container of this name is so.
    pub(crate) async fn until(&self, name: &str, so: impl Fn(&Container) -> bool) -> Container {
        let looking = async {
            loop {
                let container = self.container(name).await;
                if so(&container) {
                    return container;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking)
            .await
            .expect("the container comes to be so")
    }

    /// Waits for the end of the container of this name; gives its code and whether it was for memory.
    pub(crate) async fn end(&self, name: &str) -> (i64, bool) {
        match self
            .until(name, |container| {
                matches!(container.state, ContainerState::Exited { .. })
            })
            .await
            .state
        {
            ContainerState::Exited {
                code, oom_killed, ..
            } => (code, oom_killed),
            other => panic!("{other:?} is no end"),
        }
    }

    /// Subscribes and waits until events arrive.
    pub(crate) async fn events(&self) -> Events {
        let mut events = Events {
            stream: self.engine.events(),
            installation: self.installation.clone(),
        };
        assert_eq!(events.next().await, EngineEvent::Connected);
        events
    }
}

/// Takes everything of the test away, whatever became of it.
impl Drop for Bench {
    fn drop(&mut self) {
        let (address, label) = (
            self.address.clone(),
            format!("{}={}", names::LABEL_INSTALLATION, self.installation),
        );
        // A thread of its own: the test's runtime may be the one that unwinds.
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(clean(&client(&address), &label));
        });
        // While unwinding a second panic would hide the first.
        let cleaned = cleaning.join().is_ok();
        assert!(
            cleaned || std::thread::panicking(),
            "things of the test are left over"
        );
    }
}

async fn clean(docker: &Docker, label: &str) {
    let filters = || {
        Some(
            [("label".to_owned(), vec![label.to_owned()])]
                .into_iter()
                .collect(),
        )
    };
    let containers = ListContainersOptions {
        all: true,
        filters: filters(),
        ..ListContainersOptions::default()
    };
    for container in docker.list_containers(Some(containers)).await.unwrap() {
        let force = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        docker
            .remove_container(&container.id.unwrap(), Some(force))
            .await
            .unwrap();
    }
    for network in docker
        .list_networks(Some(ListNetworksOptions { filters: filters() }))
        .await
        .unwrap()
    {
        docker.remove_network(&network.id.unwrap()).await.unwrap();
    }
    let volumes = docker
        .list_volumes(Some(ListVolumesOptions { filters: filters() }))
        .await
        .unwrap();
    for volume in volumes.volumes.into_iter().flatten() {
        docker
            .remove_volume(&volume.name, None::<RemoveVolumeOptions>)
            .await
            .unwrap();
    }
}

/// The events of one test's containers.
pub(crate) struct Events {
    stream: BoxStream<'static, EngineEvent>,
    installation: String,
}

impl Events {
    /// The next one, those of other tests left out.
    pub(crate) async fn next(&mut self) -> EngineEvent {
        let reading = async {
            loop {
                match self.stream.next().await.expect("events have no end") {
                    EngineEvent::Container(event) if event.installation != self.installation => {}
                    EngineEvent::Freed { .. } | EngineEvent::Image { .. } => {}
                    event => return event,
                }
            }
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an event arrives")
    }

    /// The ids of the containers to which this happened, of all events that are here already.
    pub(crate) fn arrived(&mut self, what: &Happened) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        while let Some(Some(event)) = self.stream.next().now_or_never() {
            if let EngineEvent::Container(event) = event
                && event.installation == self.installation
                && event.what == *what
            {
                ids.insert(event.id);
            }
        }
        ids
    }

    /// What happens up to and with this.
    pub(crate) async fn up_to(&mut self, last: &Happened) -> Vec<Happened> {
        let mut happened = Vec::new();
        while happened.last() != Some(last) {
            match self.next().await {
                EngineEvent::Container(event) => happened.push(event.what),
                other => panic!("{other:?} in the middle"),
            }
        }
        happened
    }
}

pub(crate) fn existing(id: &str) -> Target {
    Target::Existing {
        id: id.to_owned(),
        name: id.to_owned(),
    }
}

fn client(address: &str) -> Docker {
    Docker::connect_with_unix(address, 120, bollard::API_DEFAULT_VERSION).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "which engine to test against is the environment's choice"
)]
fn address() -> String {
    std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned())
}
