//! An engine in memory for tests. It obeys the rules of the real one (events and their order, clashes of names and ports, half-done
//! starts) and fails on demand. Nothing here is random, and nothing waits for a time but a hung call for its deadline.
//!
//! In reading order: `program` is what images do; `world` is how containers live; `faults` is what goes wrong; `builder` is what an engine
//! starts with, `knobs` what a test does to it; here is who asks: the trait.

mod builder;
mod faults;
mod knobs;
mod program;
#[cfg(test)]
mod tests;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clos_plan::action::{EngineAction, Target};
use clos_plan::observed::{ContainerState, Network, Observed};
use clos_resources::host::{Capacity, EngineInfo};
use clos_resources::names;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::sync::{mpsc, watch};

pub use self::builder::Builder;
pub use self::faults::Call;
use self::faults::{Answer, EventFaults, Faults};
pub use self::program::{FakeImage, Program};
use self::world::World;
use crate::engine::{Done, Engine, Info, Listed, Progress, Scope};
use crate::error::Error;
use crate::events::EngineEvent;
use crate::logs::{LogLine, LogOptions};

const ADDRESS: &str = "fake://";

/// The engine in memory. Clones are the same engine.
#[derive(Clone)]
pub struct FakeEngine {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts changes of the state, so that tests and held calls wait for conditions.
    changes: watch::Sender<u64>,
    deadline: Duration,
}

struct State {
    world: World,
    faults: Faults,
    event_faults: EventFaults,
    subscribers: Vec<mpsc::UnboundedSender<EngineEvent>>,
    calls: Vec<String>,
    mutations: Vec<String>,
}

impl FakeEngine {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, sends the events it brought, wakes who waits.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = {
            let mut state = self.lock();
            let result = change(&mut state);
            let happened = std::mem::take(&mut state.world.outbox);
            // What happens while nobody can be connected is never told.
            let connected = !state.faults.away && !state.faults.hung;
            let events = if connected {
                state.event_faults.pass(happened)
            } else {
                Vec::new()
            };
            state.send(&events);
            result
        };
        self.shared.changes.send_modify(|changes| *changes += 1);
        result
    }

    /// What every call goes through before it does anything.
    async fn enter(&self, call: Call, text: &str, mutates: bool) -> Result<Answer, Error> {
        self.change(|state| {
            state.calls.push(text.to_owned());
            if mutates {
                state.mutations.push(text.to_owned());
            }
        });
        let mut changes = self.shared.changes.subscribe();
        let held = async {
            while self.lock().faults.holds(call) {
                // The sender lives in `self`.
                if changes.changed().await.is_err() {
                    break;
                }
            }
        };
        if self.lock().faults.hung {
            let after = self.shared.deadline;
            if tokio::time::timeout(after, held).await.is_err() {
                return Err(Error::Deadline {
                    call: text.to_owned(),
                    after,
                });
            }
        } else {
            held.await;
        }
        let mut state = self.lock();
        if state.faults.away {
            return Err(Error::Unreachable {
                address: ADDRESS.to_owned(),
                reason: "connection refused".to_owned(),
            });
        }
        state.faults.take(call)
    }

    async fn read<T>(
        &self,
        call: Call,
        text: &str,
        read: impl FnOnce(&mut State) -> T,
    ) -> Result<T, Error> {
        let answer = self.enter(call, text, false).await?;
        let value = read(&mut self.lock());
        given(answer, text, value)
    }

    async fn mutate(
        &self,
        action: &EngineAction,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, Error> {
        let text = action.to_string();
        let answer = self.enter(call(action), &text, true).await?;
        if matches!(action, EngineAction::PullImage { .. }) {
            progress(Progress {
                current: 0,
                total: 1000,
            });
        }
        let done = self.change(|state| carry_out(&mut state.world, action))?;
        if matches!(action, EngineAction::PullImage { .. }) {
            progress(Progress {
                current: 1000,
                total: 1000,
            });
        }
        given(answer, &text, done)
    }

    /// The next line at or after an index, when there will be one.
    async fn line(
        &self,
        id: String,
        index: usize,
        follow: bool,
    ) -> Option<(Result<LogLine, Error>, usize)> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            {
                let state = self.lock();
                let container = state.world.containers.get(&id)?;
                if let Some(line) = container.logs.get(index) {
                    return Some((Ok(line.clone()), index + 1));
                }
                let running = matches!(
                    container.shown.state,
                    ContainerState::Running { .. } | ContainerState::Paused { .. }
                );
                if !follow || !running {
                    return None;
                }
            }
            changes.changed().await.ok()?;
        }
    }
}

impl Engine for FakeEngine {
    fn info(&self) -> BoxFuture<'_, Result<Info, Error>> {
        Box::pin(self.read(Call::Info, "info", |_| Info {
            engine: EngineInfo {
                name: "Docker".to_owned(),
                version: "28.5.2".to_owned(),
                api_version: "1.51".to_owned(),
                architecture: "amd64".to_owned(),
                operating_system: "linux".to_owned(),
            },
            capacity: Capacity {
                cpu: "2".parse().expect("a quantity"),
                memory: "4Gi".parse().expect("a quantity"),
            },
            hostname: "fake".to_owned(),
        }))
    }

    fn observe<'a>(&'a self, scope: &'a Scope) -> BoxFuture<'a, Result<Observed, Error>> {
        Box::pin(async move {
            let text = format!("observe {}", scope.container_name);
            self.read(Call::Observe, &text, |state| state.world.observe(scope))
                .await
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Listed>, Error>> {
        Box::pin(self.read(Call::List, "list", |state| state.world.list()))
    }

    fn execute<'a>(
        &'a self,
        action: &'a EngineAction,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Done, Error>> {
        Box::pin(self.mutate(action, progress))
    }

    fn events(&self) -> BoxStream<'static, EngineEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.lock();
        if state.faults.away || state.faults.hung {
            let lost = EngineEvent::Lost {
                reason: state.why_lost(),
            };
            // The receiver is at hand, below.
            let _ = sender.send(lost);
        } else {
            let _ = sender.send(EngineEvent::Connected);
        }
        state.subscribers.push(sender);
        drop(state);
        let engine = self.clone();
        // The stream holds the engine, so that it does not end before its reader does.
        stream::unfold((receiver, engine), |(mut receiver, engine)| async move {
            let event = receiver.recv().await?;
            Some((event, (receiver, engine)))
        })
        .boxed()
    }

    fn logs(
        &self,
        container: &str,
        options: LogOptions,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        let engine = self.clone();
        let id = container.to_owned();
        let lines = async move {
            let text = format!("logs {id}");
            let known = engine
                .read(Call::Logs, &text, |state| {
                    state
                        .world
                        .containers
                        .get(&id)
                        .map(|found| found.logs.clone())
                })
                .await;
            match known {
                Err(error) => stream::iter([Err(error)]).boxed(),
                Ok(None) => {
                    stream::iter([Err(Error::NotFound(format!("No such container: {id}")))]).boxed()
                }
                Ok(Some(logs)) => {
                    let after = |line: &LogLine| {
                        options
                            .since
                            .is_none_or(|since| line.at.is_some_and(|at| at > since))
                    };
                    let since = logs.iter().position(after).unwrap_or(logs.len());
                    let tail = options
                        .tail
                        .map_or(0, |tail| logs.len().saturating_sub(tail as usize));
                    stream::unfold(since.max(tail), move |index| {
                        let (engine, id) = (engine.clone(), id.clone());
                        async move { engine.line(id, index, options.follow).await }
                    })
                    .boxed()
                }
            }
        };
        stream::once(lines).flatten().boxed()
    }

    fn networks(&self) -> BoxFuture<'_, Result<Vec<Network>, Error>> {
        Box::pin(self.read(Call::Networks, "networks", |state| {
            let ours = |network: &&Network| network.labels.contains_key(names::LABEL_INSTALLATION);
            state.world.networks.iter().filter(ours).cloned().collect()
        }))
    }

    fn publishers(&self, port: u16) -> BoxFuture<'_, Result<Vec<String>, Error>> {
        Box::pin(async move {
            let text = format!("publishers {port}");
            self.read(Call::Publishers, &text, |state| {
                state.world.publishers(port)
            })
            .await
        })
    }
}

impl State {
    fn send(&mut self, events: &[EngineEvent]) {
        self.subscribers.retain(|subscriber| {
            events
                .iter()
                .all(|event| subscriber.send(event.clone()).is_ok())
        });
    }

    fn why_lost(&self) -> String {
        if self.faults.away {
            format!("cannot reach a container engine at {ADDRESS}: connection refused")
        } else {
            "the container engine does not answer".to_owned()
        }
    }
}

fn given<T>(answer: Answer, text: &str, value: T) -> Result<T, Error> {
    match answer {
        Answer::Given => Ok(value),
        Answer::Lost => Err(Error::Interrupted {
            call: text.to_owned(),
            reason: "connection closed before message completed".to_owned(),
        }),
    }
}

fn carry_out(world: &mut World, action: &EngineAction) -> Result<Done, Error> {
    match action {
        EngineAction::PullImage { image } => world.pull(image)?,
        EngineAction::CreateNetwork(options) => world.create_network(options)?,
        EngineAction::RemoveNetwork { id, .. } => world.remove_network(id)?,
        EngineAction::CreateVolume(options) => world.create_volume(options),
        EngineAction::CreateContainer(options) => {
            return world.create(options).map(Done::Container);
        }
        EngineAction::StartContainer { container } => world.start(existing(container)?)?,
        EngineAction::StopContainer { container, grace } => {
            world.stop(existing(container)?, *grace);
        }
        EngineAction::UnpauseContainer { container } => world.unpause(existing(container)?)?,
        EngineAction::RemoveContainer { container } => world.remove(existing(container)?, false)?,
    }
    Ok(Done::Nothing)
}

fn existing(target: &Target) -> Result<&str, Error> {
    match target {
        Target::Existing { id, .. } => Ok(id),
        Target::MadeBy { name, .. } => {
            Err(Error::Refused(format!("container {name} was not made yet")))
        }
    }
}

fn call(action: &EngineAction) -> Call {
    match action {
        EngineAction::PullImage { .. } => Call::Pull,
        EngineAction::CreateNetwork(_) => Call::CreateNetwork,
        EngineAction::RemoveNetwork { .. } => Call::RemoveNetwork,
        EngineAction::CreateVolume(_) => Call::CreateVolume,
        EngineAction::CreateContainer(_) => Call::CreateContainer,
        EngineAction::StartContainer { .. } => Call::StartContainer,
        EngineAction::StopContainer { .. } => Call::StopContainer,
        EngineAction::UnpauseContainer { .. } => Call::UnpauseContainer,
        EngineAction::RemoveContainer { .. } => Call::RemoveContainer,
    }
}
