//! `Group`: services that belong together, on a network of their own, and how they are as a whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::lifecycle::State;

/// What a user declares about a group.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "clos.dev",
    version = "v1alpha1",
    kind = "Group",
    plural = "groups",
    shortname = "cgrp",
    category = "clos",
    category = "all",
    namespaced,
    status = "GroupStatus",
    derive = "PartialEq",
    doc = "Services that belong together: they share a network and reach each other by name.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Running", type_ = "string", json_path = ".status.running"),
    printcolumn(name = "Health", type_ = "string", json_path = ".status.healthScore"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 50 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a group's name is a DNS label of at most 50 characters: a-z, 0-9 and '-', beginning and ending with a letter or digit")
.reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.dependsOn)").message("dependencies between groups are not carried out by this version; let services depend on services of their own group").field_path(".dependsOn").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.portRanges)").message("choosing host ports is not carried out by this version; leave the field out and give hostPort as numbers").field_path(".portRanges").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.conflictPolicy)").message("resolving port conflicts is not carried out by this version; conflicts are reported, leave the field out").field_path(".conflictPolicy").reason(Reason::FieldValueForbidden)
)]
pub struct GroupSpec {
    /// What the group is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub description: Option<String>,

    /// Whether the group's services should run. `Stopped` stops all of them, whatever each one says.
    #[serde(default)]
    pub state: State,

    /// Groups that must be running first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 50)), extend("x-kubernetes-list-type" = "set"))]
    pub depends_on: Vec<String>,

    /// The host ports that `hostPort: auto` chooses from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub port_ranges: Vec<PortRange>,

    /// What happens when a host port is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_policy: Option<ConflictPolicy>,
}

/// A range of host ports, both ends included.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.start <= self.end").message("start is not above end"))]
pub struct PortRange {
    /// The first port.
    #[schemars(range(min = 1024, max = 65535))]
    pub start: u16,
    /// The last port.
    #[schemars(range(min = 1024, max = 65535))]
    pub end: u16,
}

/// What happens when a host port is taken.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// It is reported, with the holder's name.
    Report,
    /// Another port of the group's range is taken.
    Reassign,
}

/// How the group's services are, taken together; written by clos only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The group's state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<GroupState>,
    /// Services that are as declared, of all: `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// The share of ready instances among the desired ones, averaged over the services, from `0.00` to `1.00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_score: Option<String>,
    /// The group's services by name, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub services: Vec<String>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A group's state in one word.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// Every service is as declared.
    Running,
    /// Some services are as declared and some are not.
    Partial,
    /// Services are on the way up.
    Starting,
    /// Services are on the way down.
    Stopping,
    /// No service runs, as declared.
    Stopped,
}
