//! How containers come, run, end and go, and which events each of it brings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, KillContainerOptions, RemoveContainerOptions, StopContainerOptions,
};
use clos_engine::engine::{Done, Engine};
use clos_engine::error::Error;
use clos_engine::events::Happened;
use clos_plan::action::EngineAction;
use clos_plan::container::ContainerOptions;
use clos_plan::observed::{ContainerState, Health};

use crate::bench::{Bench, PATIENCE, existing};
use crate::image;

pub(crate) const FOREVER: &str = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.1; done";

fn died(exit_code: i64) -> Happened {
    Happened::Died { exit_code }
}

fn kill(signal: &str) -> Happened {
    Happened::Killed {
        signal: signal.to_owned(),
    }
}

#[tokio::test]
async fn a_container_is_made_started_stopped_and_removed() {
    let bench = Bench::new().await;
    let mut events = bench.events().await;
    assert_eq!(bench.observe("web").await.containers, BTreeMap::new());

    let id = bench.create(bench.options("web", FOREVER)).await.unwrap();
    let made = bench.container("web").await;
    assert_eq!(
        (made.id.as_str(), &made.state, &made.labels),
        (id.as_str(), &ContainerState::Created, &bench.labels("web"))
    );

    bench.start(&id).await.unwrap();
    bench.ready(&id, 1).await;
    assert_eq!(
        bench.start(&id).await,
        Ok(Done::Nothing),
        "starting what runs is fine"
    );
    let running = bench.container("web").await;
    assert!(
        matches!(running.state, ContainerState::Running { started_at, health: Health::None } if started_at >= made.created_at)
    );
    assert!(
        matches!(bench.remove(&id).await, Err(Error::Refused(_))),
        "it runs"
    );

    bench.stop(&id, Duration::from_secs(10)).await.unwrap();
    assert_eq!(
        bench.stop(&id, Duration::from_secs(10)).await,
        Ok(Done::Nothing),
        "stopping what does not run is fine"
    );
    assert_eq!(bench.end("web").await, (143, false));

    bench.remove(&id).await.unwrap();
    assert_eq!(
        bench.remove(&id).await,
        Ok(Done::Nothing),
        "removing what is gone is fine"
    );
    assert_eq!(
        bench.stop(&id, Duration::ZERO).await,
        Ok(Done::Nothing),
        "stopping what is gone is fine"
    );
    assert!(matches!(bench.start(&id).await, Err(Error::NotFound(_))));
    assert_eq!(bench.observe("web").await.containers, BTreeMap::new());

    let mut happened = events.up_to(&Happened::Destroyed).await;
    // The engine tells these two in either order.
    happened[3..5].sort_by_key(|what| *what == Happened::Stopped);
    let expected = [
        Happened::Created,
        Happened::Started,
        kill("15"),
        died(143),
        Happened::Stopped,
        Happened::Destroyed,
    ];
    assert_eq!(happened, expected);
}

#[tokio::test]
async fn an_end_of_its_own_is_only_died_with_the_code() {
    let bench = Bench::new().await;
    let mut events = bench.events().await;
    bench.run(bench.options("job", "exit 7")).await;
    assert_eq!(bench.end("job").await, (7, false));
    assert_eq!(
        events.up_to(&died(7)).await,
        [Happened::Created, Happened::Started, died(7)]
    );
    bench.run(bench.options("done", "exit 0")).await;
    assert_eq!(bench.end("done").await, (0, false));
}

#[tokio::test]
async fn what_people_do_by_hand_is_told() {
    let bench = Bench::new().await;
    let mut events = bench.events().await;
    let id = bench.run(bench.options("web", FOREVER)).await;
    events.up_to(&Happened::Started).await;
    bench.ready(&id, 1).await;

    let signal = KillContainerOptions {
        signal: "KILL".to_owned(),
    };
    bench
        .docker
        .kill_container(&id, Some(signal))
        .await
        .unwrap();
    assert_eq!(events.up_to(&died(137)).await, [kill("9"), died(137)]);
    assert_eq!(bench.end("web").await, (137, false));

    bench.start(&id).await.unwrap();
    events.up_to(&Happened::Started).await;
    bench.ready(&id, 2).await;
    bench
        .docker
        .stop_container(&id, None::<StopContainerOptions>)
        .await
        .unwrap();
    let happened = events.up_to(&died(143)).await;
    assert_eq!(happened.first(), Some(&kill("15")));

    bench.start(&id).await.unwrap();
    events.up_to(&Happened::Started).await;
    bench.docker.pause_container(&id).await.unwrap();
    assert!(matches!(
        bench.container("web").await.state,
        ContainerState::Paused { .. }
    ));
    bench
        .execute(EngineAction::UnpauseContainer {
            container: existing(&id),
        })
        .await
        .unwrap();
    let again = bench
        .execute(EngineAction::UnpauseContainer {
            container: existing(&id),
        })
        .await;
    assert_eq!(
        again,
        Ok(Done::Nothing),
        "thawing what is not frozen is fine"
    );
    assert_eq!(
        events.up_to(&Happened::Unpaused).await,
        [Happened::Paused, Happened::Unpaused]
    );

    let force = RemoveContainerOptions {
        force: true,
        ..RemoveContainerOptions::default()
    };
    bench
        .docker
        .remove_container(&id, Some(force))
        .await
        .unwrap();
    assert_eq!(
        events.up_to(&Happened::Destroyed).await,
        [kill("9"), died(137), Happened::Destroyed]
    );
}

#[tokio::test]
async fn a_program_that_ignores_the_stop_is_killed_after_its_grace_period_and_not_before() {
    let bench = Bench::new().await;
    let id = bench
        .run(bench.options("deaf", "trap '' TERM; while :; do sleep 0.1; done"))
        .await;
    let began = Instant::now();
    bench.stop(&id, Duration::from_millis(1500)).await.unwrap();
    assert!(
        began.elapsed() >= Duration::from_millis(1500),
        "the grace period was cut short: {:?}",
        began.elapsed()
    );
    assert_eq!(bench.end("deaf").await, (137, false));
}

#[tokio::test]
async fn the_stop_signal_is_the_one_asked_for() {
    let bench = Bench::new().await;
    let script = "trap 'exit 31' USR1; echo ready; while :; do sleep 0.1; done";
    let options = ContainerOptions {
        stop_signal: Some("SIGUSR1".to_owned()),
        ..bench.options("web", script)
    };
    let id = bench.run(options).await;
    bench.ready(&id, 1).await;
    bench.stop(&id, Duration::from_secs(30)).await.unwrap();
    assert_eq!(bench.end("web").await, (31, false));
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_that_touches_nothing() {
    let bench = Bench::new().await;
    let name = CreateContainerOptions {
        name: Some(bench.name("web")),
        ..CreateContainerOptions::default()
    };
    let labels = [(
        clos_resources::names::LABEL_INSTALLATION.to_owned(),
        bench.installation.clone(),
    )]
    .into_iter()
    .collect();
    let body = ContainerCreateBody {
        image: Some(image::BUSYBOX.to_owned()),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    let foreign = bench
        .docker
        .create_container(Some(name), body)
        .await
        .unwrap()
        .id;
    bench.docker.start_container(&foreign, None).await.unwrap();

    let refused = bench.create(bench.options("web", FOREVER)).await;
    assert!(
        matches!(&refused, Err(Error::NameTaken(words)) if words.contains(&foreign)),
        "{refused:?}"
    );
    let observed = bench.observe("web").await;
    assert_eq!(
        observed.containers.keys().collect::<Vec<_>>(),
        [&foreign],
        "what is in the way is seen"
    );
    assert!(matches!(
        observed.containers[&foreign].state,
        ContainerState::Running { .. }
    ));
}

#[tokio::test]
async fn every_container_of_an_instance_is_seen_whatever_its_name() {
    let bench = Bench::new().await;
    let renamed = ContainerOptions {
        name: bench.name("other"),
        ..bench.options("web", FOREVER)
    };
    let first = bench.create(bench.options("web", FOREVER)).await.unwrap();
    let second = bench.create(renamed).await.unwrap();
    let decoy = bench.create(bench.options("decoy", FOREVER)).await.unwrap();
    let seen = bench.observe("web").await.containers;
    assert!(
        seen.contains_key(&first) && seen.contains_key(&second) && !seen.contains_key(&decoy),
        "{:?}",
        seen.keys()
    );
}

#[tokio::test]
async fn containers_killed_for_memory_say_so_as_soon_as_the_engine_has_told_it() {
    let bench = Bench::new().await;
    let mut events = bench.events().await;
    // The engine tells of some only after they died, and under load now and then not at all.
    let names: Vec<String> = (0..8).map(|number| format!("hungry-{number}")).collect();
    let runs = names.iter().map(async |name| {
        let mut options = bench.options(name, "");
        options.limits.memory = Some(16 << 20);
        options.command = ["tail", "/dev/zero"].map(str::to_owned).to_vec();
        bench.run(options).await
    });
    let ids: BTreeSet<String> = futures::future::join_all(runs).await.into_iter().collect();
    for name in &names {
        assert_eq!(bench.end(name).await.0, 137);
    }
    let mut told = BTreeSet::new();
    let told_is_shown = async {
        loop {
            told.extend(events.arrived(&Happened::OutOfMemory));
            let mut shown = BTreeSet::new();
            for name in &names {
                if bench.end(name).await.1 {
                    shown.insert(bench.container(name).await.id);
                }
            }
            if !told.is_empty() && shown == told {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told_is_shown)
        .await
        .expect("what is told is shown");
    assert!(told.is_subset(&ids), "{told:?} of {ids:?}");
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let bench = Bench::new().await;
    let info = bench.engine.info().await.unwrap();
    assert_eq!(info.engine.name, "Docker");
    assert!(
        !info.engine.version.is_empty() && info.engine.api_version.starts_with("1."),
        "{info:?}"
    );
    assert!(
        info.capacity.cpu.units() >= 1
            && info.capacity.memory.units() > 1 << 20
            && !info.hostname.is_empty(),
        "{info:?}"
    );
}

#[tokio::test]
async fn a_line_of_the_list_changes_when_the_container_does() {
    let bench = Bench::new().await;
    let id = bench.run(bench.options("web", FOREVER)).await;
    let line = async || {
        let listed = bench.engine.list().await.unwrap();
        listed.into_iter().find(|line| line.id == id).unwrap()
    };
    let first = line().await;
    assert_eq!(
        (&first.installation, &first.instance_uid),
        (&bench.installation, &bench.name("web"))
    );
    assert_eq!(
        (first.namespace.as_str(), first.instance.as_str()),
        ("default", "web")
    );
    assert_eq!(line().await, first);
    bench.stop(&id, Duration::ZERO).await.unwrap();
    assert_ne!(line().await, first);
}
