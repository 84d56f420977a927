//! What clos costs while nothing happens, itself and in the engine; and that starting it again changes nothing.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::engine::Side;
use crate::process::Processes;
use crate::report::{Report, Times};
use crate::say;
use crate::server::Server;

/// How long the idle server is watched: full comparisons fall into it, and one collection of garbage in each of the engine's processes, which
/// Go makes at least every two minutes.
const WINDOW: Duration = Duration::from_mins(2);

/// How often, with the server and without it, either first in turn: what the engine does by itself differs from minute to minute.
const ROUNDS: u32 = 2;

/// How often the server asks in a minute whether the engine is still there, while it tells nothing: every three seconds.
const PINGS: f64 = 20.0;

/// Measures the memory of a server that runs everything it should.
pub(crate) async fn memory(
    server: &Server<'_>,
    count: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    server.until_quiet().await?;
    let rss = Processes::one(server.pid()?).rss_mib()?;
    let goal = if count <= 200 { "< 30 MiB" } else { "" };
    report.plain(
        format!("memory with {count} services"),
        format!("{rss:.1} MiB"),
        goal,
    );
    report.figure(format!("rss_mib_{count}"), rss);
    Ok(())
}

/// Measures on a server that runs everything it should; afterwards it runs again.
pub(crate) async fn measure(
    server: &mut Server<'_>,
    count: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    memory(server, count, report).await?;
    let engine = Processes::of_engine(server.engine().address()).await?;
    let (mut own, mut with, mut without, mut writes, mut asked) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut ready = Vec::new();
    let mut changes = 0.0;
    say("letting the engine come to rest");
    tokio::time::sleep(WINDOW).await;
    for round in 1..=ROUNDS {
        say(&format!(
            "idle with {count} services, round {round}: {} s with clos, as long without",
            WINDOW.as_secs()
        ));
        let mut watch = async |server: &Server<'_>| {
            let clos = Processes::one(server.pid()?);
            let before = server.counts().await?;
            let both = tokio::try_join!(cpu_percent(&clos, WINDOW), cpu_percent(&engine, WINDOW))?;
            own += both.0 / f64::from(ROUNDS);
            with += both.1 / f64::from(ROUNDS);
            let after = server.counts().await?;
            writes += after.writes - before.writes;
            asked += after.reads - before.reads;
            anyhow::Ok(())
        };
        let with_first = round % 2 == 1;
        if with_first {
            watch(server).await?;
        }
        server.stop().await?;
        without += cpu_percent(&engine, WINDOW).await? / f64::from(ROUNDS);
        ready.push(server.start_again().await?);
        server.until_quiet().await?;
        changes += server.counts().await?.changes;
        if !with_first {
            watch(server).await?;
        }
    }

    let minutes = f64::from(ROUNDS) * WINDOW.as_secs_f64() / 60.0;
    let extra = (with - without).max(0.0);
    let (total, writes, asked) = (own + extra, writes / minutes, asked / minutes);
    report.row(
        format!("idle CPU with {count} services, of a core"),
        format!("{total:.2} % (clos {own:.2} %, engine's extra {extra:.2} %)"),
        if engine.is_empty() {
            "engine not found".to_owned()
        } else {
            format!("{without:.2} %")
        },
        "",
        "< 0.2 %",
    );
    let docker = server.engine().docker();
    let list = cost(&engine, 50, async || {
        let labels = server.engine().labels(Side::Clos);
        server.engine().containers(labels).await.map(drop)
    });
    let list = list.await?;
    let ping = cost(&engine, 500, async || {
        docker.ping().await.map(drop).context("no answer to a ping")
    });
    let ping = ping.await?;
    let calls = (asked * list + PINGS * ping) / 60.0;
    report.plain(
        "  what clos asks the engine in a minute",
        format!(
            "{asked:.1} lists of {:.1} ms, {PINGS:.0} pings of {:.1} ms: {:.2} %",
            list * 1000.0,
            ping * 1000.0,
            calls * 100.0
        ),
        "",
    );
    report.plain(
        "store writes in an idle minute",
        format!("{writes:.1}"),
        "0",
    );
    report.figure(format!("idle_cpu_percent_{count}"), total);
    report.figure("idle_writes", writes);

    report.plain(
        format!("start again with {count} services -> ready"),
        Times::new(ready)?.to_string(),
        "",
    );
    report.plain(
        "  calls that change the engine",
        format!("{changes:.0}"),
        "0",
    );
    Ok(())
}

/// What a call costs the engine, in seconds of processor time. The kernel counts in hundredths of one, so it is made often.
async fn cost(
    engine: &Processes,
    times: u32,
    call: impl AsyncFn() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let before = engine.cpu_seconds()?;
    for _ in 0..times {
        call().await?;
    }
    Ok((engine.cpu_seconds()? - before) / f64::from(times))
}

/// What the server itself costs beside this many services.
pub(crate) async fn own(
    server: &Server<'_>,
    count: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    server.until_quiet().await?;
    let clos = Processes::one(server.pid()?);
    report.plain(
        format!("idle CPU of clos alone with {count} services"),
        format!("{:.2} %", cpu_percent(&clos, WINDOW).await?),
        "",
    );
    Ok(())
}

/// The processor time of a while, in hundredths of a core.
async fn cpu_percent(processes: &Processes, window: Duration) -> anyhow::Result<f64> {
    let (began, before) = (Instant::now(), processes.cpu_seconds()?);
    tokio::time::sleep(window).await;
    let spent = processes.cpu_seconds()? - before;
    Ok(100.0 * spent / began.elapsed().as_secs_f64())
}
