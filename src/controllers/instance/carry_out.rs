//! Step 5 of the agent: carrying a plan out, with the status telling how far it is when that takes long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clos_engine::engine::Progress;
use clos_plan::action::{Action as Step, EngineAction};
use clos_plan::instance::InstancePlan;
use clos_resources::Instance;
use clos_resources::conditions::{Reason, Summary};
use clos_resources::instance::{InstanceState, InstanceStatus};
use clos_telemetry::Chain;
use tokio_util::sync::CancellationToken;

use super::Agent;
use crate::execute::Executed;

/// How often the progress of a pull is written into the status.
const PROGRESS: Duration = Duration::from_secs(2);

/// What step 5 left: how the plan was carried out, and the status that the API has now.
pub(super) struct Carried {
    pub(super) executed: Executed,
    pub(super) written: Option<InstanceStatus>,
}

impl Agent {
    /// Carries the plan out. What takes long is shown in the status meanwhile; what must be fast is not held up by that.
    pub(super) async fn execute(&self, instance: &Instance, planned: &InstancePlan) -> Carried {
        let total = AtomicU64::new(0);
        let current = AtomicU64::new(0);
        let progress = |_: usize, told: Progress| {
            total.store(told.total, Ordering::Relaxed);
            current.store(told.current, Ordering::Relaxed);
        };
        let execution = self.executor.execute(&planned.plan, &progress);
        if !takes_long(planned) {
            return Carried {
                executed: execution.await,
                written: instance.status.clone(),
            };
        }
        let ended = CancellationToken::new();
        let execution = async {
            let executed = execution.await;
            ended.cancel();
            executed
        };
        let narration = async {
            let mut written = instance.status.clone();
            let mut ticks = tokio::time::interval(PROGRESS);
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
        Carried { executed, written }
    }

    /// The status while a long plan is being carried out.
    fn meanwhile(
        &self,
        instance: &Instance,
        planned: &InstancePlan,
        written: Option<&InstanceStatus>,
        bytes: (u64, u64),
    ) -> InstanceStatus {
        let (state, summary) = match pulled_image(planned) {
            Some(image) => (InstanceState::Pulling, pulling(image, bytes)),
            None => (planned.state, planned.summary.clone()),
        };
        let previous = written
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        InstanceStatus {
            observed_generation: instance.metadata.generation,
            state: Some(state),
            backoff: planned.backoff.clone(),
            conditions: summary.conditions(instance.metadata.generation, previous, (self.clock)()),
            ..written.cloned().unwrap_or_default()
        }
    }
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
