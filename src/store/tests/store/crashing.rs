//! Power cuts after every operation on the disk: what was acknowledged is there, nothing is there by half.

use std::collections::BTreeMap;

use clos_store::{Committed, Delete, Options, Put, Range, Stamp, Store};
use futures::future::join_all;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::disk::{Disk, Operation};

/// How many different parts of what was not synced are kept, at each operation.
const SEEDS: u64 = 3;
const THREADS: usize = 4;

/// Value and revision of every key.
type State = BTreeMap<String, (Vec<u8>, u64)>;

/// What was done to a disk, and what the store on it was by then.
struct Workload {
    /// Making the new store; a folder's is made under another name first, so a crash in it leaves none.
    beginning: Vec<Operation>,
    history: Vec<((u64, u64), Operation)>,
    /// The state at every revision.
    states: Vec<State>,
}

impl Workload {
    async fn run() -> Self {
        let disk = Disk::default();
        disk.record();
        let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
        let beginning = disk.state().history.replace(Vec::new()).unwrap();
        let mut states = vec![State::new()];
        let mut random = StdRng::seed_from_u64(7);
        for step in 0..16_u64 {
            // Alone, or several that share commits.
            let writes = if step % 4 == 3 { 5 } else { 1 };
            let acked = store.revision();
            disk.state().revisions = (acked, acked + writes);
            let writes = (0..writes).map(|n| {
                let key = format!("k{}", (step * 3 + n) % 11);
                let delete = step % 7 == 5 && states.last().unwrap().contains_key(&key);
                let value = vec![u8::try_from(step).unwrap(); random.random_range(0..3000)];
                write(&store, key, (!delete).then_some(value))
            });
            let mut done = join_all(writes).await;
            done.sort_by_key(|(done, _)| done.revision);
            for (done, value) in done {
                let mut state = states.last().unwrap().clone();
                assert_eq!(done.revision, states.len() as u64);
                state.remove(&done.entry.key);
                if let Some(value) = value {
                    state.insert(done.entry.key, (value, done.revision));
                }
                states.push(state);
            }
            let head = store.revision();
            disk.state().revisions = (head, head);
            if step % 5 == 4 {
                store.compact(head - 3).await.unwrap();
                store.trim_journal(head - 2).await.unwrap();
            }
        }
        let history = disk.state().history.take().unwrap();
        Self {
            beginning: beginning
                .into_iter()
                .map(|(_, operation)| operation)
                .collect(),
            history,
            states,
        }
    }

    /// Opens what a power cut has left. Answers its revision.
    async fn check(&self, cut: &Disk, (least, most): (u64, u64), place: &str) -> u64 {
        let store = Store::with_backend(cut.clone(), Options::default()).unwrap();
        let revision = store.revision();
        assert!(
            (least..=most).contains(&revision),
            "{revision} is not within {least} and {most} {place}"
        );
        let page = store.range(&Range::default()).unwrap();
        let there: State = page
            .entries
            .into_iter()
            .map(|entry| (entry.key, (entry.value.to_vec(), entry.revision)))
            .collect();
        assert!(
            there == self.states[usize::try_from(revision).unwrap()],
            "another state at {revision} {place}"
        );
        assert_eq!(
            *store.journal_head().borrow(),
            revision,
            "a record for each change {place}"
        );
        let next = store.put(Put::new("next", "1")).await.unwrap();
        assert_eq!(next.revision, revision + 1);
        revision
    }
}

async fn write(store: &Store, key: String, value: Option<Vec<u8>>) -> (Committed, Option<Vec<u8>>) {
    let record = |stamp: Stamp| stamp.revision.unwrap().to_be_bytes().to_vec();
    let done = if let Some(value) = value.clone() {
        let put = Put {
            record: Some(Box::new(record)),
            ..Put::new(key, value)
        };
        store.put(put).await
    } else {
        let delete = Delete {
            record: Some(Box::new(record)),
            ..Delete::new(key)
        };
        store.delete(delete).await
    };
    (done.unwrap(), value)
}

/// Whether each change that was not synced is kept.
fn tosses(seed: u64) -> impl FnMut() -> bool {
    let mut random = StdRng::seed_from_u64(seed);
    // Nearly none, about half, nearly all.
    let kept = [0.1, 0.5, 0.9][usize::try_from(seed % 3).unwrap()];
    move || random.random_bool(kept)
}

/// Every crash point of a part of the history.
async fn crash_at_every(workload: &Workload, mine: impl Fn(usize) -> bool) {
    let disk = Disk::default();
    for operation in &workload.beginning {
        disk.replay(operation.clone());
    }
    for (at, (revisions, operation)) in workload.history.iter().enumerate() {
        disk.replay(operation.clone());
        if !mine(at) {
            continue;
        }
        let place = format!("after operation {at}");
        let check = async |cut: Disk| workload.check(&cut, *revisions, &place).await;
        check(disk.after_power_cut(|| true)).await;
        check(disk.after_power_cut(|| false)).await;
        for seed in 0..SEEDS {
            check(disk.after_power_cut(tosses(at as u64 * SEEDS + seed))).await;
        }
        if at % 32 < THREADS {
            crash_in_recovery(workload, &disk, *revisions, at as u64).await;
        }
    }
}

/// The power is cut again while the store is opened, after every operation of that.
async fn crash_in_recovery(workload: &Workload, disk: &Disk, revisions: (u64, u64), seed: u64) {
    let cut = disk.after_power_cut(tosses(seed));
    let again = cut.after_power_cut(|| false);
    cut.record();
    let recovered = Store::with_backend(cut.clone(), Options::default())
        .unwrap()
        .revision();
    let history = cut.state().history.take().unwrap();
    assert!(!history.is_empty());
    for (at, (_, operation)) in history.into_iter().enumerate() {
        again.replay(operation);
        let twice = again.after_power_cut(tosses(seed + at as u64));
        let place = format!("after operation {at} of the recovery of {seed}");
        let revision = workload.check(&twice, revisions, &place).await;
        assert_eq!(revision, recovered, "it has decided already {place}");
    }
}

#[test]
fn i5_every_crash_point_recovers_to_what_was_acknowledged_and_at_most_what_was_asked() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let workload = runtime().block_on(Workload::run());
    println!("{} operations", workload.history.len());
    assert!(workload.history.len() >= 200);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (workload, runtime) = (&workload, runtime());
            scope.spawn(move || {
                runtime.block_on(crash_at_every(workload, |at| at % THREADS == thread));
            });
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Cut in the middle of a commit, whichever of its pages have reached the disk.
    #[test]
    fn i5_what_was_acknowledged_survives_a_power_cut(
        sizes in prop::collection::vec(0..9000_usize, 1..12),
        kept in prop::collection::vec(any::<bool>(), 1..64),
        compact in 0..6_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = Disk::default();
            let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
            for (n, size) in sizes.iter().enumerate() {
                store.put(Put::new(format!("k{n}"), vec![7; *size])).await.unwrap();
            }
            store.compact(compact).await.unwrap();
            let acked = store.range(&Range::default()).unwrap();
            disk.hold();
            let mut last = Box::pin(store.put(Put::new("last", vec![7; 9000])));
            assert!(futures::poll!(&mut last).is_pending());
            disk.await_sync();

            let mut kept = kept.into_iter().cycle();
            let cut = disk.after_power_cut(|| kept.next().unwrap());
            disk.release();
            let survived = Store::with_backend(cut, Options::default()).unwrap();
            let mut page = survived.range(&Range::default()).unwrap();
            // The last one was never acknowledged: it is there as a whole, or not at all.
            if page.revision == acked.revision + 1 {
                let last = page.entries.pop().unwrap();
                assert_eq!((last.key.as_str(), last.value.len()), ("last", 9000));
                page.revision -= 1;
            }
            assert_eq!(page, acked);
            assert_eq!(survived.compacted(), store.compacted());
        });
    }
}
