//! From what the engine shows to what planning observes. Pure. Values that engines of different versions write differently (no limit as 0,
//! -1 or null, the short id among the aliases) come out the same, so that they are never taken for drift. Choosing is not here.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::{
    ContainerInspectResponse, ContainerState as EngineState, ContainerStateStatusEnum,
    ContainerSummary, EndpointSettings, HealthStatusEnum, HostConfig, ImageInspect, Mount,
    MountType, PortMap, RestartPolicyNameEnum,
};
use clos_plan::container::{LimitOptions, MountOptions, PortOptions};
use clos_plan::observed::{Container, ContainerState, Health, Image, LiveOptions, Network, Volume};
use clos_resources::container::Protocol;
use clos_resources::names;
use jiff::Timestamp;

use super::spec::LABEL_DEFAULT_PIDS;
use crate::engine::Listed;

/// One container.
pub(super) fn container(shown: ContainerInspectResponse) -> Container {
    let id = shown.id.unwrap_or_default();
    let mut labels: BTreeMap<String, String> = shown
        .config
        .and_then(|config| config.labels)
        .into_iter()
        .flatten()
        .collect();
    let default_pids = labels
        .remove(LABEL_DEFAULT_PIDS)
        .and_then(|limit| limit.parse().ok());
    let networks = shown
        .network_settings
        .and_then(|settings| settings.networks)
        .into_iter()
        .flatten();
    let host_config = shown.host_config.unwrap_or_default();
    Container {
        name: shown
            .name
            .unwrap_or_default()
            .trim_start_matches('/')
            .to_owned(),
        labels,
        image_id: shown.image.unwrap_or_default(),
        created_at: time(shown.created.as_deref()),
        state: state(shown.state.unwrap_or_default()),
        live: LiveOptions {
            networks: networks
                .map(|(name, endpoint)| (name, aliases(endpoint, &id)))
                .collect(),
            limits: limits(&host_config, default_pids),
            restart_policy: restart_policy(&host_config),
            mounts: host_config
                .mounts
                .into_iter()
                .flatten()
                .filter_map(mount)
                .collect(),
            ports: ports(host_config.port_bindings.unwrap_or_default()),
        },
        id,
    }
}

/// One image.
pub(super) fn image(shown: ImageInspect) -> Image {
    let test = shown
        .config
        .and_then(|config| config.healthcheck)
        .and_then(|check| check.test)
        .unwrap_or_default();
    Image {
        id: shown.id.unwrap_or_default(),
        architecture: shown.architecture.unwrap_or_default(),
        operating_system: shown.os.unwrap_or_default(),
        has_health_check: test.first().is_some_and(|kind| kind != "NONE"),
    }
}

/// Networks, the oldest first.
pub(super) fn networks(mut shown: Vec<bollard::models::Network>) -> Vec<Network> {
    shown.sort_by_cached_key(|network| (time(network.created.as_deref()), network.id.clone()));
    shown
        .into_iter()
        .map(|network| Network {
            id: network.id.unwrap_or_default(),
            name: network.name.unwrap_or_default(),
            labels: network.labels.into_iter().flatten().collect(),
        })
        .collect()
}

/// One volume.
pub(super) fn volume(shown: bollard::models::Volume) -> Volume {
    Volume {
        name: shown.name,
        driver: shown.driver,
        options: shown.options.into_iter().collect(),
        labels: shown.labels.into_iter().collect(),
    }
}

/// One line of a list.
pub(super) fn listed(shown: ContainerSummary) -> Listed {
    let labels: BTreeMap<String, String> = shown.labels.into_iter().flatten().collect();
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    let names: Vec<String> = shown.names.unwrap_or_default();
    let state = shown
        .state
        .map(|state| state.to_string())
        .unwrap_or_default();
    let networks: BTreeSet<String> = shown
        .network_settings
        .and_then(|settings| settings.networks)
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    let networks: Vec<String> = networks.into_iter().collect();
    Listed {
        instance_uid: label(names::LABEL_INSTANCE_UID),
        namespace: label(names::LABEL_NAMESPACE),
        instance: label(names::LABEL_INSTANCE),
        installation: label(names::LABEL_INSTALLATION),
        id: shown.id.unwrap_or_default(),
        fingerprint: format!(
            "{} {state} {} {} {}",
            names.join(","),
            in_brackets(shown.status.as_deref().unwrap_or_default()),
            shown.image_id.unwrap_or_default(),
            networks.join(",")
        ),
    }
}

/// A time as the engine writes it. Its "never" is the first second of year 1, which is [`Timestamp::UNIX_EPOCH`] here, as is a time that
/// cannot be read.
fn time(written: Option<&str>) -> Timestamp {
    let parsed = written.and_then(|written| written.parse::<Timestamp>().ok());
    parsed
        .filter(|at| *at > Timestamp::UNIX_EPOCH)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn state(shown: EngineState) -> ContainerState {
    let started_at = time(shown.started_at.as_deref());
    let running = ContainerState::Running {
        started_at,
        health: health(&shown),
    };
    match shown.status.unwrap_or(ContainerStateStatusEnum::EMPTY) {
        ContainerStateStatusEnum::EMPTY | ContainerStateStatusEnum::CREATED => {
            ContainerState::Created
        }
        // Its process lives until it is stopped.
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => running,
        ContainerStateStatusEnum::PAUSED => ContainerState::Paused { started_at },
        ContainerStateStatusEnum::RESTARTING => ContainerState::Restarting,
        ContainerStateStatusEnum::REMOVING => ContainerState::Removing,
        ContainerStateStatusEnum::DEAD => ContainerState::Dead,
        ContainerStateStatusEnum::EXITED => ContainerState::Exited {
            code: shown.exit_code.unwrap_or_default(),
            oom_killed: shown.oom_killed.unwrap_or_default(),
            error: shown.error.unwrap_or_default(),
            started_at,
            finished_at: time(shown.finished_at.as_deref()),
        },
    }
}

fn health(shown: &EngineState) -> Health {
    match shown.health.as_ref().and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy {
            said: last_output(shown).unwrap_or_default(),
        },
    }
}

/// What the last run of the health check wrote.
fn last_output(shown: &EngineState) -> Option<String> {
    let runs = shown.health.as_ref()?.log.as_ref()?;
    runs.last()?.output.clone()
}

/// Engines before 25 add the container's short id to the aliases that were asked for.
fn aliases(endpoint: EndpointSettings, id: &str) -> BTreeSet<String> {
    let short = id.get(..12).unwrap_or(id);
    endpoint
        .aliases
        .into_iter()
        .flatten()
        .filter(|alias| alias != short)
        .collect()
}

fn limits(config: &HostConfig, default_pids: Option<u32>) -> LimitOptions {
    let positive = |value: Option<i64>| {
        value
            .and_then(|value| u64::try_from(value).ok())
            .filter(|value| *value > 0)
    };
    // `docker update --cpu-quota` limits the same in other units.
    let quota = positive(config.cpu_quota).map(|quota| {
        let period = positive(config.cpu_period).unwrap_or(100_000);
        quota.saturating_mul(1_000_000_000) / period
    });
    let pids = positive(config.pids_limit).and_then(|limit| u32::try_from(limit).ok());
    LimitOptions {
        nano_cpus: positive(config.nano_cpus).or(quota),
        memory: positive(config.memory),
        pids: match default_pids {
            None => pids,
            Some(default) if pids == Some(default) => None,
            // Somebody took the limit away: nobody asks for this many.
            Some(_) => Some(pids.unwrap_or(u32::MAX)),
        },
    }
}

fn restart_policy(config: &HostConfig) -> String {
    match config
        .restart_policy
        .as_ref()
        .and_then(|policy| policy.name)
    {
        None | Some(RestartPolicyNameEnum::EMPTY | RestartPolicyNameEnum::NO) => "no".to_owned(),
        Some(
            policy @ (RestartPolicyNameEnum::ALWAYS
            | RestartPolicyNameEnum::UNLESS_STOPPED
            | RestartPolicyNameEnum::ON_FAILURE),
        ) => policy.to_string(),
    }
}

/// A mount that was asked for; volumes that an image declares besides are not among them.
fn mount(shown: Mount) -> Option<(String, MountOptions)> {
    let read_only = shown.read_only.unwrap_or_default();
    let options = match shown.typ? {
        MountType::VOLUME => MountOptions::Volume {
            name: shown.source?,
            read_only,
        },
        MountType::TMPFS => {
            let size = shown.tmpfs_options.and_then(|options| options.size_bytes);
            MountOptions::Tmpfs {
                size: size
                    .and_then(|size| u64::try_from(size).ok())
                    .filter(|size| *size > 0),
                read_only,
            }
        }
        // Never asked for by clos: a container with one is not ours.
        MountType::BIND | MountType::CLUSTER | MountType::IMAGE | MountType::NPIPE => return None,
    };
    Some((shown.target?, options))
}

fn ports(bindings: PortMap) -> BTreeSet<PortOptions> {
    let mut ports = BTreeSet::new();
    for (port, bindings) in bindings {
        let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
        let Ok(container_port) = number.parse() else {
            continue;
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            // Never asked for by clos.
            _ => continue,
        };
        for binding in bindings.into_iter().flatten() {
            let host_port = binding
                .host_port
                .and_then(|port| port.parse().ok())
                .unwrap_or_default();
            ports.insert(PortOptions {
                protocol,
                container_port,
                host_ip: binding.host_ip.unwrap_or_default(),
                host_port,
            });
        }
    }
    ports
}

/// What stays the same while time passes of `Up 3 minutes (healthy)` and `Exited (137) 2 hours ago`.
fn in_brackets(status: &str) -> &str {
    status
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(inner, _)| inner)
}

#[cfg(test)]
mod tests;
