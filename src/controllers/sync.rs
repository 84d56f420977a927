//! Staying in step with the engine: its events wake Instances, a full list once in a while and after every gap finds what no event told,
//! and doubts about the engine's state are settled here. It only wakes; what is to be done is decided by the agent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_engine::engine::{Info, Listed};
use clos_engine::events::{ContainerEvent, EngineEvent, Happened};
use clos_engine::{Engine, Error};
use clos_resources::Instance;
use clos_telemetry::Metrics;
use futures::StreamExt;
use futures::future::{BoxFuture, OptionFuture};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant as Moment;
use tokio_util::sync::CancellationToken;

use crate::gate::{Doubts, EngineState, Gate, Steps};
use crate::instance::memory::Memory;
use crate::sweep::Sweeper;
use crate::wake::Waker;

/// The pauses between looks at an engine that does not answer.
const RETRY: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// A connection that held for so long is a good one.
const STEADY: Duration = Duration::from_secs(5);

/// After so many connections in a row that did not hold, the events are given up and lists take their place.
const HOPE: u32 = 3;

/// The engine's events ended, which they never do.
#[derive(Debug, thiserror::Error)]
#[error("the container engine's event stream ended")]
pub(crate) struct EventsEnded;

/// What staying in step needs.
pub(crate) struct EngineSync {
    /// The engine, behind its bounds.
    pub(crate) engine: Arc<dyn Engine>,
    /// What is known of it.
    pub(crate) gate: Arc<Gate>,
    /// When what happened is remembered here.
    pub(crate) memory: Arc<Memory>,
    /// Wakes single Instances.
    pub(crate) instances: Waker<Instance>,
    /// Wakes those who wait for what an event tells of.
    pub(crate) wake_waiting: Box<dyn Fn(&EngineEvent) + Send + Sync>,
    /// Wakes everybody who waits for the engine, or has to say that it is away.
    pub(crate) wake_everybody: Box<dyn Fn() + Send + Sync>,
    /// Removes what belongs to nobody.
    pub(crate) sweeper: Sweeper,
    /// Tells that a removal may have been confirmed.
    pub(crate) confirmed: Arc<Notify>,
    /// Whose containers count.
    pub(crate) installation: String,
    /// The time between full lists.
    pub(crate) relist: Duration,
    /// Metrics.
    pub(crate) metrics: Metrics,
    /// The clock.
    pub(crate) clock: fn() -> Timestamp,
}

/// One full look at the engine.
struct Look {
    before: Doubts,
    answer: Result<(Info, Vec<Listed>), Error>,
}

/// What a list showed of our containers.
type Shown = BTreeSet<Listed>;

/// Where staying in step stands.
#[derive(Default)]
struct Progress {
    /// Since when events arrive, if they do.
    connected: Option<Moment>,
    /// Connections in a row that did not hold, though the engine could be connected to.
    short: u32,
    /// How the engine is kept in step with.
    steps: Steps,
    /// Whether they ever did.
    ever_connected: bool,
    /// A look is wanted, from then on.
    wanted: Option<Moment>,
    /// Failed looks in a row.
    failures: usize,
    /// What the engine said of itself, while the connection lasts: it starts programs to answer that.
    info: Option<Info>,
    /// What the last list showed.
    shown: Option<Shown>,
    /// Events were dropped, and what they told may be nothing that a list shows, such as changed limits.
    dropped: bool,
}

impl EngineSync {
    /// Stays in step until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), EventsEnded> {
        let mut events = self.engine.events();
        let mut changes = self.gate.changes();
        let mut relist = tokio::time::interval(self.relist);
        relist.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut progress = Progress::default();
        let mut look: OptionFuture<BoxFuture<'_, Look>> = None.into();
        let mut looking = false;
        let mut sweep: OptionFuture<BoxFuture<'_, ()>> = None.into();
        let mut sweeping = false;
        loop {
            let due = progress.wanted.filter(|_| !looking && progress.may_look());
            let steady = progress.steady_at();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                event = events.next() => match event {
                    Some(event) => self.heard(&mut progress, event),
                    None => return Err(EventsEnded),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Moment::now)), if due.is_some() => {
                    progress.wanted = None;
                    look = Some(self.look(progress.info.clone())).into();
                    looking = true;
                }
                Some(seen) = &mut look, if looking => {
                    looking = false;
                    if let Some(listed) = self.seen(&mut progress, seen) && !sweeping {
                        sweep = Some(self.sweeper.sweep(listed)).into();
                        sweeping = true;
                    }
                }
                // Not during a sweep, which has asked already: a permit that comes then is kept.
                () = self.confirmed.notified(), if !sweeping => {
                    if self.sweeper.has_orphans() {
                        progress.want(Duration::ZERO);
                    }
                }
                Some(()) = &mut sweep, if sweeping => sweeping = false,
                () = self.memory.heard.fade() => {}
                _ = relist.tick() => progress.want(Duration::ZERO),
                () = tokio::time::sleep_until(steady.unwrap_or_else(Moment::now)), if steady.is_some() => {
                    tracing::info!("the container engine's events last again");
                    progress.by_events();
                    self.metrics.engine_events_broken(false);
                    progress.want(Duration::ZERO);
                }
                Ok(()) = changes.changed() => {
                    // Every Instance says in its status that the engine is away, and looks again when it is back.
                    let known = matches!(*changes.borrow_and_update(), EngineState::Known(_));
                    (self.wake_everybody)();
                    if !known {
                        self.sweeper.forget();
                        progress.want(Duration::ZERO);
                    }
                }
            }
        }
    }

    fn heard(&self, progress: &mut Progress, event: EngineEvent) {
        match event {
            EngineEvent::Connected => {
                progress.connected = Some(Moment::now());
                progress.info = None;
                if std::mem::replace(&mut progress.ever_connected, true) {
                    tracing::info!("the container engine answers again, looking at everything");
                }
                progress.failures = 0;
                progress.want(Duration::ZERO);
            }
            EngineEvent::Lost { reason } => {
                let before = progress.steps;
                progress.lost();
                self.metrics.engine_event_gap();
                self.metrics
                    .engine_events_broken(progress.steps == Steps::Lists);
                match (before, progress.steps) {
                    (_, Steps::Events) => {
                        tracing::warn!(%reason, "lost the container engine, nothing is changed until it answers");
                        self.gate.doubt((self.clock)(), &reason);
                    }
                    (Steps::Events, Steps::Lists) => {
                        tracing::warn!(%reason, "the container engine answers and its events end as soon as they begin, going on by lists");
                    }
                    (Steps::Lists, Steps::Lists) => {}
                }
            }
            EngineEvent::Overflow => {
                tracing::warn!(
                    "engine events came too fast and some were dropped, looking at everything"
                );
                self.metrics.engine_event_gap();
                progress.dropped = true;
                progress.want(Duration::ZERO);
            }
            EngineEvent::Container(ref told) => {
                self.happened(told);
                (self.wake_waiting)(&event);
            }
            EngineEvent::Freed { .. } | EngineEvent::Image { .. } => (self.wake_waiting)(&event),
        }
    }

    fn happened(&self, event: &ContainerEvent) {
        if event.installation != self.installation {
            return;
        }
        match event.what {
            Happened::Died { .. }
            | Happened::Killed { .. }
            | Happened::Stopped
            | Happened::OutOfMemory
            | Happened::Paused
            | Happened::Changed
            | Happened::Destroyed => self.memory.happened(&event.instance_uid, event.at),
            Happened::Created | Happened::Started | Happened::Health | Happened::Unpaused => {}
        }
        self.memory.heard.something(&event.instance_uid);
        match event.what {
            Happened::Started => self.memory.heard.start(&event.instance_uid),
            Happened::Died { .. } => self.memory.heard.end(&event.instance_uid),
            Happened::Created
            | Happened::Killed { .. }
            | Happened::Stopped
            | Happened::OutOfMemory
            | Happened::Health
            | Happened::Paused
            | Happened::Unpaused
            | Happened::Changed
            | Happened::Destroyed => {}
        }
        self.instances.wake_named(&event.namespace, &event.instance);
    }

    fn look(&self, said: Option<Info>) -> BoxFuture<'_, Look> {
        Box::pin(async move {
            let before = self.gate.doubts();
            let answer = async {
                let info = match said {
                    Some(info) => info,
                    None => self.engine.info().await?,
                };
                Ok((info, self.engine.list().await?))
            };
            let answer = answer.await;
            Look { before, answer }
        })
    }

    /// Takes a look in. Answers what was listed when the engine's state is known by it.
    fn seen(&self, progress: &mut Progress, look: Look) -> Option<Vec<Listed>> {
        let (info, listed) = match look.answer {
            Ok(answer) => answer,
            Err(error) => {
                let pause = RETRY[progress.failures.min(RETRY.len() - 1)];
                progress.failures += 1;
                progress.info = None;
                tracing::warn!(%error, "cannot look at the container engine, trying again");
                self.gate.doubt((self.clock)(), &error.to_string());
                progress.want(pause);
                return None;
            }
        };
        progress.failures = 0;
        if !self.gate.settle(look.before, info.clone(), progress.steps) {
            progress.want(Duration::ZERO);
            return None;
        }
        progress.info = Some(info).filter(|_| progress.connected.is_some());
        self.metrics.synced(Instant::now());
        let shown = shown(&listed, &self.installation);
        if std::mem::take(&mut progress.dropped) {
            self.memory.heard.gap();
            (self.wake_everybody)();
        } else if let Some(previous) = &progress.shown {
            for (uid, namespace, instance) in differing(previous, &shown) {
                self.memory.heard.something(&uid);
                self.instances.wake_named(&namespace, &instance);
            }
        }
        progress.shown = Some(shown);
        Some(listed)
    }
}

impl Progress {
    /// Whether a list can be expected to be answered, and to be of use.
    fn may_look(&self) -> bool {
        self.connected.is_some() || self.steps == Steps::Lists
    }

    /// The connection is gone, or could not be made.
    fn lost(&mut self) {
        self.info = None;
        match self.connected.take().map(|since| since.elapsed()) {
            Some(held) if held < STEADY => self.short += 1,
            // The engine is away: that is something else.
            Some(_) | None => self.by_events(),
        }
        if self.short >= HOPE {
            self.steps = Steps::Lists;
            self.want(Duration::ZERO);
        }
    }

    fn by_events(&mut self) {
        self.short = 0;
        self.steps = Steps::Events;
    }

    /// When the connection that is there can be counted on again.
    fn steady_at(&self) -> Option<Moment> {
        let since = self.connected.filter(|_| self.steps == Steps::Lists)?;
        Some(since + STEADY)
    }

    fn want(&mut self, pause: Duration) {
        let at = Moment::now() + pause;
        self.wanted = Some(self.wanted.map_or(at, |wanted| wanted.min(at)));
    }
}

fn shown(listed: &[Listed], installation: &str) -> Shown {
    let ours = |container: &&Listed| container.installation == installation;
    listed.iter().filter(ours).cloned().collect()
}

/// The Instances, by UID, namespace and name, whose containers are not as they were.
fn differing(previous: &Shown, now: &Shown) -> BTreeSet<(String, String, String)> {
    let differ = previous.symmetric_difference(now);
    let instance = |container: &Listed| {
        (
            container.instance_uid.clone(),
            container.namespace.clone(),
            container.instance.clone(),
        )
    };
    differ.map(instance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(instance: &str, id: &str, fingerprint: &str) -> Listed {
        Listed {
            instance_uid: format!("uid-of-{instance}"),
            namespace: "default".to_owned(),
            instance: instance.to_owned(),
            installation: "ours".to_owned(),
            id: id.to_owned(),
            fingerprint: fingerprint.to_owned(),
        }
    }

    fn woken(before: &[Listed], now: &[Listed]) -> Vec<String> {
        let differing = differing(&shown(before, "ours"), &shown(now, "ours"));
        differing
            .into_iter()
            .map(|(_, _, instance)| instance)
            .collect()
    }

    #[test]
    fn a_list_wakes_only_whose_containers_came_went_or_changed() {
        let before = [
            listed("same", "1", "running"),
            listed("died", "2", "running"),
            listed("gone", "3", "running"),
        ];
        let now = [
            listed("same", "1", "running"),
            listed("died", "2", "exited"),
            listed("new", "4", "running"),
        ];
        assert_eq!(woken(&before, &now), ["died", "gone", "new"]);
        assert_eq!(woken(&now, &now), [""; 0]);
    }

    #[test]
    fn i1_containers_of_another_installation_wake_nobody() {
        let mut theirs = listed("web-0", "1", "running");
        theirs.installation = "theirs".to_owned();
        assert_eq!(woken(&[], &[theirs]), [""; 0]);
    }
}
