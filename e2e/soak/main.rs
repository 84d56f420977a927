//! Random faults and random changes of declared state against a real `clos serve` on a real engine, then quiet, and then everything must be as
//! declared. The same seed gives the same steps.
//!
//! In reading order: `model` is the declared truth, `step` what can happen to it and to the world, `generate` which comes next; `manifest` writes
//! declarations; `world` is the run's own server and engine, `api` its client, `declare` and `faults` carry steps out; `observe` looks at the
//! world (`seen`), `check`, `journal` and `cost` judge; `run` is the course of a run and its report.

mod api;
mod check;
mod cost;
mod declare;
mod faults;
mod generate;
mod journal;
mod manifest;
mod model;
mod observe;
mod run;
mod seen;
mod step;
mod world;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Shakes clos for a while and looks whether everything is as declared afterwards. Everything it makes is its own and is removed at the end.
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  clos-soak --minutes 5\n  clos-soak --seed 42 --steps 100\n  clos-soak --engine second"
)]
struct Arguments {
    /// The same seed gives the same steps; chosen and printed when left out
    #[arg(long)]
    seed: Option<u64>,
    /// How long steps are taken
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// How many steps are taken at most
    #[arg(long)]
    steps: Option<u64>,
    /// How many services there are at most
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(4..=100))]
    services: u16,
    /// For how many seconds nothing may be written at the end
    #[arg(long, default_value_t = 70)]
    quiet: u64,
    /// The engine: `default`, or `second` for one of the run's own, which is ended and hung, too (as root)
    #[arg(long, default_value = "default", value_parser = ["default", "second"])]
    engine: String,
    /// Prints the steps of the seed and does nothing; needs `--steps`
    #[arg(long, requires = "steps")]
    dry_run: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments
        .seed
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let plan = run::Plan {
        seed,
        longest: Duration::from_secs(60 * arguments.minutes),
        steps: arguments.steps.unwrap_or(u64::MAX),
        services: usize::from(arguments.services),
        quiet: Duration::from_secs(arguments.quiet),
        own_engine: arguments.engine == "second",
    };
    if arguments.dry_run {
        run::show(&plan);
        return ExitCode::SUCCESS;
    }
    if run::run(&plan) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints for whoever runs this.
fn say(words: &str) {
    // Nobody is left to tell when standard output is gone.
    let _ = writeln!(std::io::stdout(), "{words}");
}

/// The pause between two looks or two steps.
#[expect(
    clippy::disallowed_methods,
    reason = "how long it is may decide what overlaps, never what is right"
)]
fn pause(how_long: Duration) {
    std::thread::sleep(how_long);
}
