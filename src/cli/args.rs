//! The command line: what can be typed, with help and examples. What a command does is in the module of its name.
#![expect(
    clippy::doc_markdown,
    reason = "these comments are the help that is read on a terminal"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_complete::engine::ArgValueCompleter;
use clos_resources::duration::Duration;

use crate::completion;

/// Kubernetes-style control for plain container hosts.
#[derive(Debug, Parser)]
#[command(
    name = "clos",
    version,
    max_term_width = 100,
    args_override_self = true,
    after_help = "Start here:  clos serve --dir ./shop\n\nExit codes: 0 as asked, 1 an error, 2 differences (plan), 124 the deadline passed, 130 Ctrl-C while waiting"
)]
pub struct Cli {
    /// How to reach the server and the engine.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the server and the engine.
#[derive(Debug, Clone, Args)]
pub struct Connection {
    /// The kubeconfig of the server; the one `clos serve` wrote by default
    #[arg(
        long,
        global = true,
        env = "CLOS_KUBECONFIG",
        value_name = "FILE",
        hide_env = true,
        help_heading = "Where the server and the engine are"
    )]
    pub kubeconfig: Option<PathBuf>,
    /// The container engine's address; unix:///var/run/docker.sock by default, DOCKER_HOST counts
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        help_heading = "Where the server and the engine are"
    )]
    pub engine: Option<String>,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: API, controllers and sources
    #[command(
        after_help = "Examples:\n  clos serve --dir ./shop\n  clos serve --dir ./shop --listen 127.0.0.1:8081 --data-dir /var/lib/clos"
    )]
    Serve(ServeArgs),
    /// Apply files or folders of YAML or JSON
    #[command(
        after_help = "Examples:\n  clos apply -f shop/ --wait\n  clos apply -f web.yaml --wait --timeout 2m\n  kubectl kustomize . | clos apply -f -\n\nWith --wait the exit code is 0 when everything is as declared, 1 when something failed, 124 when the\ndeadline passed and 130 after Ctrl-C, which ends the waiting and not the change.\n\nWhat was started must run for a second, and for five seconds when it has crashed before.\n\nFailed is what no further try will mend: an image that is denied, a program that is not there, three\ncrashes in a row. What is applied unchanged is not started anew: a service that has crashed three\ntimes already has failed at once."
    )]
    Apply(ApplyArgs),
    /// Show what applying would do, call by call; changes nothing. Exit code 2 when there are differences
    #[command(
        after_help = "Examples:\n  clos plan -f shop/\n  clos plan -f - < web.yaml\n\nThe exit code is 0 when everything is as declared, 2 when there are differences and 1 after an error."
    )]
    Plan(PlanArgs),
    /// Print objects as a table, YAML or JSON
    #[command(
        after_help = "Examples:\n  clos get clos -A\n  clos get csvc web -o yaml\n  clos get instances -l clos.dev/service=web"
    )]
    Get(GetArgs),
    /// Show groups and their services at a glance
    #[command(
        after_help = "Examples:\n  clos status\n  clos status --wait --timeout 2m\n  clos status shop -o json"
    )]
    Status(StatusArgs),
    /// Print the output of a service's containers
    #[command(
        after_help = "Examples:\n  clos logs web -f\n  clos logs web-0 --tail 100 --since 10m\n\nWith --follow, containers that are started or made meanwhile are followed, too. What a container\nprints to standard error goes to standard error."
    )]
    Logs(LogsArgs),
    /// Restart a service or group: its containers are stopped and started once
    #[command(after_help = "Examples:\n  clos restart web\n  clos restart group/shop")]
    Restart(TargetArgs),
    /// Stop a service or group: it stays declared, its containers are stopped
    #[command(after_help = "Examples:\n  clos stop web\n  clos stop group/shop")]
    Stop(TargetArgs),
    /// Start a service or group that was stopped
    #[command(after_help = "Examples:\n  clos start web\n  clos start group/shop")]
    Start(TargetArgs),
    /// Remove groups with everything clos made for them; keeps volumes unless --volumes is given
    #[command(after_help = "Examples:\n  clos down shop\n  clos down --all --volumes --yes")]
    Down(DownArgs),
    /// Show what was done, by whom and why
    #[command(
        after_help = "Examples:\n  clos audit --object web-0 --since 1h\n  clos audit --verb reconcile -f -o json"
    )]
    Audit(AuditArgs),
    /// Show removals that wait because they are many, and confirm them
    #[command(
        after_help = "Examples:\n  clos confirm\n  clos confirm host/box --yes\n\nContainers of instances that do not exist any more, and objects that a folder declares no more, are removed without asking when they are few. When five or more and more than a quarter would go at once, or everything, none goes until it is confirmed: an old backup, an empty disk or a lost folder look just like that. A confirmation counts for exactly what it was given for. kubectl does the same with the annotation clos.dev/confirmed-removals on the Host, or on the source's ConfigMap in clos-system."
    )]
    Confirm(ConfirmArgs),
    /// Keep everything the server knows, Secrets included, in one file
    #[command(
        after_help = "Examples:\n  clos backup clos-2026-11-23.backup\n  clos backup --data-dir /var/lib/clos last.backup --replace\n\nThe backup is of one moment, while the server goes on; it is checked before it gets its name. It holds all objects and the audit journal. Not in it: images, volumes and what containers wrote; the certificate authority in DATA-DIR/pki; the kubeconfig; clos' configuration; the folders of YAML."
    )]
    Backup(BackupArgs),
    /// Make a data directory from a backup, while no server runs on it
    #[command(
        after_help = "Examples:\n  clos restore clos-2026-11-23.backup\n  clos restore clos-2026-11-23.backup --data-dir /srv/clos\n  clos restore clos-2026-11-23.backup --replace\n\nThe backup is checked before anything is touched. The restored server is the same installation: it recognises its containers and leaves them running. Containers that were made after the backup are shown by clos confirm. In a directory without a certificate authority (pki) the next start makes one and writes a new kubeconfig; put the old pki folder there first to keep the old ones."
    )]
    Restore(RestoreArgs),
    /// Print the CustomResourceDefinitions of every kind
    #[command(
        after_help = "Examples:\n  clos crds | kubectl apply -f -\n  clos crds --directory crds/"
    )]
    Crds(CrdsArgs),
    /// Print the version of clos, of the server and of the engine
    #[command(after_help = "Example:\n  clos version")]
    Version,
    /// Print the set-up line of shell completion
    #[command(after_help = "Example:\n  source <(clos completion bash)")]
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// `clos serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A folder of YAML to apply and keep applied; can be given several times
    #[arg(long, value_name = "FOLDER")]
    pub dir: Vec<PathBuf>,
    /// Where the record of truth and the certificates lie; /var/lib/clos for root, else $XDG_DATA_HOME/clos
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Where the Kubernetes API listens; 127.0.0.1:8081 by default
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// A configuration file; /etc/clos/clos.yaml by default, if it is there
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How many engine calls may be under way at once; 8 by default
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<String>,
    /// How often everything is listed and compared, events or not; 60s by default
    #[arg(long, value_name = "DURATION")]
    pub relist: Option<String>,
    /// How many audit records are kept; 200000 by default
    #[arg(long, value_name = "NUMBER")]
    pub audit_records: Option<String>,
    /// text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// What is logged, such as info or clos_engine=debug
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// `clos apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// A file or folder, or - for standard input; can be given several times
    #[arg(short, long = "filename", value_name = "PATH", required = true)]
    pub filename: Vec<PathBuf>,
    /// Wait until everything is as declared
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most
    #[arg(long, default_value = "5m", value_name = "DURATION", requires = "wait")]
    pub timeout: Duration,
}

/// `clos plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// A file or folder, or - for standard input; can be given several times
    #[arg(short, long = "filename", value_name = "PATH", required = true)]
    pub filename: Vec<PathBuf>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table with more columns
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Names only
    Name,
}

/// `clos get`
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A kind, its plural, a short name or a category: services, csvc, clos
    pub kind: String,
    /// One object's name
    #[arg(add = ArgValueCompleter::new(completion::objects))]
    pub name: Option<String>,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// All namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "name")]
    pub selector: Option<String>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// `clos status`
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Only this group
    #[arg(add = ArgValueCompleter::new(completion::groups))]
    pub group: Option<String>,
    /// Only this namespace; all by default
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Wait first until everything is as declared, with progress
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most
    #[arg(long, default_value = "5m", value_name = "DURATION", requires = "wait")]
    pub timeout: Duration,
    /// How to print
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// `clos logs`
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// A service or one of its instances
    #[arg(add = ArgValueCompleter::new(completion::services_and_instances))]
    pub name: String,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Go on with lines to come
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines of each container
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,
    /// Only lines of the last so much time
    #[arg(long, value_name = "DURATION")]
    pub since: Option<Duration>,
    /// Print the time of each line
    #[arg(long)]
    pub timestamps: bool,
}

/// `clos restart`, `stop` and `start`
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// A service, or group/NAME for a whole group
    #[arg(add = ArgValueCompleter::new(completion::targets))]
    pub target: String,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
}

/// `clos down`
#[derive(Debug, Args)]
pub struct DownArgs {
    /// The groups to remove
    #[arg(required_unless_present = "all", add = ArgValueCompleter::new(completion::groups))]
    pub groups: Vec<String>,
    /// The namespace
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// All groups of all namespaces
    #[arg(long, conflicts_with = "groups")]
    pub all: bool,
    /// Remove the volumes that clos made for them, too, with everything in them
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// How long to wait at most
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    pub timeout: Duration,
}

/// `clos audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Only what is about this object: a name, kind/name, or part of what the OBJECT column shows
    #[arg(long)]
    pub object: Option<String>,
    /// Only this verb: reconcile, create, update, patch, delete …
    #[arg(long)]
    pub verb: Option<String>,
    /// Only what this actor did: user:admin, controller:instance …
    #[arg(long)]
    pub actor: Option<String>,
    /// Only the last so much time
    #[arg(long, value_name = "DURATION")]
    pub since: Option<Duration>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub limit: usize,
    /// Go on with what is to come
    #[arg(short, long)]
    pub follow: bool,
    /// How to print; json prints one event a line
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Output>,
}

/// `clos confirm`
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Only these, as host/NAME or source/NAME; everything that waits by default
    #[arg(add = ArgValueCompleter::new(completion::waiting))]
    pub what: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// `clos backup`
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// Where to keep it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    pub replace: bool,
    /// Take it from this data directory, whose server does not run, and not from a running server
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
}

/// `clos restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The data directory; the one that `clos serve` uses by default
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Replace the store that is there; it is kept beside
    #[arg(long)]
    pub replace: bool,
}

/// `clos crds`
#[derive(Debug, Args)]
pub struct CrdsArgs {
    /// Write one file a kind into this folder instead of printing
    #[arg(long, value_name = "FOLDER")]
    pub directory: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let is_help = command.get_name() == "help";
            assert!(
                is_help || command.get_after_help().is_some(),
                "{} has no examples",
                command.get_name()
            );
        }
    }
}
