//! From options to the bodies the engine is sent. Pure. What the options leave open is decided here, safely: no new privileges, a limit of
//! processes, only the default capabilities, bounded logs, no restart policy but ours.

use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountTmpfsOptions, MountType, NetworkCreateRequest, NetworkingConfig, PortBinding,
    RestartPolicy, RestartPolicyNameEnum, VolumeCreateRequest,
};
use clos_plan::container::{
    ContainerOptions, MountOptions, NetworkOptions, PortOptions, VolumeOptions,
};

/// The limit of processes and threads where none is given: enough for any service, too few to take the host down.
const DEFAULT_PIDS: u32 = 4096;
/// Label that says which limit was set because none was given, so that reading back gives what was asked for, also when another version
/// of clos has another default.
pub(super) const LABEL_DEFAULT_PIDS: &str = "clos.dev/default-pids-limit";

/// The body that makes a container.
pub(super) fn container(options: &ContainerOptions) -> ContainerCreateBody {
    let mut labels = options.labels.clone();
    if options.limits.pids.is_none() {
        labels.insert(LABEL_DEFAULT_PIDS.to_owned(), DEFAULT_PIDS.to_string());
    }
    let endpoint = EndpointSettings {
        aliases: Some(options.aliases.iter().cloned().collect()),
        ..EndpointSettings::default()
    };
    ContainerCreateBody {
        image: Some(options.image.clone()),
        entrypoint: given(&options.entrypoint),
        cmd: given(&options.command),
        working_dir: options.working_dir.clone(),
        user: options.user.clone(),
        env: Some(
            options
                .env
                .iter()
                .map(|(name, value)| format!("{name}={}", value.expose()))
                .collect(),
        ),
        labels: Some(labels.into_iter().collect()),
        exposed_ports: Some(options.ports.iter().map(container_port).collect()),
        stop_signal: options.stop_signal.clone(),
        stop_timeout: Some(whole_seconds(options.stop_timeout)),
        host_config: Some(host_config(options)),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some([(options.network.clone(), endpoint)].into_iter().collect()),
        }),
        ..ContainerCreateBody::default()
    }
}

/// The body that makes a network: a bridge of its own.
pub(super) fn network(options: &NetworkOptions) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: options.name.clone(),
        driver: Some("bridge".to_owned()),
        labels: Some(options.labels.clone().into_iter().collect()),
        ..NetworkCreateRequest::default()
    }
}

/// The body that makes a volume.
pub(super) fn volume(options: &VolumeOptions) -> VolumeCreateRequest {
    VolumeCreateRequest {
        name: Some(options.name.clone()),
        driver: Some("local".to_owned()),
        labels: Some(options.labels.clone().into_iter().collect()),
        ..VolumeCreateRequest::default()
    }
}

/// Seconds, as the engine counts grace periods: rounded up, so that nobody gets less than was asked for.
pub(super) fn whole_seconds(duration: Duration) -> i64 {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn host_config(options: &ContainerOptions) -> HostConfig {
    let limits = &options.limits;
    let memory = limits.memory.map(signed);
    HostConfig {
        nano_cpus: limits.nano_cpus.map(signed),
        memory,
        // As much as the memory: the limit is the limit, swap does not stretch it.
        memory_swap: memory,
        pids_limit: Some(i64::from(limits.pids.unwrap_or(DEFAULT_PIDS))),
        mounts: Some(
            options
                .mounts
                .iter()
                .map(|(path, mount)| mount_at(path, mount))
                .collect(),
        ),
        network_mode: Some(options.network.clone()),
        port_bindings: Some(port_bindings(options)),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(
                [("max-size", "10m"), ("max-file", "3")]
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .collect(),
            ),
        }),
        ..HostConfig::default()
    }
}

fn port_bindings(options: &ContainerOptions) -> bollard::models::PortMap {
    let mut bindings = bollard::models::PortMap::new();
    for port in &options.ports {
        let binding = PortBinding {
            host_ip: Some(port.host_ip.clone()),
            host_port: Some(port.host_port.to_string()),
        };
        bindings
            .entry(container_port(port))
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    bindings
}

/// A mount object, never a bind string: its source is a volume's name and cannot be taken for a folder of the host.
fn mount_at(path: &str, mount: &MountOptions) -> Mount {
    let target = Some(path.to_owned());
    match mount {
        MountOptions::Volume { name, read_only } => Mount {
            target,
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            read_only: Some(*read_only),
            ..Mount::default()
        },
        MountOptions::Tmpfs { size, read_only } => Mount {
            target,
            typ: Some(MountType::TMPFS),
            read_only: Some(*read_only),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: size.map(signed),
                ..MountTmpfsOptions::default()
            }),
            ..Mount::default()
        },
    }
}

fn container_port(port: &PortOptions) -> String {
    format!("{}/{}", port.container_port, port.protocol.as_str())
}

fn given(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use clos_plan::container::{LimitOptions, Sensitive};
    use clos_resources::container::Protocol;

    use super::*;

    /// Options with every field set.
    pub(in crate::docker) fn everything() -> ContainerOptions {
        ContainerOptions {
            name: "clos_default_web-0".to_owned(),
            image: "shop/web:1.4.2".to_owned(),
            entrypoint: vec!["/entry".to_owned()],
            command: vec!["serve".to_owned(), "--fast".to_owned()],
            working_dir: Some("/srv".to_owned()),
            user: Some("1000:1000".to_owned()),
            env: BTreeMap::from([("PASSWORD".to_owned(), Sensitive::new("hunter2"))]),
            labels: BTreeMap::from([("clos.dev/instance".to_owned(), "web-0".to_owned())]),
            mounts: BTreeMap::from([
                (
                    "/data".to_owned(),
                    MountOptions::Volume {
                        name: "clos_default_db".to_owned(),
                        read_only: true,
                    },
                ),
                (
                    "/tmp".to_owned(),
                    MountOptions::Tmpfs {
                        size: Some(1 << 20),
                        read_only: false,
                    },
                ),
            ]),
            network: "clos_default_shop".to_owned(),
            aliases: BTreeSet::from(["web".to_owned(), "web-0".to_owned()]),
            ports: BTreeSet::from([
                PortOptions {
                    protocol: Protocol::Tcp,
                    container_port: 80,
                    host_ip: "127.0.0.1".to_owned(),
                    host_port: 8080,
                },
                PortOptions {
                    protocol: Protocol::Tcp,
                    container_port: 80,
                    host_ip: "::1".to_owned(),
                    host_port: 8080,
                },
                PortOptions {
                    protocol: Protocol::Udp,
                    container_port: 53,
                    host_ip: "0.0.0.0".to_owned(),
                    host_port: 53,
                },
            ]),
            limits: LimitOptions {
                nano_cpus: Some(500_000_000),
                memory: Some(512 << 20),
                pids: Some(100),
            },
            stop_timeout: Duration::from_millis(1500),
            stop_signal: Some("SIGQUIT".to_owned()),
        }
    }

    /// Options with nothing set that can be left out.
    pub(in crate::docker) fn least() -> ContainerOptions {
        ContainerOptions {
            entrypoint: Vec::new(),
            command: Vec::new(),
            working_dir: None,
            user: None,
            env: BTreeMap::new(),
            mounts: BTreeMap::new(),
            aliases: BTreeSet::new(),
            ports: BTreeSet::new(),
            limits: LimitOptions::default(),
            stop_timeout: Duration::from_secs(10),
            stop_signal: None,
            ..everything()
        }
    }

    fn sorted(body: &ContainerCreateBody) -> String {
        serde_json::to_string_pretty(&sort(serde_json::to_value(body).unwrap())).unwrap()
    }

    fn sort(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let sorted: BTreeMap<String, serde_json::Value> = map
                    .into_iter()
                    .map(|(key, value)| (key, sort(value)))
                    .collect();
                serde_json::Value::Object(sorted.into_iter().collect())
            }
            serde_json::Value::Array(items) => {
                serde_json::Value::Array(items.into_iter().map(sort).collect())
            }
            other => other,
        }
    }

    #[test]
    fn a_container_is_made_with_every_option_and_safe_defaults() {
        insta::assert_snapshot!("everything", sorted(&container(&everything())));
    }

    #[test]
    fn what_is_left_out_is_the_images_and_limits_are_still_set() {
        insta::assert_snapshot!("least", sorted(&container(&least())));
    }

    #[test]
    fn i9_no_debug_text_of_options_shows_a_secret() {
        let text = format!("{:?}", everything());
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_grace_period_is_never_shortened_by_rounding() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
        assert_eq!(whole_seconds(Duration::ZERO), 0);
    }
}
