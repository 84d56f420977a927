//! What each Instance of a Service is to be, resolved from the Service and its Group.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use clos_resources::container::{ContainerSpec, ImagePullPolicy, PublishedPort};
use clos_resources::instance::{BoundPort, InstanceSpec, ValueVersion};
use clos_resources::lifecycle::{Dependency, RestartPolicy, State};
use clos_resources::names;
use clos_resources::{Instance, Service};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use sha2::{Digest, Sha256};

use super::owned::owner;
use super::{ServiceInput, declared_state};
use crate::container::hexadecimal;

/// A digest, in 16 hexadecimal digits, of what makes another container: the container's own part and its ports. How many, whether and
/// when they run does not count, and neither does when the image is pulled or how a port is called.
pub fn revision(service: &Service) -> String {
    revision_of(service, &bound_ports(service).unwrap_or_default())
}

pub(super) fn revision_of(service: &Service, ports: &[BoundPort]) -> String {
    let mut container = Cow::Borrowed(&service.spec.container);
    if container.image_pull_policy != ImagePullPolicy::default() {
        container.to_mut().image_pull_policy = ImagePullPolicy::default();
    }
    let mut ports: Vec<&BoundPort> = ports.iter().collect();
    ports.sort();
    let text = serde_json::to_vec(&(container, ports))
        .expect("plain data with text keys is always valid JSON");
    hexadecimal(&Sha256::digest(text), 8)
}

/// What every Instance of a Service is to be, but for its ordinal and its Host.
pub(super) struct Declared<'a> {
    pub(super) service: &'a str,
    pub(super) group: &'a str,
    pub(super) revision: &'a str,
    pub(super) state: State,
    restart_policy: RestartPolicy,
    depends_on: &'a [Dependency],
    restarted_at: Option<&'a MicroTime>,
    container: &'a ContainerSpec,
    ports: &'a [BoundPort],
    values: Option<&'a BTreeSet<ValueVersion>>,
}

/// What of a declaration can be wrong in itself, read once.
pub(super) struct Parsed {
    pub(super) ports: Vec<BoundPort>,
    pub(super) restarted_at: Option<MicroTime>,
}

impl Parsed {
    pub(super) fn of(input: &ServiceInput<'_>) -> Result<Self, String> {
        Ok(Self {
            ports: bound_ports(input.service)?,
            restarted_at: restarted_at(input)?,
        })
    }
}

impl<'a> Declared<'a> {
    pub(super) fn of(input: &ServiceInput<'a>, parsed: &'a Parsed, revision: &'a str) -> Self {
        let service = &input.service.spec;
        Self {
            service: input.service.metadata.name.as_deref().unwrap_or_default(),
            group: &service.group,
            revision,
            state: declared_state(input),
            restart_policy: service.restart_policy,
            depends_on: &service.depends_on,
            restarted_at: parsed.restarted_at.as_ref(),
            container: &service.container,
            ports: &parsed.ports,
            values: input.values,
        }
    }

    /// One of them.
    pub(super) fn instance(&self, ordinal: u32, host: &str) -> InstanceSpec {
        InstanceSpec {
            service: self.service.to_owned(),
            group: self.group.to_owned(),
            host: host.to_owned(),
            ordinal,
            revision: self.revision.to_owned(),
            state: self.state,
            restart_policy: self.restart_policy,
            depends_on: self.depends_on.to_vec(),
            restarted_at: self.restarted_at.cloned(),
            container: self.container.clone(),
            ports: self.ports.to_vec(),
            values: self.values.into_iter().flatten().cloned().collect(),
        }
    }

    /// The old container with the new say on whether and when it runs.
    pub(super) fn with_container_of(&self, old: &InstanceSpec) -> InstanceSpec {
        InstanceSpec {
            state: self.state,
            restart_policy: self.restart_policy,
            depends_on: self.depends_on.to_vec(),
            ..old.clone()
        }
    }

    pub(super) fn same_lifecycle(&self, present: &InstanceSpec) -> bool {
        present.state == self.state
            && present.restart_policy == self.restart_policy
            && present.depends_on == self.depends_on
    }

    /// Whether taking it over ends what the Instance runs: Instances do so one after the other.
    pub(super) fn interrupts(&self, present: &InstanceSpec) -> bool {
        let others = |values: &BTreeSet<ValueVersion>| !values.iter().eq(&present.values);
        present.revision != self.revision
            || present.restarted_at.as_ref() != self.restarted_at
            || self.values.is_some_and(others)
    }

    pub(super) fn same_container(&self, present: &InstanceSpec) -> bool {
        let names = present.service == self.service && present.group == self.group;
        names
            && !self.interrupts(present)
            && present.container == *self.container
            && present.ports == self.ports
    }
}

pub(super) fn new_instance(input: &ServiceInput<'_>, spec: InstanceSpec) -> Instance {
    let service = input.service;
    let metadata = ObjectMeta {
        name: Some(names::instance(&spec.service, spec.ordinal)),
        namespace: service.metadata.namespace.clone(),
        labels: Some(BTreeMap::from([
            (names::LABEL_SERVICE.to_owned(), spec.service.clone()),
            (names::LABEL_GROUP.to_owned(), spec.group.clone()),
        ])),
        owner_references: Some(vec![owner(service)]),
        finalizers: Some(vec![names::FINALIZER_CONTAINER.to_owned()]),
        ..ObjectMeta::default()
    };
    Instance {
        metadata,
        spec,
        status: None,
    }
}

/// The later of the two times at which a restart of the service or its group was asked for.
fn restarted_at(input: &ServiceInput<'_>) -> Result<Option<MicroTime>, String> {
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
        .map(|time| MicroTime(crate::restart::whole_microseconds(time))))
}

fn bound_ports(service: &Service) -> Result<Vec<BoundPort>, String> {
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
