//! The engine as clos needs it: five verbs. Which of them to use when is planning and is not here.

use clos_plan::action::EngineAction;
use clos_plan::observed::Observed;
use clos_resources::host::{Capacity, EngineInfo};
use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::error::Error;
use crate::events::EngineEvent;
use crate::logs::{LogLine, LogOptions};

/// A container engine. Every call has a deadline of its own; none waits for ever.
pub trait Engine: Send + Sync + 'static {
    /// What the engine is, and proof that it answers.
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>>;

    /// Everything the engine shows within a scope, without loss and without choice.
    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>>;

    /// All containers that carry a label of ours, one short line each: cheap enough for once a minute.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>>;

    /// Carries out one action. Targets must be [`clos_plan::action::Target::Existing`]: whoever runs a plan fills them in. Progress of a
    /// pull is told in bytes. An action that finds its effect already there succeeds.
    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>>;

    /// What happens to containers, from now on, without end: when the connection breaks it is made again, with growing pauses, and
    /// [`EngineEvent::Connected`] says that events may have been lost meanwhile.
    fn events(&self) -> BoxStream<'static, EngineEvent>;

    /// The output of a container.
    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>>;

    /// Networks of ours: those with a label of ours, whatever their name.
    fn networks(&self) -> BoxFuture<'_, Result<Vec<clos_plan::observed::Network>, Error>>;

    /// Containers, foreign ones included, that publish a TCP or UDP port of the host: to tell users who is in the way.
    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>>;
}

/// What the engine is.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Its name, versions and platform.
    pub engine: EngineInfo,
    /// What its machine has.
    pub capacity: Capacity,
    /// The machine's own name.
    pub hostname: String,
}

/// What one observation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The UID of the Instance.
    pub instance_uid: String,
    /// The name that its container has or would get.
    pub container_name: String,
    /// The name of its group's network.
    pub network_name: String,
    /// The volumes it mounts, by their names on the host.
    pub volumes: Vec<String>,
    /// The image it names, when that is of interest.
    pub image: Option<String>,
}

/// One line of a list: enough to see that something changed since the last look.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The UID of the Instance, from the label.
    pub instance_uid: String,
    /// The namespace, from the label.
    pub namespace: String,
    /// The Instance's name, from the label.
    pub instance: String,
    /// The installation, from the label.
    pub installation: String,
    /// The container's id.
    pub id: String,
    /// Name, state, image and networks in one text that differs when any of them does. Running time does not count.
    pub fingerprint: String,
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub current: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
}

/// What an action brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nothing that later steps need.
    Nothing,
    /// A container, by id.
    Container(String),
}
