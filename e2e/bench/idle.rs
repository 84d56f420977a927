//! What clos costs while nothing happens, itself and in the engine; and that starting it again changes nothing.

use std::time::{Duration, Instant};

use crate::process::Processes;
use crate::report::{Report, Times};
use crate::say;
use crate::server::Server;

/// How long the idle server is watched: at least one full comparison falls into it.
const WINDOW: Duration = Duration::from_mins(1);

/// How long the engine is watched without it.
const WITHOUT: Duration = Duration::from_secs(30);

/// Measures on a server that runs everything it should; afterwards it runs again.
pub(crate) async fn measure(
    server: &mut Server<'_>,
    count: u16,
    report: &mut Report,
) -> anyhow::Result<()> {
    server.until_quiet().await?;
    say(&format!(
        "idle with {count} services, for {} s",
        WINDOW.as_secs()
    ));
    let clos = Processes::one(server.pid()?);
    let engine = Processes::of_engine(server.engine().address()).await?;
    let before = server.counts().await?;
    let (own, with) = tokio::try_join!(cpu_percent(&clos, WINDOW), cpu_percent(&engine, WINDOW))?;
    let after = server.counts().await?;
    let rss = clos.rss_mib()?;
    server.stop().await?;
    let without = cpu_percent(&engine, WITHOUT).await?;

    let extra = (with - without).max(0.0);
    let (total, writes) = (own + extra, after.writes - before.writes);
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
    report.plain(
        format!("memory with {count} services"),
        format!("{rss:.1} MiB"),
        "< 30 MiB",
    );
    report.plain(
        "store writes in an idle minute",
        format!("{writes:.0}"),
        "0",
    );
    report.figure(format!("idle_cpu_percent_{count}"), total);
    report.figure(format!("rss_mib_{count}"), rss);
    report.figure("idle_writes", writes);

    let ready = Times::new(vec![server.start_again().await?])?;
    server.until_quiet().await?;
    let changes = server.counts().await?.changes;
    report.plain(
        format!("start again with {count} services -> ready"),
        ready.to_string(),
        "",
    );
    report.plain(
        "  calls that change the engine",
        format!("{changes:.0}"),
        "0",
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
