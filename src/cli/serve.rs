//! `clos serve`: gathers the configuration from all its places, then runs the server until it is told to stop.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clos_app::config::{Config, Layer, LogFormat, Setting};
use clos_telemetry::logs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Ending;
use crate::args::{Connection, ServeArgs};
use crate::connect::{environment, now, surroundings};
use crate::output;

/// The configuration file that is read when it is there and none is given.
const DEFAULT_FILE: &str = "/etc/clos/clos.yaml";

pub(crate) async fn run(connection: &Connection, args: ServeArgs) -> anyhow::Result<Ending> {
    let file = file_layer(args.config.as_deref())?;
    let config = Config::resolve(
        &surroundings(),
        &[
            file,
            Layer::environment(environment),
            flags(connection, args),
        ],
    )?;
    let format = match config.log_format {
        LogFormat::Text => logs::Format::Text,
        LogFormat::Json => logs::Format::Json,
    };
    logs::init(format, &config.log_filter)?;
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let asked = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        // A second signal does not wait.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let tell = |notice: clos_app::Notice| {
        if let Err(error) = output::line(&notice.to_string()) {
            tracing::warn!(%error, "standard output cannot be written");
        }
    };
    tokio::select! {
        served = clos_app::serve(config, now, tell, stop.clone()) => served?,
        () = asked => anyhow::bail!("stopped at once, as asked a second time; containers go on running"),
    }
    Ok(Ending::Done)
}

/// The configuration file: the one that was given must be there, the default one may be.
fn file_layer(given: Option<&Path>) -> anyhow::Result<Layer> {
    let path = match given {
        Some(path) => path.to_owned(),
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(Layer::default()),
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    Ok(Layer::file(&path, &text)?)
}

fn flags(connection: &Connection, args: ServeArgs) -> Layer {
    let ServeArgs {
        dir,
        data_dir,
        listen,
        config: _,
        concurrency,
        relist,
        audit_records,
        log_format,
        log,
        confirm_removals,
    } = args;
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let dirs = std::env::join_paths(&dir)
        .ok()
        .filter(|joined| !joined.is_empty())
        .map(|joined| joined.to_string_lossy().into_owned());
    Layer::flags([
        (Setting::DataDir, data_dir),
        (Setting::Dir, dirs),
        (Setting::Listen, listen),
        (Setting::Engine, connection.engine.clone()),
        (Setting::Kubeconfig, connection.kubeconfig.clone().map(path)),
        (Setting::Concurrency, concurrency),
        (Setting::Relist, relist),
        (Setting::AuditRecords, audit_records),
        (Setting::LogFormat, log_format),
        (Setting::Log, log),
        (
            Setting::ConfirmRemovals,
            confirm_removals.then(|| "true".to_owned()),
        ),
    ])
}
