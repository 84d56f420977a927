//! Many containers and nothing to do: nothing is written, next to nothing is used.

use std::fmt::Write;
use std::time::Duration;

use clos_harness::{PATIENCE, Setup, wait_until, wait_until_within};

use crate::machine::{cpu, resident};

/// So many services, unless `CLOS_HOST_SERVICES` says another number.
const SERVICES: u32 = 100;

#[expect(
    clippy::disallowed_methods,
    reason = "how a longer run than that of every change is asked for"
)]
pub(crate) fn services() -> u32 {
    let asked = std::env::var("CLOS_HOST_SERVICES").ok();
    asked.map_or(SERVICES, |number| number.parse().unwrap())
}

fn manifest(services: u32) -> String {
    let mut text =
        "apiVersion: clos.dev/v1alpha1\nkind: Group\nmetadata: {name: shop, namespace: NAMESPACE}\n"
            .to_owned();
    for number in 0..services {
        write!(
            text,
            "---\napiVersion: clos.dev/v1alpha1\nkind: Service\nmetadata: {{name: s{number}, namespace: NAMESPACE}}\nspec:\n  group: shop\n  \
             image: IMAGE\n  imagePullPolicy: Never\n  command: [sh, -c, \"exec sleep 3600\"]\n  stopGracePeriod: 0s\n"
        )
        .unwrap();
    }
    text
}

#[test]
fn i2_many_services_with_nothing_to_do_cost_next_to_nothing() {
    let services = services();
    let server = Setup::new()
        .file("all.yaml", &manifest(services))
        .flags(&["--relist", "2s"])
        .start();
    let patience = PATIENCE + Duration::from_secs(u64::from(services));
    wait_until_within(patience, "all run", || {
        (server.ready("cgrp", "shop").0 == "True").then_some(())
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
    wait_until("nothing is written any more", || {
        let (before, begun) = (writes(), lists());
        wait_until("two relists pass", || {
            (lists() >= begun + 2.0).then_some(())
        });
        same(writes(), before).then_some(())
    });
    let pid = server.pid();
    let (written, made, listed) = (writes(), changes(), lists());
    let (used, memory) = (cpu(pid), resident(pid));
    let begun = std::time::Instant::now();
    wait_until("ten relists pass", || {
        (lists() >= listed + 10.0).then_some(())
    });
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
