//! The commands. Each is a module of its name: it reads its arguments, talks to the server through the API or to the engine, and prints.
//! What is planned, validated or executed lives in other crates.
//!
//! In reading order: [`args`] is what can be typed; `connect` finds the server; `output` is how things are said; `declared` is
//! what files declare, `live` what the server holds, `wait` waits; then the commands.

mod apply;
pub mod args;
mod audit;
mod backup;
mod completion;
mod confirm;
mod connect;
mod crds;
mod declared;
mod down;
mod get;
mod lifecycle;
mod live;
mod logs;
mod output;
mod plan;
mod query;
#[cfg(test)]
mod readme;
mod serve;
mod status;
#[cfg(test)]
mod tests;
mod version;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};

/// How a command ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked: exit code 0.
    Done,
    /// Something is not as asked, and it was said: exit code 1.
    NotAsAsked,
    /// There are differences: exit code 2.
    Differences,
    /// The deadline passed: exit code 124.
    Deadline,
    /// Ctrl-C ended the waiting, not the change: exit code 130, as shells have it for that signal.
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::SUCCESS,
            Ending::NotAsAsked => Self::FAILURE,
            Ending::Differences => Self::from(2),
            Ending::Deadline => Self::from(124),
            Ending::Interrupted => Self::from(130),
        }
    }
}

/// Parses the command line and runs it. A request of the shell for completions is answered instead. An error and its causes are one sentence.
pub fn run() -> anyhow::Result<Ending> {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            error.print()?;
            return Ok(refused(&error));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(dispatch(cli))
}

/// How a command line ends that was not understood, or that asked for help. Not with 2, which means differences.
fn refused(error: &clap::Error) -> Ending {
    if error.use_stderr() {
        Ending::NotAsAsked
    } else {
        Ending::Done
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Ending> {
    let Cli {
        connection,
        command,
    } = cli;
    match command {
        Command::Serve(args) => serve::run(&connection, args).await,
        Command::Apply(args) => apply::run(&connection, args).await,
        Command::Plan(args) => plan::run(&connection, args).await,
        Command::Get(args) => get::run(&connection, args).await,
        Command::Status(args) => status::run(&connection, args).await,
        Command::Logs(args) => logs::run(&connection, args).await,
        Command::Restart(args) => lifecycle::restart(&connection, args).await,
        Command::Stop(args) => lifecycle::stop(&connection, args).await,
        Command::Start(args) => lifecycle::start(&connection, args).await,
        Command::Down(args) => down::run(&connection, args).await,
        Command::Audit(args) => audit::run(&connection, args).await,
        Command::Confirm(args) => confirm::run(&connection, args).await,
        Command::Backup(args) => backup::run(&connection, args).await,
        Command::Restore(args) => backup::run_restore(args).await,
        Command::Crds(args) => crds::run(args),
        Command::Version => version::run(&connection).await,
        Command::Completion { shell } => completion::run(shell),
    }
}
