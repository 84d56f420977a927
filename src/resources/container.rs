//! The container's own part of a declaration: image, command, environment, mounts, limits, ports. Shared by `Service` and
//! `Instance`; when and how often it runs is in `lifecycle`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::quantity::Quantity;

/// What one container is made from. References to Secrets and `ConfigMaps` stay references here; values are looked up by the agent
/// that makes the container and are never stored in an object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerSpec {
    /// The image, as `docker pull` takes it.
    #[schemars(length(min = 1, max = 500))]
    pub image: String,

    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,

    /// Replaces the image's ENTRYPOINT.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,

    /// Replaces the image's CMD.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,

    /// The directory the command starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^/"))]
    pub working_dir: Option<String>,

    /// The user that the command runs as, as `uid`, `uid:gid` or a name of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub user: Option<String>,

    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,

    /// Labels for the container itself. Keys under `clos.dev/` and `com.docker.` are taken.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(k, !k.startsWith('clos.dev/') && !k.startsWith('com.docker.'))").message("label keys beginning with clos.dev/ or com.docker. are taken; choose another prefix"))]
    pub labels: BTreeMap<String, String>,

    /// Named volumes and in-memory file systems, by where they appear in the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub mounts: Vec<Mount>,

    /// What the container may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// How long a container that was asked to stop may take before it is killed.
    #[serde(default = "default_stop_grace_period")]
    pub stop_grace_period: Duration,

    /// The signal that asks the container to stop, when the image's own is not the right one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^SIG[A-Z0-9+-]{2,12}$"))]
    pub stop_signal: Option<String>,
}

fn default_stop_grace_period() -> Duration {
    Duration::from_secs(10)
}

/// When an image is pulled.
#[derive(
    schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq,
)]
pub enum ImagePullPolicy {
    /// Only when the host does not have it.
    #[default]
    IfNotPresent,
    /// Before each new container.
    Always,
    /// Never; the image must be on the host.
    Never,
}

/// One environment variable: a value, or where to find it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.value) && has(self.valueFrom))").message("give value or valueFrom, not both"))]
pub struct EnvVar {
    /// The variable's name.
    #[schemars(
        length(min = 1, max = 250),
        regex(pattern = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$")
    )]
    pub name: String,
    /// The value itself. Put secrets into a Secret and use `valueFrom`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub value: Option<String>,
    /// Where the value is found when the container is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a value is found: exactly one of the two.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)").message("give exactly one of secretKeyRef and configMapKeyRef"))]
pub struct EnvVarSource {
    /// A key of a Secret in the service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyRef>,
    /// A key of a `ConfigMap` in the service's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyRef>,
}

/// One key of a Secret or `ConfigMap`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key within its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Whether the variable is left out when the object or the key is missing, instead of waiting for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What appears at one path in the container: exactly one of `volume` and `tmpfs`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.volume) != has(self.tmpfs)").message("give exactly one of volume and tmpfs"))]
pub struct Mount {
    /// The absolute path in the container.
    #[schemars(length(min = 2, max = 4096), regex(pattern = r"^/([^/\x00]+/?)+$"))]
    #[x_kube(validation = Rule::new("!self.split('/').exists(s, s == '..' || s == '.')").message("a mount path has no '.' or '..' in it; give the path it means"))]
    pub mount_path: String,
    /// A named volume. It outlives containers and services; clos never removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeMount>,
    /// A file system in memory, empty at each start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmpfs: Option<TmpfsMount>,
    /// Whether the container may not write there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A named volume, one for all services of the namespace that name it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VolumeMount {
    /// The volume's name; on the host it is `clos_<namespace>_<name>`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// A file system in memory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TmpfsMount {
    /// How large it may grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// Limits that the engine enforces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the container may not exceed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
}

/// What a container may not exceed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.memory) || !isQuantity(string(self.memory)) || !quantity(string(self.memory)).isLessThan(quantity('6Mi'))").message("the engine needs a memory limit of at least 6Mi").field_path(".memory"),
    validation = Rule::new("!has(self.cpu) || !isQuantity(string(self.cpu)) || !quantity(string(self.cpu)).isLessThan(quantity('10m'))").message("the engine needs a cpu limit of at least 10m, a hundredth of a core").field_path(".cpu")
)]
pub struct Limits {
    /// Processor cores, as `0.5` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory, as `512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_194_304))]
    pub pids: Option<u32>,
}

/// The transport of a port.
#[derive(
    schemars::JsonSchema,
    Serialize,
    Deserialize,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
)]
pub enum Protocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
}

impl Protocol {
    /// The lower-case word that Docker and object names use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port the container listens on, as a user declares it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PublishedPort {
    /// A name to refer to the port by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 15),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: Option<String>,
    /// The port the container listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: u16,
    /// The port on the host: a number, or `auto` for one from the group's range. Without it the port is reachable within the group only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("string(self) == 'auto' || (string(self).matches('^[0-9]{1,5}$') && int(string(self)) >= 1 && int(string(self)) <= 65535)").message("give a port from 1 to 65535, or \"auto\""),
        validation = Rule::new("string(self) != 'auto'").message("choosing a host port is not carried out by this version; give a number").reason(Reason::FieldValueForbidden)
    )]
    pub host_port: Option<IntOrString>,
    /// The host's address that the port is published on.
    #[serde(default = "loopback")]
    #[schemars(length(max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message("give an IP address of the host, such as 127.0.0.1, or 0.0.0.0 for all of them"))]
    pub host_ip: String,
    /// The transport.
    #[serde(default)]
    pub protocol: Protocol,
}

fn loopback() -> String {
    "127.0.0.1".to_owned()
}
