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
pub(crate) fn file_layer(given: Option<&Path>) -> anyhow::Result<Layer> {
    let path = match given {
        Some(path) => path.to_owned(),
        None if Path::new(DEFAULT_FILE).exists() => PathBuf::from(DEFAULT_FILE),
        None => return Ok(Layer::default()),
    };
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    Ok(Layer::file(&path, &text))
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
    } = args;
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    // As everywhere, `:` is between two folders.
    let dirs: Vec<String> = dir.into_iter().map(path).collect();
    let dirs = Some(dirs.join(":")).filter(|dirs| !dirs.is_empty());
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
    ])
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clos_app::config::Surroundings;

    use super::*;
    use crate::args::{Cli, Command};

    /// The configuration of this command line alone.
    fn resolved(arguments: &[&str]) -> Result<Config, String> {
        let line = ["clos", "serve"].iter().chain(arguments);
        let cli = Cli::try_parse_from(line).unwrap();
        let Command::Serve(args) = cli.command else {
            panic!("it is clos serve")
        };
        let layers = [flags(&cli.connection, args)];
        Config::resolve(&Surroundings::default(), &layers).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_reaches_the_setting_of_its_name() {
        let config = resolved(&[
            "--dir=./shop",
            "--dir=./lab",
            "--data-dir=/data",
            "--listen=127.0.0.1:9",
            "--engine=unix:///x.sock",
            "--kubeconfig=/k",
            "--concurrency=3",
            "--relist=7s",
            "--audit-records=5000",
            "--log-format=json",
            "--log=debug",
        ])
        .unwrap();
        let expected = Config {
            data_dir: "/data".into(),
            dirs: vec!["./shop".into(), "./lab".into()],
            listen: "127.0.0.1:9".parse().unwrap(),
            engine: "unix:///x.sock".to_owned(),
            kubeconfig: "/k".into(),
            concurrency: 3,
            relist: std::time::Duration::from_secs(7),
            audit_records: 5000,
            log_format: LogFormat::Json,
            log_filter: "debug".parse().unwrap(),
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_flag_given_twice_counts_the_second_time() {
        let config = resolved(&["--listen=127.0.0.1:1", "--listen=127.0.0.1:2"]).unwrap();
        assert_eq!(config.listen.port(), 2);
    }

    #[test]
    fn a_configuration_file_that_was_given_must_be_there() {
        let error = file_layer(Some(Path::new("/no/such/clos.yaml"))).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "cannot read the configuration file /no/such/clos.yaml: No such file or directory (os error 2)"
        );
    }
}
