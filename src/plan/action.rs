//! A plan is data: steps, each exactly one call to the engine or the API, each with its cause and the steps it comes after. The same
//! lines are the dry run, the log, the event, the audit entry and the golden test. Deciding on steps is not here, carrying out neither.

use std::fmt;
use std::time::Duration;

use clos_resources::port::PortSpec;
use clos_resources::{Instance, Port};

use crate::container::{ContainerOptions, NetworkOptions, VolumeOptions};

/// Why a step is taken, in a few words for users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause(String);

impl Cause {
    /// A cause in words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The container a step is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// One that exists: by id, and its name for people.
    Existing {
        /// The container's id.
        id: String,
        /// The container's name, for people only.
        name: String,
    },
    /// The one that the step at this index makes.
    MadeBy {
        /// Index of the step.
        step: usize,
        /// The name it is made with, for people only.
        name: String,
    },
}

impl Target {
    /// The container's name, for people.
    pub fn name(&self) -> &str {
        match self {
            Self::Existing { name, .. } | Self::MadeBy { name, .. } => name,
        }
    }
}

/// One call to the engine. Every parameter is decided: nothing is left to choose when it is carried out.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineAction {
    /// Pulls an image.
    PullImage {
        /// The image as the user wrote it.
        image: String,
    },
    /// Makes a network.
    CreateNetwork(NetworkOptions),
    /// Removes a network of ours.
    RemoveNetwork {
        /// Its id.
        id: String,
        /// Its name, for people.
        name: String,
    },
    /// Makes a volume. There is no action that removes one.
    CreateVolume(VolumeOptions),
    /// Makes a container, without starting it.
    CreateContainer(Box<ContainerOptions>),
    /// Starts a container.
    StartContainer {
        /// Which.
        container: Target,
    },
    /// Asks a container to stop, and kills it after the grace period.
    StopContainer {
        /// Which.
        container: Target,
        /// The grace period.
        grace: Duration,
    },
    /// Thaws a frozen container.
    UnpauseContainer {
        /// Which.
        container: Target,
    },
    /// Removes a container that does not run, with its anonymous volumes and without named ones.
    RemoveContainer {
        /// Which.
        container: Target,
    },
}

/// One call to the API.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiAction {
    /// Makes an Instance.
    CreateInstance(Box<Instance>),
    /// Replaces the spec and the labels of an Instance, if it still has the resource version in the object.
    UpdateInstance(Box<Instance>),
    /// Deletes an Instance of this UID.
    DeleteInstance {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
    },
    /// Makes a Port object: claims the port.
    ClaimPort(Box<Port>),
    /// Deletes a Port object of this UID: the port is free.
    ReleasePort {
        /// Its name.
        name: String,
        /// Its UID.
        uid: String,
        /// Which port it is, for people.
        port: Box<PortSpec>,
    },
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// To the engine.
    Engine(EngineAction),
    /// To the API.
    Api(ApiAction),
}

/// One call, why, and after which others.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The call.
    pub action: Action,
    /// Why.
    pub cause: Cause,
    /// Indices of the steps that must have succeeded first; all are smaller than the step's own.
    pub after: Vec<usize>,
}

/// Steps in an order that respects their dependencies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
}

impl Plan {
    /// Whether everything is as declared.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Adds a step and gives its index.
    pub fn push(
        &mut self,
        action: Action,
        cause: Cause,
        after: impl IntoIterator<Item = usize>,
    ) -> usize {
        self.steps.push(Step {
            action,
            cause,
            after: after.into_iter().collect(),
        });
        self.steps.len() - 1
    }
}

impl fmt::Display for EngineAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullImage { image } => write!(f, "pull image {image}"),
            Self::CreateNetwork(network) => write!(f, "create network {}", network.name),
            Self::RemoveNetwork { name, .. } => write!(f, "remove network {name}"),
            Self::CreateVolume(volume) => write!(f, "create volume {}", volume.name),
            Self::CreateContainer(container) => write!(f, "create container {}", container.name),
            Self::StartContainer { container } => write!(f, "start container {}", container.name()),
            Self::StopContainer { container, .. } => {
                write!(f, "stop container {}", container.name())
            }
            Self::UnpauseContainer { container } => {
                write!(f, "unpause container {}", container.name())
            }
            Self::RemoveContainer { container } => {
                write!(f, "remove container {}", container.name())
            }
        }
    }
}

impl fmt::Display for ApiAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |instance: &Instance| instance.metadata.name.clone().unwrap_or_default();
        match self {
            Self::CreateInstance(instance) => write!(f, "create instance {}", name(instance)),
            Self::UpdateInstance(instance) => write!(f, "update instance {}", name(instance)),
            Self::DeleteInstance { name, .. } => write!(f, "delete instance {name}"),
            Self::ClaimPort(port) => write!(
                f,
                "claim port {}",
                port.metadata.name.as_deref().unwrap_or_default()
            ),
            Self::ReleasePort { name, .. } => write!(f, "release port {name}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(action) => action.fmt(f),
            Self::Api(action) => action.fmt(f),
        }
    }
}

/// A line a step: number, call, the numbers it comes after, cause. Numbers count from 1.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self
            .steps
            .iter()
            .map(|step| step.action.to_string())
            .collect();
        let orders: Vec<String> = self
            .steps
            .iter()
            .map(|step| match step.after.as_slice() {
                [] => String::new(),
                after => {
                    let numbers: Vec<String> =
                        after.iter().map(|index| (index + 1).to_string()).collect();
                    format!("after {}", numbers.join(" "))
                }
            })
            .collect();
        let width = |lines: &[String]| {
            lines
                .iter()
                .map(|line| line.chars().count())
                .max()
                .unwrap_or(0)
        };
        let (call_width, order_width) = (width(&calls), width(&orders));
        for (index, step) in self.steps.iter().enumerate() {
            let number = index + 1;
            let (call, order) = (&calls[index], &orders[index]);
            writeln!(
                f,
                "{number:3}  {call:call_width$}  {order:order_width$}  {}",
                step.cause
            )?;
        }
        Ok(())
    }
}
