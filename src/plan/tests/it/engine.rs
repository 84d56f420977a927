//! The world's engine: containers, networks, volumes and images, and what calls and people do to them. It obeys Docker's rules: a name
//! is given once, a taken port fails the start and leaves the container made, what runs cannot be removed.

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::action::{EngineAction, Target};
use clos_plan::container::{ContainerOptions, LimitOptions};
use clos_plan::desired;
use clos_plan::observed::{
    Container, ContainerState, EngineView, Health, Image, LiveOptions, Network, Observed, Volume,
};
use clos_plan::status::{Failure, FailureKind};
use clos_resources::{Instance, names};
use jiff::Timestamp;

#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) networks: Vec<Network>,
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) images: BTreeMap<String, Image>,
    /// What pulls give; an image that is not here is denied.
    pub(crate) registry: BTreeMap<String, Result<Image, Failure>>,
    /// Ports that processes of the host have.
    pub(crate) taken: BTreeSet<u16>,
    /// Since when the engine cannot be asked, if so.
    pub(crate) unknown_since: Option<Timestamp>,
    /// What the engine makes of limits, when it does not keep them as asked.
    pub(crate) limits_kept: Option<LimitOptions>,
    /// The next start fails so.
    pub(crate) next_start: Option<Failure>,
    /// Who holds host ports, where that is asked for.
    pub(crate) holders: BTreeMap<u16, Vec<String>>,
    /// What containers wrote last, by id.
    pub(crate) last_lines: BTreeMap<String, Vec<String>>,
    made: u64,
}

impl Engine {
    /// Lets the registry have an image, for this host's platform.
    pub(crate) fn offer(&mut self, reference: &str) {
        let next = self.registry.len();
        self.registry
            .entry(reference.to_owned())
            .or_insert_with(|| Ok(image(next, "amd64")));
    }

    pub(crate) fn view(&self, instance: &Instance) -> EngineView {
        if let Some(since) = self.unknown_since {
            return EngineView::Unknown {
                since,
                reason: "the container engine does not answer".into(),
            };
        }
        let (name, uid) = (
            desired::container_name(instance),
            instance.metadata.uid.as_ref(),
        );
        let is_about = |container: &Container| {
            container.name == name || container.labels.get(names::LABEL_INSTANCE_UID) == uid
        };
        let volumes = desired::volume_names(instance);
        EngineView::Known(Observed {
            containers: self
                .containers
                .iter()
                .filter(|(_, found)| is_about(found))
                .map(|(id, found)| (id.clone(), found.clone()))
                .collect(),
            networks: self
                .networks
                .iter()
                .filter(|network| network.name == desired::network_name(instance))
                .cloned()
                .collect(),
            volumes: self
                .volumes
                .iter()
                .filter(|(name, _)| volumes.contains(name))
                .map(|(name, found)| (name.clone(), found.clone()))
                .collect(),
            image: self.images.get(&instance.spec.container.image).cloned(),
            last_lines: self.last_lines.clone(),
            holders: self.holders.clone(),
        })
    }

    pub(crate) fn named(&mut self, name: &str) -> &mut Container {
        self.containers
            .values_mut()
            .find(|container| container.name == name)
            .unwrap()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.containers
            .values()
            .map(|container| container.name.as_str())
            .collect()
    }

    /// Ends a container as of `now`.
    pub(crate) fn end(&mut self, name: &str, code: i64, now: Timestamp) {
        let container = self.named(name);
        let (ContainerState::Running { started_at, .. } | ContainerState::Paused { started_at }) =
            container.state
        else {
            panic!("{name} does not run")
        };
        container.state = ContainerState::Exited {
            code,
            oom_killed: false,
            error: String::new(),
            started_at,
            finished_at: now,
        };
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.containers
            .retain(|_, container| container.name != name);
    }

    pub(crate) fn set_health(&mut self, name: &str, now_healthy: Health) {
        if let ContainerState::Running { health, .. } = &mut self.named(name).state {
            *health = now_healthy;
        }
    }

    pub(crate) fn pause(&mut self, name: &str) {
        let container = self.named(name);
        let ContainerState::Running { started_at, .. } = container.state else {
            panic!("{name} does not run")
        };
        container.state = ContainerState::Paused { started_at };
    }

    /// A container that somebody else made.
    pub(crate) fn add_foreign(
        &mut self,
        name: &str,
        labels: BTreeMap<String, String>,
        now: Timestamp,
    ) -> String {
        let id = self.id();
        let container = Container {
            id: id.clone(),
            name: name.into(),
            labels,
            image_id: "sha256:f0f0f0f0f0f0f0f0".into(),
            created_at: now,
            state: ContainerState::Running {
                started_at: now,
                health: Health::None,
            },
            live: LiveOptions::default(),
        };
        self.containers.insert(id.clone(), container);
        id
    }

    /// A second container made from the same options, under another name.
    pub(crate) fn duplicate(&mut self, name: &str, other_name: &str, now: Timestamp) -> String {
        let copy = self.named(name).clone();
        let id = self.id();
        self.containers.insert(
            id.clone(),
            Container {
                id: id.clone(),
                name: other_name.into(),
                created_at: now,
                ..copy
            },
        );
        id
    }

    pub(crate) fn execute(
        &mut self,
        action: &EngineAction,
        step: usize,
        made: &mut BTreeMap<usize, String>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        if self.unknown_since.is_some() {
            return Err(failure(
                FailureKind::EngineUnknown,
                "the container engine does not answer",
            ));
        }
        let id = |target: &Target| match target {
            Target::Existing { id, .. } => id.clone(),
            Target::MadeBy { step, .. } => made[step].clone(),
        };
        match action {
            EngineAction::PullImage { image } => {
                let denied = || {
                    Err(failure(
                        FailureKind::ImagePull { transient: false },
                        &format!("pull access denied for {image}"),
                    ))
                };
                let pulled = self.registry.get(image).cloned().unwrap_or_else(denied)?;
                self.images.insert(image.clone(), pulled);
            }
            EngineAction::CreateNetwork(network) => {
                let id = self.id();
                self.networks.push(Network {
                    id,
                    name: network.name.clone(),
                    labels: network.labels.clone(),
                });
            }
            EngineAction::RemoveNetwork { id, .. } => {
                self.networks.retain(|network| network.id != *id);
            }
            EngineAction::CreateVolume(volume) => {
                let made = Volume {
                    name: volume.name.clone(),
                    driver: "local".into(),
                    options: BTreeMap::new(),
                    labels: volume.labels.clone(),
                };
                self.volumes.entry(volume.name.clone()).or_insert(made);
            }
            EngineAction::CreateContainer(options) => {
                drop(made.insert(step, self.create(options, now)?));
            }
            EngineAction::StartContainer { container } => self.start(&id(container), now)?,
            EngineAction::StopContainer { container, .. } => {
                let container = self.containers.get_mut(&id(container)).unwrap();
                assert!(
                    !matches!(container.state, ContainerState::Paused { .. }),
                    "a frozen container cannot stop"
                );
                if let ContainerState::Running { started_at, .. } = container.state {
                    container.state = ContainerState::Exited {
                        code: 143,
                        oom_killed: false,
                        error: String::new(),
                        started_at,
                        finished_at: now,
                    };
                }
            }
            EngineAction::UnpauseContainer { container } => {
                let container = self.containers.get_mut(&id(container)).unwrap();
                if let ContainerState::Paused { started_at } = container.state {
                    container.state = ContainerState::Running {
                        started_at,
                        health: Health::None,
                    };
                }
            }
            EngineAction::RemoveContainer { container } => {
                let id = id(container);
                let runs = matches!(
                    self.containers[&id].state,
                    ContainerState::Running { .. } | ContainerState::Paused { .. }
                );
                assert!(!runs, "what runs cannot be removed");
                self.containers.remove(&id);
            }
        }
        Ok(())
    }

    fn create(&mut self, options: &ContainerOptions, now: Timestamp) -> Result<String, Failure> {
        if self
            .containers
            .values()
            .any(|container| container.name == options.name)
        {
            return Err(failure(
                FailureKind::NameTaken,
                &format!("the name {} is in use", options.name),
            ));
        }
        let Some(image) = self.images.get(&options.image) else {
            return Err(failure(
                FailureKind::Failed,
                &format!("no such image: {}", options.image),
            ));
        };
        assert_eq!(
            self.networks
                .iter()
                .filter(|network| network.name == options.network)
                .count(),
            1,
            "one network of the name"
        );
        let container = Container {
            id: String::new(),
            name: options.name.clone(),
            labels: options.labels.clone(),
            image_id: image.id.clone(),
            created_at: now,
            state: ContainerState::Created,
            live: LiveOptions {
                networks: BTreeMap::from([(options.network.clone(), options.aliases.clone())]),
                limits: self
                    .limits_kept
                    .clone()
                    .unwrap_or_else(|| options.limits.clone()),
                restart_policy: "no".into(),
                mounts: options.mounts.clone(),
                ports: options.ports.clone(),
            },
        };
        let id = self.id();
        self.containers.insert(
            id.clone(),
            Container {
                id: id.clone(),
                ..container
            },
        );
        Ok(id)
    }

    fn start(&mut self, id: &str, now: Timestamp) -> Result<(), Failure> {
        if let Some(failure) = self.next_start.take() {
            return Err(failure);
        }
        let busy: BTreeSet<u16> = self
            .containers
            .values()
            .filter(|other| {
                other.id != id
                    && matches!(
                        other.state,
                        ContainerState::Running { .. } | ContainerState::Paused { .. }
                    )
            })
            .flat_map(|other| other.live.ports.iter().map(|port| port.host_port))
            .chain(self.taken.iter().copied())
            .collect();
        let container = self.containers.get_mut(id).unwrap();
        assert!(
            !matches!(
                container.state,
                ContainerState::Dead | ContainerState::Removing
            ),
            "what is being removed cannot start"
        );
        if let Some(port) = container
            .live
            .ports
            .iter()
            .find(|port| busy.contains(&port.host_port))
        {
            return Err(failure(
                FailureKind::PortTaken,
                &format!(
                    "port {} is in use by process nginx (pid 812)",
                    port.host_port
                ),
            ));
        }
        container.state = ContainerState::Running {
            started_at: now,
            health: Health::None,
        };
        Ok(())
    }

    fn id(&mut self) -> String {
        self.made += 1;
        format!("c{:011x}{:052x}", self.made, 0)
    }
}

pub(crate) fn image(number: usize, architecture: &str) -> Image {
    Image {
        id: format!("sha256:{number:064x}"),
        architecture: architecture.into(),
        operating_system: "linux".into(),
        has_health_check: false,
    }
}

pub(crate) fn failure(kind: FailureKind, message: &str) -> Failure {
    Failure {
        kind,
        message: message.into(),
    }
}
