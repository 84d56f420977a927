//! What containers hang on: host ports, networks and their names, volumes, limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use bollard::models::{ContainerUpdateBody, NetworkDisconnectRequest};
use clos_engine::engine::{Done, Engine};
use clos_engine::error::Error;
use clos_engine::events::Happened;
use clos_plan::action::EngineAction;
use clos_plan::container::{
    ContainerOptions, LimitOptions, MountOptions, PortOptions, Sensitive, VolumeOptions,
};
use clos_plan::observed::{ContainerState, LiveOptions};
use clos_resources::container::Protocol;

use crate::bench::Bench;

const FOREVER: &str = "trap 'exit 143' TERM; while :; do sleep 0.1; done";

/// A port of loopback that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn publishing(bench: &Bench, name: &str, host_port: u16) -> ContainerOptions {
    let port = PortOptions {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_ip: "127.0.0.1".to_owned(),
        host_port,
    };
    ContainerOptions {
        ports: BTreeSet::from([port]),
        ..bench.options(name, FOREVER)
    }
}

#[tokio::test]
async fn i4_a_port_of_another_container_is_taken_until_that_one_is_gone() {
    let bench = Bench::new().await;
    let port = free_port();
    let holder = bench.run(publishing(&bench, "holder", port)).await;
    let waiting = bench
        .create(publishing(&bench, "waiting", port))
        .await
        .unwrap();
    let refused = bench.start(&waiting).await;
    assert!(
        matches!(&refused, Err(Error::PortTaken { message, .. }) if message.contains(&port.to_string())),
        "{refused:?}"
    );
    assert_eq!(
        bench.container("waiting").await.state,
        ContainerState::Created
    );
    let named = format!("container {} ({})", bench.name("holder"), &holder[..12]);
    assert_eq!(bench.engine.publishers(port).await.unwrap(), [named]);

    bench.stop(&holder, Duration::ZERO).await.unwrap();
    bench.start(&waiting).await.expect("the port is free again");
}

#[tokio::test]
async fn a_port_that_a_process_of_the_host_listens_on_is_taken() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let id = bench.create(publishing(&bench, "web", port)).await.unwrap();
    let refused = bench.start(&id).await;
    assert!(
        matches!(&refused, Err(Error::PortTaken { message, .. }) if message.contains("address already in use")),
        "{refused:?}"
    );
    assert_eq!(bench.container("web").await.state, ContainerState::Created);
    let holders = bench.engine.publishers(port).await.unwrap();
    let me = format!("(pid {})", std::process::id());
    assert!(
        holders
            .iter()
            .any(|holder| holder.starts_with("process ") && holder.ends_with(&me)),
        "{holders:?}"
    );

    drop(listener);
    bench.start(&id).await.expect("the port is free");
}

#[tokio::test]
async fn i6_everything_that_was_asked_for_reads_back_the_same_before_and_after_the_start() {
    let bench = Bench::new().await;
    let mut options = publishing(&bench, "web", free_port());
    options.aliases = BTreeSet::from(["web".to_owned(), "web-0".to_owned()]);
    options.env = BTreeMap::from([("SECRET".to_owned(), Sensitive::new("hunter2"))]);
    options.limits = LimitOptions {
        nano_cpus: Some(500_000_000),
        memory: Some(64 << 20),
        pids: Some(100),
    };
    options.mounts = BTreeMap::from([
        (
            "/data".to_owned(),
            MountOptions::Volume {
                name: bench.name("volume"),
                read_only: true,
            },
        ),
        (
            "/scratch".to_owned(),
            MountOptions::Tmpfs {
                size: Some(1 << 20),
                read_only: false,
            },
        ),
    ]);
    let least = bench.options("least", FOREVER);
    bench
        .execute(EngineAction::CreateVolume(volume(&bench)))
        .await
        .unwrap();
    for (name, options) in [("web", options), ("least", least)] {
        let expected = LiveOptions {
            networks: BTreeMap::from([(options.network.clone(), options.aliases.clone())]),
            limits: options.limits.clone(),
            restart_policy: "no".to_owned(),
            mounts: options.mounts.clone(),
            ports: options.ports.clone(),
        };
        let id = bench.create(options).await.unwrap();
        assert_eq!(bench.container(name).await.live, expected, "{name} before");
        bench.start(&id).await.unwrap();
        assert_eq!(bench.container(name).await.live, expected, "{name} running");
        bench.stop(&id, Duration::ZERO).await.unwrap();
        assert_eq!(bench.container(name).await.live, expected, "{name} stopped");
    }
}

fn volume(bench: &Bench) -> VolumeOptions {
    VolumeOptions {
        name: bench.name("volume"),
        labels: bench.labels("volume"),
    }
}

#[tokio::test]
async fn i11_a_volume_outlives_its_containers_and_keeps_what_was_written() {
    let bench = Bench::new().await;
    let make = || EngineAction::CreateVolume(volume(&bench));
    bench.execute(make()).await.unwrap();
    assert_eq!(
        bench.execute(make()).await,
        Ok(Done::Nothing),
        "making it again is fine"
    );
    let mounted = |name: &str, read_only, script: &str| ContainerOptions {
        mounts: BTreeMap::from([(
            "/data".to_owned(),
            MountOptions::Volume {
                name: bench.name("volume"),
                read_only,
            },
        )]),
        ..bench.options(name, script)
    };
    let writer = bench
        .run(mounted("writer", false, "echo kept > /data/file"))
        .await;
    assert_eq!(bench.end("writer").await, (0, false));
    bench.remove(&writer).await.unwrap();
    let seen = bench.observe("writer").await.volumes;
    let found = &seen[&bench.name("volume")];
    assert_eq!(
        (found.driver.as_str(), found.options.len(), &found.labels),
        ("local", 0, &volume(&bench).labels)
    );

    bench
        .run(mounted(
            "reader",
            true,
            "test \"$(cat /data/file)\" = kept && ! touch /data/other",
        ))
        .await;
    assert_eq!(
        bench.end("reader").await,
        (0, false),
        "a read-only mount can be read and not written"
    );
}

#[tokio::test]
async fn memory_file_systems_are_as_large_as_asked_for() {
    let bench = Bench::new().await;
    let mut options = bench.options(
        "web",
        "echo ok > /scratch/file && ! cat /dev/zero > /scratch/full && ! touch /fixed/file",
    );
    options.mounts = BTreeMap::from([
        (
            "/scratch".to_owned(),
            MountOptions::Tmpfs {
                size: Some(64 << 10),
                read_only: false,
            },
        ),
        (
            "/fixed".to_owned(),
            MountOptions::Tmpfs {
                size: None,
                read_only: true,
            },
        ),
    ]);
    bench.run(options).await;
    assert_eq!(bench.end("web").await, (0, false));
}

#[tokio::test]
async fn containers_of_a_network_find_each_other_by_their_aliases() {
    let bench = Bench::new().await;
    let aliases = BTreeSet::from(["db".to_owned()]);
    bench
        .run(ContainerOptions {
            aliases,
            ..bench.options("db-0", FOREVER)
        })
        .await;
    bench
        .run(bench.options("client", "until nslookup db 127.0.0.11; do sleep 0.1; done"))
        .await;
    assert_eq!(bench.end("client").await, (0, false));
}

#[tokio::test]
async fn a_network_is_made_once_seen_with_its_labels_and_removed_when_empty() {
    let bench = Bench::new().await;
    let make = EngineAction::CreateNetwork(bench.network());
    assert_eq!(
        bench.execute(make).await,
        Ok(Done::Nothing),
        "making it again is fine"
    );
    let networks = bench.observe("web").await.networks;
    assert_eq!(networks.len(), 1);
    assert_eq!(networks[0].labels, bench.network().labels);
    assert!(
        bench
            .engine
            .networks()
            .await
            .unwrap()
            .contains(&networks[0])
    );

    let remove = || EngineAction::RemoveNetwork {
        id: networks[0].id.clone(),
        name: networks[0].name.clone(),
    };
    let id = bench.run(bench.options("web", FOREVER)).await;
    let refused = bench.execute(remove()).await;
    assert!(refused.is_err(), "a container is attached");
    bench.stop(&id, Duration::ZERO).await.unwrap();
    bench.remove(&id).await.unwrap();
    bench.execute(remove()).await.unwrap();
    assert_eq!(
        bench.execute(remove()).await,
        Ok(Done::Nothing),
        "removing what is gone is fine"
    );
    assert_eq!(bench.observe("web").await.networks, []);
}

#[tokio::test]
async fn changes_behind_our_back_are_told_and_seen() {
    let bench = Bench::new().await;
    let id = bench.run(bench.options("web", FOREVER)).await;
    let mut events = bench.events().await;

    let limits = ContainerUpdateBody {
        memory: Some(64 << 20),
        memory_swap: Some(64 << 20),
        ..ContainerUpdateBody::default()
    };
    bench.docker.update_container(&id, limits).await.unwrap();
    assert_eq!(events.up_to(&Happened::Changed).await, [Happened::Changed]);
    assert_eq!(
        bench.container("web").await.live.limits,
        LimitOptions {
            memory: Some(64 << 20),
            ..LimitOptions::default()
        }
    );

    let leave = NetworkDisconnectRequest {
        container: id.clone(),
        force: None,
    };
    bench
        .docker
        .disconnect_network(&bench.name("net"), leave)
        .await
        .unwrap();
    assert_eq!(events.up_to(&Happened::Changed).await, [Happened::Changed]);
    assert_eq!(bench.container("web").await.live.networks, BTreeMap::new());
}

#[tokio::test]
async fn containers_run_without_new_privileges_and_with_limited_processes() {
    let bench = Bench::new().await;
    let id = bench.run(bench.options("web", FOREVER)).await;
    let shown = bench
        .docker
        .inspect_container(&id, None)
        .await
        .unwrap()
        .host_config
        .unwrap();
    assert_eq!(
        shown.security_opt,
        Some(vec!["no-new-privileges:true".to_owned()])
    );
    assert_eq!(
        (shown.pids_limit, shown.privileged, shown.cap_add),
        (Some(4096), Some(false), None)
    );
    let log = shown.log_config.unwrap();
    let options: BTreeMap<String, String> = log.config.unwrap().into_iter().collect();
    assert_eq!(
        (
            log.typ.as_deref(),
            options["max-size"].as_str(),
            options["max-file"].as_str()
        ),
        (Some("json-file"), "10m", "3")
    );
}
