//! Sweeping: containers of this installation whose Instance is gone, and networks of it whose Group is gone, after a grace. Normally
//! finalizers leave nothing to sweep; this is for what was made while an answer was lost, or an object taken away by force. When very much
//! would go, it stays until a person confirms it: that is told here, and stands in the Host's status.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use clos_audit::{JournalError, ObjectRef};
use clos_engine::engine::{Listed, Scope};
use clos_plan::action::{Action, Cause, EngineAction, Plan};
use clos_plan::observed::{Container, Network};
use clos_plan::orphan::{self, OrphanInput, Seen};
use clos_resources::removals::Removals;
use clos_resources::{API_GROUP, API_VERSION, Group, Host, Instance, names};
use clos_telemetry::{Chain, Metrics};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef as Named;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::watch;

use crate::cache::Cache;
use crate::events::{Events, News};
use crate::execute::Executor;
use crate::trail::{Act, Trail};

/// Whoever sweeps.
pub(crate) struct Sweeper {
    /// The API.
    pub(crate) client: Client,
    /// A first idea of what lives; the API is asked before anything is swept.
    pub(crate) cache: Cache,
    /// Carries plans out.
    pub(crate) executor: Executor,
    /// Audit and metrics.
    pub(crate) trail: Trail,
    /// The Host that is swept.
    pub(crate) host: String,
    /// Whose leftovers count.
    pub(crate) installation: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
    /// Who tells what is held back.
    pub(crate) events: Arc<Events>,
    /// Where it is counted.
    pub(crate) metrics: Metrics,
    /// The orphans that the last sweep left, for the Host's status.
    pub(crate) found: watch::Sender<Found>,
    /// What is remembered of leftovers from one sweep to the next.
    pub(crate) memory: Mutex<Leftovers>,
}

/// What sweeping found: nothing is known before the first time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Found {
    /// Nobody has looked yet: what was known before still holds.
    #[default]
    Unknown,
    /// The containers without an Instance, if there are any.
    Orphans(Option<Removals>),
}

/// What is remembered of leftovers, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leftovers {
    containers: BTreeMap<String, Seen>,
    networks: BTreeMap<String, Timestamp>,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("cannot read {what}")]
    Living {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("cannot look at {what}")]
    Look {
        what: String,
        #[source]
        source: clos_engine::Error,
    },
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Sweeper {
    /// Sweeps once, after the engine was listed. A failure is logged; the next list sweeps again.
    pub(crate) fn sweep(&self, listed: Vec<Listed>) -> BoxFuture<'_, ()> {
        async move {
            if let Err(error) = self.sweep_containers(&listed).await {
                tracing::warn!(error = %Chain(&error), "sweeping containers failed");
            }
            // Containers that stay may be started again by hand, and then need their networks.
            if self.has_orphans() {
                return;
            }
            if let Err(error) = self.sweep_networks().await {
                tracing::warn!(error = %Chain(&error), "sweeping networks failed");
            }
        }
        .boxed()
    }

    /// Forgets how long anything was a leftover: while the engine's state was unknown, nobody looked.
    pub(crate) fn forget(&self) {
        *self.leftovers() = Leftovers::default();
    }

    /// Whether there are orphans: a person may confirm their removal at any time.
    pub(crate) fn has_orphans(&self) -> bool {
        matches!(&*self.found.borrow(), Found::Orphans(Some(_)))
    }

    fn leftovers(&self) -> MutexGuard<'_, Leftovers> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sweep_containers(&self, listed: &[Listed]) -> Result<(), SweepError> {
        let started = Instant::now();
        let known: BTreeSet<String> = self
            .cache
            .instances
            .state()
            .iter()
            .filter_map(|instance| instance.uid())
            .collect();
        let ours: Vec<&Listed> = listed
            .iter()
            .filter(|container| container.installation == self.installation)
            .collect();
        let managed = ours.len();
        let mut suspects = ours;
        suspects.retain(|container| !known.contains(&container.instance_uid));
        let seen = self.leftovers().containers.clone();
        if suspects.is_empty() && seen.is_empty() {
            self.metrics.removals_held(0);
            self.publish(None);
            return Ok(());
        }
        let living = self.living_instances().await?;
        let containers = self.look_at(&suspects).await?;
        let host = self.host_object().await?;
        let reported = host.as_ref().and_then(|host| {
            let status = host.status.as_ref()?;
            status.orphans.as_ref()
        });
        let confirmed = host.as_ref().and_then(|host| {
            let confirmed = host.annotations().get(names::ANNOTATION_CONFIRMED_REMOVALS);
            confirmed.map(String::as_str)
        });
        let swept = orphan::plan(&OrphanInput {
            containers: &containers,
            managed,
            living: &living,
            seen: &seen,
            reported,
            confirmed,
            installation: &self.installation,
            now: (self.clock)(),
        });
        self.leftovers().containers = swept.seen;
        self.tell(host.as_ref(), swept.orphans.as_ref()).await;
        self.publish(swept.orphans);
        self.carry_out(&swept.plan, started).await
    }

    fn publish(&self, orphans: Option<Removals>) {
        let found = Found::Orphans(orphans);
        self.found.send_if_modified(|before| {
            let changed = *before != found;
            *before = found;
            changed
        });
    }

    /// Tells when something is held back that was not reported before.
    async fn tell(&self, host: Option<&Host>, orphans: Option<&Removals>) {
        let held = orphans.filter(|orphans| orphans.held);
        self.metrics
            .removals_held(held.map_or(0, |orphans| orphans.count));
        let (Some(host), Some(held)) = (host, held) else {
            return;
        };
        let reported = host
            .status
            .as_ref()
            .and_then(|status| status.orphans.as_ref());
        let published =
            matches!(&*self.found.borrow(), Found::Orphans(Some(before)) if before == held);
        if published || reported == Some(held) {
            return;
        }
        tracing::warn!(
            host = %self.host,
            containers = held.count,
            of = held.of,
            "many containers have no instance, none is removed until that is confirmed with: clos confirm"
        );
        let news = News {
            warning: true,
            reason: REMOVALS_HELD,
            action: "sweep",
            note: held_words(held),
        };
        self.events
            .tell(
                &format!("host/{}", self.host),
                &host.object_ref(&()),
                None,
                &[news],
            )
            .await;
    }

    /// The Host, with what was reported of orphans and what a person has confirmed.
    async fn host_object(&self) -> Result<Option<Host>, SweepError> {
        let api: Api<Host> = Api::all(self.client.clone());
        let host = api.get_opt(&self.host).await;
        host.map_err(|source| SweepError::Living {
            what: "the host",
            source,
        })
    }

    async fn sweep_networks(&self) -> Result<(), SweepError> {
        let started = Instant::now();
        let look = |source| SweepError::Look {
            what: "networks".to_owned(),
            source,
        };
        let mut suspects: Vec<Network> = self.executor.engine.networks().await.map_err(look)?;
        suspects.retain(|network| {
            label(network, names::LABEL_INSTALLATION) == self.installation && !self.is_used(network)
        });
        let since = self.leftovers().networks.clone();
        if suspects.is_empty() && since.is_empty() {
            return Ok(());
        }
        let groups = self.living_groups().await?;
        suspects.retain(|network| {
            !groups.contains(&(
                label(network, names::LABEL_NAMESPACE),
                label(network, names::LABEL_GROUP),
            ))
        });
        let now = (self.clock)();
        let since: BTreeMap<String, Timestamp> = suspects
            .iter()
            .map(|network| {
                (
                    network.id.clone(),
                    since.get(&network.id).copied().unwrap_or(now),
                )
            })
            .collect();
        let plan = leftover_networks(&suspects, &since, now);
        self.leftovers().networks = since;
        self.carry_out(&plan, started).await
    }

    /// Whether a Group or an Instance in the cache needs the network.
    fn is_used(&self, network: &Network) -> bool {
        let (namespace, group) = (
            label(network, names::LABEL_NAMESPACE),
            label(network, names::LABEL_GROUP),
        );
        self.cache
            .groups
            .get(&Named::new(&group).within(&namespace))
            .is_some()
            || self
                .cache
                .instances
                .find(|instance| {
                    instance.spec.group == group
                        && instance.metadata.namespace.as_ref() == Some(&namespace)
                })
                .is_some()
    }

    async fn living_instances(&self) -> Result<BTreeSet<String>, SweepError> {
        let api: Api<PartialObjectMeta<Instance>> = Api::all(self.client.clone());
        let listed =
            api.list(&ListParams::default())
                .await
                .map_err(|source| SweepError::Living {
                    what: "instances",
                    source,
                })?;
        Ok(listed.items.iter().filter_map(ResourceExt::uid).collect())
    }

    async fn living_groups(&self) -> Result<BTreeSet<(String, String)>, SweepError> {
        let api: Api<PartialObjectMeta<Group>> = Api::all(self.client.clone());
        let listed =
            api.list(&ListParams::default())
                .await
                .map_err(|source| SweepError::Living {
                    what: "groups",
                    source,
                })?;
        Ok(listed
            .items
            .iter()
            .map(|group| (group.namespace().unwrap_or_default(), group.name_any()))
            .collect())
    }

    /// The suspects as they are now.
    async fn look_at(
        &self,
        suspects: &[&Listed],
    ) -> Result<BTreeMap<String, Container>, SweepError> {
        let mut containers = BTreeMap::new();
        for suspect in suspects {
            let scope = Scope {
                instance_uid: suspect.instance_uid.clone(),
                container_name: names::container(&suspect.namespace, &suspect.instance),
                network_name: names::container(&suspect.namespace, &suspect.instance),
                volumes: Vec::new(),
                image: None,
            };
            let look = |source| SweepError::Look {
                what: format!("container {}", suspect.id),
                source,
            };
            let observed = self.executor.engine.observe(&scope).await.map_err(look)?;
            containers.extend(
                observed
                    .containers
                    .into_iter()
                    .filter(|(id, _)| *id == suspect.id),
            );
        }
        Ok(containers)
    }

    async fn carry_out(&self, plan: &Plan, started: Instant) -> Result<(), SweepError> {
        if plan.is_empty() {
            return Ok(());
        }
        let executed = self.executor.execute(plan, &|_, _| {}).await;
        let host = ObjectRef::new(API_GROUP, API_VERSION, "Host").named(&self.host);
        self.trail
            .pass_over(host, None, Act::of(plan, &executed, None), started)
            .await?;
        Ok(())
    }
}

/// The reason of the condition and of the Event.
pub(crate) const REMOVALS_HELD: &str = "RemovalsHeld";

/// What is held back, and how to let it go, in a sentence.
pub(crate) fn held_words(held: &Removals) -> String {
    format!(
        "{} of {} containers that clos made here belong to instances that do not exist any more; none of them is removed, because that is what an old or empty store looks like, too. See which they are and let them go with: clos confirm",
        held.count, held.of
    )
}

/// Networks that were leftovers for long enough go.
fn leftover_networks(
    suspects: &[Network],
    since: &BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for network in suspects {
        let seen = since.get(&network.id).copied().unwrap_or(now);
        let long_enough = now.duration_since(seen) >= orphan::GRACE;
        // Another network of ours by label only is somebody's copy of our labels.
        let named = network.name
            == names::network(
                &label(network, names::LABEL_NAMESPACE),
                &label(network, names::LABEL_GROUP),
            );
        if long_enough && named {
            let cause = format!(
                "group {}/{} does not exist",
                label(network, names::LABEL_NAMESPACE),
                label(network, names::LABEL_GROUP)
            );
            let action = EngineAction::RemoveNetwork {
                id: network.id.clone(),
                name: network.name.clone(),
            };
            plan.push(Action::Engine(action), Cause::new(cause), []);
        }
    }
    plan
}

fn label(network: &Network, key: &str) -> String {
    network.labels.get(key).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn network(name: &str) -> Network {
        let labels = [
            (names::LABEL_NAMESPACE, "default"),
            (names::LABEL_GROUP, "shop"),
        ];
        let labels = labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        Network {
            id: format!("id-of-{name}"),
            name: name.to_owned(),
            labels,
        }
    }

    fn planned(network: &Network, age: i64) -> String {
        let since = BTreeMap::from([(network.id.clone(), at(0))]);
        leftover_networks(std::slice::from_ref(network), &since, at(age)).to_string()
    }

    #[test]
    fn a_network_goes_after_its_group_was_gone_for_the_whole_grace() {
        let ours = network("clos_default_shop");
        assert_eq!(planned(&ours, 299), "");
        assert_eq!(
            planned(&ours, 300),
            "  1  remove network clos_default_shop    group default/shop does not exist\n"
        );
    }

    #[test]
    fn i1_a_network_that_only_carries_our_labels_stays() {
        assert_eq!(planned(&network("theirs"), 10_000), "");
    }
}
