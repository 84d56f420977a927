//! The agent: makes one engine's containers what the Instances of its host declare. Six steps, each a function whose signature shows
//! whether it touches the world. Deciding is `clos-plan`'s, waking is `wake`'s and `sync`'s; what is read is in [`read`], how plans are carried out in [`carry_out`], what is told in
//! [`tell`], what is remembered between passes in [`memory`].

mod carry_out;
pub(crate) mod memory;
mod read;
mod tell;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_audit::{JournalError, Redactor};
use clos_engine::engine::Scope;
use clos_plan::desired::{
    Desired, Unresolved, container_name, desired, network_name, volume_names,
};
use clos_plan::instance::{InstanceInput, InstancePlan, plan};
use clos_plan::observed::EngineView;
use clos_plan::status::{FailureKind, Outcome, instance_status, was_overtaken};
use clos_resources::instance::InstanceStatus;
use clos_resources::{Instance, names};
use clos_telemetry::Metrics;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::cache::{Cache, place};
use crate::events::Events;
use crate::execute::{Executed, Executor};
use crate::gate::EngineState;
use crate::index::Index;
use crate::retry::{AFTER_CONFLICT, Retries};
use crate::status::{FIELD_MANAGER, StatusError, write_status};
use crate::trail::{Act, Trail};
pub(crate) use tell::teller;

use carry_out::Carried;
use memory::Memory;
use read::Read;

/// What the agent works with.
pub(crate) struct Agent {
    /// The API, as this controller.
    pub(crate) client: Client,
    /// What is read without asking the API.
    pub(crate) cache: Cache,
    /// Which Instances replicate which Service.
    pub(crate) index: Arc<Index>,
    /// Whoever carries plans out.
    pub(crate) executor: Executor,
    /// What is remembered between passes.
    pub(crate) memory: Arc<Memory>,
    /// Kubernetes Events.
    pub(crate) events: Arc<Events>,
    /// Audit and metrics of passes.
    pub(crate) trail: Trail,
    /// Metrics of drift.
    pub(crate) metrics: Metrics,
    /// Is told every secret before it is used.
    pub(crate) redactor: Redactor,
    /// Pauses after failures.
    pub(crate) retries: Retries,
    /// The name of the Host whose Instances are ours.
    pub(crate) host: String,
    /// The installation that containers of ours are labelled with.
    pub(crate) installation: String,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// What a pass over an Instance failed at.
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
    #[error("cannot look at container {container}")]
    Observe {
        /// The container's name.
        container: String,
        /// Why not.
        #[source]
        source: clos_engine::Error,
    },
    /// Writing the status.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// Letting a deleted Instance go.
    #[error("cannot let the deleted instance {name} go")]
    Release {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// Recording the pass.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// One pass over one Instance.
pub(crate) async fn reconcile(named: Arc<Instance>, agent: Arc<Agent>) -> Result<Action, Error> {
    let started = Instant::now();
    let Some(read) = agent.read(&named).await? else {
        return Ok(agent.forget(&named)); // 1. read
    };
    let desired = desired(&read.instance, &read.values, &agent.installation); // 2. desired
    let view = agent.observe(&read.instance).await?; // 3. observe
    let (platform, now) = (agent.executor.gate.platform(), (agent.clock)());
    let input = agent.input(&read, &desired, &view, &platform, now);
    let planned = plan(&input); // 4. plan
    let executed = agent.execute(&read.instance, &planned).await; // 5. execute
    agent.conclude(&input, &planned, executed, started).await // 6. status
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(instance: &Instance, error: &Error, agent: &Agent) -> Action {
    let pause = agent.retries.failed(place(instance));
    match error {
        Error::Release {
            source: kube::Error::Api(status),
            ..
        } if status.is_conflict() => Action::requeue(AFTER_CONFLICT),
        Error::Read { .. }
        | Error::Observe { .. }
        | Error::Status(_)
        | Error::Release { .. }
        | Error::Journal(_) => Action::requeue(pause),
    }
}

impl Agent {
    fn input<'a>(
        &'a self,
        read: &'a Read,
        desired: &'a Result<Desired, Unresolved>,
        view: &'a EngineView,
        platform: &'a clos_resources::host::EngineInfo,
        now: Timestamp,
    ) -> InstanceInput<'a> {
        InstanceInput {
            instance: &read.instance,
            desired,
            view,
            ports: &read.ports,
            dependencies: &read.dependencies,
            platform,
            installation: &self.installation,
            now,
        }
    }

    /// What the engine shows of one Instance. While the engine is unknown, that is all there is to see.
    async fn observe(&self, instance: &Instance) -> Result<EngineView, Error> {
        let gate = &self.executor.gate;
        let unknown = |state| match state {
            EngineState::Unknown { since, reason } => Some(EngineView::Unknown { since, reason }),
            EngineState::Known(_) => None,
        };
        if let Some(view) = unknown(gate.state()) {
            return Ok(view);
        }
        let scope = Scope {
            instance_uid: instance.uid().unwrap_or_default(),
            container_name: container_name(instance),
            network_name: network_name(instance),
            volumes: volume_names(instance),
            image: instance.spec.container.image.clone(),
        };
        match self.executor.engine.observe(&scope).await {
            // The look may have begun before a doubt came up.
            Ok(observed) => Ok(unknown(gate.state()).unwrap_or(EngineView::Known(observed))),
            Err(error) if error.leaves_unknown() => {
                let (since, reason) = ((self.clock)(), error.to_string());
                gate.doubt(since, &reason);
                Ok(unknown(gate.state()).unwrap_or(EngineView::Unknown { since, reason }))
            }
            Err(source) => Err(Error::Observe {
                container: scope.container_name,
                source,
            }),
        }
    }

    /// Writes what became of the Instance, tells whoever listens, and says when to look again.
    async fn conclude(
        &self,
        input: &InstanceInput<'_>,
        planned: &InstancePlan,
        carried: Carried,
        started: Instant,
    ) -> Result<Action, Error> {
        let Carried { executed, written } = carried;
        let instance = input.instance;
        let acted = !executed.done.is_empty() || executed.outcome != Outcome::AllDone;
        let after = if acted {
            self.observe(instance).await?
        } else {
            input.view.clone()
        };
        if planned.gone {
            return self.release(instance, started).await;
        }
        let input = InstanceInput {
            now: (self.clock)(),
            ..*input
        };
        let mut status = instance_status(&input, planned, &executed.outcome, &after);
        for condition in &mut status.conditions {
            // The engine's words may quote what it was asked, environment included.
            condition.message = self.redactor.mask(&condition.message).into_owned();
        }
        self.write(instance, written.as_ref(), &status).await?;
        let overtaken = was_overtaken(planned, &executed.outcome, &after);
        let repairs = self.tell(&input, planned, &executed, overtaken).await;
        self.trail
            .pass(
                instance,
                Act::of(&planned.plan, &executed, repairs),
                started,
            )
            .await?;
        if overtaken {
            return Ok(Action::requeue(Duration::ZERO));
        }
        Ok(self.next_look(&input, planned, &executed, &status))
    }

    async fn write(
        &self,
        instance: &Instance,
        written: Option<&InstanceStatus>,
        status: &InstanceStatus,
    ) -> Result<(), Error> {
        let uid = instance.uid().unwrap_or_default();
        match write_status(
            &self.instances(instance),
            &instance.name_any(),
            &uid,
            written,
            status,
        )
        .await
        {
            // Deleted meanwhile: nobody is left to tell.
            Err(StatusError::Write {
                source: kube::Error::Api(answer),
                ..
            }) if answer.is_not_found() => Ok(()),
            other => other.map(drop).map_err(Error::Status),
        }
    }

    fn next_look(
        &self,
        input: &InstanceInput<'_>,
        planned: &InstancePlan,
        executed: &Executed,
        status: &InstanceStatus,
    ) -> Action {
        let name = place(input.instance);
        let in_time =
            |at: Timestamp| Duration::try_from(at.duration_since(input.now)).unwrap_or_default();
        match &executed.outcome {
            Outcome::AllDone => self.retries.succeeded(&name),
            Outcome::Failed { failure, .. } if failure.kind == FailureKind::ApiConflict => {
                self.retries.failed(name);
                return Action::requeue(AFTER_CONFLICT);
            }
            // The engine is listed again, and then everybody looks.
            Outcome::Failed { .. } if executed.interrupted => return Action::await_change(),
            Outcome::Failed { .. } => {
                let due = status
                    .backoff
                    .as_ref()
                    .map(|backoff| backoff.next_try.0)
                    .filter(|&due| due > input.now);
                let pause = self.retries.failed(name);
                return Action::requeue(due.map_or(pause, in_time));
            }
        }
        if !executed.done.is_empty() {
            // Planning again on what is there now: the next step if there is one, else the time of the next look.
            return Action::requeue(Duration::ZERO);
        }
        planned
            .wake_at
            .map_or_else(Action::await_change, |at| Action::requeue(in_time(at)))
    }

    /// Takes our finalizer away: the Instance goes.
    async fn release(&self, instance: &Instance, started: Instant) -> Result<Action, Error> {
        let name = instance.name_any();
        let ours = |finalizer: &&String| finalizer.as_str() == names::FINALIZER_CONTAINER;
        if instance
            .finalizers()
            .iter()
            .any(|finalizer| ours(&finalizer))
        {
            let others: Vec<&String> = instance
                .finalizers()
                .iter()
                .filter(|finalizer| !ours(finalizer))
                .collect();
            let metadata = json!({ "uid": instance.uid(), "resourceVersion": instance.resource_version(), "finalizers": others });
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            match self
                .instances(instance)
                .patch(
                    &name,
                    &params,
                    &Patch::Merge(&json!({ "metadata": metadata })),
                )
                .await
            {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(source) => return Err(Error::Release { name, source }),
            }
        }
        self.trail.pass(instance, None, started).await?;
        Ok(self.forget(instance))
    }

    /// Forgets what is remembered of an Instance that does not exist any more.
    fn forget(&self, instance: &Instance) -> Action {
        self.retries.succeeded(&place(instance));
        self.memory.forget(&instance.uid().unwrap_or_default());
        self.events.forget(&teller(instance));
        Action::await_change()
    }

    fn instances(&self, instance: &Instance) -> Api<Instance> {
        Api::namespaced(
            self.client.clone(),
            &instance.namespace().unwrap_or_default(),
        )
    }
}
