//! From an Instance and the values it refers to, to what the engine is to be asked for. Every user mistake that only shows once values
//! are known ends here. Looking values up and deciding on steps are not here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use clos_resources::conditions::{Reason, Summary};
use clos_resources::container::{ContainerSpec, EnvVar, KeyRef, Limits, Mount};
use clos_resources::instance::{BoundPort, ValueVersion};
use clos_resources::names;
use clos_resources::port::{PortHolder, PortSpec};
use clos_resources::{Instance, Port};

use crate::container::{
    ContainerOptions, LimitOptions, MountOptions, NetworkOptions, PortOptions, Sensitive,
    VolumeOptions,
};
use crate::drift;

/// The most processes and threads of a container that declares no limit: far above what services need, far below what
/// brings a host down.
pub const DEFAULT_PIDS: u32 = 4096;

/// Billionths of a core in a thousandth of a core.
const NANO_CPUS_PER_MILLI: u128 = 1_000_000;

/// What was looked up, by object name in the Instance's namespace. `None`: the object does not exist.
#[derive(Clone, Default)]
pub struct Values {
    /// Data of Secrets.
    pub secrets: BTreeMap<String, Option<BTreeMap<String, Vec<u8>>>>,
    /// Data of `ConfigMap` objects, text and binary.
    pub config_maps: BTreeMap<String, Option<BTreeMap<String, Vec<u8>>>>,
    /// Which versions of them these are: an Instance that is to have others waits for its turn. None where nobody waits, as when it is
    /// told what would be done in the end.
    pub versions: Option<BTreeSet<ValueVersion>>,
}

/// The objects an Instance takes values from, by name in its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// `ConfigMap` objects.
    pub config_maps: BTreeSet<String>,
}

/// What the engine and the API are to be asked for. Here is what every look compares; the rest is made when it is asked for, which
/// is seldom: almost every look finds everything as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired<'a> {
    instance: &'a Instance,
    installation: &'a str,
    /// Without the labels that make it ours.
    options: ContainerOptions,
    /// Of the options.
    pub(crate) digest: String,
    /// The values are not those that the Instance is to have: they alone are no reason for another container.
    pub(crate) awaits_its_turn: bool,
    /// The host ports it must hold, in order of their names.
    claims: Vec<Port>,
}

/// Why an Instance cannot be turned into a container: every reason at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", sentence(.mistakes, .missing))]
pub struct Unresolved {
    /// What the declaration says and cannot be.
    mistakes: Vec<String>,
    /// What it refers to and does not exist.
    missing: Vec<String>,
}

impl Unresolved {
    /// What to say about it.
    pub fn summary(&self) -> Summary {
        let reason = if self.mistakes.is_empty() {
            Reason::ConfigMissing
        } else {
            Reason::InvalidSpec
        };
        Summary::new(reason, self.to_string())
    }
}

fn sentence(mistakes: &[String], missing: &[String]) -> String {
    mistakes
        .iter()
        .chain(missing)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The objects that a container takes values from: [`desired`] needs them.
pub fn references(container: &ContainerSpec) -> References {
    let mut references = References::default();
    for source in container
        .env
        .iter()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        references
            .secrets
            .extend(source.secret_key_ref.iter().map(|key| key.name.clone()));
        references
            .config_maps
            .extend(source.config_map_key_ref.iter().map(|key| key.name.clone()));
    }
    references
}

/// What the engine and the API are to be asked for. `values` holds every object that [`references`] names.
pub fn desired<'a>(
    instance: &'a Instance,
    values: &Values,
    installation: &'a str,
) -> Result<Desired<'a>, Unresolved> {
    let spec = &instance.spec;
    let mut unresolved = Unresolved::default();
    let env = environment(&spec.container.env, values, &mut unresolved);
    let mounts = mounts(namespace(instance), &spec.container.mounts, &mut unresolved);
    let ports = ports(&spec.ports, &mut unresolved);
    let others = |versions: &BTreeSet<ValueVersion>| !versions.iter().eq(&spec.values);
    let awaits_its_turn = values.versions.as_ref().is_some_and(others);
    if unresolved != Unresolved::default() {
        return Err(unresolved);
    }
    let options = ContainerOptions {
        name: container_name(instance),
        image: spec.container.image.clone(),
        entrypoint: spec.container.command.clone(),
        command: spec.container.args.clone(),
        working_dir: spec.container.working_dir.clone(),
        user: spec.container.user.clone(),
        env,
        labels: spec.container.labels.clone(),
        mounts,
        network: network_name(instance),
        aliases: BTreeSet::from([spec.service.clone(), name(instance).to_owned()]),
        ports,
        limits: limits(
            spec.container
                .resources
                .as_ref()
                .and_then(|resources| resources.limits.as_ref()),
        ),
        stop_timeout: spec.container.stop_grace_period.get(),
        stop_signal: spec.container.stop_signal.clone(),
    };
    Ok(Desired {
        instance,
        installation,
        digest: options.digest(),
        awaits_its_turn,
        claims: claims(instance),
        options,
    })
}

impl Desired<'_> {
    /// The container, with the labels that make it ours.
    pub fn container(&self) -> ContainerOptions {
        let mut options = self.options.clone();
        let digest = drift::digest_label(&self.digest, &self.options);
        let labels = container_labels(self.instance, self.installation, digest);
        options.labels.extend(labels);
        options
    }

    /// The group's network.
    pub fn network(&self) -> NetworkOptions {
        network(self.instance, self.installation)
    }

    /// The volumes it mounts, in order of their names.
    pub fn volumes(&self) -> Vec<VolumeOptions> {
        volumes(self.instance, self.installation)
    }

    /// The host ports it must hold, in order of their names.
    pub fn claims(&self) -> &[Port] {
        &self.claims
    }

    /// The digest of the declaration.
    pub(crate) fn revision(&self) -> &str {
        &self.instance.spec.revision
    }

    /// The container without the labels that make it ours: nothing to make one from.
    pub(crate) fn options(&self) -> &ContainerOptions {
        &self.options
    }
}

/// The name that the Instance's container has or would get.
pub fn container_name(instance: &Instance) -> String {
    names::container(namespace(instance), name(instance))
}

/// The name of the network of the Instance's group.
pub fn network_name(instance: &Instance) -> String {
    names::network(namespace(instance), &instance.spec.group)
}

/// The volumes the Instance mounts, by their names on the host, in order and each once.
pub fn volume_names(instance: &Instance) -> Vec<String> {
    declared_volumes(instance)
        .into_iter()
        .map(|volume| names::volume(namespace(instance), volume))
        .collect()
}

pub(crate) fn namespace(instance: &Instance) -> &str {
    instance.metadata.namespace.as_deref().unwrap_or_default()
}

pub(crate) fn name(instance: &Instance) -> &str {
    instance.metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn uid(instance: &Instance) -> &str {
    instance.metadata.uid.as_deref().unwrap_or_default()
}

fn environment(
    variables: &[EnvVar],
    values: &Values,
    unresolved: &mut Unresolved,
) -> BTreeMap<String, Sensitive> {
    let mut env = BTreeMap::new();
    for variable in variables {
        let found = match &variable.value_from {
            None => Ok(Some(variable.value.clone().unwrap_or_default())),
            Some(source) => match (&source.secret_key_ref, &source.config_map_key_ref) {
                (Some(key), _) => look_up("Secret", key, &values.secrets),
                (None, Some(key)) => look_up("ConfigMap", key, &values.config_maps),
                (None, None) => Err(Absent::Unusable(
                    "valueFrom names neither a secretKeyRef nor a configMapKeyRef; give exactly one".to_owned(),
                )),
            },
        };
        match found {
            Ok(Some(value)) if value.contains('\0') => unresolved.mistakes.push(format!(
                "the value of {} has a zero byte in it, which no environment variable can hold",
                variable.name
            )),
            Ok(Some(value)) => env.extend([(variable.name.clone(), Sensitive::new(value))]),
            Ok(None) => {}
            Err(Absent::Missing(what)) => unresolved
                .missing
                .push(format!("{what} (for {})", variable.name)),
            Err(Absent::Unusable(why)) => unresolved
                .mistakes
                .push(format!("{}: {why}", variable.name)),
        }
    }
    env
}

/// Why a value is not there.
enum Absent {
    Missing(String),
    Unusable(String),
}

fn look_up(
    kind: &str,
    key: &KeyRef,
    objects: &BTreeMap<String, Option<BTreeMap<String, Vec<u8>>>>,
) -> Result<Option<String>, Absent> {
    let missing = |what: String| {
        if key.optional {
            Ok(None)
        } else {
            Err(Absent::Missing(what))
        }
    };
    let Some(Some(object)) = objects.get(&key.name) else {
        return missing(format!("{kind} {} does not exist", key.name));
    };
    let Some(value) = object.get(&key.key) else {
        return missing(format!("{kind} {} has no key {}", key.name, key.key));
    };
    match std::str::from_utf8(value) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(Absent::Unusable(format!(
            "key {} of {kind} {} is not UTF-8 text, which an environment variable must be",
            key.key, key.name
        ))),
    }
}

fn mounts(
    namespace: &str,
    declared: &[Mount],
    unresolved: &mut Unresolved,
) -> BTreeMap<String, MountOptions> {
    let mut mounts = BTreeMap::new();
    for mount in declared {
        // The engine shows paths without a slash at the end; `/data` and `/data/` are one place.
        let path = mount.mount_path.trim_end_matches('/').to_owned();
        let options = match (&mount.volume, &mount.tmpfs) {
            (Some(volume), None) => MountOptions::Volume {
                name: names::volume(namespace, &volume.name),
                read_only: mount.read_only,
            },
            (None, Some(tmpfs)) => MountOptions::Tmpfs {
                size: tmpfs
                    .size
                    .as_ref()
                    .map(clos_resources::quantity::Quantity::units),
                read_only: mount.read_only,
            },
            (Some(_), Some(_)) | (None, None) => {
                unresolved.mistakes.push(format!(
                    "the mount at {path} must have exactly one of volume and tmpfs"
                ));
                continue;
            }
        };
        if mounts.insert(path.clone(), options).is_some() {
            unresolved
                .mistakes
                .push(format!("two mounts are at {path}; give each its own path"));
        }
    }
    mounts
}

fn ports(bound: &[BoundPort], unresolved: &mut Unresolved) -> BTreeSet<PortOptions> {
    let mut ports = BTreeSet::new();
    for port in bound {
        let Some(host_port) = port.host_port else {
            continue;
        };
        // The engine shows addresses in their shortest form.
        match port.host_ip.parse::<IpAddr>() {
            Ok(address) => ports.extend([PortOptions {
                protocol: port.protocol,
                container_port: port.container_port,
                host_ip: address.to_string(),
                host_port,
            }]),
            Err(_) => unresolved.mistakes.push(format!(
                "{:?} is no IP address to publish port {host_port} on; give one such as 127.0.0.1",
                port.host_ip
            )),
        }
    }
    ports
}

fn limits(limits: Option<&Limits>) -> LimitOptions {
    let nano_cpus = |milli: u128| u64::try_from(milli * NANO_CPUS_PER_MILLI).unwrap_or(u64::MAX);
    LimitOptions {
        nano_cpus: limits
            .and_then(|limits| limits.cpu.as_ref())
            .map(|cpu| nano_cpus(cpu.milli())),
        memory: limits
            .and_then(|limits| limits.memory.as_ref())
            .map(clos_resources::quantity::Quantity::units),
        pids: Some(
            limits
                .and_then(|limits| limits.pids)
                .unwrap_or(DEFAULT_PIDS),
        ),
    }
}

fn container_labels(
    instance: &Instance,
    installation: &str,
    digest: String,
) -> [(String, String); 8] {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [
        label(names::LABEL_INSTALLATION, installation),
        label(names::LABEL_INSTANCE_UID, uid(instance)),
        label(names::LABEL_NAMESPACE, namespace(instance)),
        label(names::LABEL_INSTANCE, name(instance)),
        label(names::LABEL_SERVICE, &instance.spec.service),
        label(names::LABEL_GROUP, &instance.spec.group),
        label(names::LABEL_REVISION, &instance.spec.revision),
        (names::LABEL_SPEC_DIGEST.to_owned(), digest),
    ]
}

fn network(instance: &Instance, installation: &str) -> NetworkOptions {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    NetworkOptions {
        name: network_name(instance),
        labels: BTreeMap::from([
            label(names::LABEL_INSTALLATION, installation),
            label(names::LABEL_NAMESPACE, namespace(instance)),
            label(names::LABEL_GROUP, &instance.spec.group),
        ]),
    }
}

fn declared_volumes(instance: &Instance) -> BTreeSet<&str> {
    let mounts = &instance.spec.container.mounts;
    mounts
        .iter()
        .filter_map(|mount| mount.volume.as_ref())
        .map(|volume| volume.name.as_str())
        .collect()
}

fn volumes(instance: &Instance, installation: &str) -> Vec<VolumeOptions> {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let volume = |declared: &str| VolumeOptions {
        name: names::volume(namespace(instance), declared),
        labels: BTreeMap::from([
            label(names::LABEL_INSTALLATION, installation),
            label(names::LABEL_NAMESPACE, namespace(instance)),
            label(names::LABEL_VOLUME, declared),
        ]),
    };
    declared_volumes(instance).into_iter().map(volume).collect()
}

/// One claim for each port of the host, however many of its addresses it is published on.
fn claims(instance: &Instance) -> Vec<Port> {
    let host = &instance.spec.host;
    let wanted: BTreeSet<_> = instance
        .spec
        .ports
        .iter()
        .filter_map(|port| Some((port.protocol, port.host_port?)))
        .collect();
    let claim = |(protocol, port)| {
        let holder = PortHolder {
            namespace: namespace(instance).to_owned(),
            instance: name(instance).to_owned(),
            uid: uid(instance).to_owned(),
        };
        let spec = PortSpec {
            host: host.clone(),
            protocol,
            port,
            holder: Some(holder),
            reserved_for: None,
        };
        Port::new(&names::port(host, protocol, port), spec)
    };
    wanted.into_iter().map(claim).collect()
}
