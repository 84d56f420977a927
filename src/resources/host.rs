//! `Host`: a machine with a container engine, as clos sees it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;
use crate::removals::Removals;

/// What is declared about a host. Nothing yet: a host declares itself.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "clos.dev",
    version = "v1alpha1",
    kind = "Host",
    plural = "hosts",
    shortname = "chost",
    category = "clos",
    category = "all",
    status = "HostStatus",
    derive = "PartialEq",
    doc = "A machine with a container engine.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Engine",
        type_ = "string",
        json_path = ".status.engine.version"
    ),
    printcolumn(
        name = "API",
        type_ = "string",
        json_path = ".status.engine.apiVersion"
    ),
    printcolumn(name = "CPU", type_ = "string", json_path = ".status.capacity.cpu"),
    printcolumn(
        name = "Memory",
        type_ = "string",
        json_path = ".status.capacity.memory"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {}

/// What the host is and how it is; written by clos only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The container engine, when it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineInfo>,
    /// What the machine has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    /// Containers that clos made here and whose Instances do not exist any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orphans: Option<Removals>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them; `RemovalsHeld` while orphans wait for a confirmation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The container engine.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct EngineInfo {
    /// What it is called, as `Docker`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The newest API version it speaks.
    pub api_version: String,
    /// Its architecture, as images name it: `amd64`.
    pub architecture: String,
    /// Its operating system, as images name it: `linux`.
    pub operating_system: String,
}

/// What a machine has.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Processor cores.
    pub cpu: Quantity,
    /// Bytes of memory.
    pub memory: Quantity,
}
