//! How a Group is as a whole, and its end: its network is removed once nothing uses it, and then the Group goes. Deciding is
//! `clos-plan`'s.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_audit::JournalError;
use clos_plan::group::{Removal, removal, status};
use clos_plan::observed::Network;
use clos_plan::status::Outcome;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::group::GroupStatus;
use clos_resources::{Group, Instance, Service, names};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::cache::place;
use crate::execute::{Executed, Executor};
use crate::gate::EngineState;
use crate::members::Members;
use crate::retry::Retries;
use crate::status::{FIELD_MANAGER, StatusError, write_status};
use crate::trail::{Act, Trail};

/// A Group of fewer Services is looked at whenever it is woken.
const MANY_SERVICES: usize = 500;

/// The rest after a pass, for each Service.
const REST_FOR_SERVICE: Duration = Duration::from_micros(100);

/// No rest is longer.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// What the controller works with.
pub(crate) struct Groups {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// The Services of each Group, read without asking the API.
    pub(crate) members: Arc<Members>,
    /// Whoever carries plans out.
    pub(crate) executor: Executor,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Pauses after failures.
    pub(crate) retries: Retries,
    /// The installation that networks of ours are labelled with.
    pub(crate) installation: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// What a pass over a Group failed at.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Reading from the API.
    #[error("cannot read {what}")]
    Read {
        /// What was read.
        what: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Asking the engine, which answered with a failure.
    #[error("cannot list networks")]
    Observe(#[source] clos_engine::Error),
    /// Putting our finalizer on, or taking it away.
    #[error("cannot change the finalizers of group {name}")]
    Finalizer {
        /// The group's name.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Writing the status.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Recording the pass.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A Group, its services, and, when it is being deleted, what keeps it.
struct Read {
    group: Group,
    services: Vec<Arc<Service>>,
    instances: Vec<Instance>,
}

/// What is to be done, and how the Group is.
struct Planned {
    removal: Option<Removal>,
    status: GroupStatus,
}

/// One pass over one Group.
pub(crate) async fn reconcile(named: Arc<Group>, groups: Arc<Groups>) -> Result<Action, Error> {
    let started = Instant::now();
    let Some(read) = groups.read(&named).await? else {
        return Ok(Action::await_change());
    }; // 1. read
    if groups.desired(&read.group).await? {
        return Ok(Action::await_change()); // 2. desired: the finalizer, and its arrival wakes us again
    }
    let networks = groups.observe(&read.group).await?; // 3. observe
    let planned = groups.plan(&read, networks); // 4. plan
    let executed = groups.execute(&planned).await; // 5. execute
    groups
        .conclude(&read, &planned, executed.as_ref(), started)
        .await // 6. status
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(group: &Group, error: &Error, groups: &Groups) -> Action {
    let name = place(group);
    let pause = match error {
        Error::Finalizer {
            source: kube::Error::Api(status),
            ..
        } if status.is_conflict() => groups.retries.conflicted(name),
        Error::Read { .. }
        | Error::Observe(_)
        | Error::Finalizer { .. }
        | Error::Status(_)
        | Error::Journal(_) => groups.retries.unfinished(name),
    };
    Action::requeue(pause)
}

/// How long a Group of so many Services is left alone after a pass. Each change of each of them wakes it, and in a pass it looks at all of
/// them: were very many to change one after another, the passes would take more than everything else.
fn rest_after_pass(services: usize) -> Duration {
    if services < MANY_SERVICES {
        return Duration::ZERO;
    }
    let services = u32::try_from(services).unwrap_or(u32::MAX);
    REST_FOR_SERVICE.saturating_mul(services).min(LONGEST_REST)
}

impl Groups {
    /// A Group that is being deleted is judged by what the API has, because its network must not go too early.
    async fn read(&self, named: &Group) -> Result<Option<Read>, Error> {
        let (namespace, name) = place(named);
        let failed = |source| Error::Read {
            what: format!("group {name}"),
            source,
        };
        let Some(group) = self.api(named).get_opt(&name).await.map_err(failed)? else {
            return Ok(None);
        };
        if group.metadata.deletion_timestamp.is_none() {
            self.members.filled().await;
            return Ok(Some(Read {
                group,
                services: self.members.of(&(namespace, name)),
                instances: Vec::new(),
            }));
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), &namespace);
        let instances: Api<Instance> = Api::namespaced(self.client.clone(), &namespace);
        let failed = |source| Error::Read {
            what: format!("what is left of group {name}"),
            source,
        };
        let mut services = services
            .list(&ListParams::default())
            .await
            .map_err(failed)?
            .items;
        services.retain(|service| service.spec.group == name);
        let mut instances = instances
            .list(&ListParams::default())
            .await
            .map_err(failed)?
            .items;
        instances.retain(|instance| instance.spec.group == name);
        Ok(Some(Read {
            group,
            services: services.into_iter().map(Arc::new).collect(),
            instances,
        }))
    }

    /// Puts our finalizer on a new Group, before it has a network. Answers whether it did.
    async fn desired(&self, group: &Group) -> Result<bool, Error> {
        let has = group
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == names::FINALIZER_NETWORK);
        if has || group.metadata.deletion_timestamp.is_some() {
            return Ok(false);
        }
        let mut finalizers = group.finalizers().to_vec();
        finalizers.push(names::FINALIZER_NETWORK.to_owned());
        self.set_finalizers(group, &finalizers).await?;
        Ok(true)
    }

    /// The networks of a Group that is being deleted; nothing while the engine is unknown.
    async fn observe(&self, group: &Group) -> Result<Option<Vec<Network>>, Error> {
        if group.metadata.deletion_timestamp.is_none() || !self.executor.gate.is_open() {
            return Ok(None);
        }
        let name = names::network(&group.namespace().unwrap_or_default(), &group.name_any());
        match self.executor.engine.networks().await {
            Ok(mut networks) => {
                networks.retain(|network| network.name == name);
                Ok(Some(networks))
            }
            Err(error) if error.leaves_unknown() => {
                self.executor.gate.doubt((self.clock)(), &error.to_string());
                Ok(None)
            }
            Err(error) => Err(Error::Observe(error)),
        }
    }

    fn plan(&self, read: &Read, networks: Option<Vec<Network>>) -> Planned {
        let now = (self.clock)();
        let mut status = status(&read.group, &read.services, now);
        if read.group.metadata.deletion_timestamp.is_none() {
            return Planned {
                removal: None,
                status,
            };
        }
        let removal = match networks {
            Some(networks) => self.removal(read, &networks),
            None => Removal {
                plan: clos_plan::action::Plan::default(),
                waits_for: Some(self.engine_away()),
            },
        };
        let previous = read
            .group
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let summary = removal
            .waits_for
            .clone()
            .unwrap_or_else(|| Summary::new(Reason::Terminating, "the group's network is removed"));
        status.conditions = summary.conditions(read.group.metadata.generation, previous, now);
        Planned {
            removal: Some(removal),
            status,
        }
    }

    /// Services keep the Group too: their containers could not be made without its network.
    fn removal(&self, read: &Read, networks: &[Network]) -> Removal {
        let services = read.services.iter();
        let services: Vec<String> = services.map(|service| service.name_any()).collect();
        if services.is_empty() {
            return removal(&read.group, &read.instances, networks, &self.installation);
        }
        let message = format!(
            "the group goes when its services are deleted: {}",
            services.join(", ")
        );
        Removal {
            plan: clos_plan::action::Plan::default(),
            waits_for: Some(Summary::new(Reason::Terminating, message)),
        }
    }

    fn engine_away(&self) -> Summary {
        let message = match self.executor.gate.state() {
            EngineState::Unknown { since, reason } => format!(
                "{reason}; since {since:.0}, the group's network is removed when it answers again"
            ),
            EngineState::Known(_) => "the container engine is being looked at".to_owned(),
        };
        Summary::new(Reason::EngineUnavailable, message)
    }

    async fn execute(&self, planned: &Planned) -> Option<Executed> {
        let removal = planned.removal.as_ref()?;
        Some(self.executor.execute(&removal.plan, &|_, _| {}).await)
    }

    async fn conclude(
        &self,
        read: &Read,
        planned: &Planned,
        executed: Option<&Executed>,
        started: Instant,
    ) -> Result<Action, Error> {
        let group = &read.group;
        let name = group.name_any();
        let (Some(removal), Some(executed)) = (&planned.removal, executed) else {
            self.write(group, &planned.status).await?;
            self.trail.pass(group, None, started).await?;
            self.retries.succeeded(&place(group));
            let rest = tokio::time::sleep(rest_after_pass(read.services.len()));
            self.executor.stop.run_until_cancelled(rest).await;
            return Ok(Action::await_change());
        };
        let all_done = executed.outcome == Outcome::AllDone;
        self.trail
            .pass(group, Act::of(&removal.plan, executed, None), started)
            .await?;
        if all_done && removal.waits_for.is_none() && self.is_gone(read, removal).await? {
            let others: Vec<String> = group
                .finalizers()
                .iter()
                .filter(|finalizer| *finalizer != names::FINALIZER_NETWORK)
                .cloned()
                .collect();
            if others.len() < group.finalizers().len() {
                self.set_finalizers(group, &others).await?;
            }
            self.retries.succeeded(&place(group));
            return Ok(Action::await_change());
        }
        self.write(group, &planned.status).await?;
        if all_done && removal.waits_for.is_some() {
            // What it waits for wakes it when it goes.
            return Ok(Action::await_change());
        }
        tracing::warn!(group = %name, "cannot remove the group's network, trying again");
        Ok(Action::requeue(self.retries.failed(place(group))))
    }

    /// Whether a look shows that no network is left: the engine's answer to a removal alone is not believed, because nobody would look
    /// for the network of a Group that is gone.
    async fn is_gone(&self, read: &Read, removal: &Removal) -> Result<bool, Error> {
        if removal.plan.is_empty() {
            return Ok(true);
        }
        let left = self.observe(&read.group).await?;
        Ok(left.is_some_and(|networks| self.removal(read, &networks).plan.is_empty()))
    }

    async fn write(&self, group: &Group, status: &GroupStatus) -> Result<(), Error> {
        let uid = group.uid().unwrap_or_default();
        write_status(
            &self.api(group),
            &group.name_any(),
            &uid,
            group.status.as_ref(),
            status,
        )
        .await?;
        Ok(())
    }

    async fn set_finalizers(&self, group: &Group, finalizers: &[String]) -> Result<(), Error> {
        let name = group.name_any();
        let metadata = json!({ "uid": group.uid(), "resourceVersion": group.resource_version(), "finalizers": finalizers });
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("finalize group");
        let patched = self
            .api(group)
            .patch(
                &name,
                &params,
                &Patch::Merge(&json!({ "metadata": metadata })),
            )
            .await;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("finalize group");
        match patched {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(source) => Err(Error::Finalizer { name, source }),
        }
    }

    fn api(&self, group: &Group) -> Api<Group> {
        Api::namespaced(self.client.clone(), &group.namespace().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_group_of_very_many_services_rests_and_never_longer_than_a_second() {
        let rest = |services| rest_after_pass(services).as_millis();
        assert_eq!(
            [rest(0), rest(499), rest(500), rest(50_000)],
            [0, 0, 50, 1000]
        );
    }
}
