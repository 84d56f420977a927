//! A container, a network and a volume exactly as the engine is asked to make them: every option decided, every value resolved.
//! How the engine's API spells them is the engine crate's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use clos_resources::container::Protocol;
use sha2::{Digest, Sha256};

/// A value that must never be printed: its `Debug` shows that there is one and nothing of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sensitive(String);

impl Sensitive {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that hands it to the engine.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(…)")
    }
}

/// One container to make. Two equal ones make equal containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerOptions {
    /// The container's name.
    pub name: String,
    /// The image as the user wrote it.
    pub image: String,
    /// Replaces the image's entry point when not empty.
    pub entrypoint: Vec<String>,
    /// Replaces the image's command when not empty.
    pub command: Vec<String>,
    /// The working directory, when not the image's.
    pub working_dir: Option<String>,
    /// The user, when not the image's.
    pub user: Option<String>,
    /// The environment, values resolved. What the image sets besides stays.
    pub env: BTreeMap<String, Sensitive>,
    /// Labels: the user's, and ours.
    pub labels: BTreeMap<String, String>,
    /// Mounts by path in the container.
    pub mounts: BTreeMap<String, MountOptions>,
    /// The one network it is attached to.
    pub network: String,
    /// Names other containers of the network find it by.
    pub aliases: BTreeSet<String>,
    /// Ports to publish.
    pub ports: BTreeSet<PortOptions>,
    /// Limits.
    pub limits: LimitOptions,
    /// How long a stop may take.
    pub stop_timeout: Duration,
    /// The signal of a stop, when not the image's.
    pub stop_signal: Option<String>,
}

/// What is mounted at one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountOptions {
    /// A named volume of the engine.
    Volume {
        /// The volume's name on the host.
        name: String,
        /// Whether it cannot be written to.
        read_only: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its largest size in bytes; the engine's default when none.
        size: Option<u64>,
        /// Whether it cannot be written to.
        read_only: bool,
    },
}

/// One published port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortOptions {
    /// The transport.
    pub protocol: Protocol,
    /// The port in the container.
    pub container_port: u16,
    /// The address on the host.
    pub host_ip: String,
    /// The port on the host.
    pub host_port: u16,
}

/// What the engine enforces.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LimitOptions {
    /// Billionths of a core.
    pub nano_cpus: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// One network to make: a bridge of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// The network's name.
    pub name: String,
    /// Labels that make it ours.
    pub labels: BTreeMap<String, String>,
}

/// One volume to make, of the engine's local driver and without options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeOptions {
    /// The volume's name on the host.
    pub name: String,
    /// Labels that say where it comes from.
    pub labels: BTreeMap<String, String>,
}

impl ContainerOptions {
    /// A digest of everything the container is made with, values included, in 16 hexadecimal digits. Labels of ours do not count (the
    /// digest itself is one of them), so it is taken before they are added.
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut field = |name: &str, values: &[&str]| {
            hasher.update(name.as_bytes());
            for value in values {
                hasher.update(value.len().to_le_bytes());
                hasher.update(value.as_bytes());
            }
            hasher.update([0xff]);
        };
        field("image", &[&self.image]);
        field("entrypoint", &self.entrypoint.iter().map(String::as_str).collect::<Vec<_>>());
        field("command", &self.command.iter().map(String::as_str).collect::<Vec<_>>());
        field("working_dir", &[self.working_dir.as_deref().unwrap_or("")]);
        field("user", &[self.user.as_deref().unwrap_or("")]);
        for (name, value) in &self.env {
            field("env", &[name, value.expose()]);
        }
        for (key, value) in self.labels.iter().filter(|(key, _)| !key.starts_with("clos.dev/")) {
            field("label", &[key, value]);
        }
        for (path, mount) in &self.mounts {
            field("mount", &[path, &format!("{mount:?}")]);
        }
        field("network", &[&self.network]);
        field("aliases", &self.aliases.iter().map(String::as_str).collect::<Vec<_>>());
        for port in &self.ports {
            field("port", &[&format!("{port:?}")]);
        }
        field("limits", &[&format!("{:?}", self.limits)]);
        field("stop", &[&format!("{:?} {:?}", self.stop_timeout, self.stop_signal)]);
        let digest = hasher.finalize();
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}
