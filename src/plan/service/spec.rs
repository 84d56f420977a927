//! What each Instance of a Service is to be, resolved from the Service and its Group.

use std::collections::BTreeMap;

use clos_resources::container::{ImagePullPolicy, PublishedPort};
use clos_resources::instance::{BoundPort, InstanceSpec};
use clos_resources::names;
use clos_resources::{Instance, Service};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use super::{ServiceInput, declared_state};
use crate::container::hexadecimal;

/// A digest, in 16 hexadecimal digits, of what makes another container: the container's own part and its ports. How many, whether and
/// when they run does not count, and neither does when the image is pulled or how a port is called.
pub fn revision(service: &Service) -> String {
    let mut container = service.spec.container.clone();
    container.image_pull_policy = ImagePullPolicy::default();
    let mut ports = bound_ports(service).unwrap_or_default();
    ports.sort();
    let text = serde_json::to_vec(&(container, ports))
        .expect("plain data with text keys is always valid JSON");
    hexadecimal(&Sha256::digest(text), 8)
}

pub(super) fn new_instance(input: &ServiceInput<'_>, spec: InstanceSpec) -> Instance {
    let service = input.service;
    let owner = OwnerReference {
        api_version: Service::api_version(&()).into_owned(),
        kind: Service::kind(&()).into_owned(),
        name: service.metadata.name.clone().unwrap_or_default(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    let metadata = ObjectMeta {
        name: Some(names::instance(&spec.service, spec.ordinal)),
        namespace: service.metadata.namespace.clone(),
        labels: Some(BTreeMap::from([
            (names::LABEL_SERVICE.to_owned(), spec.service.clone()),
            (names::LABEL_GROUP.to_owned(), spec.group.clone()),
        ])),
        owner_references: Some(vec![owner]),
        finalizers: Some(vec![names::FINALIZER_CONTAINER.to_owned()]),
        ..ObjectMeta::default()
    };
    Instance {
        metadata,
        spec,
        status: None,
    }
}

/// What every Instance is to be, but for its ordinal.
pub(super) fn spec(input: &ServiceInput<'_>, revision: &str) -> InstanceSpec {
    let service = &input.service.spec;
    InstanceSpec {
        service: input.service.metadata.name.clone().unwrap_or_default(),
        group: service.group.clone(),
        host: input.host.to_owned(),
        ordinal: 0,
        revision: revision.to_owned(),
        state: declared_state(input),
        restart_policy: service.restart_policy,
        depends_on: service.depends_on.clone(),
        restarted_at: restarted_at(input).unwrap_or_default(),
        container: service.container.clone(),
        ports: bound_ports(input.service).unwrap_or_default(),
    }
}

/// The old container with the new say on whether and when it runs.
pub(super) fn with_lifecycle_of(old: &InstanceSpec, new: &InstanceSpec) -> InstanceSpec {
    InstanceSpec {
        state: new.state,
        restart_policy: new.restart_policy,
        depends_on: new.depends_on.clone(),
        restarted_at: new.restarted_at.clone(),
        ..old.clone()
    }
}

pub(super) fn same_lifecycle(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    a.state == b.state
        && a.restart_policy == b.restart_policy
        && a.depends_on == b.depends_on
        && a.restarted_at == b.restarted_at
}

pub(super) fn same_container(a: &InstanceSpec, b: &InstanceSpec) -> bool {
    let names = a.service == b.service && a.group == b.group;
    names && a.revision == b.revision && a.container == b.container && a.ports == b.ports
}

/// The later of the two times at which a restart of the service or its group was asked for.
pub(super) fn restarted_at(input: &ServiceInput<'_>) -> Result<Option<Time>, String> {
    let read = |metadata: &ObjectMeta| {
        let text = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(names::ANNOTATION_RESTARTED_AT));
        let parse = |text: &String| {
            text.parse::<Timestamp>().map_err(|_| {
                let key = names::ANNOTATION_RESTARTED_AT;
                format!(
                    "annotation {key}: {text:?} is not a time; write it like 2026-11-23T09:30:00Z"
                )
            })
        };
        text.map(parse).transpose()
    };
    let of_service = read(&input.service.metadata)?;
    let of_group = input
        .group
        .map(|group| read(&group.metadata))
        .transpose()?
        .flatten();
    Ok(of_service
        .max(of_group)
        .map(|time| Time(crate::restart::whole_seconds(time))))
}

pub(super) fn bound_ports(service: &Service) -> Result<Vec<BoundPort>, String> {
    let bind = |(index, port): (usize, &PublishedPort)| {
        let host_port = match &port.host_port {
            None => None,
            Some(IntOrString::Int(number)) => Some(
                u16::try_from(*number)
                    .ok()
                    .filter(|number| *number > 0)
                    .ok_or_else(|| {
                        format!(
                            "spec.ports[{index}].hostPort: {number} is not a port; give 1 to 65535"
                        )
                    })?,
            ),
            Some(IntOrString::String(text)) => {
                return Err(format!(
                    "spec.ports[{index}].hostPort: {text:?} is not carried out by this version; give a number"
                ));
            }
        };
        Ok(BoundPort {
            protocol: port.protocol,
            host_ip: port.host_ip.clone(),
            host_port,
            container_port: port.container_port,
        })
    };
    service.spec.ports.iter().enumerate().map(bind).collect()
}
