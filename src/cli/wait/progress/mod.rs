//! How far an applied object is: waited for, as declared, or failed for good. A pure function of the objects; watching them is not here.

use clos_plan::service::revision;
use clos_resources::conditions::{Reason, ready, without_last_lines};
use clos_resources::{Group, Instance, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};

/// So many faults in a row are an answer: the next start will most likely end as these did.
const FAULTS_THAT_SETTLE_IT: u32 = 3;

/// What an engine says when the program that a container shall run is not there or cannot be run: the next start will end the same way.
const NO_PROGRAM: [&str; 5] = [
    "executable file not found",
    "exec format error",
    "no such file or directory",
    "not a directory",
    "permission denied",
];

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
        /// What speaks for it to stay so.
        proof: Proof,
    },
    /// It will not become as declared unless somebody changes something.
    Failed {
        /// The condition's message.
        words: String,
        /// The Instance that failed, when it is one.
        instance: Option<String>,
    },
}

/// What speaks for an object that is as declared to stay so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing is left that could end.
    Final,
    /// It runs, and has not failed.
    Runs,
    /// It runs, and has failed not long ago.
    RunsAgain,
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
        Err(mut standing) => {
            if let Progress::Done { proof, .. } = &mut standing.progress
                && *proof == Proof::Runs
                && instances.iter().any(|instance| faults(instance) > 0)
            {
                *proof = Proof::RunsAgain;
            }
            return standing;
        }
    };
    // What an Instance of an older declaration failed at is no answer to this one.
    let newest = revision(service);
    let failed = instances
        .iter()
        .find(|instance| instance.spec.revision == newest && has_failed(instance));
    let name = failed.and_then(|instance| instance.metadata.name.clone());
    let stalled = is_true(&status.conditions, "Stalled");
    let does_not_run = [Reason::CrashLoopBackOff, Reason::ContainerFailed]
        .iter()
        .any(|reason| condition.reason == reason.as_str());
    let invalid = stalled && condition.reason == Reason::InvalidSpec.as_str();
    if invalid || (failed.is_some() && (stalled || does_not_run)) {
        // Whoever tells of the failure shows the last lines, more of them, below it.
        return Standing::failed(&counts, without_last_lines(&condition.message), name);
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
        without_last_lines(&condition.message)
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
    let (words, proof) = if condition.reason == Reason::Completed.as_str() {
        (words(condition, "completed"), Proof::Final)
    } else if condition.reason == Reason::Suspended.as_str() {
        (words(condition, "stopped, as declared"), Proof::Final)
    } else {
        // Its message has the counts, which stand beside it.
        ("running".to_owned(), Proof::Runs)
    };
    Err(Standing {
        ready: counts.to_owned(),
        progress: Progress::Done { words, proof },
    })
}

/// Whether an Instance will not go on by itself, or has failed often enough, by a status that speaks of its present spec. Faults count
/// when the container that had them was made for that spec.
fn has_failed(instance: &Instance) -> bool {
    let Some(status) = &instance.status else {
        return false;
    };
    let current = instance.metadata.generation.is_none_or(|generation| {
        status
            .observed_generation
            .is_some_and(|seen| seen >= generation)
    });
    let faults = faults(instance);
    let own_fault = status.revision.as_ref() == Some(&instance.spec.revision)
        && ready(&status.conditions).is_some_and(|ready| {
            (ready.reason == Reason::CrashLoopBackOff.as_str() && faults >= FAULTS_THAT_SETTLE_IT)
                || (ready.reason == Reason::ContainerFailed.as_str() && has_no_program(ready))
        });
    current && (own_fault || is_true(&status.conditions, "Stalled"))
}

/// Its faults in a row.
fn faults(instance: &Instance) -> u32 {
    let backoff = instance
        .status
        .as_ref()
        .and_then(|status| status.backoff.as_ref());
    backoff.map_or(0, |backoff| backoff.faults)
}

fn has_no_program(condition: &Condition) -> bool {
    let words = condition.message.to_lowercase();
    NO_PROGRAM.iter().any(|said| words.contains(said))
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
        without_last_lines(&condition.message).to_owned()
    }
}

#[cfg(test)]
pub(crate) mod tests;
