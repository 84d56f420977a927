//! How far an applied object is: waited for, as declared, or failed for good. A pure function of the objects; watching them is not here.

use clos_plan::service::revision;
use clos_resources::conditions::{Reason, ready};
use clos_resources::{Group, Instance, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// So many faults in a row are an answer: the next start will most likely end as these did.
const FAULTS_THAT_SETTLE_IT: u32 = 3;

/// How far one object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// On the way, and why it is not there yet.
    Waiting {
        /// One sentence.
        words: String,
    },
    /// As declared.
    Done {
        /// In which way, as `running` or `completed`.
        words: String,
    },
    /// It will not become as declared unless somebody changes something.
    Failed {
        /// The condition's message.
        words: String,
        /// The Instance that failed, when it is one.
        instance: Option<String>,
    },
}

/// One object's line: counts and progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Ready and wanted, as `1/2`; empty while unknown.
    pub(crate) ready: String,
    /// How far it is.
    pub(crate) progress: Progress,
}

impl Standing {
    fn waiting(ready: &str, words: impl Into<String>) -> Self {
        Self {
            ready: ready.to_owned(),
            progress: Progress::Waiting {
                words: words.into(),
            },
        }
    }

    fn failed(ready: &str, words: impl Into<String>, instance: Option<String>) -> Self {
        Self {
            ready: ready.to_owned(),
            progress: Progress::Failed {
                words: words.into(),
                instance,
            },
        }
    }
}

/// How far a Service is. `instances` are those that it owns.
pub(crate) fn of_service(service: Option<&Service>, instances: &[&Instance]) -> Standing {
    let Some(service) = service else {
        return Standing::failed("", "was deleted meanwhile", None);
    };
    let status = service.status.clone().unwrap_or_default();
    let counts = status
        .ready
        .clone()
        .unwrap_or_else(|| format!("0/{}", service.spec.replicas));
    let condition = match look(
        &service.metadata,
        status.observed_generation,
        &status.conditions,
        &counts,
    ) {
        Ok(condition) => condition,
        Err(standing) => return standing,
    };
    // What an Instance of an older declaration failed at is no answer to this one.
    let newest = revision(service);
    let failed = instances
        .iter()
        .find(|instance| instance.spec.revision == newest && has_failed(instance));
    let name = failed.and_then(|instance| instance.metadata.name.clone());
    let stalled = is_true(&status.conditions, "Stalled");
    let in_crash_loop = condition.reason == Reason::CrashLoopBackOff.as_str();
    let invalid = stalled && condition.reason == Reason::InvalidSpec.as_str();
    if invalid || (failed.is_some() && (stalled || in_crash_loop)) {
        return Standing::failed(&counts, &*condition.message, name);
    }
    // While it is merely on the way, its Instances know more than the counts that stand beside it.
    let on_the_way = condition.reason == Reason::Progressing.as_str();
    let more = if on_the_way {
        instances.iter().find_map(|instance| what_it_does(instance))
    } else {
        None
    };
    Standing::waiting(
        &counts,
        more.unwrap_or_else(|| without_counts(&words(condition, "is not there yet"))),
    )
}

/// A Service's message without the counts, which stand beside it.
fn without_counts(message: &str) -> String {
    match message.split_once(" instances are ready") {
        None => message.to_owned(),
        Some((_, "")) => "is on its way".to_owned(),
        Some((_, rest)) => rest.trim_start_matches("; ").to_owned(),
    }
}

/// What an Instance that is not ready says of itself.
fn what_it_does(instance: &Instance) -> Option<String> {
    let status = instance.status.as_ref()?;
    let condition = ready(&status.conditions)
        .filter(|ready| ready.status != "True" && !ready.message.is_empty())?;
    Some(format!(
        "{}: {}",
        instance.metadata.name.as_deref().unwrap_or_default(),
        condition.message
    ))
}

/// How far a Group is.
pub(crate) fn of_group(group: Option<&Group>) -> Standing {
    let Some(group) = group else {
        return Standing::failed("", "was deleted meanwhile", None);
    };
    let status = group.status.clone().unwrap_or_default();
    let counts = status.running.clone().unwrap_or_default();
    match look(
        &group.metadata,
        status.observed_generation,
        &status.conditions,
        &counts,
    ) {
        Ok(condition) if is_true(&status.conditions, "Stalled") => {
            Standing::failed(&counts, &*condition.message, None)
        }
        Ok(condition) => Standing::waiting(
            &counts,
            words(condition, "its services are not all there yet"),
        ),
        Err(standing) => standing,
    }
}

/// The `Ready` condition, when it is current and not true; else what follows already.
fn look<'a>(
    metadata: &ObjectMeta,
    observed: Option<i64>,
    conditions: &'a [Condition],
    counts: &str,
) -> Result<&'a Condition, Standing> {
    if metadata.deletion_timestamp.is_some() {
        return Err(Standing::failed(counts, "is being deleted", None));
    }
    let current = |seen: Option<i64>| {
        metadata
            .generation
            .is_none_or(|generation| seen.is_some_and(|seen| seen >= generation))
    };
    let condition = ready(conditions)
        .filter(|condition| current(observed) && current(condition.observed_generation));
    let Some(condition) = condition else {
        return Err(Standing::waiting(counts, "waits to be looked at"));
    };
    if condition.status != "True" {
        return Ok(condition);
    }
    let words = if condition.reason == Reason::Completed.as_str() {
        words(condition, "completed")
    } else if condition.reason == Reason::Suspended.as_str() {
        words(condition, "stopped, as declared")
    } else {
        // Its message has the counts, which stand beside it.
        "running".to_owned()
    };
    Err(Standing {
        ready: counts.to_owned(),
        progress: Progress::Done { words },
    })
}

/// Whether an Instance will not go on by itself, or has failed often enough, by a status that speaks of its present spec.
fn has_failed(instance: &Instance) -> bool {
    let Some(status) = &instance.status else {
        return false;
    };
    let current = instance.metadata.generation.is_none_or(|generation| {
        status
            .observed_generation
            .is_some_and(|seen| seen >= generation)
    });
    let crashed = status
        .backoff
        .as_ref()
        .is_some_and(|backoff| backoff.faults >= FAULTS_THAT_SETTLE_IT)
        && ready(&status.conditions)
            .is_some_and(|ready| ready.reason == Reason::CrashLoopBackOff.as_str());
    current && (crashed || is_true(&status.conditions, "Stalled"))
}

fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}

fn words(condition: &Condition, otherwise: &str) -> String {
    if condition.message.is_empty() {
        otherwise.to_owned()
    } else {
        condition.message.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use clos_resources::conditions::Summary;
    use serde_json::json;

    use super::*;

    fn conditions(reason: Reason, message: &str, generation: i64) -> Vec<Condition> {
        Summary::new(reason, message).conditions(
            Some(generation),
            &[],
            "2026-01-01T00:00:00Z".parse().unwrap(),
        )
    }

    /// `web` in its second generation, with two replicas wanted.
    pub(crate) fn service(ready: &str, reason: Reason, message: &str, observed: i64) -> Service {
        serde_json::from_value(json!({
            "apiVersion": "clos.dev/v1alpha1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "default", "generation": 2},
            "spec": {"group": "shop", "image": "shop/web:2", "replicas": 2},
            "status": {"ready": ready, "observedGeneration": observed, "conditions": conditions(reason, message, observed)},
        }))
        .unwrap()
    }

    /// An Instance of `web`, made from the present declaration.
    pub(crate) fn instance(reason: Reason, message: &str, faults: u32) -> Instance {
        let of = service("", Reason::Progressing, "", 2);
        let time = "2026-01-01T00:00:00Z";
        serde_json::from_value(json!({
            "apiVersion": "clos.dev/v1alpha1", "kind": "Instance",
            "metadata": {"name": "web-1", "namespace": "default", "generation": 1, "labels": {"clos.dev/service": "web"}},
            "spec": {"service": "web", "group": "shop", "host": "local", "ordinal": 1, "revision": revision(&of), "container": {"image": "shop/web:2"}},
            "status": {"observedGeneration": 1, "containerId": "c1", "conditions": conditions(reason, message, 1),
                "backoff": {"faults": faults, "lastFault": time, "nextTry": time}},
        }))
        .unwrap()
    }

    pub(crate) fn group(reason: Reason, message: &str) -> Group {
        serde_json::from_value(json!({
            "apiVersion": "clos.dev/v1alpha1", "kind": "Group", "metadata": {"name": "shop", "namespace": "default", "generation": 1}, "spec": {},
            "status": {"running": "1/2", "observedGeneration": 1, "conditions": conditions(reason, message, 1)},
        }))
        .unwrap()
    }

    fn shown(standing: &Standing) -> String {
        let Standing { ready, progress } = standing;
        match progress {
            Progress::Waiting { words } => format!("… {ready} {words}"),
            Progress::Done { words } => format!("✔ {ready} {words}"),
            Progress::Failed { words, instance } => format!(
                "✖ {ready} {words} ({})",
                instance.as_deref().unwrap_or("no instance")
            ),
        }
    }

    #[test]
    fn counts_that_stand_beside_the_words_are_not_said_twice() {
        let said = "1 of 2 instances are ready; web-0: exited with 1";
        assert_eq!(without_counts(said), "web-0: exited with 1");
        assert_eq!(
            without_counts("0 of 1 instances are ready"),
            "is on its way"
        );
        assert_eq!(
            without_counts("waits: db has not started"),
            "waits: db has not started"
        );
    }

    #[test]
    fn every_reason_leads_to_one_of_the_three() {
        let mut lines = Vec::new();
        for reason in [
            Reason::Ready,
            Reason::Completed,
            Reason::Suspended,
            Reason::Progressing,
            Reason::DependencyNotReady,
            Reason::ConfigMissing,
            Reason::PortConflict,
            Reason::Unhealthy,
            Reason::EngineUnavailable,
            Reason::CrashLoopBackOff,
            Reason::ImagePullFailed,
            Reason::ImageArchMismatch,
            Reason::Failed,
            Reason::InvalidSpec,
        ] {
            let of = service(
                "1/2",
                reason,
                &format!("the message of {}", reason.as_str()),
                2,
            );
            let failing = instance(reason, "", 3);
            lines.push(shown(&of_service(Some(&of), &[&failing])));
        }
        insta::assert_snapshot!(lines.join("\n"), @r"
        ✔ 1/2 running
        ✔ 1/2 the message of Completed
        ✔ 1/2 the message of Suspended
        … 1/2 the message of Progressing
        … 1/2 the message of DependencyNotReady
        … 1/2 the message of ConfigMissing
        … 1/2 the message of PortConflict
        … 1/2 the message of Unhealthy
        … 1/2 the message of EngineUnavailable
        ✖ 1/2 the message of CrashLoopBackOff (web-1)
        ✖ 1/2 the message of ImagePullFailed (web-1)
        ✖ 1/2 the message of ImageArchMismatch (web-1)
        ✖ 1/2 the message of Failed (web-1)
        ✖ 1/2 the message of InvalidSpec (web-1)
        ");
    }

    #[test]
    fn without_a_message_the_state_is_said_in_plain_words() {
        let words = |reason| shown(&of_service(Some(&service("2/2", reason, "", 2)), &[]));
        assert_eq!(words(Reason::Ready), "✔ 2/2 running");
        assert_eq!(words(Reason::Completed), "✔ 2/2 completed");
        assert_eq!(words(Reason::Suspended), "✔ 2/2 stopped, as declared");
        assert_eq!(words(Reason::Progressing), "… 2/2 is not there yet");
    }

    #[test]
    fn what_is_said_of_an_older_generation_is_no_answer() {
        for reason in [Reason::Ready, Reason::InvalidSpec] {
            assert_eq!(
                shown(&of_service(Some(&service("2/2", reason, "old", 1)), &[])),
                "… 2/2 waits to be looked at"
            );
        }
    }

    #[test]
    fn what_an_instance_of_an_older_declaration_failed_at_is_no_answer() {
        let of = service("1/2", Reason::ImagePullFailed, "denied", 2);
        let mut old = instance(Reason::ImagePullFailed, "denied", 0);
        old.spec.revision = "older".to_owned();
        assert_eq!(shown(&of_service(Some(&of), &[&old])), "… 1/2 denied");
    }

    #[test]
    fn two_crashes_are_waited_out_and_a_third_is_an_answer() {
        let of = service("0/2", Reason::CrashLoopBackOff, "exited with 1", 2);
        assert_eq!(
            shown(&of_service(
                Some(&of),
                &[&instance(Reason::CrashLoopBackOff, "", 2)]
            )),
            "… 0/2 exited with 1"
        );
        assert_eq!(
            shown(&of_service(
                Some(&of),
                &[&instance(Reason::CrashLoopBackOff, "", 3)]
            )),
            "✖ 0/2 exited with 1 (web-1)"
        );
    }

    #[test]
    fn what_is_gone_or_going_has_failed() {
        let mut going = service("2/2", Reason::Ready, "", 2);
        going.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                "2026-01-01T00:00:00Z".parse().unwrap(),
            ));
        assert_eq!(
            shown(&of_service(Some(&going), &[])),
            "✖ 2/2 is being deleted (no instance)"
        );
        assert_eq!(
            shown(&of_service(None, &[])),
            "✖  was deleted meanwhile (no instance)"
        );
        assert_eq!(
            shown(&of_group(None)),
            "✖  was deleted meanwhile (no instance)"
        );
    }

    #[test]
    fn on_the_way_the_instance_that_is_not_ready_is_asked_what_it_does() {
        let of = service("1/2", Reason::Progressing, "1 of 2 instances are ready", 2);
        let pulling = instance(
            Reason::Progressing,
            "pulling image shop/web:2: 3 of 8 MB",
            0,
        );
        assert_eq!(
            shown(&of_service(Some(&of), &[&pulling])),
            "… 1/2 web-1: pulling image shop/web:2: 3 of 8 MB"
        );
        assert_eq!(
            shown(&of_service(
                Some(&of),
                &[&instance(Reason::Ready, "running", 0)]
            )),
            "… 1/2 is on its way"
        );
    }

    #[test]
    fn a_group_is_waited_for_like_its_services() {
        assert_eq!(
            shown(&of_group(Some(&group(Reason::Ready, "")))),
            "✔ 1/2 running"
        );
        assert_eq!(
            shown(&of_group(Some(&group(
                Reason::Progressing,
                "db is starting"
            )))),
            "… 1/2 db is starting"
        );
        assert_eq!(
            shown(&of_group(Some(&group(Reason::Failed, "db failed")))),
            "✖ 1/2 db failed (no instance)"
        );
    }
}
