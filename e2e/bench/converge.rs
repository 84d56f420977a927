//! From N services declared to N containers running, alternately with the same containers on the raw Engine API.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{ListParams, WatchEvent, WatchParams};

use crate::engine::{Engine, PATIENCE, Side};
use crate::repair::Fault;
use crate::report::{Report, Times};
use crate::server::{Folder, Server};
use crate::{between, now, say, swarm};

/// The raw API is measured with each of these numbers of calls at a time; the one with the better median counts.
const CONCURRENCIES: [usize; 2] = [4, 8];

/// Up to this many services Swarm is measured, too.
pub(crate) const MOST_IN_SWARM: u16 = 50;

/// How long clos took, by clocks that all begin when the services are declared.
struct Converged {
    accepted: Duration,
    running: Duration,
    ready: Duration,
}

/// What converges: so many services, so often, on the raw API, on clos, and on Swarm if wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many services.
    pub(crate) count: u16,
    /// How often, alternately.
    pub(crate) rounds: u8,
    /// Whether on Swarm, too.
    pub(crate) with_swarm: bool,
    /// Whether Swarm is to repair some, too.
    pub(crate) with_faults: bool,
}

/// Measures, and gives the last server with everything running.
pub(crate) async fn measure<'e>(
    engine: &'e Engine,
    clos: &Path,
    folder: &Path,
    load: Load,
    report: &mut Report,
) -> anyhow::Result<Server<'e>> {
    let Load {
        count,
        rounds,
        with_swarm,
        with_faults,
    } = load;
    let mut swarms = Vec::new();
    let mut repaired = Vec::new();
    let mut floors = CONCURRENCIES.map(|_| Vec::new());
    let mut converged = Vec::new();
    let mut last = None;
    for round in 1..=rounds {
        drop(last.take());
        engine.clear().await?;
        for (concurrency, times) in CONCURRENCIES.into_iter().zip(&mut floors) {
            let took = raw(engine, count, concurrency).await?;
            say(&format!(
                "{count} services, round {round}: raw API, {concurrency} at a time, {took:.2?}"
            ));
            times.push(took);
            engine.clear().await?;
        }
        if with_swarm {
            let swarm = swarm::measure(engine, count, with_faults && round == rounds).await?;
            swarms.push(swarm.converged);
            repaired.extend(swarm.repaired);
        }
        let server = Server::start(engine, clos, Folder::new(folder)?).await?;
        let took = converge(engine, &server, count).await?;
        say(&format!(
            "{count} services, round {round}: clos {:.2?} (accepted {:.2?}, all ready {:.2?})",
            took.running, took.accepted, took.ready
        ));
        converged.push(took);
        last = Some(server);
    }
    let times = |part: fn(&Converged) -> Duration| Times::new(converged.iter().map(part).collect());
    // Not the best of each round: that would compare the raw API's good moments with all of clos's.
    let [one, other] = floors.map(Times::new);
    let (one, other) = (one?, other?);
    let floor = if one.median() <= other.median() {
        one
    } else {
        other
    };
    let ratio = report.compared(
        format!("{count} services declared -> running"),
        &times(|took| took.running)?,
        &floor,
        "<= 1.15",
    );
    report.figure(format!("converge_ratio_{count}"), ratio);
    report.plain(
        "  of it until all are accepted",
        times(|took| took.accepted)?.to_string(),
        "",
    );
    report.plain(
        "  until all say that they are ready",
        times(|took| took.ready)?.to_string(),
        "",
    );
    if !swarms.is_empty() {
        let what = format!("Swarm: {count} services -> running");
        let ratio = report.compared(what, &Times::new(swarms)?, &floor, "");
        report.figure(format!("swarm_converge_ratio_{count}"), ratio);
    }
    for (fault, times) in repaired {
        let what = format!("Swarm: {}", fault.words());
        report.plain(what, times.to_string(), "");
        if fault == Fault::Kill {
            report.figure("swarm_repair_ms", times.median());
        }
    }
    last.context("there is at least one round")
}

/// The floor: a network, and then so many calls at a time.
async fn raw(engine: &Engine, count: u16, concurrency: usize) -> anyhow::Result<Duration> {
    let since = now();
    engine.create_network().await?;
    let runs = futures::stream::iter(0..count)
        .map(|number| async move { engine.run_container(&format!("s{number:03}")).await });
    let ids: Vec<String> = runs.buffer_unordered(concurrency).try_collect().await?;
    engine.last_start(Side::Raw, since, ids.len()).await
}

async fn converge(engine: &Engine, server: &Server<'_>, count: u16) -> anyhow::Result<Converged> {
    let since = now();
    server.declare(count)?;
    let (accepted, started) = tokio::join!(
        async {
            accepted(server, count).await?;
            Ok::<_, anyhow::Error>(between(since, now()))
        },
        engine.until_started(Side::Clos, since, usize::from(count)),
    );
    started?;
    server.until_ready(count).await?;
    let ready = between(since, now());
    Ok(Converged {
        accepted: accepted?,
        running: engine
            .last_start(Side::Clos, since, usize::from(count))
            .await?,
        ready,
    })
}

/// Waits until this many services exist.
async fn accepted(server: &Server<'_>, count: u16) -> anyhow::Result<()> {
    let services = server.services();
    let list = services
        .list(&ListParams::default())
        .await
        .context("cannot list services")?;
    let version = list.metadata.resource_version.unwrap_or_default();
    let watch = services.watch(&WatchParams::default(), &version).await;
    let mut watch = watch.context("cannot watch services")?.boxed();
    let counting = async {
        let mut exist = list.items.len();
        while exist < usize::from(count) {
            let event = watch.try_next().await.context("cannot watch services")?;
            match event.context("the watch of services ended")? {
                WatchEvent::Added(_) => exist += 1,
                WatchEvent::Modified(_) | WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => anyhow::bail!("the watch of services ended: {status}"),
            }
        }
        Ok(())
    };
    let counted = tokio::time::timeout(PATIENCE, counting).await;
    counted.context("not all services were accepted")?
}

/// Lets clos alone run this many services, for what only depends on how many there are.
pub(crate) async fn alone<'e>(
    engine: &'e Engine,
    clos: &Path,
    folder: &Path,
    count: u16,
) -> anyhow::Result<Server<'e>> {
    say(&format!("{count} services on clos alone"));
    let server = Server::start(engine, clos, Folder::new(folder)?).await?;
    server.declare(count)?;
    server.until_ready(count).await?;
    Ok(server)
}
