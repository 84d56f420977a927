//! What the engine shows, without loss and without choice: filtering and choosing are planning. Reading it from the engine is the
//! engine crate's business.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::container::{LimitOptions, MountOptions, PortOptions};

/// What is known of the engine. While it is unknown, nothing is created and nothing removed.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineView {
    /// The engine cannot be asked, or events may have been lost and it was not listed again yet.
    Unknown {
        /// Since when.
        since: Timestamp,
        /// Why, in a sentence for users.
        reason: String,
    },
    /// What it showed.
    Known(Observed),
}

/// What the engine showed of the things one plan is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Containers by id: all that carry the instance's UID label, and any other that has the instance's container name.
    pub containers: BTreeMap<String, Container>,
    /// Networks with the group's network name, the oldest first. Older engines make several of one name.
    pub networks: Vec<Network>,
    /// Volumes by name, of those the instance mounts.
    pub volumes: BTreeMap<String, Volume>,
    /// The image that the instance names, when the host has it.
    pub image: Option<Image>,
    /// What containers wrote last, by id: shortened and without secrets. Only what a plan asked for.
    pub last_lines: BTreeMap<String, Vec<String>>,
    /// Who holds host ports, in words for users. Only what a plan asked for.
    pub holders: BTreeMap<u16, Vec<String>>,
}

/// One container.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name, without a leading slash.
    pub name: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// The id of the image it was made from.
    pub image_id: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it does.
    pub state: ContainerState,
    /// How it is configured now, where that can be changed after it was made.
    pub live: LiveOptions,
}

/// The parts of a container's configuration that somebody can change behind our back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveOptions {
    /// Names of the networks it is attached to, with its aliases there.
    pub networks: BTreeMap<String, BTreeSet<String>>,
    /// Limits in force.
    pub limits: LimitOptions,
    /// The engine's own restart policy, which is `no` for containers of ours.
    pub restart_policy: String,
    /// Mounts by path in the container.
    pub mounts: BTreeMap<String, MountOptions>,
    /// Published ports.
    pub ports: BTreeSet<PortOptions>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    /// Made and never started, or its start failed.
    Created,
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
        /// What the image's own health check says.
        health: Health,
    },
    /// It is frozen.
    Paused {
        /// When it was started.
        started_at: Timestamp,
    },
    /// The engine is starting it again by its own policy.
    Restarting,
    /// It ended.
    Exited {
        /// The exit code. After a gap in the engine's events 0 does not prove success.
        code: i64,
        /// Whether the kernel killed it for memory.
        oom_killed: bool,
        /// What the engine says went wrong, if anything.
        error: String,
        /// When it was started.
        started_at: Timestamp,
        /// When it ended.
        finished_at: Timestamp,
    },
    /// The engine is removing it.
    Removing,
    /// The engine could not remove it.
    Dead,
}

/// What an image's own health check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// The image has no health check.
    None,
    /// Not decided yet.
    Starting,
    /// It succeeds.
    Healthy,
    /// It fails.
    Unhealthy {
        /// What its last run wrote.
        said: String,
    },
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its driver; ours are `local`.
    pub driver: String,
    /// Driver options; ours have none. A local volume with options can be a folder of the host.
    pub options: BTreeMap<String, String>,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: String,
    /// The architecture it is for, as `amd64`.
    pub architecture: String,
    /// The operating system it is for, as `linux`.
    pub operating_system: String,
    /// Whether it has a health check of its own.
    pub has_health_check: bool,
}
