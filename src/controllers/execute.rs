//! Carrying out a plan: its steps as a graph of single calls, side by side where the plan allows it. What failed is answered, what
//! comes after it is not tried, and nothing is chosen here.

use std::sync::Arc;

use clos_engine::engine::{Done, Progress};
use clos_engine::{Engine, Error};
use clos_plan::action::{Action, EngineAction, Plan, Target};
use clos_plan::status::{Failure, FailureKind, HELD_BY, Outcome};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::api_call::ApiCalls;
use crate::gate::Gate;

/// Whoever can carry out plans.
#[derive(Clone)]
pub(crate) struct Executor {
    /// The engine, behind its bounds.
    pub(crate) engine: Arc<dyn Engine>,
    /// What is known of it.
    pub(crate) gate: Arc<Gate>,
    /// The API.
    pub(crate) api: ApiCalls,
    /// No step begins after this.
    pub(crate) stop: CancellationToken,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// How a plan was carried out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Executed {
    /// How it ended: the failure of the first failed step, if one failed.
    pub(crate) outcome: Outcome,
    /// Indices of the steps that were done, in order.
    pub(crate) done: Vec<usize>,
    /// The id of the container that a step made, if one did.
    pub(crate) made: Option<String>,
    /// Whether steps were left out because everything stops or the engine became unknown.
    pub(crate) interrupted: bool,
}

enum State {
    Waiting,
    Running,
    Done(Done),
    Failed(Failure),
}

impl Executor {
    /// Carries out a plan. `progress` is told of pulls, with the step's index.
    pub(crate) async fn execute(
        &self,
        plan: &Plan,
        progress: &(dyn Fn(usize, Progress) + Send + Sync),
    ) -> Executed {
        let mut states: Vec<State> = plan.steps.iter().map(|_| State::Waiting).collect();
        let mut calls = FuturesUnordered::new();
        let mut interrupted = false;
        loop {
            for index in 0..states.len() {
                if !ready(plan, &states, index) {
                    continue;
                }
                let action = &plan.steps[index].action;
                if self.stop.is_cancelled()
                    || (matches!(action, Action::Engine(_)) && !self.gate.is_open())
                {
                    interrupted = true;
                    continue;
                }
                let action = with_target(action, &states);
                states[index] = State::Running;
                calls.push(async move {
                    (
                        index,
                        self.call(&action, &|told| progress(index, told)).await,
                    )
                });
            }
            let Some((index, answer)) = calls.next().await else {
                break;
            };
            states[index] = match answer {
                Ok(done) => State::Done(done),
                Err(failure) => State::Failed(failure),
            };
        }
        let done: Vec<usize> = (0..states.len())
            .filter(|&index| matches!(states[index], State::Done(_)))
            .collect();
        let made = states.iter().find_map(|state| match state {
            State::Done(Done::Container(id)) => Some(id.clone()),
            State::Waiting | State::Running | State::Done(Done::Nothing) | State::Failed(_) => None,
        });
        let first = states
            .into_iter()
            .enumerate()
            .find_map(|(step, state)| match state {
                State::Failed(failure) => Some(Outcome::Failed { step, failure }),
                State::Waiting | State::Running | State::Done(_) => None,
            });
        let outcome = match (first, interrupted) {
            (Some(failed), _) => failed,
            (None, false) => Outcome::AllDone,
            (None, true) => {
                let step = first_undone(plan, &done);
                Outcome::Failed {
                    step,
                    failure: self.interruption(),
                }
            }
        };
        Executed {
            outcome,
            done,
            made,
            interrupted,
        }
    }

    async fn call(
        &self,
        action: &Action,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, Failure> {
        #[cfg(feature = "failpoints")]
        clos_failpoints::before(&action.to_string());
        let answer = match action {
            Action::Api(action) => self.api.call(action).await.map(|()| Done::Nothing),
            Action::Engine(action) => match self.engine_call(action, progress).await {
                Ok(done) => Ok(done),
                Err(error) => Err(self.failure(error).await),
            },
        };
        #[cfg(feature = "failpoints")]
        clos_failpoints::after(&action.to_string());
        answer
    }

    async fn engine_call(
        &self,
        action: &EngineAction,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, Error> {
        let call = self.engine.execute(action, progress);
        match action {
            // Giving up waiting for these harms nothing and may save minutes; the engine goes on with what was asked.
            EngineAction::PullImage { .. } | EngineAction::StopContainer { .. } => {
                tokio::select! {
                    answer = call => answer,
                    () = self.stop.cancelled() => {
                        Err(Error::Interrupted { call: action.to_string(), reason: "clos is stopping".to_owned() })
                    }
                }
            }
            EngineAction::CreateNetwork(_)
            | EngineAction::RemoveNetwork { .. }
            | EngineAction::CreateVolume(_)
            | EngineAction::CreateContainer(_)
            | EngineAction::StartContainer { .. }
            | EngineAction::UnpauseContainer { .. }
            | EngineAction::RemoveContainer { .. } => call.await,
        }
    }

    /// What an engine's error means for whoever asked. From one that says nothing about the effect on, the engine is unknown.
    async fn failure(&self, error: Error) -> Failure {
        if error.leaves_unknown() && !self.stop.is_cancelled() {
            self.gate.doubt((self.clock)(), &error.to_string());
        }
        let message = error.to_string();
        let kind = match error {
            Error::Unreachable { .. } | Error::Deadline { .. } | Error::Interrupted { .. } => {
                FailureKind::EngineUnknown
            }
            Error::Pull { .. } | Error::Refused(_) if wrong_platform(&message) => {
                FailureKind::ImageArch
            }
            Error::Pull { transient, .. } => FailureKind::ImagePull { transient },
            Error::NameTaken(_) => FailureKind::NameTaken,
            Error::NoAddresses => FailureKind::NoAddresses,
            Error::PortTaken { port, .. } => return self.port_taken(message, port).await,
            Error::Refused(_) | Error::TooOld { .. } | Error::TooNew { .. } => FailureKind::Refused,
            Error::NotFound(_) | Error::Failed(_) => FailureKind::Failed,
        };
        Failure { kind, message }
    }

    /// Names who publishes the port, when the engine knows.
    async fn port_taken(&self, message: String, port: Option<u16>) -> Failure {
        let which = port.map_or_else(
            || "a host port".to_owned(),
            |port| format!("host port {port}"),
        );
        let holders = match port {
            Some(port) => self.engine.publishers(port).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let what = match holders.as_slice() {
            [] => format!("{which} is in use; stop the program that listens there"),
            holders => format!("{which}{HELD_BY}{}; stop that", holders.join(", ")),
        };
        Failure {
            kind: FailureKind::PortTaken,
            message: format!("{what}, or choose another hostPort (the engine said: {message})"),
        }
    }

    fn interruption(&self) -> Failure {
        let message = if self.stop.is_cancelled() {
            "clos is stopping; the rest is done after its next start"
        } else {
            "the container engine's state became unknown; the rest is done when it answers again"
        };
        Failure {
            kind: FailureKind::EngineUnknown,
            message: message.to_owned(),
        }
    }
}

fn ready(plan: &Plan, states: &[State], index: usize) -> bool {
    matches!(states[index], State::Waiting)
        && plan.steps[index]
            .after
            .iter()
            .all(|&before| matches!(states[before], State::Done(_)))
}

fn first_undone(plan: &Plan, done: &[usize]) -> usize {
    (0..plan.steps.len())
        .find(|index| !done.contains(index))
        .unwrap_or_default()
}

/// The action with the id of the container that an earlier step made.
fn with_target(action: &Action, states: &[State]) -> Action {
    let mut action = action.clone();
    let target = match &mut action {
        Action::Engine(
            EngineAction::StartContainer { container }
            | EngineAction::StopContainer { container, .. }
            | EngineAction::UnpauseContainer { container }
            | EngineAction::RemoveContainer { container },
        ) => container,
        Action::Engine(
            EngineAction::PullImage { .. }
            | EngineAction::CreateNetwork(_)
            | EngineAction::RemoveNetwork { .. }
            | EngineAction::CreateVolume(_)
            | EngineAction::CreateContainer(_),
        )
        | Action::Api(_) => return action,
    };
    if let Target::MadeBy { step, name } = target
        && let Some(State::Done(Done::Container(id))) = states.get(*step)
    {
        *target = Target::Existing {
            id: id.clone(),
            name: name.clone(),
        };
    }
    action
}

/// The engine has no code of its own for an image of another platform.
fn wrong_platform(message: &str) -> bool {
    message.contains("exec format error")
        || message.contains("does not match the specified platform")
        || message.contains("no matching manifest for ")
}
