//! The things of the fake and how they live: containers, networks, volumes and images, and which events each change brings, in the order
//! in which Docker sends them. Calls that fail on demand and subscribers are not here.
//!
//! In reading order: [`World`]; `containers` is how one is made, lives and ends; `networks`, `ports` and `images` are what it needs for
//! that; `observe` is what the engine shows of them all.

mod containers;
mod images;
mod networks;
mod observe;
mod ports;

use std::collections::BTreeMap;

use clos_plan::container::VolumeOptions;
use clos_plan::observed::{Container, Health, Network, Volume};
use clos_resources::container::Protocol;
use clos_resources::names;
use jiff::Timestamp;

pub(super) use self::containers::by_hand;

use super::program::{FakeImage, Program, Pull};
use crate::events::{ContainerEvent, EngineEvent, Happened};
use crate::logs::LogLine;

/// The clock of the fake.
pub(super) type Clock = Box<dyn FnMut() -> Timestamp + Send>;

pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) containers: BTreeMap<String, Inhabitant>,
    pub(super) networks: Vec<Network>,
    pub(super) volumes: BTreeMap<String, Volume>,
    pub(super) images: BTreeMap<String, FakeImage>,
    pub(super) registry: BTreeMap<String, Pull>,
    /// Ports that processes of the host listen on, with the process' name.
    pub(super) listeners: BTreeMap<(Protocol, u16), String>,
    /// Events that happened and were not sent yet.
    pub(super) outbox: Vec<EngineEvent>,
    made: u64,
}

/// A container and what the engine does not show of it.
pub(super) struct Inhabitant {
    pub(super) shown: Container,
    pub(super) image: String,
    pub(super) logs: Vec<LogLine>,
    program: Program,
    health: Health,
    starts: u32,
}

impl World {
    pub(super) fn new(clock: Clock) -> Self {
        let bridge = Network {
            id: format!("{:064x}", 1),
            name: "bridge".to_owned(),
            labels: BTreeMap::new(),
        };
        Self {
            clock,
            containers: BTreeMap::new(),
            networks: vec![bridge],
            volumes: BTreeMap::new(),
            images: BTreeMap::new(),
            registry: BTreeMap::new(),
            listeners: BTreeMap::new(),
            outbox: Vec::new(),
            made: 0,
        }
    }

    pub(super) fn create_volume(&mut self, options: &VolumeOptions) {
        self.volumes
            .entry(options.name.clone())
            .or_insert_with(|| Volume {
                name: options.name.clone(),
                driver: "local".to_owned(),
                options: BTreeMap::new(),
                labels: options.labels.clone(),
            });
    }

    fn next_id(&mut self) -> String {
        self.made += 1;
        format!("{:012x}{:052x}", self.made, 0)
    }

    fn happened(&mut self, id: &str, what: impl IntoIterator<Item = Happened>) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let label = |name: &str| container.shown.labels.get(name).cloned();
        let Some(installation) = label(names::LABEL_INSTALLATION) else {
            let freed = what.into_iter().filter(|what| {
                matches!(
                    what,
                    Happened::Died { .. } | Happened::Destroyed | Happened::Changed
                )
            });
            let id = id.to_owned();
            self.outbox
                .extend(freed.map(|_| EngineEvent::Freed { id: id.clone() }));
            return;
        };
        for what in what {
            self.outbox.push(EngineEvent::Container(ContainerEvent {
                installation: installation.clone(),
                instance_uid: label(names::LABEL_INSTANCE_UID).unwrap_or_default(),
                namespace: label(names::LABEL_NAMESPACE).unwrap_or_default(),
                instance: label(names::LABEL_INSTANCE).unwrap_or_default(),
                id: id.to_owned(),
                what,
                at: (self.clock)(),
            }));
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
