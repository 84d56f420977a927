//! What every pass leaves behind: an audit event and a line in the log when it acted, a count when it did not or
//! failed at the same as before, and its time in the metrics. What happened is
//! told by the controllers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clos_audit::event::Outcome as AuditOutcome;
use clos_audit::{Event, Journal, JournalError, ObjectRef};
use clos_auth::Identity;
use clos_plan::action::Plan;
use clos_plan::status::Outcome;
use clos_telemetry::Metrics;
use clos_telemetry::metrics::ReconcileResult;
use kube::{Resource, ResourceExt};

use crate::execute::Executed;

/// The trail of one controller.
#[derive(Clone, Debug)]
pub(crate) struct Trail {
    journal: Journal,
    metrics: Metrics,
    actor: Identity,
    kind: &'static str,
    failing: Arc<Mutex<BTreeMap<String, Act>>>,
}

/// What a pass did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Act {
    /// Why, in a sentence.
    pub(crate) cause: String,
    /// What, one line each.
    pub(crate) actions: Vec<String>,
    /// How it ended.
    pub(crate) result: AuditOutcome,
}

impl Act {
    /// Whether nothing came of it.
    fn is_fruitless(&self) -> bool {
        self.result == AuditOutcome::Failed && self.actions.len() == 1
    }

    /// What carrying out a plan was; nothing when no step was tried. `repairs` says that running state had drifted, and how.
    pub(crate) fn of(plan: &Plan, executed: &Executed, repairs: Option<String>) -> Option<Self> {
        let (failed, failure) = match &executed.outcome {
            Outcome::AllDone => (None, None),
            Outcome::Failed { .. } if executed.interrupted && executed.done.is_empty() => {
                return None;
            }
            Outcome::Failed { step, failure } => (Some(*step), Some(failure.message.as_str())),
        };
        let tried = (0..plan.steps.len())
            .filter(|index| executed.done.contains(index) || failed == Some(*index));
        let mut causes: Vec<String> = Vec::new();
        let mut actions = Vec::new();
        for index in tried {
            let step = &plan.steps[index];
            let cause = step.cause.to_string();
            if !causes.contains(&cause) {
                causes.push(cause);
            }
            actions.push(match failure {
                Some(message) if failed == Some(index) => format!("{}: {message}", step.action),
                _ => step.action.to_string(),
            });
        }
        if actions.is_empty() {
            return None;
        }
        let result = match (failed, &repairs) {
            (Some(_), _) => AuditOutcome::Failed,
            (None, Some(_)) => AuditOutcome::Repaired,
            (None, None) => AuditOutcome::Changed,
        };
        Some(Self {
            cause: repairs.unwrap_or_else(|| causes.join("; ")),
            actions,
            result,
        })
    }
}

impl Trail {
    /// The trail of the controller of one kind.
    pub(crate) fn new(
        journal: Journal,
        metrics: Metrics,
        actor: Identity,
        kind: &'static str,
    ) -> Self {
        Self {
            journal,
            metrics,
            actor,
            kind,
            failing: Arc::default(),
        }
    }

    /// Whether the last pass over an object failed at the very same, and did nothing else.
    fn is_repeated(&self, object: &ObjectRef, act: Option<&Act>) -> bool {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = object.to_string();
        match act.filter(|act| act.is_fruitless()) {
            None => {
                failing.remove(&name);
                false
            }
            Some(act) => failing.insert(name, act.clone()).as_ref() == Some(act),
        }
    }

    /// The plan's lines, as they stand in the audit event.
    fn log(&self, object: &ObjectRef, act: &Act) {
        let redactor = self.journal.redactor();
        tracing::info!(
            object = %object,
            cause = %redactor.mask(&act.cause),
            actions = %redactor.mask(&act.actions.join("; ")),
            result = ?act.result,
            "acted"
        );
    }

    /// Records a pass over `object` that began at `started`.
    pub(crate) async fn pass<K>(
        &self,
        object: &K,
        act: Option<Act>,
        started: Instant,
    ) -> Result<(), JournalError>
    where
        K: Resource<DynamicType = ()>,
    {
        let reference = ObjectRef::new(&K::group(&()), &K::version(&()), &K::kind(&()))
            .in_namespace(&object.namespace().unwrap_or_default())
            .named(&object.name_any());
        self.pass_over(reference, object.uid(), act, started).await
    }

    /// Records a pass over something that may not exist any more.
    pub(crate) async fn pass_over(
        &self,
        object: ObjectRef,
        uid: Option<String>,
        act: Option<Act>,
        started: Instant,
    ) -> Result<(), JournalError> {
        let took = started.elapsed();
        let repeated = self.is_repeated(&object, act.as_ref());
        let Some(act) = act else {
            self.metrics
                .reconciled(self.kind, ReconcileResult::Unchanged, took);
            self.journal.noop(&self.actor, &object);
            return Ok(());
        };
        let result = if act.result == AuditOutcome::Failed {
            ReconcileResult::Failed
        } else {
            ReconcileResult::Changed
        };
        self.metrics.reconciled(self.kind, result, took);
        if repeated {
            // Told when it failed so for the first time.
            self.journal.noop(&self.actor, &object);
            return Ok(());
        }
        self.log(&object, &act);
        let event = Event {
            uid,
            cause: Some(act.cause),
            actions: act.actions,
            duration_ms: Some(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            ..Event::new(&self.actor, "reconcile", object, act.result)
        };
        #[cfg(feature = "failpoints")]
        clos_failpoints::before("record pass");
        let recorded = self.journal.record_or_keep(event).await;
        #[cfg(feature = "failpoints")]
        clos_failpoints::after("record pass");
        recorded
    }
}

#[cfg(test)]
mod tests {
    use clos_plan::action::{Action, Cause, EngineAction};
    use clos_plan::status::{Failure, FailureKind};

    use super::*;

    fn plan() -> Plan {
        let mut plan = Plan::default();
        for image in ["a", "b", "c"] {
            let pull = EngineAction::PullImage {
                image: image.to_owned(),
            };
            plan.push(Action::Engine(pull), Cause::new("not on this host"), []);
        }
        plan
    }

    fn failed(step: usize, done: &[usize], interrupted: bool) -> Executed {
        let failure = Failure {
            kind: FailureKind::Failed,
            message: "no space left".to_owned(),
        };
        Executed {
            outcome: Outcome::Failed { step, failure },
            done: done.to_vec(),
            made: None,
            interrupted,
        }
    }

    #[test]
    fn an_act_says_what_was_done_and_what_failed_with_each_cause_once() {
        let act = Act::of(&plan(), &failed(1, &[0], false), None).unwrap();
        assert_eq!(act.actions, ["pull image a", "pull image b: no space left"]);
        assert_eq!(
            (act.cause.as_str(), act.result),
            ("not on this host", AuditOutcome::Failed)
        );
    }

    #[test]
    fn a_repair_is_told_apart_from_a_change() {
        let done = Executed {
            outcome: Outcome::AllDone,
            done: vec![0, 1, 2],
            made: None,
            interrupted: false,
        };
        assert_eq!(
            Act::of(&plan(), &done, None).unwrap().result,
            AuditOutcome::Changed
        );
        let repair = Act::of(&plan(), &done, Some("container was killed".to_owned())).unwrap();
        assert_eq!(
            (repair.cause.as_str(), repair.result),
            ("container was killed", AuditOutcome::Repaired)
        );
    }

    #[test]
    fn a_failure_that_repeats_is_told_once_until_something_else_happens() {
        let journal = Journal::new(
            clos_store::Store::in_memory(),
            clos_audit::Redactor::default(),
            || jiff::Timestamp::UNIX_EPOCH,
        );
        let trail = Trail::new(
            journal,
            Metrics::new(),
            Identity::component("controller:service"),
            "Service",
        );
        let web = ObjectRef::new("clos.dev", "v1alpha1", "Service").named("web");
        let db = web.clone().named("db");
        let refused = Act::of(&plan(), &failed(0, &[], false), None);
        let partly = Act::of(&plan(), &failed(1, &[0], false), None);
        let repeated = [
            &refused, &refused, &partly, &partly, &refused, &None, &refused,
        ]
        .map(|act| trail.is_repeated(&web, act.as_ref()));
        assert_eq!(repeated, [false, true, false, false, false, false, false]);
        assert!(!trail.is_repeated(&db, refused.as_ref()));
    }

    #[test]
    fn a_plan_of_which_nothing_was_tried_is_no_act() {
        let nothing = Executed {
            outcome: Outcome::AllDone,
            done: Vec::new(),
            made: None,
            interrupted: false,
        };
        assert_eq!(Act::of(&Plan::default(), &nothing, None), None);
        assert_eq!(Act::of(&plan(), &failed(0, &[], true), None), None);
    }
}
