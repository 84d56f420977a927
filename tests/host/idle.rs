//! Many containers and nothing to do: nothing is written, next to nothing is used.

use std::fmt::Write;
use std::time::Duration;

use clos_harness::{PATIENCE, Setup, wait_until_within};

use crate::machine::{cpu, resident};

/// So many services, unless `CLOS_HOST_SERVICES` says another number.
const SERVICES: u32 = 100;

pub(crate) fn services() -> u32 {
    asked("CLOS_HOST_SERVICES").unwrap_or(SERVICES)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how a longer run than that of every change is asked for"
)]
fn asked(variable: &str) -> Option<u32> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().unwrap())
}

/// A group has a network of its own, and the engine gives such a network room for no more than about 250 containers.
fn groups(services: u32) -> impl Iterator<Item = String> + Clone {
    (0..services.div_ceil(100)).map(|group| format!("shop{group}"))
}

fn manifest(services: u32) -> String {
    let mut text = String::new();
    for group in groups(services) {
        write!(
            text,
            "---\napiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: {{name: {group}, namespace: NAMESPACE}}\n"
        )
        .unwrap();
    }
    for (number, group) in (0..services).zip(groups(services).cycle()) {
        write!(
            text,
            "---\napiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{name: s{number}, namespace: NAMESPACE}}\nspec:\n  group: {group}\n  \
             image: IMAGE\n  imagePullPolicy: Never\n  command: [sh, -c, \"exec sleep 3600\"]\n  stopGracePeriod: 0s\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn i2_many_services_with_nothing_to_do_cost_next_to_nothing() {
    let services = services();
    // For a short time often, or for so many minutes as often as by default.
    let minutes = asked("CLOS_HOST_IDLE_MINUTES");
    let (relist, relists) = minutes.map_or(("2s", 10), |minutes| ("60s", minutes));
    let server = Setup::new()
        .file("all.yaml", &manifest(services))
        .flags(&["--relist", relist])
        .start();
    let patience = PATIENCE + Duration::from_secs(u64::from(services));
    wait_until_within(patience, "all run", || {
        groups(services)
            .all(|group| server.ready("cgrp", &group).0 == "True")
            .then_some(())
    });
    let writes = || server.metric("clos_store_writes_total");
    let lists = || server.metric("clos_engine_call_seconds_count{operation=\"list\"");
    let changes = || {
        let operations = ["create_", "start_", "stop_", "remove_", "pull_", "unpause_"];
        let count = |operation| {
            server.metric(&format!(
                "clos_engine_call_seconds_count{{operation=\"{operation}"
            ))
        };
        operations.into_iter().map(count).sum::<f64>()
    };
    let pass = |count: u32| {
        let begun = lists();
        let patience = PATIENCE + Duration::from_secs(70) * count;
        wait_until_within(patience, "relists pass", || {
            (lists() >= begun + f64::from(count)).then_some(())
        });
    };
    wait_until_within(
        Duration::from_mins(10),
        "nothing is written any more",
        || {
            let before = writes();
            pass(2);
            same(writes(), before).then_some(())
        },
    );
    let pid = server.pid();
    let (written, made) = (writes(), changes());
    let (used, memory) = (cpu(pid), resident(pid));
    let begun = std::time::Instant::now();
    pass(relists);
    let (share, grown) = (
        cpu(pid).saturating_sub(used).as_secs_f64() / begun.elapsed().as_secs_f64(),
        resident(pid) - memory,
    );
    println!("{services} services: {share} of a core, {memory} MB and {grown} more");
    assert!(
        same(writes(), written),
        "{written} writes, then {}",
        writes()
    );
    assert!(same(changes(), made), "{made} changes, then {}", changes());
    assert!(share < 0.05, "{share} of a core");
    assert!(grown < 5.0, "from {memory} MB, {grown} more");
}

/// Whether two counts, which metrics give as floating point numbers, are the same.
fn same(left: f64, right: f64) -> bool {
    (left - right).abs() < 0.5
}
