//! A container, a network and a volume exactly as the engine is asked to make them: every option decided, every value resolved.
//! How the engine's API spells them is the engine crate's business.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::time::Duration;

use clos_resources::container::Protocol;
use sha2::{Digest, Sha256};

/// The bytes of a length.
const LENGTH: usize = size_of::<usize>();

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
    /// digest itself is one of them).
    pub fn digest(&self) -> String {
        hexadecimal(&Sha256::digest(self.encoded().bytes), 8)
    }

    /// A digest of each part, in 4 hexadecimal digits, by the part's name for users: enough to say later which parts changed, too short
    /// to learn a value from.
    pub fn part_digests(&self) -> BTreeMap<&'static str, String> {
        let encoded = self.encoded();
        let digest = |part: &Range<usize>| Sha256::digest(&encoded.bytes[part.clone()]);
        let parts = encoded.parts.iter();
        parts
            .map(|(name, part)| (*name, hexadecimal(&digest(part), 2)))
            .collect()
    }

    /// Every field, under the name of the part it belongs to. The digest of a container that exists was made of these bytes: other bytes
    /// for the same options would replace every container.
    fn encoded(&self) -> Encoded {
        let mut encoded = Encoded::default();
        encoded.field("image", [&self.image]);
        encoded.field("command", &self.entrypoint);
        encoded.field("args", &self.command);
        encoded.field("workingDir", [self.working_dir.as_deref().unwrap_or("")]);
        encoded.field("user", [self.user.as_deref().unwrap_or("")]);
        for (name, value) in &self.env {
            encoded.field("env", [name, value.expose()]);
        }
        let labels = self.labels.iter();
        for (key, value) in labels.filter(|(key, _)| !key.starts_with("clos.dev/")) {
            encoded.field("labels", [key, value]);
        }
        for (path, mount) in &self.mounts {
            encoded.formatted("mounts", Some(path), format_args!("{mount:?}"));
        }
        encoded.field("network", [&self.network]);
        encoded.field("network", &self.aliases);
        for port in &self.ports {
            encoded.formatted("ports", None, format_args!("{port:?}"));
        }
        encoded.formatted("limits", None, format_args!("{:?}", self.limits));
        let stop = (self.stop_timeout, &self.stop_signal);
        encoded.formatted("stop", None, format_args!("{:?} {:?}", stop.0, stop.1));
        encoded
    }
}

/// Options as bytes, with the places of their parts. Lengths go in before values, so that no two lists of values look the same.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    parts: Vec<(&'static str, Range<usize>)>,
}

impl Encoded {
    fn field<T: AsRef<str>>(&mut self, part: &'static str, values: impl IntoIterator<Item = T>) {
        self.begin(part);
        for value in values {
            self.value(value.as_ref());
        }
        self.end();
    }

    /// A field whose last value is written as it is formatted.
    fn formatted(&mut self, part: &'static str, first: Option<&str>, last: fmt::Arguments<'_>) {
        self.begin(part);
        if let Some(first) = first {
            self.value(first);
        }
        self.length(0);
        let start = self.bytes.len();
        self.bytes
            .write_fmt(last)
            .expect("memory can always be written to");
        let length = self.bytes.len() - start;
        self.bytes[start - LENGTH..start].copy_from_slice(&length.to_le_bytes());
        self.end();
    }

    /// Fields of one part come one after another.
    fn begin(&mut self, part: &'static str) {
        let start = self.bytes.len();
        if self.parts.last().is_none_or(|(last, _)| *last != part) {
            self.parts.push((part, start..start));
        }
        self.bytes.extend_from_slice(part.as_bytes());
    }

    fn value(&mut self, value: &str) {
        self.length(value.len());
        self.bytes.extend_from_slice(value.as_bytes());
    }

    fn length(&mut self, length: usize) {
        self.bytes.extend_from_slice(&length.to_le_bytes());
    }

    fn end(&mut self) {
        self.bytes.push(0xff);
        if let Some((_, part)) = self.parts.last_mut() {
            part.end = self.bytes.len();
        }
    }
}

/// The first bytes as hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8], count: usize) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .take(count)
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ContainerOptions {
        ContainerOptions {
            name: "clos_default_web-0".into(),
            image: "shop/web:1".into(),
            entrypoint: vec![],
            command: vec!["serve".into()],
            working_dir: None,
            user: None,
            env: BTreeMap::from([("TOKEN".into(), Sensitive::new("hunter2"))]),
            labels: BTreeMap::from([("team".into(), "shop".into())]),
            mounts: BTreeMap::new(),
            network: "clos_default_shop".into(),
            aliases: BTreeSet::from(["web".into()]),
            ports: BTreeSet::new(),
            limits: LimitOptions::default(),
            stop_timeout: Duration::from_secs(10),
            stop_signal: None,
        }
    }

    fn changed(change: impl Fn(&mut ContainerOptions)) -> Vec<&'static str> {
        let mut other = options();
        change(&mut other);
        assert_ne!(other.digest(), options().digest());
        let before = options().part_digests();
        let after = other.part_digests();
        let names: BTreeSet<&'static str> = before.keys().chain(after.keys()).copied().collect();
        names
            .into_iter()
            .filter(|name| before.get(name) != after.get(name))
            .collect()
    }

    #[test]
    fn a_change_changes_the_digest_and_the_digest_of_its_part_only() {
        assert_eq!(
            changed(|options| options.image = "shop/web:2".into()),
            ["image"]
        );
        assert_eq!(
            changed(|options| options.command.push("-v".into())),
            ["args"]
        );
        assert_eq!(
            changed(|options| options.entrypoint.push("sh".into())),
            ["command"]
        );
        assert_eq!(
            changed(|options| options.working_dir = Some("/".into())),
            ["workingDir"]
        );
        assert_eq!(changed(|options| options.user = Some("1".into())), ["user"]);
        assert_eq!(changed(|options| options.env.clear()), ["env"]);
        assert_eq!(changed(|options| options.labels.clear()), ["labels"]);
        assert_eq!(
            changed(|options| options.network = "other".into()),
            ["network"]
        );
        assert_eq!(changed(|options| options.limits.pids = Some(1)), ["limits"]);
        assert_eq!(
            changed(|options| options.stop_signal = Some("SIGINT".into())),
            ["stop"]
        );
        let tmpfs = MountOptions::Tmpfs {
            size: None,
            read_only: false,
        };
        assert_eq!(
            changed(|options| options.mounts.extend([("/t".into(), tmpfs.clone())])),
            ["mounts"]
        );
        let port = PortOptions {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: "::1".into(),
            host_port: 80,
        };
        assert_eq!(
            changed(|options| options.ports.extend([port.clone()])),
            ["ports"]
        );
    }

    #[test]
    fn labels_of_ours_do_not_count() {
        let mut other = options();
        other.labels.insert("clos.dev/revision".into(), "2".into());
        assert_eq!(other.digest(), options().digest());
    }

    #[test]
    fn the_boundary_between_two_values_counts() {
        let with = |command: &[&str]| {
            let mut other = options();
            other.command = command.iter().map(|&word| word.to_owned()).collect();
            other.digest()
        };
        assert_ne!(with(&["ab", "c"]), with(&["a", "bc"]));
    }

    #[test]
    fn i9_a_value_is_never_printed() {
        assert!(!format!("{:?}", options()).contains("hunter2"));
    }
}
