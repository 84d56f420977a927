//! From a fault to the container running again, alternately with the least that can be done on the raw Engine API: hear of it, start it,
//! after a removal make it before.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bollard::query_parameters::{KillContainerOptions, StopContainerOptions};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::engine::{Engine, Event, Running, Side};
use crate::report::{Report, Times};
use crate::server::{Server, signal};
use crate::{between, now, say};

/// The longest time a repair may take.
const LONGEST: Duration = Duration::from_mins(1);

/// Between two faults, so that one does not find the other's work going on.
const PAUSE: Duration = Duration::from_millis(300);

/// Containers of the floor that faults are inflicted on in turn.
const TARGETS: u16 = 4;

/// What is done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillProcess,
    Stop,
    Remove,
}

impl Fault {
    /// Each.
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::KillProcess, Self::Stop, Self::Remove];

    /// What is measured.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Kill => "killed through the API -> running again",
            Self::KillProcess => "process killed -> running again",
            Self::Stop => "stopped -> running again",
            Self::Remove => "removed -> a new one running",
        }
    }

    fn goal(self) -> &'static str {
        match self {
            Self::Kill | Self::KillProcess => "<= 1.1",
            Self::Stop => "",
            Self::Remove => "<= 1.15",
        }
    }

    /// The engine's last word on it.
    fn last_event(self) -> &'static str {
        match self {
            Self::Kill | Self::KillProcess | Self::Stop => "die",
            Self::Remove => "destroy",
        }
    }

    async fn inflict(self, engine: &Engine, target: &Running) -> anyhow::Result<()> {
        match self {
            Self::Kill => {
                let options = KillContainerOptions {
                    signal: "KILL".to_owned(),
                };
                let killed = engine
                    .docker()
                    .kill_container(&target.id, Some(options))
                    .await;
                killed.context("cannot kill a container")
            }
            Self::KillProcess => signal(target.pid, "KILL").await,
            Self::Stop => {
                let stopped = engine
                    .docker()
                    .stop_container(&target.id, None::<StopContainerOptions>);
                stopped.await.context("cannot stop a container")
            }
            Self::Remove => engine.remove(&target.id).await,
        }
    }
}

/// Measures each fault, on a server that manages `count` services.
pub(crate) async fn measure(
    engine: &Engine,
    server: &Server<'_>,
    count: u16,
    times: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    server.until_quiet().await?;
    let mut floor = Floor::new(engine).await?;
    for fault in Fault::ALL {
        say(&format!("{times} times: {}", fault.words()));
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        for number in 0..times {
            floors.push(floor.repair(fault, number % TARGETS).await?);
            tokio::time::sleep(PAUSE).await;
            let took = repaired(engine, fault, &server.container(number % count)).await;
            ours.push(took.with_context(|| fault.words())?);
            tokio::time::sleep(PAUSE).await;
        }
        let (ours, floors) = (Times::new(ours)?, Times::new(floors)?);
        let ratio = report.compared(fault.words(), &ours, &floors, fault.goal());
        let key = match fault {
            Fault::Kill => "repair_kill",
            Fault::Remove => "repair_rm",
            Fault::KillProcess | Fault::Stop => continue,
        };
        report.figure(format!("{key}_ratio"), ratio);
        report.figure(format!("{key}_ms"), ours.median());
    }
    Ok(())
}

/// Inflicts a fault and waits until any container of the side was started, by somebody; gives the time in between.
pub(crate) async fn inflicted(
    engine: &Engine,
    fault: Fault,
    container: &str,
    side: Side,
) -> anyhow::Result<Duration> {
    let target = engine
        .running(container)
        .await?
        .context("the container does not run")?;
    let since = now();
    let mut events = engine.events(side, since);
    let waiting = async {
        // The repair may be done before the call comes back.
        let start = until(&mut events, "start");
        let (inflicted, started) = tokio::join!(fault.inflict(engine, &target), start);
        inflicted?;
        started
    };
    let started = tokio::time::timeout(LONGEST, waiting).await;
    let id = started.context("it is not repaired")??.id;
    let again = engine.running(&id).await?.context("it ended again")?;
    Ok(between(since, again.started_at))
}

async fn repaired(engine: &Engine, fault: Fault, name: &str) -> anyhow::Result<Duration> {
    let before = engine.running(name).await?;
    let before = before.with_context(|| format!("container {name} does not run"))?;
    let since = now();
    let mut events = engine.events(Side::Clos, since);
    let waiting = async {
        // The repair may be done before the call comes back.
        let (inflicted, again) = tokio::join!(fault.inflict(engine, &before), async {
            loop {
                until(&mut events, "start").await?;
                if let Some(running) = engine.running(name).await?
                    && running.started_at > since
                {
                    return Ok::<_, anyhow::Error>(running);
                }
            }
        });
        inflicted?;
        again
    };
    let again = tokio::time::timeout(LONGEST, waiting).await;
    let again = again.with_context(|| format!("container {name} is not repaired"))??;
    let new = again.id != before.id;
    anyhow::ensure!(
        new == (fault == Fault::Remove),
        "container {name} was {}",
        if new {
            "replaced instead of started"
        } else {
            "never removed"
        }
    );
    Ok(between(since, again.started_at))
}

/// The least that can be done: it hears of the end and starts, or makes and starts.
struct Floor<'e> {
    engine: &'e Engine,
    /// Ids of the containers.
    targets: Vec<String>,
    /// Open all the time, as any repairer has it.
    events: BoxStream<'e, anyhow::Result<Event>>,
    made: u32,
}

impl<'e> Floor<'e> {
    async fn new(engine: &'e Engine) -> anyhow::Result<Self> {
        engine.create_network().await?;
        let mut targets = Vec::new();
        for number in 0..TARGETS {
            targets.push(engine.run_container(&format!("target-{number}")).await?);
        }
        Ok(Self {
            engine,
            targets,
            events: engine.events(Side::Raw, now()),
            made: 0,
        })
    }

    async fn repair(&mut self, fault: Fault, number: u16) -> anyhow::Result<Duration> {
        let target = &mut self.targets[usize::from(number)];
        let before = self
            .engine
            .running(target)
            .await?
            .context("a container of the floor ended")?;
        let since = now();
        self.made += 1;
        let name = format!("target-{number}-{}", self.made);
        let repairing = async {
            loop {
                let event = until(&mut self.events, fault.last_event()).await?;
                // What is left from earlier faults is passed over.
                if event.id == before.id {
                    break;
                }
            }
            match fault {
                Fault::Kill | Fault::KillProcess | Fault::Stop => {
                    restart(self.engine, &before.id, since).await
                }
                Fault::Remove => {
                    let id = self.engine.run_container(&name).await?;
                    self.engine.running(&id).await?.context("it ended again")
                }
            }
        };
        let both = async { tokio::try_join!(fault.inflict(self.engine, &before), repairing) };
        let repaired = tokio::time::timeout(LONGEST, both).await;
        let ((), again) = repaired.context("the floor's repair does not end")??;
        target.clone_from(&again.id);
        Ok(between(since, again.started_at))
    }
}

/// Starts a container that has just ended. The engine tells of the end before it has put everything away.
async fn restart(engine: &Engine, id: &str, since: Timestamp) -> anyhow::Result<Running> {
    loop {
        engine.start(id).await?;
        if let Some(running) = engine.running(id).await?
            && running.started_at > since
        {
            return Ok(running);
        }
    }
}

/// The next event of this kind.
async fn until(
    events: &mut BoxStream<'_, anyhow::Result<Event>>,
    what: &str,
) -> anyhow::Result<Event> {
    while let Some(event) = events.next().await {
        let event = event?;
        if event.what == what {
            return Ok(event);
        }
    }
    bail!("the engine's events ended")
}
