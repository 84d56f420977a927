//! How clos finds out that a running container does its work, and what it does when it does not. Carrying it out is not here.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// A health check: exactly one of `http`, `tcp` and `exec`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.http), has(self.tcp), has(self.exec)].filter(x, x).size() == 1").message("give exactly one of http, tcp and exec"))]
pub struct HealthCheck {
    /// Healthy when a GET answers with the expected status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Healthy when a connection opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpCheck>,
    /// Healthy when a command in the container exits with 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecCheck>,
    /// Time between two checks.
    #[serde(default = "seconds::<30>")]
    pub interval: Duration,
    /// How long one check may take.
    #[serde(default = "seconds::<10>")]
    pub timeout: Duration,
    /// How many checks in a row must fail before the container counts as unhealthy.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub retries: u32,
    /// How long after its start a container may fail checks without being unhealthy.
    #[serde(default = "seconds::<30>")]
    pub start_period: Duration,
}

/// A GET to a port of the container, on its own address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// The path to ask for.
    #[serde(default = "root")]
    #[schemars(length(max = 2000), regex(pattern = r"^/"))]
    pub path: String,
    /// The container's port, by number or by the name of one of the service's ports.
    pub port: IntOrString,
    /// The status that means healthy.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599))]
    pub expected_status: u16,
}

/// A connection to a port of the container, on its own address.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TcpCheck {
    /// The container's port, by number or by the name of one of the service's ports.
    pub port: IntOrString,
}

/// A command in the container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExecCheck {
    /// The command and its arguments; no shell.
    #[schemars(length(min = 1, max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
}

/// What happens to a container whose health check fails.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnhealthy {
    /// It is stopped and started again.
    Restart,
    /// It is replaced by a new one.
    Recreate,
    /// It is reported only.
    None,
}

fn seconds<const N: u64>() -> Duration {
    Duration::from_secs(N)
}

fn three() -> u32 {
    3
}

fn root() -> String {
    "/".to_owned()
}

fn ok() -> u16 {
    200
}
