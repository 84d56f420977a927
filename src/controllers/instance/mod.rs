//! The agent: makes one engine's containers what the Instances of its host declare. Six steps, each a function whose signature shows
//! whether it touches the world. Deciding is `clos-plan`'s, waking is `wake`'s and `sync`'s; what is read is in [`read`], how plans are carried out in [`carry_out`], what is told in
//! [`tell`], how it is looked at in [`look`], what was seen a moment ago in [`heard`], what a container said last in [`last_lines`], what is remembered between passes in [`memory`], what waits after a start in [`early`], what cannot
//! be looked at in [`unseen`], what secrets are kept out of in [`mask`].

mod carry_out;
mod early;
mod heard;
mod last_lines;
mod look;
mod mask;
pub(crate) mod memory;
mod read;
mod tell;
mod unseen;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_audit::{JournalError, Redactor};
use clos_plan::desired::{Desired, Unresolved, desired};
use clos_plan::instance::{InstanceInput, InstancePlan, plan};
use clos_plan::observed::EngineView;
use clos_plan::status::{FailureKind, Outcome, instance_status, unheard, was_overtaken};
use clos_resources::instance::InstanceStatus;
use clos_resources::{Instance, names};
use clos_telemetry::Metrics;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use crate::cache::{Cache, place};
use crate::events::Events;
use crate::execute::{Executed, Executor};
use crate::index::Index;
use crate::retry::Retries;
use crate::status::{FIELD_MANAGER, StatusError, write_status};
use crate::trail::{Act, Trail};

use carry_out::{Carried, has_started, is_unchanged};
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
    /// Whether what is declared is known since the start.
    pub(crate) declared: watch::Receiver<bool>,
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
    let platform = agent.executor.gate.platform();
    let think =
        |view: &EngineView| plan(&agent.input(&read, &desired, view, &platform, (agent.clock)()));
    let (view, planned) = match agent.see(&read.instance, think).await {
        Ok(seen) => seen,
        Err(error) => return Err(agent.unseen(&read, &desired, error).await?),
    }; // 3. observe, 4. plan
    let input = agent.input(&read, &desired, &view, &platform, (agent.clock)());
    if agent.is_early(&planned) {
        return agent.look_again_later(&read.instance, &view).await;
    }
    let executed = agent.execute(&read, &planned).await; // 5. execute
    agent.conclude(&input, &planned, executed, started).await // 6. status
}

/// When a failed pass is tried again.
pub(crate) fn error_policy(instance: &Instance, error: &Error, agent: &Agent) -> Action {
    let name = place(instance);
    let pause = match error {
        Error::Release {
            source: kube::Error::Api(status),
            ..
        } if status.is_conflict() => agent.retries.conflicted(name),
        Error::Read { .. }
        | Error::Observe { .. }
        | Error::Status(_)
        | Error::Release { .. }
        | Error::Journal(_) => agent.retries.unfinished(name),
    };
    Action::requeue(pause)
}

impl Agent {
    fn input<'a>(
        &'a self,
        read: &'a Read,
        desired: &'a Result<Desired<'a>, Unresolved>,
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

    /// Writes what became of the Instance, tells whoever listens, and says when to look again.
    async fn conclude(
        &self,
        input: &InstanceInput<'_>,
        planned: &InstancePlan,
        carried: Carried,
        started: Instant,
    ) -> Result<Action, Error> {
        let Carried {
            executed,
            written,
            runs,
        } = carried;
        let instance = input.instance;
        let acted = !executed.done.is_empty() || executed.outcome != Outcome::AllDone;
        let act = |repairs| Act::of(&planned.plan, &executed, repairs);
        let uid = instance.uid().unwrap_or_default();
        if acted {
            // What was seen before is what was.
            self.memory.heard.something(&uid);
        }
        if has_started(planned, &executed) {
            let crashes = planned.backoff.as_ref();
            let crashes = crashes.is_some_and(|backoff| backoff.faults > 1);
            self.await_news(&uid, runs, crashes).await;
        }
        let mut after = if acted && !is_unchanged(planned, &executed) {
            match self.observe(instance).await {
                Ok(after) => after,
                Err(error) => {
                    self.trail.pass(instance, act(None), started).await?;
                    return Err(error);
                }
            }
        } else {
            input.view.clone()
        };
        if planned.gone {
            return self.release(instance, started).await;
        }
        let began = input.now;
        let input = InstanceInput {
            now: (self.clock)(),
            ..*input
        };
        let (outcome, made) = (&executed.outcome, executed.made.as_deref());
        if acted && let Some(ended) = unheard(&input, planned, outcome, made, &after) {
            self.listen(&mut after, &ended).await;
        }
        let mut status = instance_status(&input, planned, outcome, made, &after);
        self.mask(&mut status);
        let wrote = self.write(instance, written.as_ref(), &status).await;
        self.memory
            .concluded(&uid, wrote.is_err().then(|| status.clone()));
        let overtaken = was_overtaken(planned, &executed.outcome, &after);
        let repairs = self
            .tell(&input, planned, &executed, overtaken, began)
            .await;
        // What was done was done, also when the status could not be written.
        self.trail.pass(instance, act(repairs), started).await?;
        wrote?;
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
                return Action::requeue(self.retries.conflicted(name));
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
            #[cfg(feature = "failpoints")]
            clos_failpoints::before("release instance");
            let released = self
                .instances(instance)
                .patch(
                    &name,
                    &params,
                    &Patch::Merge(&json!({ "metadata": metadata })),
                )
                .await;
            #[cfg(feature = "failpoints")]
            clos_failpoints::after("release instance");
            match released {
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
        Action::await_change()
    }

    fn instances(&self, instance: &Instance) -> Api<Instance> {
        Api::namespaced(
            self.client.clone(),
            &instance.namespace().unwrap_or_default(),
        )
    }
}
