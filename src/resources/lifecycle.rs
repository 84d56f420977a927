//! When a service runs: desired state, restart policy, dependencies, updates, placement. What it runs is in `container`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Whether something should run. Stopping is declared state, not a command.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum State {
    /// It should run.
    #[default]
    Running,
    /// It should not; its containers are stopped and everything stays declared.
    Stopped,
}

/// When a container that ended is started again.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum RestartPolicy {
    /// Always: a long-running service.
    #[default]
    Always,
    /// Only when it failed; success completes the service.
    OnFailure,
    /// Never: one run, successful or not.
    Never,
}

impl RestartPolicy {
    /// Whether a service with this policy ends by itself.
    pub fn runs_to_completion(self) -> bool {
        match self {
            Self::Always => false,
            Self::OnFailure | Self::Never => true,
        }
    }
}

/// Another service of the same group that must be there first.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The other service's name.
    #[schemars(
        length(min = 1, max = 58),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub service: String,
    /// What must be true of it.
    #[serde(default)]
    pub condition: DependencyCondition,
}

/// What must be true of a service that another one depends on.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum DependencyCondition {
    /// Its containers run.
    #[default]
    Started,
    /// Its containers run and their health check succeeds. A service without a health check never becomes healthy.
    Healthy,
    /// It ran to completion, successfully.
    Completed,
}

/// How instances are replaced when the declaration changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.strategy != 'StartFirst'").message("starting the new container before the old one stops is not carried out by this version; use StopFirst").field_path(".strategy").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.onFailure)").message("acting on a failed update is not carried out by this version; leave the field out").field_path(".onFailure").reason(Reason::FieldValueForbidden)
)]
pub struct Update {
    /// Which of the two goes first.
    #[serde(default)]
    pub strategy: UpdateStrategy,
    /// What happens when the new container does not become ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnUpdateFailure>,
}

/// The order of replacement, one instance at a time.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum UpdateStrategy {
    /// The old container is stopped, then the new one is started.
    #[default]
    StopFirst,
    /// The new container is ready before the old one is stopped.
    StartFirst,
}

/// What happens when the new container does not become ready.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUpdateFailure {
    /// The update stops where it is.
    Pause,
    /// The last good declaration is put back.
    Rollback,
}

/// Which hosts may run the instances.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// Labels that the Host must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub host_selector: BTreeMap<String, String>,
}
