//! What all tests of commands need, and the golden texts of every command's help.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::CommandFactory;
use clos_apiserver::{ApiServer, ApiServerConfig, Retention};
use clos_audit::{Journal, Redactor};
use clos_auth::{Identity, Method};
use clos_engine::Engine;
use clos_engine::engine::Done;
use clos_engine::fake::FakeEngine;
use clos_plan::action::{EngineAction, Target};
use clos_plan::container::{ContainerOptions, LimitOptions};
use clos_store::Store;
use clos_telemetry::Metrics;
use kube::Client;

use crate::Ending;
use crate::args::Cli;
use crate::connect::now;

/// A client of a server in memory, as its administrator. It has no controllers: what is applied stays as it is.
pub(crate) async fn server() -> Client {
    let store = Store::in_memory();
    let config = ApiServerConfig {
        journal: Journal::new(store.clone(), Redactor::default(), now),
        store,
        crds: clos_resources::crds(),
        clock: now,
        readiness: Arc::new(|| Ok(())),
        metrics: Metrics::new(),
        retention: Retention::default(),
    };
    let admin = Identity {
        user: "admin".to_owned(),
        groups: ["system:masters".to_owned()].into_iter().collect(),
        method: Method::ClientCertificate,
    };
    ApiServer::new(config).await.unwrap().client(admin)
}

/// A client of a server that holds what this YAML declares.
pub(crate) async fn holding(yaml: &str) -> Client {
    let client = server().await;
    let mut manifests = clos_sources::Manifests::default();
    manifests.read(std::path::Path::new("shop.yaml"), yaml.as_bytes());
    crate::apply::apply(&client, manifests, &mut |_| Ok(()))
        .await
        .unwrap();
    client
}

/// A running container of this instance, by id.
pub(crate) async fn container(engine: &FakeEngine, instance: &str, image: &str) -> String {
    let options = ContainerOptions {
        name: format!("clos_default_{instance}"),
        image: image.to_owned(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        working_dir: None,
        user: None,
        env: BTreeMap::new(),
        labels: BTreeMap::new(),
        mounts: BTreeMap::new(),
        network: "bridge".to_owned(),
        aliases: BTreeSet::new(),
        ports: BTreeSet::new(),
        limits: LimitOptions::default(),
        stop_timeout: Duration::from_secs(10),
        stop_signal: None,
    };
    let Done::Container(id) = engine
        .execute(&EngineAction::CreateContainer(Box::new(options)), &|_| {})
        .await
        .unwrap()
    else {
        panic!("a container that was made has an id")
    };
    start(engine, &id).await;
    id
}

/// Starts a container.
pub(crate) async fn start(engine: &FakeEngine, id: &str) {
    let container = Target::Existing {
        id: id.to_owned(),
        name: id.to_owned(),
    };
    engine
        .execute(&EngineAction::StartContainer { container }, &|_| {})
        .await
        .unwrap();
}

#[test]
fn the_help_of_every_command_is_written_for_users() {
    // The width of a terminal, whatever this runs in.
    let mut whole = Cli::command().term_width(100);
    whole.build();
    insta::assert_snapshot!("help", whole.render_long_help());
    for command in whole
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let text = command
            .clone()
            .term_width(100)
            .render_long_help()
            .to_string();
        insta::assert_snapshot!(format!("help-{}", command.get_name()), text);
    }
}

#[test]
fn every_ending_has_an_exit_code_of_its_own() {
    let code = |ending: Ending| format!("{:?}", ExitCode::from(ending));
    let endings = [
        Ending::Done,
        Ending::NotAsAsked,
        Ending::Differences,
        Ending::Deadline,
        Ending::Interrupted,
    ];
    let expected = [0, 1, 2, 124, 130].map(|code: u8| format!("{:?}", ExitCode::from(code)));
    assert_eq!(endings.map(code), expected);
}

#[test]
fn a_wrong_command_line_is_refused_with_what_would_be_right() {
    let lines: [&[&str]; 12] = [
        &["aply", "-f", "x"],
        &["apply"],
        &["apply", "-f", "x", "--timeout", "1m"],
        &["apply", "-f", "x", "--wait", "--timeout", "soon"],
        &["get"],
        &["get", "csvc", "web", "-A"],
        &["down"],
        &["down", "shop", "--all"],
        &["backup"],
        &["restore"],
        &["serve", "--confirm-removals"],
        &["completion", "tcsh"],
    ];
    let mut told = Vec::new();
    for line in lines {
        let arguments = ["clos"].iter().chain(line);
        let error = Cli::command()
            .term_width(100)
            .try_get_matches_from(arguments)
            .unwrap_err();
        assert_eq!(crate::refused(&error), Ending::NotAsAsked, "{line:?}");
        told.push(format!("$ clos {}\n{error}\n", line.join(" ")));
    }
    insta::assert_snapshot!(told.concat());
}

#[test]
fn asking_for_help_or_the_version_is_no_mistake() {
    for line in [
        &["clos", "--help"][..],
        &["clos", "--version"],
        &["clos", "plan", "-h"],
        &["clos", "help", "restore"],
    ] {
        let error = Cli::command().try_get_matches_from(line).unwrap_err();
        assert_eq!(crate::refused(&error), Ending::Done, "{line:?}");
    }
}
