//! Every point there is, as the place where the server dies.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clos_failpoints::{PLACES, point};
use clos_harness::{Foreign, inspect};

use crate::cases::{Act, Case};
use crate::right::SOON;

/// How many servers die at the same time. They mostly wait.
const WORKERS: usize = 5;

/// Which places are reached by what is done, and at which times.
const REACHED: &[(Act, &str, &[u32])] = &[
    (Act::Start, "make credentials", &[1]),
    (Act::Start, "fill store", &[1]),
    (Act::Start, "apply object", &[3]),
    (Act::Start, "write inventory", &[1]),
    (Act::Start, "finalize group", &[1]),
    (Act::Start, "create instance", &[2]),
    (Act::Start, "create network", &[1]),
    (Act::Start, "create volume", &[1]),
    (Act::Start, "claim port", &[1]),
    (Act::Start, "create container", &[1, 3]),
    (Act::Start, "start container", &[2]),
    (Act::Start, "write status", &[1, 5]),
    (Act::Start, "record pass", &[2]),
    (Act::Pull, "pull image", &[1]),
    (Act::Freeze, "unpause container", &[1]),
    (Act::Change, "update instance", &[1]),
    (Act::Change, "stop container", &[1]),
    (Act::Change, "remove container", &[2]),
    // Four were made before.
    (Act::Change, "create container", &[5]),
    (Act::Change, "start container", &[6]),
    (Act::ScaleDown, "delete instance", &[1]),
    (Act::ScaleDown, "release instance", &[1]),
    (Act::ClosePort, "release port", &[1]),
    (Act::RemoveService, "prune object", &[1]),
    (Act::RemoveService, "collect object", &[1]),
    (Act::RemoveGroup, "prune object", &[2]),
    (Act::RemoveGroup, "remove network", &[1]),
    // Two groups got their finalizer before.
    (Act::RemoveGroup, "finalize group", &[3]),
    (Act::ReleaseNamespace, "release object", &[1]),
    (Act::DeleteNamespace, "empty namespace", &[2]),
    (Act::DeleteNamespace, "delete events", &[1]),
    (Act::DeleteNamespace, "finalize namespace", &[1]),
    (Act::Orphan, "free dependent", &[1]),
    (Act::Orphan, "drop finalizer", &[1]),
    (Act::Foreground, "collect object", &[1]),
    (Act::Foreground, "drop finalizer", &[1]),
];

fn cases() -> Vec<Case> {
    let times = REACHED
        .iter()
        .flat_map(|(act, place, times)| times.iter().map(move |time| (*act, *place, *time)));
    let points = times.flat_map(|(act, place, time)| {
        ["before", "after"].map(|when| Case {
            act,
            point: point(when, place),
            time,
        })
    });
    points.collect()
}

#[test]
fn every_point_there_is_is_one_to_die_at() {
    let known: BTreeSet<&str> = REACHED.iter().map(|(_, place, _)| *place).collect();
    assert_eq!(known, PLACES.into_iter().collect());
}

#[test]
fn wherever_the_server_dies_its_next_start_finishes_the_work_and_nothing_more() {
    let foreign = Foreign::container(&[
        "--label",
        "clos.dev/service=web",
        "--label",
        "clos.dev/group=shop",
    ]);
    let begun = inspect(&foreign.id).unwrap();
    let waiting = Mutex::new(cases());
    let ended: Mutex<Vec<(Case, Option<Duration>, Duration)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    let since = Instant::now();
                    let took = catch_unwind(AssertUnwindSafe(|| case.run())).ok();
                    ended.lock().unwrap().push((case, took, since.elapsed()));
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap();
    for (case, took, whole) in &ended {
        let Case { act, point, time } = case;
        println!("{point} {time} {act:?}: right after {took:.1?}, {whole:.1?} in all");
    }
    let failed: Vec<&Case> = ended
        .iter()
        .filter_map(|(case, took, _)| took.is_none().then_some(case))
        .collect();
    assert!(failed.is_empty(), "not right after dying at {failed:#?}");
    let mut times: Vec<Duration> = ended.iter().filter_map(|(_, took, _)| *took).collect();
    times.sort();
    let median = times[times.len() / 2];
    assert!(median < SOON, "half of them took longer than {median:?}");
    let still = inspect(&foreign.id).unwrap();
    for field in [
        "/Id",
        "/State/Pid",
        "/State/StartedAt",
        "/HostConfig",
        "/NetworkSettings",
    ] {
        assert_eq!(
            begun.pointer(field),
            still.pointer(field),
            "the container beside was touched"
        );
    }
}
