//! `Port`: one host port held by somebody. The object's name is built from host, protocol and port, so that the uniqueness of
//! names is the lock.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::container::Protocol;

/// Which port is held, and by whom.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "clos.dev",
    version = "v1alpha1",
    kind = "Port",
    plural = "ports",
    shortname = "cport",
    category = "clos",
    category = "all",
    derive = "PartialEq",
    doc = "A host port held by an Instance, or reserved by a person.",
    selectable = ".spec.host",
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host"),
    printcolumn(name = "Protocol", type_ = "string", json_path = ".spec.protocol"),
    printcolumn(name = "Port", type_ = "integer", json_path = ".spec.port"),
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.holder.namespace"),
    printcolumn(name = "Instance", type_ = "string", json_path = ".spec.holder.instance"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name == self.spec.host + '-' + (self.spec.protocol == 'TCP' ? 'tcp' : 'udp') + '-' + string(self.spec.port)")
        .message(Message::Expression("'this port must be named ' + self.spec.host + '-' + (self.spec.protocol == 'TCP' ? 'tcp' : 'udp') + '-' + string(self.spec.port)".into()))
.reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.host == oldSelf.host && self.protocol == oldSelf.protocol && self.port == oldSelf.port").message("a Port's host, protocol and port cannot be changed; they are its name"),
    validation = Rule::new("has(self.holder) != has(self.reservedFor)").message("a port is either held by an instance or reserved by a person: give exactly one of holder and reservedFor")
)]
pub struct PortSpec {
    /// The Host whose port it is.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub host: String,
    /// The transport.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port's number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The Instance that holds it; set by clos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<PortHolder>,
    /// Whom or what a person keeps the port for; no service gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub reserved_for: Option<String>,
}

/// The Instance that holds a port.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PortHolder {
    /// The Instance's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// The Instance's name.
    #[schemars(length(min = 1, max = 63))]
    pub instance: String,
    /// The Instance's UID: a later one of the same name is another holder.
    #[schemars(length(min = 1, max = 63))]
    pub uid: String,
}
