//! Event streams that lie, break, flood or say nothing: what happened is repaired all the same, and clos neither spins nor grows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clos_harness::wait_until_within;
use clos_proxy::{EventFault, Fault, Flood, Operation, Rule};
use serde_json::json;

use crate::world::{RECOVERY, Shop, World, assert_api_is_fast, host_reason, listed};

/// A full list each two seconds, and what the repair itself takes.
const REPAIR: Duration = Duration::from_secs(17);

const SHOP: Shop = Shop {
    version: 1,
    replicas: 2,
};

fn running() -> World {
    let world = World::new();
    SHOP.apply(&world.server);
    SHOP.until_there(&world.server, RECOVERY);
    world.until_quiet();
    world
}

/// Removes one container by hand and kills another, and waits until both run again and nothing more is done.
fn harm_and_wait(world: &World) {
    let server = &world.server;
    let before = listed(server);
    server
        .engine()
        .docker(&["rm", "-f", &server.container("web-0")]);
    server
        .engine()
        .docker(&["kill", &server.container("web-1")]);
    wait_until_within(REPAIR, "everything runs again", || {
        (listed(server) != before && SHOP.is_there(server)).then_some(())
    });
    SHOP.until_there(server, RECOVERY);
    world.until_quiet();
    assert!(SHOP.is_there(server));
}

/// From now on event streams are like this.
fn events_are(world: &World, fault: EventFault) {
    world.no_faults();
    let streams = world.proxy.count(Operation::Events);
    world
        .proxy
        .arm(Rule::each(Operation::Events, Fault::Events(fault)));
    world.proxy.cut_events();
    wait_until_within(REPAIR, "clos has connected again", || {
        (world.proxy.count(Operation::Events) >= streams + 2
            && host_reason(&world.server) == "Ready")
            .then_some(())
    });
}

#[test]
fn events_that_are_lost_doubled_mixed_or_halved_cost_no_repair_and_make_no_second_container() {
    let world = running();
    for fault in [
        EventFault::Duplicate,
        EventFault::Reorder(16, 1),
        EventFault::Drop(50, 1),
        EventFault::Drop(100, 1),
        EventFault::HalfLine,
        EventFault::Stall,
    ] {
        events_are(&world, fault);
        harm_and_wait(&world);
    }
    // What stood in the streams that stalled comes now, long after it happened.
    world.no_faults();
    harm_and_wait(&world);
    world.assert_deadlines();
}

#[test]
fn event_streams_that_end_at_once_are_asked_for_again_with_growing_pauses() {
    /// Two streams, the containers' and the networks'.
    const STREAMS: u64 = 2;
    /// Pauses of 50 ms that double this often make three seconds.
    const CONNECTIONS: u64 = 7;
    let world = running();
    let began = Instant::now();
    let before = world.proxy.count(Operation::Events);
    world.proxy.arm(Rule::each(
        Operation::Events,
        Fault::Events(EventFault::End),
    ));
    world.proxy.cut_events();
    wait_until_within(RECOVERY, "clos has connected a few times", || {
        (world.proxy.count(Operation::Events) >= before + STREAMS * CONNECTIONS).then_some(())
    });
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(2),
        "{CONNECTIONS} connections in {took:?}"
    );
    world.no_faults();
    harm_and_wait(&world);
}

#[test]
fn a_flood_of_events_neither_blocks_nor_bloats_and_is_read_to_its_end() {
    const PER_SECOND: u64 = 10_000;
    const TOTAL: u64 = 40_000;
    let world = running();
    let labels = json!({
        "clos.dev/installation": world.server.installation(), "clos.dev/namespace": world.server.namespace,
        "clos.dev/instance": "web-0", "clos.dev/instance-uid": "none",
    });
    let line = move |number: u64| {
        let (kind, action, attributes) = if number.is_multiple_of(2) {
            ("container", "die", labels.clone())
        } else {
            // Of a container that is not ours, and not there.
            let container = format!("{number:064x}");
            ("network", "disconnect", json!({ "container": container }))
        };
        json!({
            "Type": kind, "Action": action, "scope": "local", "timeNano": 1_700_000_000_000_000_000_u64,
            "Actor": { "ID": "0f", "Attributes": attributes },
        })
        .to_string()
    };
    let (lists, inspects) = (
        world.proxy.count(Operation::ListContainers),
        world.proxy.count(Operation::InspectContainer),
    );
    let (taken, memory) = (world.proxy.events_taken(), memory(world.server.pid()));
    let flood = Flood {
        per_second: PER_SECOND,
        total: TOTAL,
        line: Arc::new(line),
    };
    world.proxy.arm(Rule::once(
        Operation::Events,
        Fault::Events(EventFault::Flood(flood)),
    ));
    world.proxy.cut_events();
    let poured = || world.proxy.events_taken() - taken;
    wait_until_within(REPAIR, "the flood has begun", || {
        (poured() > PER_SECOND / 10).then_some(())
    });
    let began = Instant::now();
    assert_api_is_fast(&world.server);
    wait_until_within(RECOVERY, "the flood was read to its end", || {
        (poured() >= TOTAL).then_some(())
    });
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(TOTAL / PER_SECOND) + REPAIR,
        "the engine had to wait: {took:?}"
    );
    harm_and_wait(&world);
    let grown = self::memory(world.server.pid()).saturating_sub(memory);
    assert!(grown < 64 << 10, "it grew by {grown} KiB");
    let lists = world.proxy.count(Operation::ListContainers) - lists;
    let inspects = world.proxy.count(Operation::InspectContainer) - inspects;
    assert!(
        lists < 2000 && inspects < TOTAL / 4,
        "{lists} lists and {inspects} inspections"
    );
}

/// What a process keeps in memory, in KiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}
