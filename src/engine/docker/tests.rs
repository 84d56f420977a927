//! Calls against a socket that answers what no real engine does on demand.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clos_plan::action::Target;
use clos_plan::container::{NetworkOptions, VolumeOptions};
use clos_resources::names;
use tokio::sync::Notify;

use super::stub::{Reply, Stub, lively};
use super::*;

fn nothing(_: Progress) {}

fn target() -> Target {
    Target::Existing {
        id: "0f".repeat(32),
        name: "web".to_owned(),
    }
}

async fn execute(reply: Reply, action: EngineAction) -> Result<Done, Error> {
    let stub = Stub::start(move |_| reply.clone());
    stub.engine().execute(&action, &nothing).await
}

fn refusal(status: u16, message: &str) -> Reply {
    Reply::Body(status, format!(r#"{{"message":{message:?}}}"#))
}

#[test]
fn an_address_of_another_kind_is_refused_with_a_sentence() {
    insta::assert_snapshot!(
        DockerEngine::connect("tcp://127.0.0.1:2375").unwrap_err(),
        @r#""tcp://127.0.0.1:2375" is no address of a container engine that clos can use: give a unix socket, as in unix:///var/run/docker.sock"#
    );
    insta::assert_snapshot!(
        DockerEngine::connect("unix://docker.sock").unwrap_err(),
        @r#""unix://docker.sock" is no address of a container engine: the socket's path must be absolute, as in unix:///var/run/docker.sock"#
    );
    assert!(DockerEngine::connect("unix:///nowhere/docker.sock").is_ok());
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable_with_the_systems_words() {
    let engine = DockerEngine::connect("unix:///nowhere/docker.sock").unwrap();
    insta::assert_snapshot!(
        engine.info().await.unwrap_err(),
        @"cannot reach a container engine at unix:///nowhere/docker.sock: no such socket"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = format!("unix://{}", path.display());
    let error = DockerEngine::connect(&address)
        .unwrap()
        .info()
        .await
        .unwrap_err();
    assert_eq!(
        error,
        Error::Unreachable {
            address,
            reason: "connection refused".to_owned()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn a_hung_engine_fails_every_call_by_its_deadline() {
    let stub = Stub::start(|_| Reply::Nothing);
    let engine = stub.engine();
    let late = |call: &str, seconds| Error::Deadline {
        call: call.to_owned(),
        after: Duration::from_secs(seconds),
    };
    let scope = Scope {
        instance_uid: "uid".to_owned(),
        container_name: "web".to_owned(),
        network_name: "net".to_owned(),
        volumes: Vec::new(),
        image: Some("web:1".to_owned()),
    };
    assert_eq!(engine.info().await, Err(late("version", 30)));
    assert_eq!(engine.list().await, Err(late("list containers", 30)));
    assert!(matches!(
        engine.observe(&scope).await,
        Err(Error::Deadline { .. })
    ));
    let stop = EngineAction::StopContainer {
        container: target(),
        grace: Duration::from_secs(90),
    };
    assert_eq!(
        engine.execute(&stop, &nothing).await,
        Err(late("stop container web", 120))
    );
    let pull = EngineAction::PullImage {
        image: "web:1".to_owned(),
    };
    assert_eq!(
        engine.execute(&pull, &nothing).await,
        Err(late("pull image web:1", 60))
    );
}

#[tokio::test]
async fn an_answer_that_is_cut_leaves_the_state_unknown() {
    let volume = || {
        EngineAction::CreateVolume(VolumeOptions {
            name: "db".to_owned(),
            labels: BTreeMap::new(),
        })
    };
    for reply in [Reply::Close, Reply::Half(r#"{"Name":"#.to_owned())] {
        let error = execute(reply.clone(), volume()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Interrupted { call, .. } if call == "create volume db"),
            "{reply:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_effect_that_is_there_already_is_a_success() {
    let start = || EngineAction::StartContainer {
        container: target(),
    };
    let stop = || EngineAction::StopContainer {
        container: target(),
        grace: Duration::ZERO,
    };
    let remove = || EngineAction::RemoveContainer {
        container: target(),
    };
    let not_modified = || Reply::Body(304, String::new());
    let network = || EngineAction::RemoveNetwork {
        id: "1".to_owned(),
        name: "net".to_owned(),
    };
    assert_eq!(execute(not_modified(), start()).await, Ok(Done::Nothing));
    assert_eq!(execute(not_modified(), stop()).await, Ok(Done::Nothing));
    assert_eq!(
        execute(refusal(404, "No such container: web"), stop()).await,
        Ok(Done::Nothing)
    );
    assert_eq!(
        execute(refusal(404, "No such container: web"), remove()).await,
        Ok(Done::Nothing)
    );
    assert_eq!(
        execute(
            refusal(409, "removal of container web is already in progress"),
            remove()
        )
        .await,
        Ok(Done::Nothing)
    );
    assert_eq!(
        execute(refusal(404, "network net not found"), network()).await,
        Ok(Done::Nothing)
    );
    let unpause = EngineAction::UnpauseContainer {
        container: target(),
    };
    assert_eq!(
        execute(refusal(500, "Container web is not paused"), unpause).await,
        Ok(Done::Nothing)
    );
}

#[tokio::test]
async fn a_container_that_still_runs_is_not_removed() {
    let refused = execute(
        refusal(409, "You cannot remove a running container"),
        EngineAction::RemoveContainer {
            container: target(),
        },
    );
    assert!(matches!(refused.await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_container_that_is_gone_cannot_be_started() {
    let start = EngineAction::StartContainer {
        container: target(),
    };
    assert!(matches!(
        execute(refusal(404, "No such container: web"), start).await,
        Err(Error::NotFound(_))
    ));
}

#[tokio::test]
async fn the_registrys_own_words_come_through_a_pull() {
    let said = r#"{"errorDetail":{"message":"manifest for web:9 not found"},"error":"manifest for web:9 not found"}"#;
    let started = format!("{{\"status\":\"Pulling from web\",\"id\":\"9\"}}\r\n{said}\r\n");
    let pull = || EngineAction::PullImage {
        image: "web:9".to_owned(),
    };
    let failed = execute(
        Reply::Stream {
            start: started,
            ends: true,
        },
        pull(),
    )
    .await;
    assert_eq!(
        failed,
        Err(Error::Pull {
            message: "manifest for web:9 not found".to_owned(),
            transient: false
        })
    );
    let failed = execute(
        refusal(500, "dial tcp: lookup registry.example: no such host"),
        pull(),
    )
    .await;
    assert!(
        matches!(
            failed,
            Err(Error::Pull {
                transient: true,
                ..
            })
        ),
        "{failed:?}"
    );
}

#[tokio::test]
async fn one_pull_is_shared_by_all_who_want_the_image_and_survives_the_first_of_them() {
    let (asked, release) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let count = Arc::clone(&asked);
    let stub = Stub::start(move |request| match request {
        "POST /images/create" => {
            count.fetch_add(1, Ordering::SeqCst);
            let told =
                r#"{"status":"Downloading","id":"a","progressDetail":{"current":5,"total":10}}"#;
            Reply::Stream {
                start: format!("{told}\r\n"),
                ends: false,
            }
        }
        other => lively(other),
    });
    let engine = stub.engine();
    let pull = EngineAction::PullImage {
        image: "web:1".to_owned(),
    };
    let told = |_: Progress| release.notify_one();
    let first = engine.execute(&pull, &told);
    tokio::select! {
        ended = first => panic!("{ended:?}"),
        () = release.notified() => {}
    }
    // The first gives up before the others came: that pull is over. Two at a time share the next, of whom one gives up.
    let second = engine.execute(&pull, &told);
    let third = engine.execute(&pull, &nothing);
    tokio::pin!(third);
    tokio::select! {
        ended = second => panic!("{ended:?}"),
        ended = &mut third => panic!("{ended:?}"),
        () = release.notified() => {}
    }
    let last = engine.execute(&pull, &told);
    tokio::select! {
        ended = third => panic!("{ended:?}"),
        ended = last => panic!("{ended:?}"),
        () = release.notified() => {}
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn an_action_on_a_container_that_was_not_made_yet_asks_the_engine_nothing() {
    let action = EngineAction::StartContainer {
        container: Target::MadeBy {
            step: 0,
            name: "web".to_owned(),
        },
    };
    assert_eq!(
        execute(Reply::Nothing, action).await,
        Err(Error::Refused("container web was not made yet".to_owned()))
    );
}

#[tokio::test]
async fn an_instance_of_which_there_is_nothing_is_seen_as_nothing() {
    let stub = Stub::start(|request| match request {
        "GET /containers/json" | "GET /networks" => Reply::Body(200, "[]".to_owned()),
        other => lively(other),
    });
    let scope = Scope {
        instance_uid: "uid".to_owned(),
        container_name: "web".to_owned(),
        network_name: "net".to_owned(),
        volumes: vec!["db".to_owned()],
        image: Some("web:1".to_owned()),
    };
    assert_eq!(stub.engine().observe(&scope).await, Ok(Observed::default()));
}

#[tokio::test]
async fn an_image_name_that_the_engine_does_not_take_is_no_image_and_never_another_request() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let stub = Stub::start(move |request| {
        heard.lock().unwrap().push(request.to_owned());
        match request {
            "GET /containers/json" | "GET /networks" => Reply::Body(200, "[]".to_owned()),
            "GET /images/foo/BadName:::x/json" => refusal(400, "invalid reference format"),
            other => lively(other),
        }
    });
    let scope = |image: &str| Scope {
        instance_uid: "uid".to_owned(),
        container_name: "web".to_owned(),
        network_name: "net".to_owned(),
        volumes: Vec::new(),
        image: Some(image.to_owned()),
    };
    let engine = stub.engine();
    for image in ["foo/BadName:::x", "../events?x="] {
        let seen = engine.observe(&scope(image)).await;
        assert_eq!(seen, Ok(Observed::default()), "{image}");
    }
    let asked = asked.lock().unwrap();
    assert!(
        !asked.iter().any(|request| request.contains("/events")),
        "{asked:?}"
    );
}

/// Makes a network where one of its name exists, made by another or the same installation.
async fn make_network_beside(installation: &str) -> Result<Done, Error> {
    let there = format!(
        r#"[{{"Id":"0f0f0f0f0f0f0f0f","Name":"net","Labels":{{"clos.dev/installation":{installation:?}}}}},{{"Id":"1","Name":"net-2"}}]"#
    );
    let reply = Reply::Body(200, there);
    // Answering the list only: a network that is made is not answered and fails the test.
    let stub = Stub::start(move |request| {
        if request == "GET /networks" {
            reply.clone()
        } else {
            Reply::Close
        }
    });
    let labels = BTreeMap::from([(names::LABEL_INSTALLATION.to_owned(), "here".to_owned())]);
    stub.engine()
        .execute(
            &EngineAction::CreateNetwork(NetworkOptions {
                name: "net".to_owned(),
                labels,
            }),
            &nothing,
        )
        .await
}

#[tokio::test]
async fn a_network_of_ours_is_not_made_twice() {
    assert_eq!(make_network_beside("here").await, Ok(Done::Nothing));
}

#[tokio::test]
async fn i1_a_foreign_network_of_the_wanted_name_is_named_and_not_used() {
    insta::assert_snapshot!(
        make_network_beside("elsewhere").await.unwrap_err(),
        @"network net (0f0f0f0f0f0f) exists and was not made by this installation of clos; remove or rename it"
    );
}
