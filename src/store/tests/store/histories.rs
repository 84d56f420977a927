//! Clients and watchers at the same time, with power cuts between: is what they were told the story of one store that does
//! one thing after the other? The search is in `linearizability`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use clos_store::{
    CommitError, Delete, Entry, Event, EventKind, Expect, Options, Put, Range, Store, WatchError,
};
use futures::StreamExt;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::disk::Disk;
use crate::linearizability::{Operation, is_linearizable};

const RUNS: u64 = 100;
const CLIENTS: u64 = 8;
const WATCHERS: usize = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];
/// Power cuts in a run.
const CUTS: u64 = 3;
/// Answers between two of them, at most.
const ANSWERS: u64 = 60;

/// What was asked.
#[derive(Clone, Debug)]
enum Ask {
    Put(usize, u64, Expect),
    Delete(usize, Expect),
    Get(usize),
    List,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    /// The revision of the change.
    Done(u64),
    /// The key is at that revision, against the expectation.
    There(u64),
    NotFound,
    Got(Option<(u64, u64)>),
    Listed(State),
    /// The power was cut first.
    Lost,
}

/// The newest revision, and of each key value and revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    revision: u64,
    keys: [Option<(u64, u64)>; KEYS.len()],
}

/// What an operation does to a store that does one after the other.
fn step(state: &State, (ask, answer): &(Ask, Answer)) -> Option<State> {
    let (after, answered) = match ask {
        Ask::Get(key) => (state.clone(), Answer::Got(state.keys[*key])),
        Ask::List => (state.clone(), Answer::Listed(state.clone())),
        Ask::Put(key, value, expect) => write(state, *key, Some(*value), *expect),
        Ask::Delete(key, expect) => write(state, *key, None, *expect),
    };
    match answer {
        // Only as a change it is worth a place.
        Answer::Lost => matches!(answered, Answer::Done(_)).then_some(after),
        answer => (*answer == answered).then_some(after),
    }
}

fn write(state: &State, key: usize, value: Option<u64>, expect: Expect) -> (State, Answer) {
    let current = state.keys[key].map(|(_, revision)| revision);
    let refusal = match (expect, current) {
        (Expect::Revision(_), None) => Some(Answer::NotFound),
        (Expect::Any | Expect::Absent, None) if value.is_none() => Some(Answer::NotFound),
        (Expect::Absent, Some(actual)) => Some(Answer::There(actual)),
        (Expect::Revision(expected), Some(actual)) if expected != actual => {
            Some(Answer::There(actual))
        }
        (Expect::Any | Expect::Absent, None) | (Expect::Any | Expect::Revision(_), Some(_)) => None,
    };
    if let Some(refusal) = refusal {
        return (state.clone(), refusal);
    }
    let mut after = state.clone();
    after.revision += 1;
    after.keys[key] = value.map(|value| (value, after.revision));
    let done = Answer::Done(after.revision);
    (after, done)
}

fn seen(entry: &Entry) -> (u64, u64) {
    (
        u64::from_be_bytes(entry.value[..].try_into().unwrap()),
        entry.revision,
    )
}

fn index(key: &str) -> usize {
    KEYS.iter().position(|known| *known == key).unwrap()
}

async fn ask(store: &Store, ask: &Ask) -> Answer {
    match ask {
        Ask::Put(key, value, expect) => {
            let put = Put {
                expect: *expect,
                ..Put::new(KEYS[*key], value.to_be_bytes())
            };
            changed(store.put(put).await)
        }
        Ask::Delete(key, expect) => {
            let delete = Delete {
                expect: *expect,
                ..Delete::new(KEYS[*key])
            };
            changed(store.delete(delete).await)
        }
        Ask::Get(key) => Answer::Got(store.get(KEYS[*key]).unwrap().as_ref().map(seen)),
        Ask::List => {
            let page = store.range(&Range::default()).unwrap();
            let mut keys = [None; KEYS.len()];
            for entry in &page.entries {
                keys[index(&entry.key)] = Some(seen(entry));
            }
            Answer::Listed(State {
                revision: page.revision,
                keys,
            })
        }
    }
}

fn changed(result: Result<clos_store::Committed, CommitError>) -> Answer {
    match result {
        Ok(done) => Answer::Done(done.revision),
        Err(CommitError::Exists { actual, .. } | CommitError::Conflict { actual, .. }) => {
            Answer::There(actual)
        }
        Err(CommitError::NotFound { .. }) => Answer::NotFound,
        Err(error) => panic!("{error:?}"),
    }
}

/// Takes over which revisions the keys are at.
fn learn(known: &mut [u64; KEYS.len()], key: usize, answer: &Answer) {
    match answer {
        Answer::Done(revision) | Answer::There(revision) | Answer::Got(Some((_, revision))) => {
            known[key] = *revision;
        }
        Answer::Listed(state) => {
            *known = state
                .keys
                .map(|key| key.map_or(0, |(_, revision)| revision));
        }
        Answer::NotFound | Answer::Got(None) | Answer::Lost => {}
    }
}

/// What a watcher was told.
#[derive(Default)]
struct Watcher {
    /// Everything up to here is known.
    through: u64,
    events: Vec<Event>,
    /// How often it had to begin anew.
    lists: u64,
}

/// The time of one power supply: from opening the store to the cut.
struct Epoch {
    store: Store,
    /// How many answers came; `None` after the cut.
    answers: Mutex<Option<u64>>,
}

struct Run {
    clock: AtomicU64,
    values: AtomicU64,
    history: Mutex<Vec<Operation<(Ask, Answer)>>>,
    watchers: Vec<Mutex<Watcher>>,
}

impl Run {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Asks until the power is cut.
    async fn client(&self, epoch: &Epoch, mut random: StdRng) {
        let mut known = [0; KEYS.len()];
        loop {
            let key = random.random_range(0..KEYS.len());
            let expect = match random.random_range(0..4) {
                0 => Expect::Any,
                1 => Expect::Absent,
                _ => Expect::Revision(known[key]),
            };
            let what = match random.random_range(0..10) {
                0..=4 => Ask::Put(key, self.values.fetch_add(1, Ordering::SeqCst), expect),
                5..=6 => Ask::Delete(key, expect),
                7..=8 => Ask::Get(key),
                _ => Ask::List,
            };
            let call = self.now();
            let answer = ask(&epoch.store, &what).await;
            learn(&mut known, key, &answer);
            if !self.note(epoch, call, what, answer) {
                return;
            }
            if random.random_range(0..15) == 0 {
                let head = epoch.store.revision();
                let through = head.saturating_sub(random.random_range(0..3));
                epoch.store.compact(through).await.unwrap();
            }
        }
    }

    /// Adds an operation to the history. Whether it was answered before the cut.
    fn note(&self, epoch: &Epoch, call: u64, ask: Ask, answer: Answer) -> bool {
        // What is noted under this lock was durable before the cut, which takes it, too.
        let mut answers = epoch.answers.lock().unwrap();
        let certain = answers.is_some();
        if let Some(count) = &mut *answers {
            *count += 1;
        } else if matches!(ask, Ask::Get(_) | Ask::List) {
            return false;
        }
        let operation = Operation {
            call,
            end: self.now(),
            certain,
            what: (ask, if certain { answer } else { Answer::Lost }),
        };
        self.history.lock().unwrap().push(operation);
        certain
    }

    /// Follows from where it was, until the store is gone.
    async fn watch(&self, epoch: &Epoch, watcher: usize, mut random: StdRng) {
        while epoch.answers.lock().unwrap().is_some() {
            // It may be away for so long that it is overtaken by compaction.
            for _ in 0..random.random_range(0..300) {
                tokio::task::yield_now().await;
            }
            let through = self.watchers[watcher].lock().unwrap().through;
            let mut watch = match epoch.store.watch("", through) {
                Ok(watch) => watch,
                Err(WatchError::Compacted { .. }) => {
                    self.list(epoch, watcher);
                    continue;
                }
                Err(error) => panic!("{error:?}"),
            };
            // Now and then it connects again.
            for _ in 0..random.random_range(1..50) {
                let Ok(next) =
                    tokio::time::timeout(std::time::Duration::from_millis(2), watch.next()).await
                else {
                    break;
                };
                match next.unwrap() {
                    Ok(event) => {
                        // As of an answer: what comes after the cut is not counted.
                        let answers = epoch.answers.lock().unwrap();
                        if answers.is_none() {
                            return;
                        }
                        let mut known = self.watchers[watcher].lock().unwrap();
                        assert_eq!(event.revision, known.through + 1, "once each, in order");
                        known.through = event.revision;
                        known.events.push(event);
                    }
                    Err(WatchError::Compacted { .. }) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    }

    fn list(&self, epoch: &Epoch, watcher: usize) {
        let page = epoch.store.range(&Range::default()).unwrap();
        let answers = epoch.answers.lock().unwrap();
        if answers.is_some() {
            let mut known = self.watchers[watcher].lock().unwrap();
            assert!(page.revision > known.through);
            known.through = page.revision;
            known.lists += 1;
        }
    }

    /// Every revision is the same event for everybody, and the one its client was told.
    fn check_watchers(&self) -> (usize, u64) {
        let mut events: BTreeMap<u64, Event> = BTreeMap::new();
        let (mut count, mut lists) = (0, 0);
        for watcher in &self.watchers {
            let watcher = watcher.lock().unwrap();
            lists += watcher.lists;
            count += watcher.events.len();
            for event in &watcher.events {
                let known = events
                    .entry(event.revision)
                    .or_insert_with(|| event.clone());
                assert_eq!(known, event, "a revision was used twice");
            }
        }
        for operation in self.history.lock().unwrap().iter() {
            let (ask, Answer::Done(revision)) = &operation.what else {
                continue;
            };
            let Some(event) = events.get(revision) else {
                continue;
            };
            match ask {
                Ask::Put(key, value, _) => {
                    assert_eq!(event.key, KEYS[*key]);
                    assert_eq!(seen(&event.entry), (*value, *revision));
                }
                Ask::Delete(key, _) => {
                    assert_eq!(
                        (event.key.as_str(), event.kind),
                        (KEYS[*key], EventKind::Deleted)
                    );
                }
                Ask::Get(_) | Ask::List => panic!("a read has changed something"),
            }
        }
        (count, lists)
    }
}

/// Cuts the power after some answers; sometimes while a commit waits for the disk. Answers the disk as it is then.
/// Not for a worker of the runtime: while a commit that makes the file longer waits, reads wait too, and may keep every worker.
fn cut(epoch: &Epoch, disk: &Disk, mut random: StdRng) -> Disk {
    let enough = random.random_range(1..=ANSWERS);
    while epoch
        .answers
        .lock()
        .unwrap()
        .is_some_and(|count| count < enough)
    {
        thread::yield_now();
    }
    if random.random() {
        disk.hold();
        for _ in 0..random.random_range(0..2000) {
            if disk.is_waiting() {
                break;
            }
            thread::yield_now();
        }
    }
    let mut answers = epoch.answers.lock().unwrap();
    *answers = None;
    let keep = random.random_range(0..=100);
    let after = disk.after_power_cut(|| random.random_range(0..100) < keep);
    drop(answers);
    disk.release();
    after
}

async fn run(seed: u64) -> (usize, usize, u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let run = Arc::new(Run {
        clock: AtomicU64::new(1),
        values: AtomicU64::new(1),
        history: Mutex::default(),
        watchers: (0..WATCHERS).map(|_| Mutex::default()).collect(),
    });
    let options = || Options {
        recent_events: 8,
        ..Options::default()
    };
    let mut disk = Disk::default();
    for _ in 0..CUTS {
        let epoch = Arc::new(Epoch {
            store: Store::with_backend(disk.clone(), options()).unwrap(),
            answers: Mutex::new(Some(0)),
        });
        // What the cut has left, before anything else happens.
        let call = run.now();
        let left = ask(&epoch.store, &Ask::List).await;
        assert!(run.note(&epoch, call, Ask::List, left));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let (run, epoch) = (Arc::clone(&run), Arc::clone(&epoch));
            let random = StdRng::seed_from_u64(random.random());
            tasks.spawn(async move { run.client(&epoch, random).await });
        }
        for watcher in 0..WATCHERS {
            let (run, epoch) = (Arc::clone(&run), Arc::clone(&epoch));
            let random = StdRng::seed_from_u64(random.random());
            tasks.spawn(async move { run.watch(&epoch, watcher, random).await });
        }
        let cutting = {
            let (epoch, disk) = (Arc::clone(&epoch), disk.clone());
            let random = StdRng::seed_from_u64(random.random());
            tokio::task::spawn_blocking(move || cut(&epoch, &disk, random))
        };
        let after = cutting.await.unwrap();
        tasks.join_all().await;
        disk = after;
    }
    // What is there at the end is the last answer.
    let store = Store::with_backend(disk, options()).unwrap();
    let call = run.now();
    let last = ask(&store, &Ask::List).await;
    let end = run.now();
    let mut history = std::mem::take(&mut *run.history.lock().unwrap());
    history.push(Operation {
        call,
        end,
        certain: true,
        what: (Ask::List, last),
    });
    history.sort_by_key(|operation| operation.call);
    assert!(
        is_linearizable(&State::default(), &history, step),
        "seed {seed}: {history:#?}"
    );
    let count = history.len();
    *run.history.lock().unwrap() = history;
    let (events, lists) = run.check_watchers();
    (count, events, lists)
}

#[test]
fn i5_what_clients_and_watchers_are_told_around_power_cuts_is_one_linear_history() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    let (mut operations, mut events, mut lists) = (0, 0, 0);
    for first in (0..RUNS).step_by(4) {
        let runs = (first..first + 4).map(|seed| runtime.spawn(run(seed)));
        for done in runtime.block_on(join_all(runs)) {
            let done = done.unwrap();
            operations += done.0;
            events += done.1;
            lists += done.2;
        }
    }
    println!("{operations} operations, {events} events, {lists} lists");
    assert!(operations > 5000, "{operations} operations");
    assert!(events > 2000, "{events} events");
    assert!(lists > 0, "no watch was ever overtaken by compaction");
}
