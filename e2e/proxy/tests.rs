//! Each fault shown on a tiny engine of the test's own, over the real socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::stub::{Answer, Stub, ask, ask_aside, until};

use crate::{EventFault, Fault, Flood, Operation, Proxy, Rule};

const CREATE: (&str, &str) = ("POST", "/v1.41/containers/create?name=web");
const EVENTS: (&str, &str) = ("GET", "/v1.41/events?since=1");

fn world() -> (Stub, Proxy) {
    let stub = Stub::start();
    let proxy = Proxy::start(stub.socket());
    (stub, proxy)
}

/// One create, and how often the engine saw it.
fn create_with(fault: Fault) -> (Answer, usize) {
    let (stub, proxy) = world();
    let armed = proxy.arm(Rule::once(Operation::CreateContainer, fault));
    let answer = ask(&proxy, CREATE);
    assert_eq!(armed.struck(), 1);
    (answer, stub.asked(CREATE.1))
}

#[test]
fn without_rules_everything_passes() {
    let (stub, proxy) = world();
    let answer = ask(&proxy, CREATE);
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.whole),
        (201, r#"{"Id":"1"}"#, true)
    );
    assert_eq!(stub.asked(CREATE.1), 1);
    assert_eq!(stub.bodies(), ["what is to be made"]);
}

#[test]
fn a_refusal_does_not_reach_the_engine() {
    for status in [500, 409, 404] {
        let (answer, asked) = create_with(Fault::refuse(status));
        assert_eq!((answer.status, answer.whole, asked), (status, true, 0));
        assert!(answer.body.contains("message"), "{}", answer.body);
    }
    assert_eq!(create_with(Fault::Answer(304, String::new())).0.status, 304);
}

#[test]
fn a_cut_before_leaves_the_engine_alone_and_one_after_does_not() {
    let (answer, asked) = create_with(Fault::CutBefore);
    assert_eq!((answer.status, asked), (0, 0));
    let (answer, asked) = create_with(Fault::CutAfter);
    assert_eq!((answer.status, asked), (0, 1));
}

#[test]
fn an_answer_breaks_off_after_as_many_bytes_as_were_asked_for() {
    let (answer, asked) = create_with(Fault::CutBody(4));
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.whole, asked),
        (201, r#"{"Id"#, false, 1)
    );
    let (answer, _) = create_with(Fault::CutBody(0));
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.whole),
        (201, "", false)
    );
}

#[test]
fn delays_come_before_or_after_the_engine_is_asked() {
    const PAUSE: Duration = Duration::from_millis(100);
    for fault in [Fault::DelayRequest(PAUSE), Fault::DelayAnswer(PAUSE)] {
        let began = Instant::now();
        let (answer, asked) = create_with(fault);
        assert_eq!((answer.status, asked), (201, 1));
        assert!(began.elapsed() >= PAUSE);
    }
}

#[test]
fn a_hang_before_asks_the_engine_once_the_rule_is_disarmed() {
    let (stub, proxy) = world();
    let armed = proxy.arm(Rule::each(Operation::CreateContainer, Fault::HangBefore));
    let answer = ask_aside(&proxy, CREATE);
    until("the request hangs", || armed.struck() == 1);
    assert_eq!(stub.asked(CREATE.1), 0);
    assert!(answer.try_recv().is_err());
    armed.disarm();
    assert_eq!(answer.recv().unwrap().status, 201);
    assert_eq!(stub.asked(CREATE.1), 1);
    assert_eq!(ask(&proxy, CREATE).status, 201);
}

#[test]
fn a_hang_after_keeps_the_answer_back() {
    let (stub, proxy) = world();
    let armed = proxy.arm(Rule::each(Operation::CreateContainer, Fault::HangAfter));
    let answer = ask_aside(&proxy, CREATE);
    until("the engine was asked", || stub.asked(CREATE.1) == 1);
    assert!(answer.try_recv().is_err());
    armed.disarm();
    assert_eq!(answer.recv().unwrap().status, 201);
}

#[test]
fn a_late_request_reaches_the_engine_though_the_client_has_left() {
    let (stub, proxy) = world();
    let armed = proxy.arm(Rule::once(
        Operation::CreateContainer,
        Fault::Late(Duration::from_millis(200)),
    ));
    let client = crate::stub::send(&proxy, CREATE);
    until("the request hangs", || armed.struck() == 1);
    drop(client);
    until("the engine was asked", || stub.asked(CREATE.1) == 1);
}

#[test]
fn rules_choose_by_number_by_kind_and_by_dice() {
    let (_stub, proxy) = world();
    proxy.arm(Rule::nth(Operation::CreateContainer, 2, Fault::refuse(500)));
    let ping = ("GET", "/_ping");
    let statuses: Vec<u16> = [CREATE, ping, CREATE, CREATE]
        .into_iter()
        .map(|request| ask(&proxy, request).status)
        .collect();
    assert_eq!(statuses, [201, 200, 500, 201]);
    let share = |seed| {
        let (_stub, proxy) = world();
        proxy.arm(Rule::share(50, seed, Fault::refuse(500)));
        let statuses = (0..20).map(|_| ask(&proxy, ping).status);
        statuses.collect::<Vec<u16>>()
    };
    assert_eq!(share(1), share(1));
    assert_ne!(share(1), share(2));
    assert!(share(1).contains(&500) && share(1).contains(&200));
    proxy.arm(Rule::always(Fault::refuse(503)));
    assert_eq!(ask(&proxy, ping).status, 503);
    proxy.disarm_all();
    assert_eq!(ask(&proxy, ping).status, 200);
}

#[test]
fn requests_are_counted_by_kind_and_the_longest_is_known_while_it_is_open() {
    let (_stub, proxy) = world();
    ask(&proxy, CREATE);
    ask(&proxy, ("GET", "/info"));
    assert_eq!(proxy.count(Operation::CreateContainer), 1);
    assert_eq!((proxy.count(Operation::Info), proxy.changes()), (1, 1));
    let armed = proxy.arm(Rule::each(Operation::Info, Fault::HangBefore));
    let answer = ask_aside(&proxy, ("GET", "/info"));
    until("it is open for a while", || {
        proxy.longest(Operation::Info) >= Duration::from_millis(50)
    });
    armed.disarm();
    answer.recv().unwrap();
    assert!(proxy.longest(Operation::Info) >= Duration::from_millis(50));
    assert!(proxy.longest(Operation::Info) < Duration::from_secs(30));
}

#[test]
fn every_request_is_known_whatever_the_version_before_it() {
    use Operation::*;
    for (method, path, operation) in [
        ("HEAD", "/_ping", Ping),
        ("GET", "/version", Version),
        ("GET", "/v1.41/info", Info),
        ("GET", "/v1.41/events", Events),
        ("GET", "/v1.53/containers/json", ListContainers),
        (
            "GET",
            "/v1.53/containers/clos_a_web-0/json",
            InspectContainer,
        ),
        ("GET", "/v1.53/containers/0f/logs", Logs),
        ("POST", "/v1.53/containers/create", CreateContainer),
        ("POST", "/containers/0f/start", StartContainer),
        ("POST", "/containers/0f/stop", StopContainer),
        ("POST", "/containers/0f/unpause", UnpauseContainer),
        ("DELETE", "/containers/0f", RemoveContainer),
        (
            "GET",
            "/v1.41/images/a.example:5000/b/c:1/json",
            InspectImage,
        ),
        ("GET", "/v1.41/images/json", OtherRead),
        ("POST", "/v1.41/images/create", Pull),
        ("GET", "/v1.41/networks", ListNetworks),
        ("POST", "/v1.41/networks/create", CreateNetwork),
        ("DELETE", "/v1.41/networks/0f", RemoveNetwork),
        ("GET", "/v1.41/volumes/data", InspectVolume),
        ("POST", "/v1.41/volumes/create", CreateVolume),
        ("DELETE", "/v1.41/volumes/data", RemoveVolume),
        ("GET", "/v1.41/containers/0f/top", OtherRead),
        ("POST", "/v1.41/containers/0f/kill", OtherChange),
        ("PUT", "/v1.41/containers/0f/archive", OtherChange),
    ] {
        let method = method.parse().unwrap();
        assert_eq!(Operation::of(&method, path), operation, "{method} {path}");
    }
}

/// What a client of a distorted stream gets of these lines, and whether the stream ended well.
fn events_with(fault: EventFault, lines: &[&str]) -> (Vec<String>, bool) {
    let (stub, proxy) = world();
    proxy.arm(Rule::each(Operation::Events, Fault::Events(fault)));
    let answer = ask_aside(&proxy, EVENTS);
    for line in lines {
        stub.tell(line);
    }
    stub.end_streams();
    let answer = answer.recv().unwrap();
    assert_eq!(answer.status, 200);
    (
        answer
            .body
            .split_inclusive('\n')
            .map(str::to_owned)
            .collect(),
        answer.whole,
    )
}

#[test]
fn events_can_be_halved_doubled_lost_and_mixed() {
    let lines = ["one", "two", "three"];
    let whole = ["one\n", "two\n", "three\n"];
    let (halved, ended_well) = events_with(EventFault::HalfLine, &lines);
    assert_eq!((halved, ended_well), (vec!["on".to_owned()], false));
    let (doubled, _) = events_with(EventFault::Duplicate, &lines);
    assert_eq!(
        doubled,
        ["one\n", "one\n", "two\n", "two\n", "three\n", "three\n"]
    );
    assert_eq!(events_with(EventFault::Drop(100, 1), &lines).0, [""; 0]);
    assert_eq!(events_with(EventFault::Drop(0, 1), &lines).0, whole);
    let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let some = events_with(EventFault::Drop(50, 7), &many).0.len();
    assert!(some > 5 && some < 35, "{some}");
    let (mixed, _) = events_with(EventFault::Reorder(40, 7), &many);
    let mut numbers: Vec<u32> = mixed
        .iter()
        .map(|line| line.trim().parse().unwrap())
        .collect();
    assert!(!numbers.is_sorted());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<u32>>());
}

#[test]
fn an_event_stream_can_end_at_once() {
    let (_stub, proxy) = world();
    proxy.arm(Rule::each(
        Operation::Events,
        Fault::Events(EventFault::End),
    ));
    for _ in 0..3 {
        let answer = ask(&proxy, EVENTS);
        assert_eq!((answer.body.as_str(), answer.whole), ("", true));
    }
}

#[test]
fn open_event_streams_can_be_cut_and_new_ones_go_on() {
    let (stub, proxy) = world();
    let answer = ask_aside(&proxy, EVENTS);
    stub.tell("one");
    until("it is read", || proxy.events_taken() == 1);
    proxy.cut_events();
    let answer = answer.recv().unwrap();
    assert_eq!((answer.body.as_str(), answer.whole), ("one\n", false));
    let next = ask_aside(&proxy, EVENTS);
    until("it is read again", || proxy.events_taken() == 2);
    stub.end_streams();
    assert!(next.recv().unwrap().whole);
}

#[test]
fn a_stalled_stream_gives_everything_once_the_rule_is_disarmed() {
    let (stub, proxy) = world();
    let armed = proxy.arm(Rule::each(
        Operation::Events,
        Fault::Events(EventFault::Stall),
    ));
    let answer = ask_aside(&proxy, EVENTS);
    until("it is connected", || armed.struck() == 1);
    stub.tell("one");
    assert_eq!(proxy.events_taken(), 0);
    armed.disarm();
    until("it is read", || proxy.events_taken() == 1);
    stub.end_streams();
    assert_eq!(answer.recv().unwrap().body, "one\n");
}

#[test]
fn a_flood_comes_between_the_engines_own_lines_and_has_an_end() {
    let flood = Flood {
        per_second: 10_000,
        total: 1000,
        line: Arc::new(|number| format!("flood {number}")),
    };
    let (stub, proxy) = world();
    proxy.arm(Rule::each(
        Operation::Events,
        Fault::Events(EventFault::Flood(flood)),
    ));
    let answer = ask_aside(&proxy, EVENTS);
    until("it was read", || proxy.events_taken() == 1000);
    stub.tell("one");
    stub.end_streams();
    let answer = answer.recv().unwrap();
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(
        (lines[0], lines[999], lines[1000]),
        ("flood 0", "flood 999", "one")
    );
    assert!(answer.whole);
}

#[test]
fn what_streams_comes_as_it_is_sent() {
    let (stub, proxy) = world();
    let mut client = crate::stub::send(&proxy, ("GET", "/v1.41/containers/0f/logs?follow=true"));
    stub.tell("first");
    assert!(crate::stub::read_until(&mut client, "first\n").starts_with("HTTP/1.1 200"));
    stub.tell("second");
    crate::stub::read_until(&mut client, "second\n");
    stub.end_streams();
}

#[test]
fn an_engine_that_does_not_listen_is_a_connection_that_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(folder.path().join("nobody.sock"));
    assert_eq!(ask(&proxy, CREATE).status, 0);
}
