//! Messages as engines send them, the queue's bounds, and streams that break in every way.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::docker::stub::{Reply, Stub, lively};

const QUICK: Pace = Pace {
    ping_every: Duration::from_millis(20),
    ping_deadline: Duration::from_millis(200),
    connect_deadline: Duration::from_millis(200),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(5),
};

fn message(typ: &str, action: &str, attributes: &[(&str, &str)]) -> EventMessage {
    let attributes: BTreeMap<&str, &str> = attributes.iter().copied().collect();
    serde_json::from_value(serde_json::json!({
        "Type": typ, "Action": action, "scope": "local", "time": 1_700_000_000, "timeNano": 1_700_000_000_123_456_789_i64,
        "Actor": { "ID": "0f0f", "Attributes": attributes },
    }))
    .unwrap()
}

fn ours(action: &str, attribute: (&str, &str)) -> Option<Happened> {
    let labels = [
        ("clos.dev/installation", "here"),
        ("clos.dev/instance-uid", "uid"),
        attribute,
    ];
    match understand(message("container", action, &labels))? {
        Message::Container(event) => Some(event.what),
        other => panic!("{other:?}"),
    }
}

fn line(action: &str) -> String {
    let text = serde_json::to_string(&message(
        "container",
        action,
        &[("clos.dev/installation", "here")],
    ))
    .unwrap();
    format!("{text}\n")
}

#[test]
fn every_message_about_a_container_is_understood() {
    assert_eq!(ours("create", ("", "")), Some(Happened::Created));
    assert_eq!(ours("start", ("", "")), Some(Happened::Started));
    assert_eq!(
        ours("die", ("exitCode", "137")),
        Some(Happened::Died { exit_code: 137 })
    );
    assert_eq!(
        ours("kill", ("signal", "9")),
        Some(Happened::Killed {
            signal: "9".to_owned()
        })
    );
    assert_eq!(ours("stop", ("", "")), Some(Happened::Stopped));
    assert_eq!(ours("oom", ("", "")), Some(Happened::OutOfMemory));
    assert_eq!(ours("pause", ("", "")), Some(Happened::Paused));
    assert_eq!(ours("unpause", ("", "")), Some(Happened::Unpaused));
    assert_eq!(ours("update", ("", "")), Some(Happened::Changed));
    assert_eq!(ours("rename", ("oldName", "/web")), Some(Happened::Changed));
    assert_eq!(
        ours("health_status: unhealthy", ("", "")),
        Some(Happened::Health)
    );
    assert_eq!(ours("destroy", ("", "")), Some(Happened::Destroyed));
    assert_eq!(ours("exec_create: true", ("", "")), None);
}

#[test]
fn an_event_carries_whose_container_it_is_and_when() {
    let labels = [
        ("clos.dev/installation", "here"),
        ("clos.dev/instance-uid", "uid"),
        ("clos.dev/namespace", "default"),
        ("clos.dev/instance", "web-0"),
    ];
    let Some(Message::Container(event)) = understand(message("container", "start", &labels)) else {
        panic!("not understood")
    };
    let expected = ContainerEvent {
        installation: "here".to_owned(),
        instance_uid: "uid".to_owned(),
        namespace: "default".to_owned(),
        instance: "web-0".to_owned(),
        id: "0f0f".to_owned(),
        what: Happened::Started,
        at: Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap(),
    };
    assert_eq!(event, expected);
}

#[test]
fn an_event_of_a_foreign_container_is_none_of_ours() {
    assert_eq!(
        understand(message("container", "die", &[("exitCode", "1")])),
        None
    );
    let gone = Message::Other(EngineEvent::Freed {
        id: "0f0f".to_owned(),
    });
    assert_eq!(
        understand(message("container", "destroy", &[])),
        Some(gone.clone())
    );
    assert_eq!(understand(message("container", "rename", &[])), Some(gone));
    assert_eq!(understand(EventMessage::default()), None);
}

#[test]
fn an_image_that_came_is_told_with_its_name_when_the_engine_says_it() {
    let image = |action, name| match understand(message("image", action, &[("name", name)])) {
        Some(Message::Other(EngineEvent::Image { name })) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(image("pull", "web:1"), Some("web:1".to_owned()));
    assert_eq!(image("tag", "shop/web:1"), Some("shop/web:1".to_owned()));
    assert_eq!(image("load", "sha256:0f0f"), None);
    assert_eq!(image("import", "sha256:0f0f"), None);
    assert_eq!(understand(message("image", "delete", &[])), None);
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_once_and_the_queue_stays_bounded() {
    let queue = Queue::default();
    queue.push(Message::Connected);
    let event = understand(message(
        "container",
        "start",
        &[("clos.dev/installation", "here")],
    ))
    .unwrap();
    for _ in 0..3 * WAITING {
        queue.push(event.clone());
    }
    assert!(queue.messages.lock().unwrap().len() <= WAITING);
    assert_eq!(queue.pop().await, Message::Connected);
    assert_eq!(queue.pop().await, Message::Overflow);
}

#[tokio::test]
async fn a_lost_connection_makes_what_waits_worthless() {
    let queue = Queue::default();
    queue.push(Message::Connected);
    for _ in 0..10_000 {
        queue.push(Message::Lost {
            reason: "first".to_owned(),
        });
        queue.push(Message::Connected);
    }
    queue.push(Message::Lost {
        reason: "last".to_owned(),
    });
    assert_eq!(
        queue.pop().await,
        Message::Lost {
            reason: "last".to_owned()
        }
    );
    assert!(queue.messages.lock().unwrap().is_empty());
}

/// The first events of a stub whose event stream is what the test says, by the number of the subscription.
async fn first_events(
    count: usize,
    replies: impl Fn(usize) -> Reply + Send + Sync + 'static,
) -> Vec<EngineEvent> {
    let subscriptions = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match request {
        "GET /events" => replies(subscriptions.fetch_add(1, Ordering::SeqCst)),
        other => lively(other),
    });
    follow(stub.engine(), QUICK).take(count).collect().await
}

#[tokio::test]
async fn a_stream_that_breaks_is_connected_again_and_says_both() {
    let events = first_events(6, |_| Reply::Stream {
        start: line("start"),
        ends: true,
    })
    .await;
    let losses = events
        .iter()
        .filter(|event| matches!(event, EngineEvent::Lost { .. }))
        .count();
    let connections = events
        .iter()
        .filter(|event| **event == EngineEvent::Connected)
        .count();
    assert!(losses >= 1 && connections >= 1, "{events:?}");
}

#[tokio::test]
async fn half_a_message_is_a_lost_connection_and_no_panic() {
    for broken in ["{\"Type\":\"contai", "no json\n", "[]\n", "{\"Type\":7}\n"] {
        let events = first_events(3, move |_| Reply::Stream {
            start: broken.to_owned(),
            ends: true,
        })
        .await;
        assert!(
            events
                .iter()
                .any(|event| matches!(event, EngineEvent::Lost { .. })),
            "{broken:?}: {events:?}"
        );
    }
}

#[tokio::test]
async fn an_event_arrives_while_the_stream_goes_on() {
    let events = first_events(2, |_| Reply::Stream {
        start: line("start"),
        ends: false,
    })
    .await;
    assert_eq!(events[0], EngineEvent::Connected);
    assert!(
        matches!(&events[1], EngineEvent::Container(event) if event.what == Happened::Started),
        "{events:?}"
    );
}

#[tokio::test]
async fn an_engine_that_hangs_is_found_out_though_its_stream_stays_open() {
    let pings = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match request {
        "GET /events" => Reply::Stream {
            start: String::new(),
            ends: false,
        },
        "GET /_ping" if pings.fetch_add(1, Ordering::SeqCst) > 1 => Reply::Nothing,
        other => lively(other),
    });
    let events: Vec<EngineEvent> = follow(stub.engine(), QUICK).take(2).collect().await;
    assert_eq!(events[0], EngineEvent::Connected);
    assert!(
        matches!(&events[1], EngineEvent::Lost { reason } if reason.contains("did not answer")),
        "{events:?}"
    );
}

#[tokio::test]
async fn an_engine_that_is_away_is_lost_until_it_is_there() {
    let engine = DockerEngine::connect("unix:///nowhere/docker.sock").unwrap();
    let first = follow(engine, QUICK).next().await;
    let reason =
        "cannot reach a container engine at unix:///nowhere/docker.sock: no such socket".to_owned();
    assert_eq!(first, Some(EngineEvent::Lost { reason }));
}

#[tokio::test]
async fn leaving_a_network_is_told_of_a_running_container_of_ours_and_frees_what_another_one_held()
{
    for (state, ours, changes, frees) in [
        ("running", true, true, false),
        ("exited", true, false, false),
        ("running", false, false, true),
        ("exited", false, false, true),
        ("gone", false, false, true),
    ] {
        let stub = Stub::start(move |request| match request {
            "GET /containers/0f0f/json" if state == "gone" => {
                Reply::Body(404, r#"{"message":"No such container: 0f0f"}"#.to_owned())
            }
            "GET /containers/0f0f/json" => {
                let label = if ours {
                    "clos.dev/installation"
                } else {
                    "other"
                };
                Reply::Body(
                    200,
                    format!(
                        r#"{{"Id":"0f0f","State":{{"Status":"{state}"}},"Config":{{"Labels":{{"{label}":"here"}}}}}}"#
                    ),
                )
            }
            other => lively(other),
        });
        let left = understand(message(
            "network",
            "disconnect",
            &[("container", "0f0f"), ("name", "net")],
        ))
        .unwrap();
        let event = tell(&stub.engine(), left).await;
        let changed = matches!(&event, Some(EngineEvent::Container(event)) if event.what == Happened::Changed);
        assert_eq!(changed, changes, "{state} {ours}: {event:?}");
        let freed = matches!(&event, Some(EngineEvent::Freed { id }) if id == "0f0f");
        assert_eq!(freed, frees, "{state} {ours}: {event:?}");
    }
}
