//! The things of the fake and how they live: containers, networks, volumes and images, and which events each change brings, in the order
//! in which Docker sends them. Calls that fail on demand and subscribers are not here.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use clos_plan::container::{
    ContainerOptions, LimitOptions, NetworkOptions, PortOptions, VolumeOptions,
};
use clos_plan::observed::{
    Container, ContainerState, Health, Image, LiveOptions, Network, Observed, Volume,
};
use clos_resources::container::Protocol;
use clos_resources::names;
use jiff::Timestamp;

use super::program::{Course, FakeImage, Program, Pull};
use crate::engine::{Listed, Scope};
use crate::error::Error;
use crate::events::{ContainerEvent, EngineEvent, Happened};
use crate::logs::LogLine;

/// The clock of the fake.
pub(super) type Clock = Box<dyn FnMut() -> Timestamp + Send>;

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) containers: BTreeMap<String, Inhabitant>,
    pub(super) networks: Vec<Network>,
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) images: BTreeMap<String, FakeImage>,
    pub(super) registry: BTreeMap<String, Pull>,
    /// Ports that processes of the host listen on, with the process' name.
    pub(super) listeners: BTreeMap<(Protocol, u16), String>,
    /// Events that happened and were not sent yet.
    pub(super) outbox: Vec<EngineEvent>,
    made: u64,
}

/// A container and what the engine does not show of it.
pub(super) struct Inhabitant {
    pub(super) shown: Container,
    pub(super) image: String,
    pub(super) logs: Vec<LogLine>,
    program: Program,
    health: Health,
    starts: u32,
}

impl World {
    pub(super) fn new(clock: Clock) -> Self {
        let bridge = Network {
            id: format!("{:064x}", 1),
            name: "bridge".to_owned(),
            labels: BTreeMap::new(),
        };
        Self {
            clock,
            containers: BTreeMap::new(),
            networks: vec![bridge],
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            registry: BTreeMap::new(),
            listeners: BTreeMap::new(),
            outbox: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn observe(&self, scope: &Scope) -> Observed {
        Observed {
            containers: self
                .containers
                .values()
                .map(|container| &container.shown)
                .filter(|shown| {
                    shown.name == scope.container_name
                        || shown.labels.get(names::LABEL_INSTANCE_UID) == Some(&scope.instance_uid)
                })
                .map(|shown| (shown.id.clone(), shown.clone()))
                .collect(),
            networks: self
                .networks
                .iter()
                .filter(|network| network.name == scope.network_name)
                .cloned()
                .collect(),
            volumes: scope
                .volumes
                .iter()
                .filter_map(|name| self.volumes.get_key_value(name))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            image: self.images.get(&scope.image).map(image),
        }
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let ours = self.containers.values().filter(|container| {
            container
                .shown
                .labels
                .contains_key(names::LABEL_INSTALLATION)
        });
        ours.map(|container| {
            let label = |name: &str| {
                container
                    .shown
                    .labels
                    .get(name)
                    .cloned()
                    .unwrap_or_default()
            };
            let networks: Vec<&str> = container
                .shown
                .live
                .networks
                .keys()
                .map(String::as_str)
                .collect();
            Listed {
                instance_uid: label(names::LABEL_INSTANCE_UID),
                namespace: label(names::LABEL_NAMESPACE),
                instance: label(names::LABEL_INSTANCE),
                installation: label(names::LABEL_INSTALLATION),
                id: container.shown.id.clone(),
                fingerprint: format!(
                    "{} {} {} {}",
                    container.shown.name,
                    state_word(&container.shown.state),
                    container.shown.image_id,
                    networks.join(",")
                ),
            }
        })
        .collect()
    }

    pub(super) fn publishers(&self, port: u16) -> Vec<String> {
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

    pub(super) fn pull(&mut self, name: &str) -> Result<(), Error> {
        match self.registry.get(name) {
            Some(Pull::Has(image)) => {
                self.images.insert(name.to_owned(), image.clone());
                Ok(())
            }
            Some(Pull::Refuses { message, transient }) => Err(Error::Pull {
                message: message.clone(),
                transient: *transient,
            }),
            None => Err(Error::Pull {
                message: format!("manifest for {name} not found: manifest unknown"),
                transient: false,
            }),
        }
    }

    pub(super) fn create_network(&mut self, options: &NetworkOptions) -> Result<(), Error> {
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
    pub(super) fn add_network(&mut self, options: &NetworkOptions) -> String {
        let id = self.next_id();
        self.networks.push(Network {
            id: id.clone(),
            name: options.name.clone(),
            labels: options.labels.clone(),
        });
        id
    }

    pub(super) fn remove_network(&mut self, id: &str) -> Result<(), Error> {
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

    pub(super) fn create_volume(&mut self, options: &VolumeOptions) {
        self.volumes
            .entry(options.name.clone())
            .or_insert_with(|| Volume {
                name: options.name.clone(),
                driver: "local".to_owned(),
                options: BTreeMap::new(),
                labels: options.labels.clone(),
            });
    }

    pub(super) fn create(&mut self, options: &ContainerOptions) -> Result<String, Error> {
        if let Some(other) = self
            .containers
            .values()
            .find(|container| container.shown.name == options.name)
        {
            return Err(Error::NameTaken(format!(
                "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
                options.name, other.shown.id
            )));
        }
        let Some(image) = self.images.get(&options.image).cloned() else {
            return Err(Error::NotFound(format!("No such image: {}", options.image)));
        };
        for mount in options.mounts.values() {
            match mount {
                clos_plan::container::MountOptions::Volume { name, .. } => {
                    self.create_volume(&VolumeOptions {
                        name: name.clone(),
                        labels: BTreeMap::new(),
                    });
                }
                clos_plan::container::MountOptions::Tmpfs { .. } => {}
            }
        }
        let id = self.next_id();
        let live = LiveOptions {
            networks: BTreeMap::from([(options.network.clone(), options.aliases.clone())]),
            limits: options.limits.clone(),
            restart_policy: "no".to_owned(),
            mounts: options.mounts.clone(),
            ports: options.ports.clone(),
        };
        let shown = Container {
            id: id.clone(),
            name: options.name.clone(),
            labels: options.labels.clone(),
            image_id: image_id(&image),
            created_at: (self.clock)(),
            state: ContainerState::Created,
            live,
        };
        let inhabitant = Inhabitant {
            shown,
            image: options.image.clone(),
            logs: Vec::new(),
            program: image.program,
            health: if image.health_check {
                Health::Starting
            } else {
                Health::None
            },
            starts: 0,
        };
        self.containers.insert(id.clone(), inhabitant);
        self.happened(&id, [Happened::Created]);
        Ok(id)
    }

    pub(super) fn start(&mut self, id: &str) -> Result<(), Error> {
        let container = self.container(id)?;
        match &container.shown.state {
            ContainerState::Running { .. } | ContainerState::Restarting => return Ok(()),
            ContainerState::Paused { .. } => {
                return Err(Error::Refused(
                    "cannot start a paused container, try unpause instead".to_owned(),
                ));
            }
            ContainerState::Removing | ContainerState::Dead => {
                return Err(Error::Refused(
                    "container is marked for removal and cannot be started".to_owned(),
                ));
            }
            ContainerState::Created | ContainerState::Exited { .. } => {}
        }
        if let Some(name) = container
            .shown
            .live
            .networks
            .keys()
            .find(|name| self.networks.iter().all(|network| network.name != **name))
        {
            let error = Error::NotFound(format!("network {name} not found"));
            return Err(self.failed_start(id, error));
        }
        if let Some(message) = self.port_clash(id) {
            return Err(self.failed_start(id, Error::PortTaken(message)));
        }
        if let Course::Refused { message } = &self.container(id)?.program.course {
            let error = Error::Refused(message.clone());
            return Err(self.failed_start(id, error));
        }
        let started_at = (self.clock)();
        let container = self.container_mut(id)?;
        container.starts += 1;
        container.shown.state = ContainerState::Running {
            started_at,
            health: container.health,
        };
        let code = match container.program.course {
            Course::Exits { code, starts } if container.starts <= starts => Some(code),
            Course::Exits { .. } | Course::Runs | Course::Refused { .. } => None,
        };
        self.happened(id, [Happened::Started]);
        if let Some(code) = code {
            self.end(id, code, false);
            self.happened(id, [Happened::Died { exit_code: code }]);
        }
        Ok(())
    }

    /// As `docker stop`: nothing when it does not run or is gone.
    pub(super) fn stop(&mut self, id: &str, grace: Duration) {
        let Some(container) = self
            .containers
            .get(id)
            .filter(|container| holds_ports(&container.shown.state))
        else {
            return;
        };
        let term = Happened::Killed {
            signal: "15".to_owned(),
        };
        let kill = Happened::Killed {
            signal: "9".to_owned(),
        };
        let stop_code = container.program.stop_code.filter(|_| !grace.is_zero());
        let code = stop_code.unwrap_or(137);
        self.end(id, code, false);
        self.happened(id, [term]);
        if stop_code.is_none() {
            self.happened(id, [kill]);
        }
        self.happened(id, [Happened::Died { exit_code: code }, Happened::Stopped]);
    }

    /// As `docker kill --signal KILL`.
    pub(super) fn kill(&mut self, id: &str) {
        self.end(id, 137, false);
        self.happened(
            id,
            [
                Happened::Killed {
                    signal: "9".to_owned(),
                },
                Happened::Died { exit_code: 137 },
            ],
        );
    }

    /// As its program does it by itself.
    pub(super) fn crash(&mut self, id: &str, code: i64) {
        self.end(id, code, false);
        self.happened(id, [Happened::Died { exit_code: code }]);
    }

    /// As the kernel does it.
    pub(super) fn run_out_of_memory(&mut self, id: &str) {
        self.end(id, 137, true);
        self.happened(
            id,
            [Happened::OutOfMemory, Happened::Died { exit_code: 137 }],
        );
    }

    pub(super) fn pause(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Running { started_at, .. } = container.shown.state
        {
            container.shown.state = ContainerState::Paused { started_at };
            self.happened(id, [Happened::Paused]);
        }
    }

    pub(super) fn unpause(&mut self, id: &str) -> Result<(), Error> {
        let container = self.container_mut(id)?;
        if let ContainerState::Paused { started_at } = container.shown.state {
            container.shown.state = ContainerState::Running {
                started_at,
                health: container.health,
            };
            self.happened(id, [Happened::Unpaused]);
        }
        Ok(())
    }

    /// As `docker rm`, with `--force` or without.
    pub(super) fn remove(&mut self, id: &str, force: bool) -> Result<(), Error> {
        let Some(container) = self.containers.get(id) else {
            return Ok(());
        };
        if holds_ports(&container.shown.state) {
            if !force {
                return Err(Error::Refused(format!(
                    "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
                )));
            }
            self.kill(id);
        }
        self.happened(id, [Happened::Destroyed]);
        self.containers.remove(id);
        Ok(())
    }

    /// Changes what can be changed behind our back.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(container) = self.containers.get_mut(id) {
            change(&mut container.shown);
            self.happened(id, [Happened::Changed]);
        }
    }

    pub(super) fn set_health(&mut self, id: &str, said: Health) {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Running { health, .. } = &mut container.shown.state
        {
            *health = said;
            self.happened(id, [Happened::Health]);
        }
    }

    /// Every container ends as after a SIGKILL of the engine: no event, exit code 0, which proves nothing.
    pub(super) fn lose_containers(&mut self) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            self.end(&id, 0, false);
        }
    }

    pub(super) fn next_id(&mut self) -> String {
        self.made += 1;
        format!("{:012x}{:052x}", self.made, 0)
    }

    fn end(&mut self, id: &str, code: i64, oom_killed: bool) {
        let finished_at = (self.clock)();
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        if let ContainerState::Running { started_at, .. } | ContainerState::Paused { started_at } =
            container.shown.state
        {
            container.shown.state = ContainerState::Exited {
                code,
                oom_killed,
                error: String::new(),
                started_at,
                finished_at,
            };
        }
    }

    /// A failed start leaves a container that never ran in `created`.
    fn failed_start(&mut self, id: &str, failure: Error) -> Error {
        if let Some(container) = self.containers.get_mut(id)
            && let ContainerState::Exited { code, error, .. } = &mut container.shown.state
        {
            error.clone_from(&failure.to_string());
            *code = if *code == 0 { 128 } else { *code };
        }
        failure
    }

    fn port_clash(&self, id: &str) -> Option<String> {
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
            let of_docker = "driver failed programming external connectivity on endpoint";
            if self
                .containers
                .values()
                .any(|other| other.shown.id != id && holds_ports(&other.shown.state) && held(other))
            {
                return Some(format!(
                    "{of_docker} {} ({}): Bind for {host_ip}:{host_port} failed: port is already allocated",
                    container.shown.name, id
                ));
            }
            if self.listeners.contains_key(&(*protocol, *host_port)) {
                return Some(format!(
                    "{of_docker} {} ({}): Error starting userland proxy: listen {}4 {host_ip}:{host_port}: bind: address already in use",
                    container.shown.name,
                    id,
                    protocol.as_str()
                ));
            }
        }
        None
    }

    fn container(&self, id: &str) -> Result<&Inhabitant, Error> {
        self.containers
            .get(id)
            .ok_or_else(|| Error::NotFound(format!("No such container: {id}")))
    }

    fn container_mut(&mut self, id: &str) -> Result<&mut Inhabitant, Error> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Error::NotFound(format!("No such container: {id}")))
    }

    fn happened(&mut self, id: &str, what: impl IntoIterator<Item = Happened>) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let label = |name: &str| container.shown.labels.get(name).cloned();
        let Some(installation) = label(names::LABEL_INSTALLATION) else {
            return;
        };
        for what in what {
            self.outbox.push(EngineEvent::Container(ContainerEvent {
                installation: installation.clone(),
                instance_uid: label(names::LABEL_INSTANCE_UID).unwrap_or_default(),
                namespace: label(names::LABEL_NAMESPACE).unwrap_or_default(),
                instance: label(names::LABEL_INSTANCE).unwrap_or_default(),
                id: id.to_owned(),
                what,
                at: (self.clock)(),
            }));
        }
    }
}

/// A container as `docker run` by a person makes it: any labels, no network but the default one.
pub(super) fn by_hand(
    name: &str,
    image: &str,
    labels: BTreeMap<String, String>,
    ports: BTreeSet<PortOptions>,
) -> ContainerOptions {
    ContainerOptions {
        name: name.to_owned(),
        image: image.to_owned(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        working_dir: None,
        user: None,
        env: BTreeMap::new(),
        labels,
        mounts: BTreeMap::new(),
        network: "bridge".to_owned(),
        aliases: BTreeSet::new(),
        ports,
        limits: LimitOptions::default(),
        stop_timeout: Duration::from_secs(10),
        stop_signal: None,
    }
}

fn image(image: &FakeImage) -> Image {
    Image {
        id: image_id(image),
        architecture: image.architecture.clone(),
        operating_system: "linux".to_owned(),
        has_health_check: image.health_check,
    }
}

/// Another id for another image, and the same one always.
fn image_id(image: &FakeImage) -> String {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    format!("sha256:{:064x}", hasher.finish())
}

fn clash(a: &PortOptions, b: &PortOptions) -> bool {
    let anywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
    a.protocol == b.protocol
        && a.host_port == b.host_port
        && (a.host_ip == b.host_ip || anywhere(&a.host_ip) || anywhere(&b.host_ip))
}

fn holds_ports(state: &ContainerState) -> bool {
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

fn state_word(state: &ContainerState) -> String {
    match state {
        ContainerState::Created => "created".to_owned(),
        ContainerState::Running {
            health: Health::None,
            ..
        } => "running".to_owned(),
        ContainerState::Running { health, .. } => format!("running ({health:?})"),
        ContainerState::Paused { .. } => "paused".to_owned(),
        ContainerState::Restarting => "restarting".to_owned(),
        ContainerState::Exited { code, .. } => format!("exited ({code})"),
        ContainerState::Removing => "removing".to_owned(),
        ContainerState::Dead => "dead".to_owned(),
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
