//! The registry of kinds: every CustomResourceDefinition, in the order users meet them. A new kind is one file and one line here.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{Group, Host, Instance, Port, Service};

/// The definitions of all kinds.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        Service::crd(),
        Group::crd(),
        Instance::crd(),
        Port::crd(),
        Host::crd(),
    ]
}
