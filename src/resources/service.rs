//! `Service`: a containerised service as users declare it, and what became of it. The container's own part is in `container`,
//! state, dependencies and updates are in `lifecycle`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::container::{ContainerSpec, PublishedPort};
use crate::health::{HealthCheck, OnUnhealthy};
use crate::lifecycle::{Dependency, Placement, RestartPolicy, State, Update};

/// What a user declares. The shortest valid one is `group` and `image`.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "clos.dev",
    version = "v1alpha1",
    kind = "Service",
    plural = "services",
    shortname = "csvc",
    category = "clos",
    category = "all",
    namespaced,
    status = "ServiceStatus",
    derive = "PartialEq",
    doc = "A containerised service that clos keeps running as declared, or runs to completion.",
    selectable = ".spec.group",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Group", type_ = "string", json_path = ".spec.group"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Ports", type_ = "string", json_path = ".status.ports"),
    printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].message"#, priority = 1),
    validation = Rule::new("size(self.metadata.name) <= 58").message("a service's name has at most 58 characters, so that its instances' names fit a DNS label")
.reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("a service's name is a DNS label: a-z, 0-9 and '-', beginning and ending with a letter or digit")
.reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(r"self.image.matches('^(([a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?([.][a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\\[[a-fA-F0-9:]+\\])(:[0-9]+)?/)?[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?(@[a-zA-Z][a-zA-Z0-9]*([+._-][a-zA-Z][a-zA-Z0-9]*)*:[0-9a-fA-F]{32,})?$')")
        .message("name an image as docker pull takes it: registry/name:tag or name@digest, the name in lower case, as in shop/web:1.4.2").field_path(".image"),
    validation = Rule::new("self.group == oldSelf.group").message("a service's group cannot be changed; make a new service in the other group").field_path(".group"),
    validation = Rule::new("!has(self.healthCheck)").message("health checks declared here are not carried out by this version; give the image a HEALTHCHECK, which is").field_path(".healthCheck").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.onUnhealthy)").message("acting on failed health checks is not carried out by this version; leave the field out").field_path(".onUnhealthy").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.placement)").message("placement is not carried out by this version, there is one host; leave the field out").field_path(".placement").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.ports) || self.ports.all(p, !has(p.hostPort) || string(p.hostPort) == 'auto' || self.ports.exists_one(q, has(q.hostPort) && q.hostPort == p.hostPort && q.protocol == p.protocol))")
        .message("two ports ask for the same host port; give each its own").field_path(".ports"),
    validation = Rule::new("!has(self.ports) || self.ports.all(p, !has(p.name) || self.ports.exists_one(q, has(q.name) && q.name == p.name))")
        .message("two ports have the same name; give each its own").field_path(".ports"),
    validation = Rule::new("!has(self.ports) || self.replicas <= 1 || self.ports.all(p, !has(p.hostPort) || string(p.hostPort) == 'auto')")
        .message("a fixed hostPort serves one replica; leave hostPort out, or set replicas to 1").field_path(".replicas")
)]
pub struct ServiceSpec {
    /// The group this service belongs to; its services reach each other by name. It cannot be changed later.
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("name a group: a-z, 0-9 and '-', beginning and ending with a letter or digit"))]
    pub group: String,

    /// What the service is for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub description: Option<String>,

    /// How many instances run at the same time.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 500))]
    pub replicas: u32,

    /// Whether the service should run. `Stopped` stops its containers and keeps them declared.
    #[serde(default)]
    pub state: State,

    /// The container that each instance runs.
    #[serde(flatten)]
    pub container: ContainerSpec,

    /// The ports the containers listen on, and where they are published on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["containerPort", "protocol"]))]
    pub ports: Vec<PublishedPort>,

    /// When a container that ended is started again. `OnFailure` and `Never` make a service that runs to completion.
    #[serde(default)]
    pub restart_policy: RestartPolicy,

    /// How clos finds out that a running container does its work. Without it, the image's own HEALTHCHECK counts, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,

    /// What happens to a container whose health check fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unhealthy: Option<OnUnhealthy>,

    /// Services of the same group that must be there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["service"]))]
    pub depends_on: Vec<Dependency>,

    /// How instances are replaced when the declaration changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Update>,

    /// Which hosts may run the instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,

    /// Free words to find services by, at most 10 of at most 50 characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 50)), extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
}

fn one() -> u32 {
    1
}

/// What became of a service; written by clos only.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The service's state in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ServiceState>,
    /// Ready and desired instances, as `1/2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Instances that exist.
    #[serde(default)]
    pub replicas: u32,
    /// Instances that are ready.
    #[serde(default)]
    pub ready_replicas: u32,
    /// Instances made from the newest declaration.
    #[serde(default)]
    pub updated_replicas: u32,
    /// The label selector of the instances, as text, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The digest of the declaration that the newest instances are made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Starts after the first, summed over the instances that exist.
    #[serde(default)]
    pub restarts: u32,
    /// The published ports, as `127.0.0.1:8080->80`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<String>,
    /// `Ready`, `Reconciling` and `Stalled`, as kstatus reads them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A service's state in one word, for tables and dashboards.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
pub enum ServiceState {
    /// Every desired instance is ready.
    Running,
    /// Not yet (again) as desired, and on the way.
    Starting,
    /// Instances are replaced because the declaration changed.
    Updating,
    /// Waits for something it depends on.
    Waiting,
    /// Containers end again and again; the next start is put off.
    BackOff,
    /// Containers run and their health check fails.
    Unhealthy,
    /// Cannot go on without a change by somebody.
    Failed,
    /// Ran to completion.
    Completed,
    /// On the way to no running container.
    Stopping,
    /// Declared as stopped, and no container runs.
    Stopped,
    /// The engine cannot be asked.
    Unknown,
}
