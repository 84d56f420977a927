//! Step 5 of the agent: carrying a plan out, with the status telling how far it is when that takes long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clos_engine::engine::Progress;
use clos_plan::action::{Action as Step, EngineAction};
use clos_plan::instance::{InstancePlan, engine_unknown};
use clos_plan::status::{FailureKind, Outcome, lasting};
use clos_resources::Instance;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_telemetry::Chain;
use kube::ResourceExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Agent;
use super::heard::Runs;
use super::read::Read;
use crate::execute::Executed;
use crate::gate::EngineState;

/// How often the progress of a pull is written into the status.
const PROGRESS: Duration = Duration::from_secs(2);

/// What step 5 left: how the plan was carried out, and the status that the API has now.
pub(super) struct Carried {
    pub(super) executed: Executed,
    pub(super) written: Option<InstanceStatus>,
    /// How often its container had been started and had ended before.
    pub(super) runs: Runs,
}

impl Agent {
    /// Carries the plan out. What takes long, or waits for an engine that hangs, is shown in the status meanwhile; what is fast is not
    /// held up by that.
    pub(super) async fn execute(&self, read: &Read, planned: &InstancePlan) -> Carried {
        let (instance, written) = (&read.instance, read.written.clone());
        let uid = instance.uid().unwrap_or_default();
        let runs = self.memory.heard.runs(&uid);
        let total = AtomicU64::new(0);
        let current = AtomicU64::new(0);
        let progress = |_: usize, told: Progress| {
            total.store(told.total, Ordering::Relaxed);
            current.store(told.current, Ordering::Relaxed);
        };
        let execution = self.executor.execute(&planned.plan, &progress);
        if planned.plan.is_empty() {
            return Carried {
                executed: execution.await,
                written,
                runs,
            };
        }
        let ended = CancellationToken::new();
        let execution = async {
            let executed = execution.await;
            ended.cancel();
            executed
        };
        let narration = async {
            let mut written = written;
            let first = Instant::now()
                + if takes_long(planned) {
                    Duration::ZERO
                } else {
                    PROGRESS
                };
            let mut ticks = tokio::time::interval_at(first, PROGRESS);
            loop {
                tokio::select! {
                    biased;
                    () = ended.cancelled() => return written,
                    _ = ticks.tick() => {}
                }
                let bytes = (
                    current.load(Ordering::Relaxed),
                    total.load(Ordering::Relaxed),
                );
                let meanwhile = self.meanwhile(instance, planned, written.as_ref(), bytes);
                match self.write(instance, written.as_ref(), &meanwhile).await {
                    Ok(()) => written = Some(meanwhile),
                    // The plan goes on without it, and the status after it says everything.
                    Err(error) => {
                        tracing::debug!(error = %Chain(&error), "cannot write how far a plan is");
                    }
                }
            }
        };
        let (executed, written) = futures::join!(execution, narration);
        Carried {
            executed,
            written,
            runs,
        }
    }

    /// The status while a plan is being carried out.
    fn meanwhile(
        &self,
        instance: &Instance,
        planned: &InstancePlan,
        written: Option<&InstanceStatus>,
        bytes: (u64, u64),
    ) -> InstanceStatus {
        let (state, summary) = match (self.executor.gate.state(), pulled_image(planned)) {
            (EngineState::Unknown { since, reason }, _) => engine_unknown(since, &reason),
            (EngineState::Known(_), Some(image)) => (InstanceState::Pulling, pulling(image, bytes)),
            (EngineState::Known(_), None) => (planned.state, planned.summary.clone()),
        };
        let previous = written
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let generation = instance.metadata.generation;
        let mut conditions = summary.conditions(generation, previous, (self.clock)());
        conditions.extend(lasting(previous));
        InstanceStatus {
            observed_generation: generation,
            state: Some(state),
            backoff: planned.backoff.clone(),
            conditions,
            ..written.cloned().unwrap_or_default()
        }
    }
}

/// Whether a container was started.
pub(super) fn has_started(planned: &InstancePlan, executed: &Executed) -> bool {
    executed.done.iter().any(|&step| {
        let action = &planned.plan.steps[step].action;
        matches!(action, Step::Engine(EngineAction::StartContainer { .. }))
    })
}

/// Whether the engine shows the same as before for certain: it was asked for one thing, and refused that for something outside the Instance.
pub(super) fn is_unchanged(planned: &InstancePlan, executed: &Executed) -> bool {
    let Outcome::Failed { failure, .. } = &executed.outcome else {
        return false;
    };
    let outside = matches!(
        failure.kind,
        FailureKind::PortTaken | FailureKind::ImagePull { .. }
    );
    outside
        && executed.done.iter().all(|&step| {
            let action = &planned.plan.steps[step].action;
            matches!(action, Step::Api(_))
        })
}

/// The image that a plan pulls.
fn pulled_image(planned: &InstancePlan) -> Option<&str> {
    planned
        .plan
        .steps
        .iter()
        .find_map(|step| match &step.action {
            Step::Engine(EngineAction::PullImage { image }) => Some(image.as_str()),
            Step::Engine(_) | Step::Api(_) => None,
        })
}

/// How far a pull is, by the bytes that are here and those it comes to, when that is known.
fn pulling(image: &str, (current, total): (u64, u64)) -> Summary {
    let message = if total == 0 {
        format!("pulling image {image}")
    } else {
        format!(
            "pulling image {image}: {} of {} MB",
            current / 1_000_000,
            total.div_ceil(1_000_000)
        )
    };
    Summary::new(Reason::Progressing, message)
}

/// Whether a plan has a step that waits for a registry or a program.
fn takes_long(planned: &InstancePlan) -> bool {
    planned.plan.steps.iter().any(|step| {
        matches!(
            step.action,
            Step::Engine(EngineAction::PullImage { .. } | EngineAction::StopContainer { .. })
        )
    })
}
