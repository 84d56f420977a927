//! Docker, over its socket. Every call has a deadline of its own here, and every answer is turned into what planning knows; nothing is
//! decided.
//!
//! In reading order: [`DockerEngine`]; `spec` is what the engine is sent, `inspect` what it shows, `failure` what its errors mean, all pure;
//! `version` is the version of its API that is spoken; `info`, `observe` and `execute` are the calls; `pull`, `events` and `logs` are its
//! streams; `ends` is what the events add to what it shows; `volumes` removes one when a person asks; `listeners` finds the process of the
//! host that holds a port.

mod ends;
mod events;
mod execute;
mod failure;
mod info;
mod inspect;
mod listeners;
mod logs;
mod observe;
mod pull;
mod reference;
mod spec;
#[cfg(test)]
mod stub;
#[cfg(test)]
mod tests;
mod version;
mod volumes;

use std::future::Future;
use std::sync::Arc;

use bollard::Docker;
use bollard::errors::Error as ClientError;
use clos_plan::action::EngineAction;
use clos_plan::observed::{Network, Observed};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::Mutex;

pub use self::volumes::VolumeRemoval;

use self::ends::Ends;
use self::events::Pace;
use self::failure::Call;
use self::pull::Pulls;
use self::version::ApiVersion;
use crate::engine::{Done, Engine, Info, Listed, Progress, Scope};
use crate::error::Error;
use crate::events::EngineEvent;
use crate::logs::{LogLine, LogOptions};

/// A Docker Engine behind a unix socket. Nothing is kept open between calls: an engine that was restarted is simply asked again. Clones
/// speak to the same engine.
#[derive(Clone, Debug)]
pub struct DockerEngine {
    address: String,
    /// Held while a network is made: older engines make several of one name without a word.
    making_network: Arc<Mutex<()>>,
    /// The version of the API that both sides know, once it was asked for.
    spoken: Arc<std::sync::Mutex<Option<ApiVersion>>>,
    ends: Arc<Ends>,
    pulls: Pulls,
}

impl DockerEngine {
    /// Names the engine at an address as `DOCKER_HOST` has it: `unix:///var/run/docker.sock`. Asks it nothing yet. An address of another
    /// kind is [`Error::Refused`].
    pub fn connect(address: &str) -> Result<Self, Error> {
        match address.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self {
                address: address.to_owned(),
                making_network: Arc::default(),
                spoken: Arc::default(),
                ends: Arc::default(),
                pulls: Pulls::default(),
            }),
            Some(_) => Err(Error::Refused(format!(
                "{address:?} is no address of a container engine: the socket's path must be absolute, as in unix:///var/run/docker.sock"
            ))),
            None => Err(Error::Refused(format!(
                "{address:?} is no address of a container engine that clos can use: give a unix socket, as in unix:///var/run/docker.sock"
            ))),
        }
    }

    /// A client for one call, in the engine's own version. It keeps no connection anyway, and a socket that does not exist yet is no reason
    /// to fail for good.
    fn connect_once(&self, call: &Call) -> Result<Docker, Error> {
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
        let asked = async {
            let client = self.client(&call).await?;
            ask(client)
                .await
                .map_err(|error| call.failed(&self.address, &error))
        };
        match tokio::time::timeout(call.deadline, asked).await {
            Err(_) => Err(call.late()),
            Ok(Err(Error::Refused(words))) if version::is_refused(&words) => {
                self.forget_version();
                Err(Error::Interrupted {
                    call: call.words,
                    reason: words,
                })
            }
            Ok(answer) => answer,
        }
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
        Box::pin(self.list_ours())
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
        Box::pin(self.networks_ours())
    }

    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(self.who_publishes(port))
    }
}

fn found<T>(asked: Result<T, Error>) -> Result<Option<T>, Error> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
