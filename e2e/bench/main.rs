//! clos beside the raw Engine API, in one run on one engine, so that every figure is a ratio and the machine's mood cancels out.
//!
//! In reading order: `engine` is this run's corner of the engine (`second` makes one of its own), `raw` the floor, `server` a `clos serve` of its own; `converge`, `repair`, `idle` and
//! `start` each measure one thing, `swarm` what Docker's own orchestrator does; `process` reads what processes cost, `report` is the table
//! and the file. What is measured without an engine is in the benches beside the tests.

mod converge;
mod engine;
mod idle;
mod process;
mod raw;
mod repair;
mod report;
mod second;
mod server;
mod start;
mod swarm;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use crate::converge::{Load, MOST_IN_SWARM};
use crate::engine::Engine;
use crate::report::Report;
use crate::server::{Folder, Server};

/// No run takes longer.
const LONGEST: Duration = Duration::from_mins(50);

/// The count that `--full` adds.
const FULL: u16 = 200;

/// So many services `--full` lets run at the end, to see what memory they cost.
const MANY: u16 = 500;

/// Measures clos beside the raw Engine API. Everything it makes is its own and is removed at the end.
#[derive(Parser)]
#[command(after_help = "Examples:\n  clos-bench\n  clos-bench 10\n  clos-bench --full --swarm")]
struct Arguments {
    /// How many services converge, one measurement each
    #[arg(default_values_t = [10, 50], value_parser = clap::value_parser!(u16).range(1..=500))]
    counts: Vec<u16>,
    /// Also 200 services, and what 500 cost while idle
    #[arg(long)]
    full: bool,
    /// Also Docker Swarm; then everything is measured on an engine of its own, which needs root
    #[arg(long)]
    swarm: bool,
    /// How often each convergence is measured, alternately
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    rounds: u8,
    /// How often each fault is inflicted
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    faults: u16,
    /// The clos to measure; the release build by default
    #[arg(long)]
    clos: Option<PathBuf>,
    /// The engine's socket, without --swarm
    #[arg(
        long,
        env = "DOCKER_HOST",
        default_value = "unix:///var/run/docker.sock"
    )]
    engine: String,
    /// Where cargo builds; the result is written to bench/engine.json below it
    #[arg(long, env = "CARGO_TARGET_DIR", default_value = "target")]
    target_dir: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(run(Arguments::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("clos-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if !arguments.swarm {
        return on(&arguments.engine, &arguments).await;
    }
    let second = second::Second::start().await?;
    let measured = on(second.address(), &arguments).await;
    // Also after a failure.
    second.down().await.and(measured)
}

/// Everything, on the engine at this socket.
async fn on(address: &str, arguments: &Arguments) -> anyhow::Result<()> {
    let engine = Engine::connect(address).await?;
    let mut report = Report::default();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let measured = tokio::select! {
        measured = Box::pin(measure(arguments, &engine, &mut report)) => measured,
        () = tokio::time::sleep(LONGEST) => Err(anyhow::anyhow!("not done after {} minutes", LONGEST.as_secs() / 60)),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
        _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
    };
    // Also after a failure; the servers are gone with the measurement.
    let cleaned = async {
        swarm::leave(&engine).await?;
        engine.clean().await
    };
    let cleaned = cleaned.await.context("cannot clean up");
    say(&report.to_string());
    match (measured, cleaned) {
        (Err(measured), Err(cleaned)) => Err(measured.context(format!("{cleaned:#}; and before"))),
        (measured, cleaned) => measured.and(cleaned),
    }
}

async fn measure(
    arguments: &Arguments,
    engine: &Engine,
    report: &mut Report,
) -> anyhow::Result<()> {
    let clos = match &arguments.clos {
        Some(clos) => clos.clone(),
        None => arguments.target_dir.join("release/clos"),
    };
    if !clos.exists() {
        bail!(
            "there is no {}: build it with `cargo build --release --bin clos`, or give --clos",
            clos.display()
        );
    }
    let folder = arguments.target_dir.join("bench");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut counts = arguments.counts.clone();
    counts.extend(arguments.full.then_some(FULL));
    counts.sort_unstable();
    counts.dedup();
    let in_swarm = counts.iter().copied();
    let faulty = in_swarm.filter(|count| *count <= MOST_IN_SWARM).max();

    engine.provide_image().await?;
    report.note(format!(
        "{}; {}; load {}",
        engine.version().await?,
        clos.display(),
        process::load()?
    ));
    let mut last: Option<(Server<'_>, u16)> = None;
    for count in counts {
        if let Some((server, count)) = last.take() {
            idle::memory(&server, count, report).await?;
        }
        engine.clear().await?;
        let load = Load {
            count,
            rounds: arguments.rounds,
            with_swarm: arguments.swarm && count <= MOST_IN_SWARM,
            with_faults: Some(count) == faulty,
        };
        let server = converge::measure(engine, &clos, &folder, load, report);
        last = Some((Box::pin(server).await?, count));
    }
    if let Some((mut server, count)) = last {
        Box::pin(idle::measure(&mut server, count, report)).await?;
        Box::pin(repair::measure(
            engine,
            &server,
            count,
            arguments.faults,
            report,
        ))
        .await?;
        server.stop().await?;
    }
    engine.clear().await?;
    if arguments.full {
        let mut server = Box::pin(converge::alone(engine, &clos, &folder, MANY)).await?;
        idle::memory(&server, MANY, report).await?;
        idle::own(&server, MANY, report).await?;
        server.stop().await?;
        engine.clear().await?;
    }
    Box::pin(start::measure(engine, &clos, Folder::new(&folder)?, report)).await?;
    report.note(format!("load at the end {}", process::load()?));
    report.write(&folder.join("engine.json"))
}

/// The time now, to compare with the engine's.
#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is the time between a call and what the engine's clock says"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// From one time to a later one; zero when it is not later.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Prints for whoever runs this.
pub(crate) fn say(words: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{words}");
}
