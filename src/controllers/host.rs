//! The one Host of a standalone installation: it exists, says what its engine is and whether it answers. Written on change only: a
//! heartbeat would be a write for nobody.

use std::sync::Arc;
use std::time::Instant;

use clos_audit::JournalError;
use clos_audit::event::Outcome as AuditOutcome;
use clos_resources::Host;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::host::{HostSpec, HostStatus};
use clos_telemetry::Chain;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::gate::{EngineState, Gate, Known, Steps};
use crate::retry::Retries;
use crate::status::{FIELD_MANAGER, StatusError, write_status};
use crate::sweep::{Found, REMOVALS_HELD, held_words};
use crate::trail::{Act, Trail};

/// The name of a machine's Host: its hostname as a DNS label, or `local` when nothing of it fits.
pub fn host_name(hostname: &str) -> String {
    const LONGEST: usize = 63;
    let first = hostname
        .split('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let label: String = first
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(LONGEST)
        .collect();
    let label = label.trim_matches('-');
    if label.is_empty() {
        "local".to_owned()
    } else {
        label.to_owned()
    }
}

/// What the controller works with.
pub(crate) struct HostKeeper {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// What is known of the engine.
    pub(crate) gate: Arc<Gate>,
    /// What sweeping found.
    pub(crate) found: watch::Receiver<Found>,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Pauses after failures.
    pub(crate) retries: Retries,
    /// The Host's name.
    pub(crate) host: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// What a pass over the Host failed at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read host {name}")]
    Read {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("cannot make host {name}")]
    Make {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl HostKeeper {
    /// Keeps the Host until `stop`. `changed` tells that the object may have changed.
    pub(crate) async fn run(self, changed: Arc<Notify>, stop: CancellationToken) {
        let mut engine = self.gate.changes();
        let mut found = self.found.clone();
        let key = (String::new(), self.host.clone());
        loop {
            engine.mark_unchanged();
            found.mark_unchanged();
            let pause = match self.reconcile().await {
                Ok(()) => {
                    self.retries.succeeded(&key);
                    None
                }
                Err(error) => {
                    tracing::warn!(host = %self.host, error = %Chain(&error), "reconcile failed, trying again");
                    Some(self.retries.failed(key.clone()))
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = changed.notified() => {}
                Ok(()) = engine.changed() => {}
                Ok(()) = found.changed() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    async fn reconcile(&self) -> Result<(), Error> {
        let started = Instant::now();
        let found = self.read().await?; // 1. read
        let made = found.is_none();
        let host = self.make(found).await?; // 2. desired: it exists; 5. execute
        let (state, found) = (self.gate.state(), self.found.borrow().clone()); // 3. observe
        let status = status(&host, &state, &found, (self.clock)()); // 4. plan
        let uid = host.uid().unwrap_or_default();
        let wrote = write_status(
            &self.hosts(),
            &self.host,
            &uid,
            host.status.as_ref(),
            &status,
        )
        .await; // 6. status
        let act = made.then(|| Act {
            cause: "this machine had no Host object".to_owned(),
            actions: vec![format!("create host {}", self.host)],
            result: AuditOutcome::Changed,
        });
        // What was done was done, also when the status could not be written.
        self.trail.pass(&host, act, started).await?;
        wrote?;
        Ok(())
    }

    async fn read(&self) -> Result<Option<Host>, Error> {
        self.hosts()
            .get_opt(&self.host)
            .await
            .map_err(|source| Error::Read {
                name: self.host.clone(),
                source,
            })
    }

    async fn make(&self, found: Option<Host>) -> Result<Host, Error> {
        if let Some(host) = found {
            return Ok(host);
        }
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let host = Host::new(&self.host, HostSpec::default());
        self.hosts()
            .create(&params, &host)
            .await
            .map_err(|source| Error::Make {
                name: self.host.clone(),
                source,
            })
    }

    fn hosts(&self) -> Api<Host> {
        Api::all(self.client.clone())
    }
}

/// How the Host is. While the engine is away, and until it was swept, what it was stays written.
fn status(host: &Host, state: &EngineState, found: &Found, now: Timestamp) -> HostStatus {
    let before = host.status.clone().unwrap_or_default();
    let (summary, engine, capacity) = match state {
        EngineState::Known(Known { info, steps }) => {
            let meanwhile = match steps {
                Steps::Events => "",
                Steps::Lists => {
                    "; its events end as soon as they begin, so what happens to containers is found by looking, within seconds"
                }
            };
            let words = format!(
                "{} {} answers (API {}){meanwhile}",
                info.engine.name, info.engine.version, info.engine.api_version
            );
            (
                Summary::new(Reason::Ready, words),
                Some(info.engine.clone()),
                Some(info.capacity.clone()),
            )
        }
        EngineState::Unknown { since, reason } => {
            let words = format!("{reason}; since {since:.0}, nothing is changed meanwhile");
            (
                Summary::new(Reason::EngineUnavailable, words),
                before.engine,
                before.capacity,
            )
        }
    };
    let orphans = match found {
        Found::Unknown => before.orphans,
        Found::Orphans(orphans) => orphans.clone(),
    };
    let mut conditions = summary.conditions(host.metadata.generation, &before.conditions, now);
    if let Some(held) = orphans.as_ref().filter(|orphans| orphans.held) {
        let since = before
            .conditions
            .iter()
            .find(|before| before.type_ == REMOVALS_HELD)
            .map_or(Time(now), |before| before.last_transition_time.clone());
        conditions.push(Condition {
            type_: REMOVALS_HELD.to_owned(),
            status: "True".to_owned(),
            reason: "TooMany".to_owned(),
            message: held_words(held),
            observed_generation: host.metadata.generation,
            last_transition_time: since,
        });
    }
    HostStatus {
        engine,
        capacity,
        orphans,
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use clos_resources::removals::Removals;

    use super::*;

    #[test]
    fn a_hosts_name_is_the_hostname_as_a_dns_label() {
        for (hostname, name) in [
            ("box", "box"),
            ("Edge-01.example.net", "edge-01"),
            ("my_laptop", "my-laptop"),
            ("--", "local"),
            ("", "local"),
            ("ホスト", "local"),
        ] {
            assert_eq!(host_name(hostname), name, "{hostname}");
        }
        assert_eq!(host_name(&"a".repeat(80)).len(), 63);
    }

    #[test]
    fn i2_an_unchanged_engine_makes_an_unchanged_status() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let away = EngineState::Unknown {
            since: at(5),
            reason: "connection refused".to_owned(),
        };
        let mut host = Host::new("box", HostSpec::default());
        let first = status(&host, &away, &Found::Unknown, at(10));
        host.status = Some(first.clone());
        assert_eq!(status(&host, &away, &Found::Unknown, at(20)), first);
        assert_eq!(
            first.conditions[0].message,
            "connection refused; since 1970-01-01T00:00:05Z, nothing is changed meanwhile"
        );
    }
    #[test]
    fn what_is_held_back_is_a_condition_until_it_is_not_and_stays_while_nobody_has_looked() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let away = EngineState::Unknown {
            since: at(5),
            reason: "connection refused".to_owned(),
        };
        let going = std::collections::BTreeMap::from([("id".to_owned(), "clos_a_b-0".to_owned())]);
        let held = Found::Orphans(Some(Removals::new(&going, 1, true)));
        let mut host = Host::new("box", HostSpec::default());
        let first = status(&host, &away, &held, at(10));
        let condition = first.conditions.last().unwrap();
        assert_eq!(
            (condition.type_.as_str(), condition.reason.as_str()),
            ("RemovalsHeld", "TooMany")
        );
        assert!(
            condition.message.starts_with("1 of 1 containers"),
            "{}",
            condition.message
        );
        host.status = Some(first.clone());
        assert_eq!(status(&host, &away, &Found::Unknown, at(20)), first);
        let none = status(&host, &away, &Found::Orphans(None), at(30));
        assert_eq!(none.orphans, None);
        assert!(
            none.conditions
                .iter()
                .all(|one| one.type_ != "RemovalsHeld")
        );
    }
}
