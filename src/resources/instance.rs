//! `Instance`: one replica of a Service on one Host, fully resolved, and what became of it. Made and removed by the Service
//! controller only; carried out by the agent of its host.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, Protocol};
use crate::lifecycle::{Dependency, RestartPolicy, State};

/// The container that one host must run.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "clos.dev",
    version = "v1alpha1",
    kind = "Instance",
    plural = "instances",
    shortname = "cinst",
    category = "clos",
    category = "all",
    namespaced,
    status = "InstanceStatus",
    derive = "PartialEq",
    doc = "One replica of a Service on one Host. clos makes and removes it; change the Service instead.",
    selectable = ".spec.host",
    selectable = ".spec.service",
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service"),
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Container",
        type_ = "string",
        json_path = ".status.containerId",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct InstanceSpec {
    /// The Service it is a replica of, in the same namespace.
    pub service: String,
    /// The service's group; names the network.
    pub group: String,
    /// The Host that must run it.
    pub host: String,
    /// Which replica it is, counted from 0.
    pub ordinal: u32,
    /// The digest of the declaration it was made from. Another revision is another container.
    pub revision: String,
    /// Whether its container should run.
    #[serde(default)]
    pub state: State,
    /// When a container that ended is started again.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Services that must be there before the container is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub depends_on: Vec<Dependency>,
    /// A restart was asked for at this time: a container started before it is started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<MicroTime>,
    /// The container.
    pub container: ContainerSpec,
    /// Host ports that it must hold before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub ports: Vec<BoundPort>,
    /// The Secrets and `ConfigMaps` it takes values from, in the versions its container is to have; those that do not exist are left out. Values
    /// are never here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<ValueVersion>,
}

/// One version of an object that values are taken from.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct ValueVersion {
    /// What holds the values.
    pub kind: ValueKind,
    /// Its name, in the same namespace.
    pub name: String,
    /// Its UID: one that was deleted and made again is another one.
    pub uid: String,
    /// Its `metadata.resourceVersion`. Every change makes another one, also one that changes no value.
    pub resource_version: String,
}

/// What holds values.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum ValueKind {
    /// A Secret.
    Secret,
    /// A `ConfigMap`.
    ConfigMap,
}

/// A container's port on the host, resolved.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct BoundPort {
    /// The transport.
    pub protocol: Protocol,
    /// The host's address.
    pub host_ip: String,
    /// The port on the host; none when the port is reachable within the group only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// The port in the container.
    pub container_port: u16,
}

/// What became of an instance; written by the agent of its host only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The instance's state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<InstanceState>,
    /// The revision its container was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The container's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The image's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<String>,
    /// When the container was started the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the container ended, if it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// The exit code of the last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// Starts after the first, whatever the reason, also by a new container.
    #[serde(default)]
    pub restarts: u32,
    /// The faults that the backoff counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Faults in a row, and when the next try is due. A program can end several times within a second, so the times are finer than that.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Faults since the container last ran for long enough to count as stable.
    pub faults: u32,
    /// When the last fault was seen; the same end is counted once.
    pub last_fault: MicroTime,
    /// When the next try is due.
    pub next_try: MicroTime,
    /// What the container wrote last before that fault, shortened; none when it wrote nothing or its output cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub last_lines: Vec<String>,
}

/// An instance's state in one word.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// Waits for something: a dependency, a Secret, a port, an image.
    Waiting,
    /// Its image is being pulled.
    Pulling,
    /// Its container is made or started.
    Starting,
    /// Its container runs.
    Running,
    /// Its container runs and fails its health check.
    Unhealthy,
    /// Its container ended; the next start is put off.
    BackOff,
    /// It cannot go on without a change by somebody.
    Failed,
    /// It ran to completion.
    Completed,
    /// Its container was asked to stop.
    Stopping,
    /// It has no running container, as declared.
    Stopped,
    /// The engine cannot be asked.
    Unknown,
}
