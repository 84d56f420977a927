//! Single calls that fail: each call times each fault, while a group is made, changed, scaled down and removed. Afterwards exactly what is
//! declared is there, whatever became of the call.

use std::time::Duration;

use clos_harness::wait_until_within;
use clos_proxy::{Armed, Fault, Operation, Rule};

use crate::world::{DEADLINE, RECOVERY, Shop, World};

/// What happens to the group, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Made,
    Changed,
    ScaledDown,
    Removed,
}

const PHASES: [Phase; 4] = [
    Phase::Made,
    Phase::Changed,
    Phase::ScaledDown,
    Phase::Removed,
];

/// Every call, and when it is made for sure.
const CALLS: [(Operation, &[Phase]); 13] = {
    use Operation as O;
    use Phase::{Changed, Made, Removed, ScaledDown};
    [
        (O::CreateContainer, &[Made, Changed]),
        (O::StartContainer, &[Made, Changed]),
        (O::StopContainer, &[Changed, ScaledDown, Removed]),
        (O::RemoveContainer, &[Changed, ScaledDown, Removed]),
        (O::Pull, &[Made, Changed]),
        (O::CreateNetwork, &[Made]),
        (O::RemoveNetwork, &[Removed]),
        (O::CreateVolume, &[Made]),
        (O::InspectContainer, &PHASES),
        (O::ListContainers, &PHASES),
        (O::ListNetworks, &PHASES),
        (O::InspectVolume, &[Made, Changed]),
        (O::InspectImage, &[Made, Changed]),
    ]
};

/// Every fault that is over at once.
fn quick_faults() -> Vec<Fault> {
    vec![
        Fault::refuse(500),
        Fault::refuse(409),
        Fault::refuse(404),
        Fault::Answer(304, String::new()),
        Fault::CutBefore,
        Fault::CutAfter,
        Fault::CutBody(1),
        Fault::DelayAnswer(Duration::from_secs(2)),
    ]
}

/// A fault of one call.
type Case = (Operation, Fault);

/// Until everything is as declared in spite of these: a pull is given up after twice the time of other calls.
fn patience<'a>(mut cases: impl Iterator<Item = &'a Case>) -> Duration {
    let hangs = |fault: &Fault| matches!(fault, Fault::HangBefore | Fault::HangAfter);
    if cases.any(|(operation, fault)| *operation == Operation::Pull && hangs(fault)) {
        RECOVERY + DEADLINE
    } else {
        RECOVERY
    }
}

/// One life of the group with these faults in each phase, each once.
fn live(world: &World, faults: &[(Phase, Case)]) {
    let server = &world.server;
    let first = Shop {
        version: 1,
        replicas: 2,
    };
    let second = Shop {
        version: 2,
        ..first
    };
    let smaller = Shop {
        replicas: 1,
        ..second
    };
    for phase in PHASES {
        let of_phase = faults.iter().filter(|(when, _)| *when == phase);
        let patience = patience(of_phase.clone().map(|(_, case)| case));
        let armed: Vec<(&Case, Armed)> = of_phase
            .map(|(_, case)| {
                let (operation, fault) = case;
                (case, world.proxy.arm(Rule::once(*operation, fault.clone())))
            })
            .collect();
        match phase {
            Phase::Made => {
                first.apply(server);
                first.until_there(server, patience);
            }
            Phase::Changed => {
                second.apply(server);
                second.until_there(server, patience);
            }
            Phase::ScaledDown => {
                smaller.apply(server);
                smaller.until_there(server, patience);
            }
            Phase::Removed => {
                Shop::delete(server);
                Shop::until_gone(server);
            }
        }
        world.until_quiet();
        for (case, armed) in armed {
            assert_eq!(armed.struck(), 1, "{phase:?}: {case:?} never happened");
        }
        // A network that is made late is seen at the next change.
        let late = faults
            .iter()
            .any(|(when, (_, fault))| *when == phase && matches!(fault, Fault::Late(_)));
        if phase != Phase::Removed {
            // Nothing that came late has changed it.
            if !late {
                wait_until_within(RECOVERY, "there is one network", || {
                    let networks = server.engine().networks_of(server.installation());
                    (networks.len() == 1).then_some(())
                });
            }
            let shop = match phase {
                Phase::Made => first,
                Phase::Changed => second,
                Phase::ScaledDown | Phase::Removed => smaller,
            };
            assert!(shop.is_there(server), "{phase:?}");
        }
        world.no_faults();
    }
    world.assert_deadlines();
}

/// Deals the cases out to lives: a few in each phase, none of them twice in one.
fn lives(mut cases: Vec<Case>) -> Vec<Vec<(Phase, Case)>> {
    const IN_A_PHASE: usize = 4;
    let mut lives = Vec::new();
    while !cases.is_empty() {
        let mut life: Vec<(Phase, Case)> = Vec::new();
        for phase in PHASES {
            let mut taken: Vec<Operation> = Vec::new();
            let mut left = Vec::new();
            for case in std::mem::take(&mut cases) {
                let possible = CALLS
                    .iter()
                    .any(|(operation, phases)| *operation == case.0 && phases.contains(&phase));
                if possible && taken.len() < IN_A_PHASE && !taken.contains(&case.0) {
                    taken.push(case.0);
                    life.push((phase, case));
                } else {
                    left.push(case);
                }
            }
            cases = left;
        }
        lives.push(life);
    }
    lives
}

/// All calls times all quick faults, in an order that mixes them and is always the same.
fn quick_cases() -> Vec<Case> {
    let faults = quick_faults();
    let mut cases = Vec::new();
    for shift in 0..faults.len() {
        for (index, (operation, _)) in CALLS.iter().enumerate() {
            cases.push((*operation, faults[(index + shift) % faults.len()].clone()));
        }
    }
    cases
}

/// Runs lives side by side, each row of them on a server of its own.
fn side_by_side(rows: Vec<Vec<Vec<(Phase, Case)>>>) {
    std::thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || {
                let world = World::new();
                for life in row {
                    live(&world, &life);
                }
            });
        }
    });
}

#[test]
fn whatever_single_call_is_refused_or_cut_off_exactly_what_is_declared_is_there() {
    const SERVERS: usize = 4;
    let mut rows = vec![Vec::new(); SERVERS];
    for (index, life) in lives(quick_cases()).into_iter().enumerate() {
        rows[index % SERVERS].push(life);
    }
    side_by_side(rows);
}

#[test]
fn whatever_single_call_hangs_ends_within_its_deadline_and_leaves_what_is_declared() {
    use Operation as O;
    use Phase::{Changed, Made, Removed, ScaledDown};
    let before = || Fault::HangBefore;
    let after = || Fault::HangAfter;
    // The engine carries it out when clos has given up, and maybe has done it again.
    let late = || Fault::Late(DEADLINE + Duration::from_secs(3));
    let cases = [
        [
            (Made, (O::CreateNetwork, before())),
            (Removed, (O::RemoveNetwork, after())),
        ],
        [
            (Made, (O::CreateNetwork, after())),
            (Removed, (O::RemoveNetwork, late())),
        ],
        [
            (Made, (O::CreateVolume, before())),
            (Changed, (O::StopContainer, before())),
        ],
        [
            (Made, (O::CreateVolume, after())),
            (Changed, (O::StopContainer, after())),
        ],
        [
            (Made, (O::CreateContainer, before())),
            (Changed, (O::RemoveContainer, before())),
        ],
        [
            (Made, (O::CreateContainer, after())),
            (Changed, (O::RemoveContainer, after())),
        ],
        [
            (Made, (O::StartContainer, before())),
            (Changed, (O::CreateContainer, late())),
        ],
        [
            (Made, (O::StartContainer, after())),
            (Changed, (O::StartContainer, late())),
        ],
        [
            (Made, (O::InspectContainer, before())),
            (ScaledDown, (O::StopContainer, late())),
        ],
        [
            (Made, (O::ListContainers, before())),
            (ScaledDown, (O::RemoveContainer, late())),
        ],
        [
            (Made, (O::Pull, before())),
            (ScaledDown, (O::ListNetworks, before())),
        ],
        [
            (Made, (O::CreateNetwork, late())),
            (Changed, (O::Pull, before())),
        ],
    ];
    side_by_side(cases.map(|life| vec![life.to_vec()]).into());
}
