//! Looking at the world after a run: the engine by the harness, the objects, the journal and the metrics by the API. Judging is in `check`,
//! `journal` and `cost`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::seen::{Container, Seen, Service, key};
use crate::world::World;

/// Calls of clos to the engine that change nothing there. All others count as changes.
const READS: [&str; 5] = ["info", "observe", "list", "networks", "publishers"];

/// So many records of the journal are read at a time.
const PAGE: usize = 10_000;

/// What the server counted since it was started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Writes of the store.
    pub(crate) writes: f64,
    /// Calls to the engine that change something.
    pub(crate) changes: f64,
}

impl World {
    /// Everything there is of this installation.
    pub(crate) fn seen(&mut self) -> anyhow::Result<Seen> {
        let engine = self.server.engine().clone();
        let installation = self.server.installation().to_owned();
        let ids: Vec<String> = engine
            .containers_of(&installation)
            .into_iter()
            .filter(|id| self.decoys.iter().all(|decoy| decoy.id != *id))
            .collect();
        // One that goes while it is looked at is looked at the next time.
        let inspected = ids.iter().filter_map(|id| engine.inspect(id));
        let containers = inspected
            .map(|inspected| Container::of(&inspected))
            .collect();
        let networks = engine.networks_of(&installation).into_iter().collect();
        let volumes: BTreeSet<String> = engine.volumes_of(&installation).into_iter().collect();
        self.volumes.extend(volumes.iter().cloned());
        let api = self.api()?;
        let items = |plural: &str| -> anyhow::Result<Vec<Value>> {
            let mut list = api.get(&format!("/apis/clos.dev/v1alpha1/{plural}"))?;
            Ok(list["items"]
                .as_array_mut()
                .map(std::mem::take)
                .unwrap_or_default())
        };
        let services = items("services")?
            .iter()
            .map(|object| (key(object), Service::of(object)))
            .collect();
        let instances = items("instances")?
            .iter()
            .map(|object| {
                (
                    key(object),
                    object["metadata"]["uid"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                )
            })
            .collect();
        let held = items("ports")?.into_iter().filter_map(|object| {
            let spec = &object["spec"];
            let holder = &spec["holder"];
            let text = |field: &str| holder[field].as_str().unwrap_or_default().to_owned();
            Some((
                u16::try_from(spec["port"].as_u64()?).ok()?,
                (text("namespace"), text("instance")),
            ))
        });
        let held = held.collect();
        let answering = self.own_engine.is_none().then(|| {
            let ports = self.names.ports.iter().copied();
            ports.filter(|port| answers(*port)).collect()
        });
        Ok(Seen {
            containers,
            networks,
            volumes,
            services,
            instances,
            held,
            answering,
        })
    }

    /// What changed about things made by hand, and volumes that are gone.
    pub(crate) fn touched(&mut self) -> Vec<String> {
        let there: BTreeSet<String> = self
            .server
            .engine()
            .volumes_of(self.server.installation())
            .into_iter()
            .collect();
        let changed = self.decoys.iter().filter_map(|decoy| {
            let now = self.face(decoy.kind, &decoy.id);
            (now != decoy.face).then(|| {
                format!(
                    "{} {} was made by hand and was {:?}; now it is {now:?}",
                    decoy.kind, decoy.id, decoy.face
                )
            })
        });
        let removed = self
            .volumes
            .difference(&there)
            .map(|volume| format!("volume {volume} was removed"));
        changed.chain(removed).collect()
    }

    /// The whole journal, by number.
    pub(crate) fn journal(&self) -> anyhow::Result<BTreeMap<u64, Value>> {
        let mut entries: BTreeMap<u64, Value> = BTreeMap::new();
        let mut until = String::new();
        loop {
            let text = self.api()?.text(&format!("/audit?limit={PAGE}{until}"))?;
            let (before, mut lines) = (entries.len(), 0);
            for line in text.lines() {
                let entry: Value =
                    serde_json::from_str(line).context("the journal has a line that is no JSON")?;
                lines += 1;
                entries.insert(
                    entry["seq"].as_u64().context("a record without a number")?,
                    entry,
                );
            }
            let oldest = entries
                .first_key_value()
                .and_then(|(_, entry)| entry["time"].as_str()?.parse::<jiff::Timestamp>().ok());
            let Some(oldest) = oldest.filter(|_| lines == PAGE && entries.len() > before) else {
                return Ok(entries);
            };
            // Times are cut to milliseconds and `until` is not included.
            let later = oldest + Duration::from_millis(1);
            until = format!("&until={later}");
        }
    }

    /// What the server counted since it was started.
    pub(crate) fn counts(&self) -> anyhow::Result<Counts> {
        let text = self.api()?.text("/metrics")?;
        Counts::of(&text).context("/metrics does not show what the store wrote")
    }
}

impl Counts {
    fn of(text: &str) -> Option<Self> {
        let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
        let writes = text
            .lines()
            .find(|line| line.starts_with("clos_store_writes_total "));
        let calls = text
            .lines()
            .filter(|line| line.starts_with("clos_engine_call_seconds_count{"));
        let changes = calls.filter(|line| {
            !READS
                .iter()
                .any(|read| line.contains(&format!("operation=\"{read}\"")))
        });
        Some(Self {
            writes: value(writes?)?,
            changes: changes
                .filter_map(value)
                .fold(0.0, |sum, value| sum + value),
        })
    }
}

/// Lines of the server's log that tell of a fault of its own.
pub(crate) fn panics(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.contains("panicked") || line.contains("RUST_BACKTRACE"))
        .map(|line| format!("the log says: {line}"))
        .collect()
}

fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(
        &SocketAddr::from(([127, 0, 0, 1], port)),
        Duration::from_secs(1),
    )
    .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_change_the_engine_are_told_from_reads() {
        let text = "clos_engine_call_seconds_count{operation=\"create_container\",result=\"ok\"} 3\n\
            clos_engine_call_seconds_count{operation=\"observe\",result=\"ok\"} 40\nclos_store_writes_total 17\n";
        assert_eq!(
            Counts::of(text),
            Some(Counts {
                writes: 17.0,
                changes: 3.0
            })
        );
        assert_eq!(Counts::of("# EOF\n"), None);
    }

    #[test]
    fn a_panic_in_the_log_is_found() {
        assert_eq!(panics("INFO fine\nthread 'x' panicked at y\n").len(), 1);
        assert_eq!(panics("INFO fine\n"), [""; 0]);
    }
}
