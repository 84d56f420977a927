//! Asked to stop in the middle of things: it ends soon and well, containers stay, and the next start goes on.

use std::time::{Duration, Instant};

use clos_harness::{Engine, PATIENCE, Server, Setup, WEB, inspect, signal, wait_until};
use clos_proxy::{Fault, Operation, Proxy, Rule};

use crate::audit;
use crate::right::Right;
use crate::shop::Shop;

/// How long a server may take to end on a machine that does much else: less than what it must not wait for.
const SOON: Duration = Duration::from_secs(20);

/// Stops a server, which must end soon and well.
fn ends_well(server: &mut Server) {
    let since = Instant::now();
    let code = server.stop();
    let took = since.elapsed();
    assert_eq!(code, 0, "{}", server.log());
    assert!(took < SOON, "it took {took:?}");
}

#[test]
fn a_stop_in_the_middle_of_converging_ends_well_and_the_next_start_goes_on() {
    let labelled = WEB.replace(
        "  stopGracePeriod",
        "  labels: {version: \"1\"}\n  stopGracePeriod",
    );
    let (_, service) = labelled.split_once("---").unwrap();
    let mut declared = labelled.clone();
    let mut right = Right::default();
    right.networks.insert("shop".to_owned());
    right.runs("web-0", "1");
    for number in 0..12 {
        let name = format!("s{number}");
        declared += "---";
        declared += &service.replace("name: web", &format!("name: {name}"));
        right.runs(&format!("{name}-0"), "1");
    }
    let mut server = Server::start();
    server.write("shop.yaml", &declared);
    wait_until("the first container is there", || {
        (!server.containers().is_empty()).then_some(())
    });
    ends_well(&mut server);
    let seen = |id: &String| {
        let state = &inspect(id).expect("containers stay")["State"];
        (state["Running"] == true).then(|| (id.clone(), state["StartedAt"].clone()))
    };
    let running: Vec<_> = server.containers().iter().filter_map(seen).collect();
    let since = Instant::now();
    server.launch();
    right.until_so(&server, since);
    for (id, started_at) in running {
        let now = inspect(&id).expect("what ran was not made anew");
        assert_eq!(now["State"]["StartedAt"], started_at, "nor started again");
    }
    audit::agrees(&server);
}

#[test]
fn a_stop_does_not_wait_for_a_container_that_takes_its_time_to_end() {
    let stubborn = |shop: &Shop| {
        let (name, worker) = shop.files().remove(1);
        let worker = worker
            .replace("stopGracePeriod: 0s", "stopGracePeriod: 25s")
            .replace(
                "exec sleep 3600",
                "trap '' TERM; while true; do sleep 1; done",
            );
        (name, worker)
    };
    let mut shop = Shop {
        web: false,
        side: false,
        workers: 1,
        ..Shop::new()
    };
    let (name, worker) = stubborn(&shop);
    let mut server = Setup::new()
        .file("group.yaml", &shop.files()[0].1)
        .file(name, &worker)
        .start();
    server.until_ready("worker");
    shop.version = 2;
    let (name, worker) = stubborn(&shop);
    server.write(name, &worker);
    server.until_reason("cinst", "worker-0", "Progressing");
    ends_well(&mut server);
    let old = server.inspect("worker-0").expect("containers stay");
    assert_eq!(old["State"]["Running"], true, "it still has time to end");
    let since = Instant::now();
    server.launch();
    shop.right().until_so(&server, since);
    audit::agrees(&server);
}

#[test]
fn a_second_signal_does_not_wait_for_the_engine_and_the_next_start_goes_on() {
    let proxy = Proxy::start(Engine::default().socket());
    let shop = Shop {
        web: false,
        side: false,
        ..Shop::new()
    };
    let hanging = proxy.arm(Rule::each(Operation::CreateContainer, Fault::HangAfter));
    let setup = shop
        .files()
        .iter()
        .fold(Setup::new(), |setup, (name, content)| {
            setup.file(name, content)
        });
    let mut server = setup.through(&proxy.address()).prepare();
    let lines = server.launch_unready();
    wait_until("the engine hangs", || (hanging.struck() > 0).then_some(()));
    signal(server.pid(), "TERM");
    while !lines
        .recv_timeout(PATIENCE)
        .unwrap()
        .starts_with("stopping")
    {}
    assert!(server.runs(), "what it asked of the engine is waited for");
    let since = Instant::now();
    signal(server.pid(), "TERM");
    assert_eq!(server.until_ended(), 1, "{}", server.log());
    assert!(since.elapsed() < SOON, "it took {:?}", since.elapsed());
    hanging.disarm();
    let since = Instant::now();
    server.launch();
    shop.right().until_so(&server, since);
    audit::agrees(&server);
}
