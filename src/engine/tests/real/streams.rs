//! Logs as lines, and events over a connection that breaks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clos_engine::docker::DockerEngine;
use clos_engine::engine::Engine;
use clos_engine::error::Error;
use clos_engine::events::{EngineEvent, Happened};
use clos_engine::logs::{LogLine, LogOptions};
use futures::{Stream, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bench::Bench;

async fn lines(bench: &Bench, id: &str, options: LogOptions) -> Vec<LogLine> {
    let read = bench.engine.logs(id, options).map(Result::unwrap).collect();
    tokio::time::timeout(Duration::from_mins(1), read)
        .await
        .expect("the lines end")
}

fn texts(lines: &[LogLine]) -> Vec<(bool, &str)> {
    lines
        .iter()
        .map(|line| (line.stderr, line.text.as_str()))
        .collect()
}

#[tokio::test]
async fn lines_are_read_whole_in_order_and_with_their_times() {
    let bench = Bench::new().await;
    let long = "x".repeat(40_000);
    let script =
        "echo one; sleep 0.2; echo two >&2; sleep 0.2; printf '%040000d\\n' 0; printf three";
    let id = bench.run(bench.options("web", script)).await;
    bench.end("web").await;
    let all = lines(&bench, &id, LogOptions::default()).await;
    let zeros = long.replace('x', "0");
    assert_eq!(
        texts(&all),
        [
            (false, "one"),
            (true, "two"),
            (false, zeros.as_str()),
            (false, "three")
        ]
    );
    assert!(all.iter().all(|line| line.at.is_some()) && all.is_sorted_by_key(|line| line.at));

    let tail = lines(
        &bench,
        &id,
        LogOptions {
            tail: Some(1),
            ..LogOptions::default()
        },
    )
    .await;
    assert_eq!(texts(&tail), [(false, "three")]);
    let since = lines(
        &bench,
        &id,
        LogOptions {
            since: all[1].at,
            ..LogOptions::default()
        },
    )
    .await;
    assert_eq!(since, all[2..]);
}

#[tokio::test]
async fn following_gives_lines_as_they_come_and_ends_with_the_container() {
    let bench = Bench::new().await;
    let script = "echo first; until test -e /go; do sleep 0.1; done; echo second";
    let id = bench.run(bench.options("web", script)).await;
    let mut following = bench.engine.logs(
        &id,
        LogOptions {
            follow: true,
            ..LogOptions::default()
        },
    );
    assert_eq!(following.next().await.unwrap().unwrap().text, "first");
    touch(&bench, &id).await;
    assert_eq!(following.next().await.unwrap().unwrap().text, "second");
    assert_eq!(following.next().await, None);
}

async fn touch(bench: &Bench, id: &str) {
    let command = bollard::models::ExecConfig {
        cmd: Some(vec!["touch".to_owned(), "/go".to_owned()]),
        ..bollard::models::ExecConfig::default()
    };
    let exec = bench.docker.create_exec(id, command).await.unwrap();
    bench
        .docker
        .start_exec(
            &exec.id,
            Some(bollard::exec::StartExecOptions {
                detach: true,
                ..Default::default()
            }),
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn lines_of_a_container_that_is_not_there_are_not_found() {
    let bench = Bench::new().await;
    let read = bench
        .engine
        .logs("clostest-nowhere", LogOptions::default())
        .next()
        .await;
    assert!(matches!(read, Some(Err(Error::NotFound(_)))), "{read:?}");
}

/// A socket that passes everything on to the engine until it is cut.
struct Proxy {
    path: PathBuf,
    cut: Arc<watch::Sender<u32>>,
    _folder: tempfile::TempDir,
    _passing: JoinSet<()>,
}

impl Proxy {
    fn start(to: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let cut = Arc::new(watch::Sender::new(0));
        let (to, cuts) = (to.to_owned(), Arc::clone(&cut));
        let mut passing = JoinSet::new();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (to, mut cut) = (to.clone(), cuts.subscribe());
                connections.spawn(async move {
                    let mut far = UnixStream::connect(to).await.unwrap();
                    tokio::select! {
                        // Whichever side closes first, the connection is over.
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            path,
            cut,
            _folder: folder,
            _passing: passing,
        }
    }

    /// Breaks every connection there is; new ones are passed on.
    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

#[tokio::test]
async fn a_broken_event_stream_says_so_and_goes_on() {
    let bench = Bench::new().await;
    let proxy = Proxy::start(Path::new(bench.address.strip_prefix("unix://").unwrap()));
    let engine = DockerEngine::connect(&format!("unix://{}", proxy.path.display())).unwrap();
    let mut events = engine.events();
    let mut next = async || loop {
        let event = tokio::time::timeout(Duration::from_mins(1), events.next())
            .await
            .expect("an event arrives")
            .unwrap();
        match event {
            EngineEvent::Container(event) if event.installation != bench.installation => {}
            EngineEvent::Freed { .. } | EngineEvent::Image { .. } => {}
            event => return event,
        }
    };
    assert_eq!(next().await, EngineEvent::Connected);
    for round in 0..3 {
        let id = bench
            .create(bench.options(&format!("web-{round}"), "exit 0"))
            .await
            .unwrap();
        let created = next().await;
        assert!(
            matches!(&created, EngineEvent::Container(event) if event.what == Happened::Created && event.id == id),
            "{created:?}"
        );
        proxy.cut();
        assert!(matches!(next().await, EngineEvent::Lost { .. }));
        assert_eq!(next().await, EngineEvent::Connected);
    }
}

/// Waits for an event that is so, whatever other tests do meanwhile.
async fn until(
    events: &mut (impl Stream<Item = EngineEvent> + Unpin),
    so: impl Fn(&EngineEvent) -> bool,
) {
    let reading = async { while !so(&events.next().await.expect("events have no end")) {} };
    tokio::time::timeout(Duration::from_mins(1), reading)
        .await
        .expect("the event arrives");
}

#[tokio::test]
async fn what_a_foreign_container_gives_back_and_an_image_that_comes_are_told() {
    let bench = Bench::new().await;
    let mut events = bench.engine.events();
    until(&mut events, |event| *event == EngineEvent::Connected).await;
    let name = bench.name("foreign");
    let body = bollard::models::ContainerCreateBody {
        image: Some(crate::image::BUSYBOX.to_owned()),
        ..bollard::models::ContainerCreateBody::default()
    };
    let options = bollard::query_parameters::CreateContainerOptionsBuilder::new()
        .name(&name)
        .build();
    let made = bench.docker.create_container(Some(options), body).await;
    let foreign = made.unwrap().id;
    bench.docker.start_container(&foreign, None).await.unwrap();
    let freed = |event: &EngineEvent| matches!(event, EngineEvent::Freed { id } if *id == foreign);
    bench.docker.kill_container(&foreign, None).await.unwrap();
    until(&mut events, freed).await;
    bench.docker.remove_container(&foreign, None).await.unwrap();
    until(&mut events, freed).await;

    let (repo, tag) = (name.to_lowercase(), "1".to_owned());
    let named = bollard::query_parameters::TagImageOptions {
        repo: Some(repo.clone()),
        tag: Some(tag),
    };
    let image = crate::image::BUSYBOX;
    bench.docker.tag_image(image, Some(named)).await.unwrap();
    let wanted = EngineEvent::Image {
        name: Some(format!("{repo}:1")),
    };
    until(&mut events, |event| *event == wanted).await;
    let unused: Option<bollard::query_parameters::RemoveImageOptions> = None;
    bench
        .docker
        .remove_image(&format!("{repo}:1"), unused, None)
        .await
        .unwrap();
}
