//! The fake keeps the engine's rules; the same ones are tested on the real engine.

mod faults;
mod surroundings;

use std::collections::{BTreeMap, BTreeSet};

use clos_plan::container::{ContainerOptions, LimitOptions, NetworkOptions, PortOptions};
use clos_plan::observed::Health;
use clos_resources::container::Protocol;

use super::world::by_hand;
use super::*;
use crate::events::{ContainerEvent, Happened};

const LABELS: [(&str, &str); 2] = [
    (names::LABEL_INSTALLATION, "here"),
    (names::LABEL_INSTANCE_UID, "uid"),
];

fn nothing(_: Progress) {}

fn options(name: &str, image: &str, port: Option<u16>) -> ContainerOptions {
    let labels = LABELS
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    by_hand(
        name,
        image,
        labels,
        port.map(published).into_iter().collect(),
    )
}

fn published(port: u16) -> PortOptions {
    PortOptions {
        protocol: Protocol::Tcp,
        container_port: 80,
        host_ip: "127.0.0.1".to_owned(),
        host_port: port,
    }
}

fn existing(id: &str) -> Target {
    Target::Existing {
        id: id.to_owned(),
        name: "web".to_owned(),
    }
}

async fn create(engine: &FakeEngine, options: ContainerOptions) -> Result<String, Error> {
    match engine
        .execute(&EngineAction::CreateContainer(Box::new(options)), &nothing)
        .await?
    {
        Done::Container(id) => Ok(id),
        Done::Nothing => panic!("no container"),
    }
}

async fn start(engine: &FakeEngine, id: &str) -> Result<Done, Error> {
    engine
        .execute(
            &EngineAction::StartContainer {
                container: existing(id),
            },
            &nothing,
        )
        .await
}

async fn running(engine: &FakeEngine, name: &str, image: &str) -> String {
    let id = create(engine, options(name, image, None)).await.unwrap();
    start(engine, &id).await.unwrap();
    id
}

/// What happened, one after the other, until the container was destroyed or nothing more waits.
fn told(events: &mut BoxStream<'static, EngineEvent>) -> Vec<Happened> {
    let mut told = Vec::new();
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        match event {
            EngineEvent::Container(ContainerEvent { what, .. }) => told.push(what),
            EngineEvent::Connected
            | EngineEvent::Lost { .. }
            | EngineEvent::Overflow
            | EngineEvent::Freed { .. }
            | EngineEvent::Image { .. } => {}
        }
    }
    told
}

fn state(engine: &FakeEngine, id: &str) -> ContainerState {
    engine
        .containers()
        .into_iter()
        .find(|container| container.id == id)
        .unwrap()
        .state
}

fn exit(engine: &FakeEngine, id: &str) -> (i64, bool) {
    match state(engine, id) {
        ContainerState::Exited {
            code, oom_killed, ..
        } => (code, oom_killed),
        other => panic!("{other:?} is no end"),
    }
}

fn kill(signal: &str) -> Happened {
    Happened::Killed {
        signal: signal.to_owned(),
    }
}

fn died(exit_code: i64) -> Happened {
    Happened::Died { exit_code }
}

#[tokio::test]
async fn each_end_of_a_container_brings_its_own_events() {
    let engine = FakeEngine::builder()
        .image("web")
        .present(FakeImage::new("deaf").program(Program::runs().ignoring_stop()))
        .build();
    let mut events = engine.events();

    let id = running(&engine, "crashes", "web").await;
    assert_eq!(told(&mut events), [Happened::Created, Happened::Started]);
    engine.crash(&id, 3);
    assert_eq!(
        (told(&mut events), exit(&engine, &id)),
        (vec![died(3)], (3, false))
    );

    let id = running(&engine, "killed", "web").await;
    told(&mut events);
    engine.kill_by_hand(&id);
    assert_eq!(
        (told(&mut events), exit(&engine, &id)),
        (vec![kill("9"), died(137)], (137, false))
    );

    let id = running(&engine, "stopped", "web").await;
    told(&mut events);
    engine.stop_by_hand(&id);
    assert_eq!(
        (told(&mut events), exit(&engine, &id)),
        (vec![kill("15"), died(143), Happened::Stopped], (143, false))
    );

    let id = running(&engine, "deaf", "deaf").await;
    told(&mut events);
    engine.stop_by_hand(&id);
    assert_eq!(
        told(&mut events),
        [kill("15"), kill("9"), died(137), Happened::Stopped]
    );

    let id = running(&engine, "hungry", "web").await;
    told(&mut events);
    engine.run_out_of_memory(&id);
    assert_eq!(
        (told(&mut events), exit(&engine, &id)),
        (vec![Happened::OutOfMemory, died(137)], (137, true))
    );

    let id = running(&engine, "removed", "web").await;
    told(&mut events);
    engine.remove_by_hand(&id).unwrap();
    assert_eq!(
        told(&mut events),
        [kill("9"), died(137), Happened::Destroyed]
    );

    let id = running(&engine, "restarted", "web").await;
    told(&mut events);
    engine.restart_by_hand(&id).unwrap();
    assert_eq!(
        told(&mut events),
        [kill("15"), died(143), Happened::Stopped, Happened::Started]
    );

    engine.pause_by_hand(&id);
    engine
        .execute(
            &EngineAction::UnpauseContainer {
                container: existing(&id),
            },
            &nothing,
        )
        .await
        .unwrap();
    engine.update_by_hand(
        &id,
        LimitOptions {
            pids: Some(1),
            ..LimitOptions::default()
        },
    );
    engine.set_health(&id, Health::Healthy);
    assert_eq!(
        told(&mut events),
        [
            Happened::Paused,
            Happened::Unpaused,
            Happened::Changed,
            Happened::Health
        ]
    );
}

#[tokio::test]
async fn removing_a_stopped_container_tells_only_of_its_removal_and_twice_is_fine() {
    let engine = FakeEngine::builder().image("web").build();
    let id = running(&engine, "web", "web").await;
    let remove = EngineAction::RemoveContainer {
        container: existing(&id),
    };
    assert!(
        matches!(
            engine.execute(&remove, &nothing).await,
            Err(Error::Refused(_))
        ),
        "it runs"
    );
    engine.crash(&id, 0);
    let mut events = engine.events();
    assert_eq!(engine.execute(&remove, &nothing).await, Ok(Done::Nothing));
    assert_eq!(engine.execute(&remove, &nothing).await, Ok(Done::Nothing));
    assert_eq!(told(&mut events), [Happened::Destroyed]);
}

#[tokio::test]
async fn a_name_is_taken_once_and_an_image_must_be_there() {
    let engine = FakeEngine::builder().image("web").build();
    create(&engine, options("web", "web", None)).await.unwrap();
    assert!(matches!(
        create(&engine, options("web", "web", None)).await,
        Err(Error::NameTaken(_))
    ));
    assert!(matches!(
        create(&engine, options("api", "api", None)).await,
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn a_taken_port_fails_the_start_and_leaves_the_container_created() {
    let engine = FakeEngine::builder().image("web").build();
    let foreign = engine
        .run_by_hand(
            "nginx",
            "web",
            BTreeMap::new(),
            BTreeSet::from([published(80)]),
        )
        .unwrap();
    let id = create(&engine, options("web", "web", Some(80)))
        .await
        .unwrap();
    assert!(
        matches!(start(&engine, &id).await, Err(Error::PortTaken { message, .. }) if message.contains("port is already allocated"))
    );
    assert_eq!(state(&engine, &id), ContainerState::Created);
    assert_eq!(
        engine.publishers(80).await.unwrap(),
        [format!("container nginx ({})", &foreign[..12])]
    );

    engine.remove_by_hand(&foreign).unwrap();
    engine.listen_by_hand(Protocol::Tcp, 80, "sshd (pid 1)");
    assert!(
        matches!(start(&engine, &id).await, Err(Error::PortTaken { message, .. }) if message.contains("address already in use"))
    );
    assert_eq!(
        engine.publishers(80).await.unwrap(),
        ["process sshd (pid 1)"]
    );

    engine.free_port(Protocol::Tcp, 80);
    start(&engine, &id).await.unwrap();
    start(&engine, &id)
        .await
        .expect("starting what runs is fine");
}

#[tokio::test]
async fn a_program_may_fail_first_and_run_later() {
    let engine = FakeEngine::builder()
        .present(FakeImage::new("web").program(Program::exits_first(2, 7)))
        .build();
    let id = running(&engine, "web", "web").await;
    assert_eq!(exit(&engine, &id), (7, false));
    start(&engine, &id).await.unwrap();
    assert_eq!(exit(&engine, &id), (7, false));
    start(&engine, &id).await.unwrap();
    assert!(matches!(
        state(&engine, &id),
        ContainerState::Running { .. }
    ));
}

#[tokio::test]
async fn a_program_that_cannot_start_leaves_the_container_created() {
    let engine = FakeEngine::builder()
        .present(FakeImage::new("web").program(Program::refused("no such file")))
        .build();
    let id = create(&engine, options("web", "web", None)).await.unwrap();
    assert_eq!(
        start(&engine, &id).await,
        Err(Error::Refused("no such file".to_owned()))
    );
    assert_eq!(state(&engine, &id), ContainerState::Created);
}

#[tokio::test]
async fn lines_are_read_from_the_end_and_followed_until_the_container_ends() {
    let engine = FakeEngine::builder().image("web").build();
    let id = running(&engine, "web", "web").await;
    for line in ["one", "two", "three"] {
        engine.write_line(&id, line == "two", line);
    }
    let tail: Vec<LogLine> = engine
        .logs(
            &id,
            LogOptions {
                tail: Some(2),
                ..LogOptions::default()
            },
        )
        .map(Result::unwrap)
        .collect()
        .await;
    assert_eq!(
        tail.iter()
            .map(|line| (line.stderr, line.text.as_str()))
            .collect::<Vec<_>>(),
        [(true, "two"), (false, "three")]
    );
    let mut following = engine.logs(
        &id,
        LogOptions {
            follow: true,
            tail: Some(0),
            since: None,
        },
    );
    assert!(futures::FutureExt::now_or_never(following.next()).is_none());
    engine.write_line(&id, false, "four");
    assert_eq!(following.next().await.unwrap().unwrap().text, "four");
    engine.crash(&id, 0);
    assert!(following.next().await.is_none());
    assert!(matches!(
        engine.logs("gone", LogOptions::default()).next().await,
        Some(Err(Error::NotFound(_)))
    ));
}

#[tokio::test]
async fn a_line_of_the_list_changes_with_the_state() {
    let engine = FakeEngine::builder().image("web").build();
    let id = running(&engine, "web", "web").await;
    let before = engine.list().await.unwrap();
    assert_eq!(engine.list().await.unwrap(), before);
    engine.crash(&id, 1);
    assert_ne!(engine.list().await.unwrap(), before);
}
