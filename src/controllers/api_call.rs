//! Carrying out one action of a plan that is a call to the API. An action that finds its effect already there succeeds.

use clos_plan::action::ApiAction;
use clos_plan::status::{Failure, FailureKind};
use clos_resources::{Instance, Port};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, Error};

use crate::status::FIELD_MANAGER;

/// Whoever carries out actions on the API.
#[derive(Clone)]
pub(crate) struct ApiCalls(Client);

impl ApiCalls {
    /// With this client's identity.
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Carries out one action.
    pub(crate) async fn call(&self, action: &ApiAction) -> Result<(), Failure> {
        let result = match action {
            ApiAction::CreateInstance(instance) => self
                .instances(instance)
                .create(&posted(), instance)
                .await
                .map(drop),
            ApiAction::UpdateInstance(instance) => {
                let name = instance.metadata.name.as_deref().unwrap_or_default();
                self.instances(instance)
                    .replace(name, &posted(), instance)
                    .await
                    .map(drop)
            }
            ApiAction::DeleteInstance {
                namespace,
                name,
                uid,
            } => {
                let api: Api<Instance> = Api::namespaced(self.0.clone(), namespace);
                gone(api.delete(name, &only(uid)).await.map(drop))
            }
            ApiAction::ClaimPort(port) => self.claim(port).await,
            ApiAction::ReleasePort { name, uid, .. } => {
                let api: Api<Port> = Api::all(self.0.clone());
                gone(api.delete(name, &only(uid)).await.map(drop))
            }
        };
        result.map_err(failure)
    }

    fn instances(&self, instance: &Instance) -> Api<Instance> {
        Api::namespaced(
            self.0.clone(),
            instance.metadata.namespace.as_deref().unwrap_or_default(),
        )
    }

    /// A claim whose answer was lost is found as our own the next time.
    async fn claim(&self, port: &Port) -> Result<(), Error> {
        let api: Api<Port> = Api::all(self.0.clone());
        match api.create(&posted(), port).await {
            Err(Error::Api(status)) if status.is_already_exists() => {
                let name = port.metadata.name.as_deref().unwrap_or_default();
                let ours = api
                    .get_opt(name)
                    .await?
                    .is_some_and(|held| held.spec.holder == port.spec.holder);
                if ours {
                    Ok(())
                } else {
                    Err(Error::Api(status))
                }
            }
            other => other.map(drop),
        }
    }
}

/// What an API error means for whoever asked.
pub(crate) fn failure(error: Error) -> Failure {
    match error {
        Error::Api(status) if status.is_conflict() || status.is_already_exists() => Failure {
            kind: FailureKind::ApiConflict,
            message: status.message,
        },
        Error::Api(status) => Failure {
            kind: FailureKind::Api,
            message: status.message,
        },
        other => Failure {
            kind: FailureKind::Api,
            message: other.to_string(),
        },
    }
}

fn posted() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn only(uid: &str) -> DeleteParams {
    DeleteParams::background().preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    })
}

/// Deleting what does not exist, or exists anew with another UID, has its effect already.
fn gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        other => other,
    }
}
