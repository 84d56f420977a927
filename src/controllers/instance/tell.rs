//! What the agent tells about a pass: drift and repair, starts, pulls and failures, as Kubernetes Events on the Service and in the metrics.

use std::time::Duration;

use clos_plan::action::{Action as Step, EngineAction};
use clos_plan::instance::{Drift, InstanceInput, InstancePlan};
use clos_plan::status::{Failure, FailureKind, Outcome};
use clos_resources::Instance;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use super::Agent;
use crate::events::News;
use crate::execute::Executed;

impl Agent {
    /// Tells what happened in a pass that planned at `began`. `overtaken` says that somebody else removed the container meanwhile: that is told when it is
    /// repaired. Answers the drift that was repaired or tried to, in words, for the audit.
    pub(super) async fn tell(
        &self,
        input: &InstanceInput<'_>,
        planned: &InstancePlan,
        executed: &Executed,
        overtaken: bool,
        began: Timestamp,
    ) -> Option<String> {
        let uid = input.instance.uid().unwrap_or_default();
        let mut news = Vec::new();
        let repaired = !planned.drift.is_empty()
            && !executed.done.is_empty()
            && executed.outcome == Outcome::AllDone;
        if planned.drift.is_empty() {
            if executed.outcome == Outcome::AllDone {
                self.memory.settled(&uid);
            }
            news.extend(progress(planned, executed));
        } else {
            let (new, since) = self.memory.seen(&uid, &planned.drift, began);
            for drift in &new {
                self.metrics.drift_found(drift.kind.as_str());
                news.push(News {
                    warning: true,
                    reason: "Drift",
                    action: drift.kind.as_str(),
                    note: drift.words.clone(),
                });
            }
            if repaired {
                let took = elapsed(since, input.now);
                for drift in &planned.drift {
                    self.metrics.drift_repaired(drift.kind.as_str(), took);
                }
                news.push(repair(planned, executed, took));
                self.memory.settled(&uid);
            }
        }
        if let Outcome::Failed { failure, .. } = &executed.outcome
            && !overtaken
        {
            news.extend(failed(failure));
        }
        if !news.is_empty() {
            let (about, related) = subjects(input.instance);
            self.events
                .tell(&teller(input.instance), &about, related.as_ref(), &news)
                .await;
        }
        let acted = !executed.done.is_empty() || executed.outcome != Outcome::AllDone;
        (acted && !planned.drift.is_empty()).then(|| words(&planned.drift))
    }
}

/// Who tells: `kubectl describe` shows it beside the news.
fn teller(instance: &Instance) -> String {
    format!("instance/{}", instance.name_any())
}

/// What an Instance's news are about: its Service, with the Instance as the related object; without a Service, itself.
fn subjects(instance: &Instance) -> (ObjectReference, Option<ObjectReference>) {
    let itself = instance.object_ref(&());
    let owner = instance
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    match owner {
        None => (itself, None),
        Some(owner) => {
            let service = ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                name: Some(owner.name.clone()),
                namespace: instance.namespace(),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            };
            (service, Some(itself))
        }
    }
}

fn words(drift: &[Drift]) -> String {
    drift
        .iter()
        .map(|drift| drift.words.as_str())
        .collect::<Vec<_>>()
        .join("; ")
}

fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

fn repair(planned: &InstancePlan, executed: &Executed, took: Duration) -> News {
    let did = |wanted: fn(&EngineAction) -> bool| {
        executed.done.iter().any(|&index| matches!(&planned.plan.steps[index].action, Step::Engine(action) if wanted(action)))
    };
    let what = if did(|action| matches!(action, EngineAction::CreateContainer(_))) {
        "a new container runs after"
    } else if did(|action| matches!(action, EngineAction::StartContainer { .. })) {
        "started again in"
    } else if did(|action| matches!(action, EngineAction::UnpauseContainer { .. })) {
        "thawed in"
    } else {
        "put right in"
    };
    let actions = match executed.done.len() {
        1 => "1 action".to_owned(),
        count => format!("{count} actions"),
    };
    News {
        warning: false,
        reason: "Repaired",
        action: "Repair",
        note: format!("{what} {} ({actions})", spoken(took)),
    }
}

/// What was done because the declaration asked for it.
fn progress(planned: &InstancePlan, executed: &Executed) -> Vec<News> {
    let normal = |reason, action, note| News {
        warning: false,
        reason,
        action,
        note,
    };
    let told = executed
        .done
        .iter()
        .filter_map(|&index| match &planned.plan.steps[index].action {
            Step::Engine(EngineAction::PullImage { image }) => {
                Some(normal("Pulled", "Pull", format!("pulled image {image}")))
            }
            Step::Engine(EngineAction::StartContainer { container }) => Some(normal(
                "Started",
                "Start",
                format!("started container {}", container.name()),
            )),
            Step::Engine(EngineAction::StopContainer { container, .. }) => {
                let cause = &planned.plan.steps[index].cause;
                Some(normal(
                    "Stopped",
                    "Stop",
                    format!("stopped container {}: {cause}", container.name()),
                ))
            }
            Step::Engine(
                EngineAction::CreateNetwork(_)
                | EngineAction::RemoveNetwork { .. }
                | EngineAction::CreateVolume(_)
                | EngineAction::CreateContainer(_)
                | EngineAction::UnpauseContainer { .. }
                | EngineAction::RemoveContainer { .. },
            )
            | Step::Api(_) => None,
        });
    told.collect()
}

fn failed(failure: &Failure) -> Option<News> {
    let action = match failure.kind {
        FailureKind::ImagePull { .. } | FailureKind::ImageArch => "Pull",
        FailureKind::PortTaken => "Port",
        FailureKind::NameTaken => "Name",
        FailureKind::NoAddresses => "Network",
        FailureKind::Refused | FailureKind::Failed => "Engine",
        FailureKind::Api => "Api",
        // The engine's absence is the Host's news, a lost race is nobody's.
        FailureKind::EngineUnknown | FailureKind::ApiConflict => return None,
    };
    Some(News {
        warning: true,
        reason: "Failed",
        action,
        note: failure.message.clone(),
    })
}

/// A length of time as people say it.
fn spoken(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        return format!("{} ms", took.as_millis());
    }
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::spoken;

    #[test]
    fn lengths_of_time_are_said_in_the_unit_people_would_use() {
        assert_eq!(spoken(Duration::from_millis(512)), "512 ms");
        assert_eq!(spoken(Duration::from_millis(12_340)), "12.3 s");
    }
}
