//! Carrying out one action, and what the engine's refusals mean when the effect is there already. How actions are put into the engine's
//! words is in `spec`.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, StopContainerOptions,
};
use clos_plan::action::{EngineAction, Target};
use clos_plan::container::{ContainerOptions, NetworkOptions};
use clos_plan::observed::Network;
use clos_resources::names;

use super::failure::Call;
use super::{DockerEngine, found, pull, spec};
use crate::engine::{Done, Progress};
use crate::error::Error;

impl DockerEngine {
    pub(super) async fn carry_out(
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
}

fn existing(target: &Target) -> Result<&str, Error> {
    match target {
        Target::Existing { id, .. } => Ok(id),
        Target::MadeBy { name, .. } => {
            Err(Error::Refused(format!("container {name} was not made yet")))
        }
    }
}

fn gone_is_fine(asked: Result<(), Error>) -> Result<(), Error> {
    found(asked).map(|_| ())
}

/// A refusal with these words says that the effect is there.
fn there_already(asked: Result<(), Error>, words: &str) -> Result<(), Error> {
    match asked {
        Err(Error::Refused(message) | Error::Failed(message)) if message.contains(words) => Ok(()),
        other => other,
    }
}

fn foreign_network(network: &Network) -> String {
    let Network { id, name, .. } = network;
    format!(
        "network {name} ({}) exists and was not made by this installation of clos; remove or rename it",
        id.get(..12).unwrap_or(id)
    )
}
