//! The engine's events: a task that never stops reading, a queue that never grows without bound, and a watchdog, because an engine that
//! hangs shows nothing at all. What follows from an event is not here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptions;
use clos_plan::observed::ContainerState;
use clos_resources::names;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::failure::Call;
use super::{DockerEngine, inspect};
use crate::error::Error;
use crate::events::{ContainerEvent, EngineEvent, Happened};

/// Events that wait for their reader; more than these say no more than "look again".
const WAITING: usize = 1024;

/// How patient the stream is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The engine is asked whether it lives after each such time.
    pub(super) ping_every: Duration,
    /// It hangs when it does not answer within this.
    pub(super) ping_deadline: Duration,
    /// A connection is given up when the engine does not answer within this: one that was just started is slower than one that runs.
    pub(super) connect_deadline: Duration,
    /// The pause after the first failure; it doubles with each.
    pub(super) first_pause: Duration,
    /// The longest pause. A connection that held for longer starts with the shortest again.
    pub(super) longest_pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            // Whoever waits for a hung engine knows within ten seconds.
            ping_every: Duration::from_secs(3),
            ping_deadline: Duration::from_secs(3),
            connect_deadline: Duration::from_secs(10),
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
        }
    }
}

/// The events from now on. The reading task ends when the stream is dropped.
pub(super) fn follow(engine: DockerEngine, pace: Pace) -> BoxStream<'static, EngineEvent> {
    let started = async move {
        let queue = Arc::new(Queue::default());
        let mut reading = JoinSet::new();
        reading.spawn(keep_reading(engine.clone(), pace, Arc::clone(&queue)));
        stream::unfold(
            (engine, queue, reading),
            |(engine, queue, mut reading)| async move {
                loop {
                    let message = tokio::select! {
                        message = queue.pop() => message,
                        // The task has no end but a panic, which is not to be hidden from whoever owns this stream.
                        ended = reading.join_next() => match ended.and_then(Result::err) {
                            Some(failure) if failure.is_panic() => std::panic::resume_unwind(failure.into_panic()),
                            Some(_) | None => return None,
                        },
                    };
                    if let Some(event) = tell(&engine, message).await {
                        return Some((event, (engine, queue, reading)));
                    }
                }
            },
        )
    };
    stream::once(started).flatten().boxed()
}

/// What waits in the queue.
#[derive(Clone, Debug, PartialEq)]
enum Message {
    Connected,
    Lost {
        reason: String,
    },
    Overflow,
    Container(ContainerEvent),
    /// A container that is none of ours, or an image: who waits for it is told.
    Other(EngineEvent),
    /// A container was taken off a network. The engine says neither by whom nor whose container it is.
    Disconnected {
        container: String,
        at: Timestamp,
    },
}

/// Reads, and reconnects, for ever.
async fn keep_reading(engine: DockerEngine, pace: Pace, queue: Arc<Queue>) {
    let mut pause = pace.first_pause;
    loop {
        let began = Instant::now();
        let reason = read(&engine, pace, &queue).await;
        queue.push(Message::Lost {
            reason: reason.to_string(),
        });
        if began.elapsed() > pace.longest_pause {
            pause = pace.first_pause;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(pace.longest_pause);
    }
}

/// Reads until the connection is lost, and gives the reason.
async fn read(engine: &DockerEngine, pace: Pace, queue: &Queue) -> Error {
    // It may be another engine than before.
    engine.forget_version();
    let since = match engine_time(engine, pace).await {
        Ok(since) => since,
        Err(error) => return error,
    };
    let containers = match subscribe(engine, &since, &container_filters()).await {
        Ok(events) => events,
        Err(error) => return error,
    };
    let others = match subscribe(engine, &since, &other_filters()).await {
        Ok(events) => events,
        Err(error) => return error,
    };
    // From `since` on the engine repeats what happens before it takes the subscription: nothing is missed from here.
    queue.push(Message::Connected);
    let ends = |events: BoxStream<'static, Result<EventMessage, Error>>| {
        events.map(Some).chain(stream::iter([None]))
    };
    let mut events = stream::select(ends(containers), ends(others));
    loop {
        match tokio::time::timeout(pace.ping_every, events.next()).await {
            Err(_) => {
                if let Err(error) = ping(engine, pace).await {
                    return error;
                }
            }
            Ok(Some(Some(Ok(event)))) => {
                if let Some(message) = understand(event) {
                    if let Message::Container(event) = &message {
                        engine.ends.hear(event);
                    }
                    queue.push(message);
                }
            }
            Ok(Some(Some(Err(error)))) => return error,
            Ok(Some(None) | None) => {
                return Error::Interrupted {
                    call: "events".to_owned(),
                    reason: "the engine closed the stream".to_owned(),
                };
            }
        }
    }
}

async fn subscribe(
    engine: &DockerEngine,
    since: &str,
    filters: &BTreeMap<&str, Vec<&str>>,
) -> Result<BoxStream<'static, Result<EventMessage, Error>>, Error> {
    let call = Call::new("events");
    let words = |values: &Vec<&str>| values.iter().map(|value| (*value).to_owned()).collect();
    let filters = filters
        .iter()
        .map(|(key, values)| ((*key).to_owned(), words(values)))
        .collect();
    let options = EventsOptions {
        since: Some(since.to_owned()),
        until: None,
        filters: Some(filters),
    };
    let address = engine.address.clone();
    let events = engine.client(&call).await?.events(Some(options));
    Ok(events
        .map(move |event| event.map_err(|error| call.failed(&address, &error)))
        .boxed())
}

/// Health checks flood the stream with `exec_*` events: only what is asked for comes.
fn container_filters() -> BTreeMap<&'static str, Vec<&'static str>> {
    let actions = vec![
        "create",
        "start",
        "die",
        "kill",
        "stop",
        "oom",
        "destroy",
        "pause",
        "unpause",
        "update",
        "rename",
        "health_status",
    ];
    BTreeMap::from([
        ("type", vec!["container"]),
        ("event", actions),
        ("label", vec![names::LABEL_INSTALLATION]),
    ])
}

/// What happens to others and may matter to ours. Events of networks carry no labels of the container, so they are of all containers.
fn other_filters() -> BTreeMap<&'static str, Vec<&'static str>> {
    let actions = vec![
        "disconnect",
        "destroy",
        "rename",
        "pull",
        "tag",
        "import",
        "load",
    ];
    BTreeMap::from([
        ("type", vec!["network", "container", "image"]),
        ("event", actions),
    ])
}

/// The engine's clock, as its `since` takes it, and proof that it answers.
async fn engine_time(engine: &DockerEngine, pace: Pace) -> Result<String, Error> {
    let call = Call::within("info", pace.connect_deadline);
    let info = engine
        .ask(call, |client| async move { client.info().await })
        .await?;
    let time = info.system_time.unwrap_or_default();
    let now: Timestamp = time.parse().map_err(|error| {
        Error::Failed(format!(
            "the container engine says that its time is {time:?}: {error}"
        ))
    })?;
    Ok(format!(
        "{}.{:09}",
        now.as_second(),
        now.subsec_nanosecond()
    ))
}

async fn ping(engine: &DockerEngine, pace: Pace) -> Result<(), Error> {
    let call = Call::within("ping", pace.ping_deadline);
    engine
        .ask(call, |client| async move { client.ping().await })
        .await
        .map(drop)
}

/// What the reader is told of a message, if anything.
async fn tell(engine: &DockerEngine, message: Message) -> Option<EngineEvent> {
    match message {
        Message::Connected => Some(EngineEvent::Connected),
        Message::Lost { reason } => Some(EngineEvent::Lost { reason }),
        Message::Overflow => Some(EngineEvent::Overflow),
        Message::Container(event) => Some(EngineEvent::Container(event)),
        Message::Other(event) => Some(event),
        Message::Disconnected { container, at } => {
            // An engine in trouble shows in the stream itself.
            let Some(shown) = engine.inspect(&container).await.ok()? else {
                return Some(EngineEvent::Freed { id: container });
            };
            let shown = inspect::container(shown);
            let running = matches!(
                shown.state,
                ContainerState::Running { .. } | ContainerState::Paused { .. }
            );
            let Some(installation) = shown.labels.get(names::LABEL_INSTALLATION).cloned() else {
                // Its ports are free only now: its end was before.
                return Some(EngineEvent::Freed { id: shown.id });
            };
            // Every container that ends leaves its networks, too: that is told already.
            if !running {
                return None;
            }
            Some(EngineEvent::Container(of(
                installation,
                |name| shown.labels.get(name).cloned(),
                shown.id.clone(),
                Happened::Changed,
                at,
            )))
        }
    }
}

/// A message of the engine, when it is one of those that were asked for.
fn understand(event: EventMessage) -> Option<Message> {
    let actor = event.actor?;
    let attributes: BTreeMap<String, String> = actor.attributes.into_iter().flatten().collect();
    let at = event
        .time_nano
        .and_then(|nanos| Timestamp::from_nanosecond(i128::from(nanos)).ok())
        .unwrap_or_default();
    let action = event.action?;
    match event.typ? {
        EventMessageTypeEnum::CONTAINER => {
            let Some(installation) = attributes.get(names::LABEL_INSTALLATION).cloned() else {
                let gone = ["destroy", "rename"].contains(&action.as_str());
                let id = actor.id.filter(|_| gone)?;
                return Some(Message::Other(EngineEvent::Freed { id }));
            };
            let what = happened(&action, &attributes)?;
            Some(Message::Container(of(
                installation,
                |name| attributes.get(name).cloned(),
                actor.id?,
                what,
                at,
            )))
        }
        EventMessageTypeEnum::NETWORK if action == "disconnect" => Some(Message::Disconnected {
            container: attributes.get("container")?.clone(),
            at,
        }),
        EventMessageTypeEnum::IMAGE
            if ["pull", "tag", "import", "load"].contains(&action.as_str()) =>
        {
            let name = attributes.get("name").or(actor.id.as_ref()).cloned();
            // What was loaded or imported goes by its digest, whatever its names are.
            let name = name.filter(|name| !name.starts_with("sha256:"));
            Some(Message::Other(EngineEvent::Image { name }))
        }
        // Not asked for.
        _ => None,
    }
}

fn happened(action: &str, attributes: &BTreeMap<String, String>) -> Option<Happened> {
    Some(match action {
        "create" => Happened::Created,
        "start" => Happened::Started,
        "die" => Happened::Died {
            exit_code: attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok())
                .unwrap_or_default(),
        },
        "kill" => Happened::Killed {
            signal: attributes.get("signal").cloned().unwrap_or_default(),
        },
        "stop" => Happened::Stopped,
        "oom" => Happened::OutOfMemory,
        "pause" => Happened::Paused,
        "unpause" => Happened::Unpaused,
        "update" | "rename" => Happened::Changed,
        "destroy" => Happened::Destroyed,
        // With the new state after a colon.
        _ if action.starts_with("health_status") => Happened::Health,
        _ => return None,
    })
}

fn of(
    installation: String,
    label: impl Fn(&str) -> Option<String>,
    id: String,
    what: Happened,
    at: Timestamp,
) -> ContainerEvent {
    ContainerEvent {
        installation,
        instance_uid: label(names::LABEL_INSTANCE_UID).unwrap_or_default(),
        namespace: label(names::LABEL_NAMESPACE).unwrap_or_default(),
        instance: label(names::LABEL_INSTANCE).unwrap_or_default(),
        id,
        what,
        at,
    }
}

/// Messages between the task that must not wait and the reader that may be slow. Its length is bounded; what does not fit becomes one
/// [`Message::Overflow`].
#[derive(Debug, Default)]
struct Queue {
    messages: Mutex<VecDeque<Message>>,
    arrived: Notify,
}

impl Queue {
    fn push(&self, message: Message) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        match &message {
            // Nothing that waits matters any more: the reader lists everything once it is connected again.
            Message::Lost { .. } => messages.clear(),
            Message::Container(_) | Message::Disconnected { .. } if messages.len() >= WAITING => {
                messages
                    .retain(|waiting| matches!(waiting, Message::Lost { .. } | Message::Connected));
                messages.push_back(Message::Overflow);
                drop(messages);
                self.arrived.notify_one();
                return;
            }
            // Whoever waits for it looks some time anyway: it pushes nothing out.
            Message::Other(_) if messages.len() >= WAITING => return,
            Message::Container(_)
            | Message::Other(_)
            | Message::Disconnected { .. }
            | Message::Connected
            | Message::Overflow => {}
        }
        messages.push_back(message);
        drop(messages);
        self.arrived.notify_one();
    }

    async fn pop(&self) -> Message {
        loop {
            if let Some(message) = self
                .messages
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
            {
                return message;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests;
