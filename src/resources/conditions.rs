//! Conditions in kstatus form: `Ready`, `Reconciling`, `Stalled`, each with a reason from one list. Deciding which holds is planning
//! and is not here.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What stands between a message and the last lines of a container's output, when it has them.
pub const LAST_LINES: &str = "; last lines: ";

/// A message without a container's last lines, for whoever has little room or shows them in another way.
pub fn without_last_lines(message: &str) -> &str {
    message
        .split_once(LAST_LINES)
        .map_or(message, |(sentence, _)| sentence)
}

/// Why something is or is not ready: the words users see in tables and waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// As declared.
    Ready,
    /// On the way.
    Progressing,
    /// Declared as stopped.
    Suspended,
    /// Ran to completion.
    Completed,
    /// The image could not be pulled; the message has the registry's words.
    ImagePullFailed,
    /// The image is not for this host's architecture.
    ImageArchMismatch,
    /// A host port is held by somebody else.
    PortConflict,
    /// A container with the wanted name exists and is not ours.
    NameConflict,
    /// The container ends again and again.
    CrashLoopBackOff,
    /// The container ended with a failure and is not to be started again.
    Failed,
    /// The container could not be made or started; the message has the engine's words.
    ContainerFailed,
    /// The health check fails.
    Unhealthy,
    /// Something it depends on is not there yet.
    DependencyNotReady,
    /// A Secret or `ConfigMap`, or a key of one, does not exist.
    ConfigMissing,
    /// The engine cannot be asked; nothing is changed meanwhile.
    EngineUnavailable,
    /// The declaration is wrong; the last good one keeps running.
    InvalidSpec,
    /// The object is being deleted.
    Terminating,
}

impl Reason {
    /// The word in `condition.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Progressing => "Progressing",
            Self::Suspended => "Suspended",
            Self::Completed => "Completed",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::ImageArchMismatch => "ImageArchMismatch",
            Self::PortConflict => "PortConflict",
            Self::NameConflict => "NameConflict",
            Self::CrashLoopBackOff => "CrashLoopBackOff",
            Self::Failed => "Failed",
            Self::ContainerFailed => "ContainerFailed",
            Self::Unhealthy => "Unhealthy",
            Self::DependencyNotReady => "DependencyNotReady",
            Self::ConfigMissing => "ConfigMissing",
            Self::EngineUnavailable => "EngineUnavailable",
            Self::InvalidSpec => "InvalidSpec",
            Self::Terminating => "Terminating",
        }
    }

    /// How kstatus is to read it.
    pub fn outlook(self) -> Outlook {
        match self {
            Self::Ready | Self::Completed | Self::Suspended => Outlook::Ready,
            Self::Progressing
            | Self::DependencyNotReady
            | Self::ConfigMissing
            | Self::CrashLoopBackOff
            | Self::Unhealthy
            | Self::EngineUnavailable
            | Self::PortConflict
            | Self::NameConflict
            | Self::ContainerFailed
            | Self::Terminating => Outlook::Reconciling,
            Self::ImagePullFailed | Self::ImageArchMismatch | Self::Failed | Self::InvalidSpec => {
                Outlook::Stalled
            }
        }
    }
}

/// The three ways kstatus reads an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// As declared: nothing left to do.
    Ready,
    /// clos is at it, and may succeed without anybody's help.
    Reconciling,
    /// Somebody must change something.
    Stalled,
}

/// How something is: a reason and a sentence with names and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Why.
    pub reason: Reason,
    /// The sentence.
    pub message: String,
}

impl Summary {
    /// A summary from its two parts.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }

    /// The conditions that say this. `previous` are the object's conditions so far: a condition whose status stays keeps the time of
    /// its last transition, so that an unchanged summary makes unchanged conditions.
    pub fn conditions(
        &self,
        generation: Option<i64>,
        previous: &[Condition],
        now: jiff::Timestamp,
    ) -> Vec<Condition> {
        let outlook = self.reason.outlook();
        let is = |wanted: Outlook| if outlook == wanted { "True" } else { "False" };
        let condition = |kind: &str, status: &str| {
            let since = previous
                .iter()
                .find(|before| before.type_ == kind && before.status == status)
                .map_or(Time(now), |before| before.last_transition_time.clone());
            Condition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: self.reason.as_str().to_owned(),
                message: self.message.clone(),
                observed_generation: generation,
                last_transition_time: since,
            }
        };
        let mut conditions = vec![condition("Ready", is(Outlook::Ready))];
        match outlook {
            Outlook::Ready => {}
            Outlook::Reconciling => conditions.push(condition("Reconciling", "True")),
            Outlook::Stalled => conditions.push(condition("Stalled", "True")),
        }
        conditions
    }
}

/// The `Ready` condition among an object's conditions.
pub fn ready(conditions: &[Condition]) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_unchanged_summary_makes_unchanged_conditions() {
        let summary = Summary::new(Reason::Progressing, "web-0 is starting");
        let first = summary.conditions(Some(1), &[], at(10));
        assert_eq!(summary.conditions(Some(1), &first, at(20)), first);
    }

    #[test]
    fn a_new_message_keeps_the_time_of_the_last_transition() {
        let first = Summary::new(Reason::Progressing, "a").conditions(Some(1), &[], at(10));
        let second = Summary::new(Reason::Progressing, "b").conditions(Some(1), &first, at(20));
        assert_eq!(second[0].last_transition_time, Time(at(10)));
        assert_eq!(second[0].message, "b");
    }

    #[test]
    fn ready_has_no_reconciling_and_no_stalled() {
        let conditions = Summary::new(Reason::Ready, "").conditions(None, &[], at(1));
        assert_eq!(conditions.len(), 1);
        assert_eq!(ready(&conditions).unwrap().status, "True");
    }
}
