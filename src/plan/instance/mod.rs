//! What one engine must do for one Instance: the question and the answer. How the answer is found is in `decide`, how its steps hang together in `steps`.

mod container;
mod decide;
mod obstacle;
mod past;
mod steps;

use clos_resources::conditions::{Reason, Summary};
use clos_resources::host::EngineInfo;
use clos_resources::instance::{Backoff, InstanceState};
use clos_resources::lifecycle::Dependency;
use clos_resources::{Instance, Port};
use jiff::Timestamp;

use crate::action::Plan;
use crate::desired::{Desired, Unresolved};
use crate::observed::EngineView;
use crate::restart;

/// Everything the plan for one Instance depends on.
#[derive(Clone, Copy)]
pub struct InstanceInput<'a> {
    /// The Instance, its status included.
    pub instance: &'a Instance,
    /// What it comes to, or why it comes to nothing.
    pub desired: &'a Result<Desired<'a>, Unresolved>,
    /// What the engine shows.
    pub view: &'a EngineView,
    /// All Port objects that have a claimed name or are held by this Instance.
    pub ports: &'a [Port],
    /// How the services are that it depends on.
    pub dependencies: &'a [DependencyState],
    /// The engine's platform.
    pub platform: &'a EngineInfo,
    /// The installation that containers of ours are labelled with.
    pub installation: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// How one service is that an Instance depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct DependencyState {
    /// What is asked of it.
    pub dependency: Dependency,
    /// Whether it is so.
    pub met: bool,
    /// Why not, for users; empty when met.
    pub why_not: String,
}

/// Something found not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// Which kind of drift.
    pub kind: DriftKind,
    /// What was found, for users.
    pub words: String,
}

/// The kinds of drift: a fixed set, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DriftKind {
    /// The container was removed, not by clos.
    Removed,
    /// The container ended and nobody of ours asked it to.
    Ended,
    /// The container is frozen.
    Paused,
    /// The container runs though it should not.
    Running,
    /// Limits, networks, mounts, ports or the restart policy were changed behind our back.
    Changed,
    /// There is more than one container for the Instance.
    Duplicate,
    /// Something that is not ours is in the way, or pretends to be ours.
    Foreign,
    /// A host port that it uses is not held, or held by somebody else.
    Port,
}

impl DriftKind {
    /// The label's value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Ended => "ended",
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Changed => "changed",
            Self::Duplicate => "duplicate",
            Self::Foreign => "foreign",
            Self::Port => "port",
        }
    }
}

/// What is to be done for an Instance, and how it stands before that.
#[derive(Clone, Debug, PartialEq)]
pub struct InstancePlan {
    /// What is to be done.
    pub plan: Plan,
    /// What was found not as declared.
    pub drift: Vec<Drift>,
    /// Look again then, if nothing happens before: a wait is over, or a container has run for long enough to be stable.
    pub wake_at: Option<Timestamp>,
    /// Why it stands as it does, before the plan is carried out.
    pub summary: Summary,
    /// The state in one word, before the plan is carried out.
    pub state: InstanceState,
    /// The faults so far, those seen now included.
    pub backoff: Option<Backoff>,
    /// Starts after the first that the plan makes.
    pub restarts_added: u32,
    /// Whose last lines belong into the message and were not read yet: it ended by a fault that is new.
    pub unheard: Option<Unheard>,
    /// Host ports of which it should be asked who holds them: somebody held one at the last try, and it may be free before the next.
    pub held: Vec<u16>,
    /// Whether the Instance is being deleted and nothing of it is left, neither container nor port: its finalizer can go.
    pub gone: bool,
}

/// A container whose last lines are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unheard {
    /// Its id.
    pub container: String,
    /// What it wrote before belongs to an earlier run.
    pub since: Option<Timestamp>,
}

/// What must be done for an Instance.
pub fn plan(input: &InstanceInput<'_>) -> InstancePlan {
    match input.view {
        EngineView::Unknown { since, reason } => unknown(input, *since, reason),
        EngineView::Known(observed) => decide::Draft::new(*input, observed).decide(),
    }
}

/// How an Instance stands while the engine's state is unknown.
pub fn engine_unknown(since: Timestamp, reason: &str) -> (InstanceState, Summary) {
    let message = format!(
        "{reason}, since {}; nothing is changed meanwhile",
        restart::time_of_day(since)
    );
    (
        InstanceState::Unknown,
        Summary::new(Reason::EngineUnavailable, message),
    )
}

/// Unknown is not dead: nothing is done, whatever was declared meanwhile.
fn unknown(input: &InstanceInput<'_>, since: Timestamp, reason: &str) -> InstancePlan {
    let (state, summary) = engine_unknown(since, reason);
    InstancePlan {
        plan: Plan::default(),
        drift: Vec::new(),
        wake_at: None,
        summary,
        state,
        backoff: input
            .instance
            .status
            .as_ref()
            .and_then(|status| status.backoff.clone()),
        restarts_added: 0,
        unheard: None,
        held: Vec::new(),
        gone: false,
    }
}
