//! The safety net under host ports: a Port whose holder does not exist any more, and whose container is really gone, is released. Normally
//! the agent releases what an Instance holds before it lets the Instance go. Reserved Ports are people's and stay.

use std::sync::Arc;
use std::time::Instant;

use clos_audit::JournalError;
use clos_engine::engine::Scope;
use clos_plan::action::{Action as Step, ApiAction, Cause, Plan};
use clos_plan::status::Outcome;
use clos_resources::port::PortHolder;
use clos_resources::{Instance, Port, names};
use jiff::Timestamp;
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};

use crate::cache::place;
use crate::execute::Executor;
use crate::retry::Retries;
use crate::trail::{Act, Trail};

/// What the controller works with.
pub(crate) struct Ports {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// Whoever carries plans out.
    pub(crate) executor: Executor,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Pauses after failures.
    pub(crate) retries: Retries,
    /// The Host whose Ports are ours.
    pub(crate) host: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// What a pass over a Port failed at.
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
    #[error("cannot look for the container that used port {port}")]
    Observe {
        /// The Port's name.
        port: String,
        /// Why not.
        #[source]
        source: clos_engine::Error,
    },
    /// Releasing the Port.
    #[error("cannot release port {port}: {reason}")]
    Release {
        /// The Port's name.
        port: String,
        /// The API's words.
        reason: String,
    },
    /// Recording the pass.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// One pass over one Port.
pub(crate) async fn reconcile(named: Arc<Port>, ports: Arc<Ports>) -> Result<Action, Error> {
    let started = Instant::now();
    let Some(port) = ports.read(&named).await? else {
        return Ok(Action::await_change());
    }; // 1. read
    let Some(lost) = ports.desired(&port).await? else {
        return Ok(Action::await_change());
    }; // 2. desired: its holder
    let Some(free) = ports.observe(&port, &lost).await? else {
        return Ok(Action::await_change());
    }; // 3. observe: its container
    let plan = plan(&port, &lost, free); // 4. plan
    let executed = ports.executor.execute(&plan, &|_, _| {}).await; // 5. execute
    ports
        .trail
        .pass(&port, Act::of(&plan, &executed, None), started)
        .await?; // 6. a Port has no status
    ports.next_look(&port, free, executed.outcome)
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(port: &Port, error: &Error, ports: &Ports) -> Action {
    let pause = ports.retries.unfinished(place(port));
    match error {
        Error::Read { .. } | Error::Observe { .. } | Error::Release { .. } | Error::Journal(_) => {
            Action::requeue(pause)
        }
    }
}

/// A Port of a holder that is gone is released when no container uses it.
fn plan(port: &Port, lost: &PortHolder, free: bool) -> Plan {
    let mut plan = Plan::default();
    if free {
        let action = ApiAction::ReleasePort {
            name: port.name_any(),
            uid: port.uid().unwrap_or_default(),
            port: Box::new(port.spec.clone()),
        };
        let cause = Cause::new(format!(
            "instance {}/{} does not exist any more",
            lost.namespace, lost.instance
        ));
        plan.push(Step::Api(action), cause, []);
    }
    plan
}

impl Ports {
    async fn read(&self, named: &Port) -> Result<Option<Port>, Error> {
        let name = named.name_any();
        let api: Api<Port> = Api::all(self.client.clone());
        let failed = |source| Error::Read {
            what: format!("port {name}"),
            source,
        };
        let port = api.get_opt(&name).await.map_err(failed)?;
        Ok(port.filter(|port| {
            port.spec.host == self.host && port.metadata.deletion_timestamp.is_none()
        }))
    }

    /// The holder, if the Port has one that does not exist any more. A later Instance of the same name is another one.
    async fn desired(&self, port: &Port) -> Result<Option<PortHolder>, Error> {
        let Some(holder) = &port.spec.holder else {
            return Ok(None);
        };
        let api: Api<Instance> = Api::namespaced(self.client.clone(), &holder.namespace);
        let failed = |source| Error::Read {
            what: format!("instance {}", holder.instance),
            source,
        };
        let found = api.get_opt(&holder.instance).await.map_err(failed)?;
        let lives =
            found.is_some_and(|instance| instance.metadata.uid.as_ref() == Some(&holder.uid));
        Ok((!lives).then(|| holder.clone()))
    }

    /// Whether no container of the lost holder is left; nothing while the engine is unknown.
    async fn observe(&self, port: &Port, lost: &PortHolder) -> Result<Option<bool>, Error> {
        if !self.executor.gate.is_open() {
            return Ok(None);
        }
        let scope = Scope {
            instance_uid: lost.uid.clone(),
            container_name: names::container(&lost.namespace, &lost.instance),
            network_name: names::container(&lost.namespace, &lost.instance),
            volumes: Vec::new(),
            image: None,
        };
        match self.executor.engine.observe(&scope).await {
            Ok(observed) => {
                let of_holder = |labels: &std::collections::BTreeMap<String, String>| {
                    labels.get(names::LABEL_INSTANCE_UID) == Some(&lost.uid)
                };
                Ok(Some(
                    !observed
                        .containers
                        .values()
                        .any(|container| of_holder(&container.labels)),
                ))
            }
            Err(error) if error.leaves_unknown() => {
                self.executor.gate.doubt((self.clock)(), &error.to_string());
                Ok(None)
            }
            Err(source) => Err(Error::Observe {
                port: port.name_any(),
                source,
            }),
        }
    }

    fn next_look(&self, port: &Port, free: bool, outcome: Outcome) -> Result<Action, Error> {
        match outcome {
            Outcome::Failed { failure, .. } => Err(Error::Release {
                port: port.name_any(),
                reason: failure.message,
            }),
            // The container is swept away some time; until then the Port waits.
            Outcome::AllDone if !free => Ok(Action::requeue(self.retries.failed(place(port)))),
            Outcome::AllDone => {
                self.retries.succeeded(&place(port));
                Ok(Action::await_change())
            }
        }
    }
}
