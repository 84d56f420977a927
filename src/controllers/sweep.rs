//! Sweeping: containers of this installation whose Instance is gone, and networks of it whose Group is gone, after a grace. Normally
//! finalizers leave nothing to sweep; this is for what was made while an answer was lost, or an object taken away by force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clos_audit::{JournalError, ObjectRef};
use clos_engine::engine::{Listed, Scope};
use clos_plan::action::{Action, Cause, EngineAction, Plan};
use clos_plan::observed::{Container, Network};
use clos_plan::orphan;
use clos_resources::{API_GROUP, API_VERSION, Group, Instance, names};
use clos_telemetry::Chain;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef as Named;
use kube::{Api, Client, ResourceExt};

use crate::cache::Cache;
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
    /// Since when what was seen as a leftover: containers and networks by id.
    pub(crate) since: Mutex<Since>,
}

/// Since when what was seen as a leftover, by id.
#[derive(Clone, Debug, Default)]
pub(crate) struct Since {
    containers: BTreeMap<String, Timestamp>,
    networks: BTreeMap<String, Timestamp>,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("cannot list {what}")]
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
            if let Err(error) = self.sweep_networks().await {
                tracing::warn!(error = %Chain(&error), "sweeping networks failed");
            }
        }
        .boxed()
    }

    /// Forgets how long anything was a leftover: while the engine's state was unknown, nobody looked.
    pub(crate) fn forget(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Since::default();
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
        let suspects: Vec<&Listed> = listed
            .iter()
            .filter(|container| {
                container.installation == self.installation
                    && !known.contains(&container.instance_uid)
            })
            .collect();
        let since = self
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .containers
            .clone();
        if suspects.is_empty() && since.is_empty() {
            return Ok(());
        }
        let living = self.living_instances().await?;
        let containers = self.look_at(&suspects).await?;
        let swept = orphan::plan(
            &containers,
            &living,
            &since,
            &self.installation,
            (self.clock)(),
        );
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .containers = swept.since;
        self.carry_out(&swept.plan, started).await
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
        let since = self
            .since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .networks
            .clone();
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
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .networks = since;
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
                // Only the container is of interest; this names no image.
                image: suspect.id.clone(),
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
