//! How carrying out a plan ended, and what follows from that about its steps. What is said of it is in `status`.

use crate::action::{Action, EngineAction, Plan, Target};
use crate::instance::InstancePlan;
use crate::observed::{ContainerState, EngineView};

/// What a message says before it names who holds a host port of which the engine says that it is taken.
pub const HELD_BY: &str = " is in use by ";

/// How carrying out a plan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every step was done; also when there was none.
    AllDone,
    /// A step failed; those that come after it were not tried.
    Failed {
        /// The step's index in the plan.
        step: usize,
        /// Why.
        failure: Failure,
    },
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which kind of failure.
    pub kind: FailureKind,
    /// The words of whoever refused it, for users.
    pub message: String,
}

/// The kinds of failure, by what to do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The image cannot be pulled.
    ImagePull {
        /// Whether trying again without a change may help.
        transient: bool,
    },
    /// The image is not for the host's platform.
    ImageArch,
    /// A host port is taken; the message says by whom when that is known.
    PortTaken,
    /// A container with the wanted name exists.
    NameTaken,
    /// The engine has no addresses for another network.
    NoAddresses,
    /// Whether the call took effect is unknown.
    EngineUnknown,
    /// The engine refuses it and will again.
    Refused,
    /// The engine failed at it, or what it is about does not exist any more.
    Failed,
    /// The API answered that somebody else was faster.
    ApiConflict,
    /// The API refused it or could not be reached.
    Api,
}

/// Whether a step failed only because somebody else removed its container meanwhile. That is nobody's fault: planning again makes a
/// new one. `after` is what the engine showed once the plan was carried out.
pub fn was_overtaken(planned: &InstancePlan, outcome: &Outcome, after: &EngineView) -> bool {
    let (Outcome::Failed { step, failure }, EngineView::Known(observed)) = (outcome, after) else {
        return false;
    };
    let refused = matches!(failure.kind, FailureKind::Failed | FailureKind::Refused);
    let container = planned
        .plan
        .steps
        .get(*step)
        .and_then(|step| existing(&step.action));
    refused
        && container.is_some_and(|id| {
            observed
                .containers
                .get(id)
                .is_none_or(|container| container.state == ContainerState::Removing)
        })
}

/// Whether the plan removed this container for certain.
pub(crate) fn was_removed_by_us(id: &str, planned: &InstancePlan, outcome: &Outcome) -> bool {
    let removed = position(
        &planned.plan,
        |action| matches!(action, EngineAction::RemoveContainer { container: Target::Existing { id: removed, .. } } if removed == id),
    );
    removed.is_some_and(|removed| is_done(removed, outcome))
}

/// The container that was there before the plan and was started by it.
pub(crate) fn started_by_us<'p>(planned: &'p InstancePlan, outcome: &Outcome) -> Option<&'p str> {
    let steps = planned.plan.steps.iter().enumerate();
    steps
        .filter(|(index, _)| is_done(*index, outcome))
        .find_map(|(_, step)| match &step.action {
            action @ Action::Engine(EngineAction::StartContainer { .. }) => existing(action),
            Action::Engine(_) | Action::Api(_) => None,
        })
}

/// Steps before the first failed one were done: what they come after was, too.
pub(crate) fn is_done(step: usize, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::AllDone => true,
        Outcome::Failed { step: failed, .. } => step < *failed,
    }
}

/// The existing container that an action is about.
fn existing(action: &Action) -> Option<&str> {
    match action {
        Action::Engine(
            EngineAction::StartContainer { container }
            | EngineAction::StopContainer { container, .. }
            | EngineAction::UnpauseContainer { container }
            | EngineAction::RemoveContainer { container },
        ) => match container {
            Target::Existing { id, .. } => Some(id),
            Target::MadeBy { .. } => None,
        },
        Action::Engine(
            EngineAction::PullImage { .. }
            | EngineAction::CreateNetwork(_)
            | EngineAction::RemoveNetwork { .. }
            | EngineAction::CreateVolume(_)
            | EngineAction::CreateContainer(_),
        )
        | Action::Api(_) => None,
    }
}

/// The first step that is such a call to the engine.
pub(crate) fn position(plan: &Plan, is: impl Fn(&EngineAction) -> bool) -> Option<usize> {
    plan.steps
        .iter()
        .position(|step| matches!(&step.action, Action::Engine(action) if is(action)))
}
