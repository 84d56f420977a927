//! An engine that hangs: it takes connections and says nothing. clos says so, changes nothing, stays fast, and does nothing twice after.

use std::time::Duration;

use clos_harness::{SecondEngine, Setup, wait_until_within};
use clos_proxy::{EventFault, Fault, Operation, Rule};

use crate::world::{
    DEADLINE, RECOVERY, Shop, World, assert_api_is_fast, listed, processes, until_unavailable,
};

const SHOP: Shop = Shop {
    version: 1,
    replicas: 2,
};

const OTHER: Shop = Shop {
    version: 2,
    replicas: 3,
};

#[test]
fn i3_while_the_engine_hangs_nothing_is_made_or_removed_and_all_calls_end_in_time() {
    let world = World::new();
    // A stream that says nothing may be a quiet engine's, or one's that hangs.
    world.proxy.arm(Rule::each(
        Operation::Events,
        Fault::Events(EventFault::Stall),
    ));
    world.proxy.cut_events();
    SHOP.apply(&world.server);
    SHOP.until_there(&world.server, RECOVERY);
    world.until_quiet();
    let before = listed(&world.server);
    let changes = world.proxy.changes();
    world.proxy.arm(Rule::always(Fault::HangBefore));
    until_unavailable(&world.server);
    OTHER.apply(&world.server);
    assert_api_is_fast(&world.server);
    // Connecting again begins with the version, and has a deadline of ten seconds of its own.
    wait_until_within(DEADLINE, "connecting was given up at its deadline", || {
        (world.proxy.longest(Operation::Version) >= Duration::from_secs(9)).then_some(())
    });
    until_unavailable(&world.server);
    assert_eq!(world.proxy.changes(), changes);
    assert_eq!(listed(&world.server), before);
    world.no_faults();
    OTHER.until_there(&world.server, RECOVERY);
    world.until_quiet();
    assert!(OTHER.is_there(&world.server));
    world.assert_deadlines();
}

/// How long the daemon is stopped: longer than every deadline, or as long as whoever runs this wants.
#[expect(
    clippy::disallowed_methods,
    reason = "how whoever runs this asks for the long version"
)]
fn stopped_for() -> Duration {
    let asked = std::env::var("CLOS_TEST_HANG_SECONDS").ok();
    asked.map_or(Duration::from_secs(35), |seconds| {
        Duration::from_secs(seconds.parse().unwrap())
    })
}

/// A daemon that is stopped until this is dropped, so that a test that fails meanwhile can clean up.
struct Stopped<'a>(&'a SecondEngine);

impl<'a> Stopped<'a> {
    fn now(second: &'a SecondEngine) -> Self {
        second.signal("STOP");
        Self(second)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

#[test]
fn a_daemon_that_is_stopped_for_longer_than_every_deadline_is_waited_for() {
    let second = SecondEngine::start(&[]);
    let server = Setup::new().engine(second.engine()).start();
    SHOP.apply_without_pull(&server);
    SHOP.until_there(&server, RECOVERY);
    let before = processes(&server);
    let began = std::time::Instant::now();
    // In the middle of a change, so that calls are on their way.
    let smaller = Shop {
        replicas: 1,
        ..SHOP
    };
    smaller.apply_without_pull(&server);
    let stopped = Stopped::now(&second);
    until_unavailable(&server);
    OTHER.apply_without_pull(&server);
    let all_the_time = "it was stopped for long enough, and clos was fast and said so meanwhile";
    wait_until_within(stopped_for() * 2, all_the_time, || {
        assert_api_is_fast(&server);
        until_unavailable(&server);
        (began.elapsed() >= stopped_for()).then_some(())
    });
    drop(stopped);
    OTHER.until_there(&server, RECOVERY);
    assert_eq!(processes(&server).len(), 4);
    assert_ne!(processes(&server), before);
}
