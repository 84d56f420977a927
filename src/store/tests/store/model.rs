//! Random histories against a model: a map, the list of its changes, and watchers that come and go.

use std::collections::BTreeMap;

use clos_store::{
    CommitError, Delete, Event, EventKind, Expect, Options, Put, Range, ReadError, Store, Watch,
    WatchError,
};
use futures::{FutureExt, StreamExt};
use proptest::prelude::*;

use crate::disk::Disk;

const KEYS: [&str; 5] = ["a/1", "a/2", "ab", "b/1", "b/2"];
const PREFIXES: [&str; 3] = ["", "a/", "b/"];

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: usize,
        value: u8,
        expect: Guess,
    },
    Delete {
        key: usize,
        expect: Guess,
    },
    Compact {
        back: u64,
    },
    Reopen,
    ReadAt {
        back: u64,
        prefix: usize,
        limit: Option<usize>,
    },
    Disconnect {
        watcher: usize,
    },
    CatchUp {
        watcher: usize,
    },
    /// Takes one event only, so that the rest is pending or becomes old.
    Peek {
        watcher: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Guess {
    Any,
    Absent,
    /// The newest revision of the key.
    Right,
    Wrong,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let watcher = || 0..PREFIXES.len();
    let guess = || prop_oneof![4 => Just(Guess::Any), 1 => Just(Guess::Absent), 2 => Just(Guess::Right), 1 => Just(Guess::Wrong)];
    prop_oneof![
        12 => (key(), any::<u8>(), guess()).prop_map(|(key, value, expect)| Step::Put { key, value, expect }),
        5 => (key(), guess()).prop_map(|(key, expect)| Step::Delete { key, expect }),
        1 => (0..12_u64).prop_map(|back| Step::Compact { back }),
        1 => Just(Step::Reopen),
        3 => (0..15_u64, 0..PREFIXES.len(), prop::option::of(0..4_usize))
            .prop_map(|(back, prefix, limit)| Step::ReadAt { back, prefix, limit }),
        1 => watcher().prop_map(|watcher| Step::Disconnect { watcher }),
        2 => watcher().prop_map(|watcher| Step::CatchUp { watcher }),
        2 => watcher().prop_map(|watcher| Step::Peek { watcher }),
    ]
}

/// Value, revision and revision of creation.
type State = BTreeMap<String, (Vec<u8>, u64, u64)>;

struct Model {
    /// The state at every revision; the last one is the newest.
    states: Vec<State>,
    changes: Vec<(u64, String, EventKind)>,
    compacted: u64,
}

impl Model {
    fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    fn at(&self, revision: u64, prefix: &str) -> State {
        let state = &self.states[usize::try_from(revision).unwrap()];
        state
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    fn change(&mut self, key: &str, value: Option<Vec<u8>>) {
        let mut state = self.newest().clone();
        let revision = self.head() + 1;
        let before = state.remove(key);
        let kind = match (&before, &value) {
            (None, _) => EventKind::Created,
            (Some(_), Some(_)) => EventKind::Updated,
            (Some(_), None) => EventKind::Deleted,
        };
        if let Some(value) = value {
            let created = before.map_or(revision, |(_, _, created)| created);
            state.insert(key.to_owned(), (value, revision, created));
        }
        self.states.push(state);
        self.changes.push((revision, key.to_owned(), kind));
    }
}

/// Rebuilds the state of its prefix from a list and the events after it.
struct Watcher {
    prefix: &'static str,
    state: State,
    /// Everything up to here has been seen.
    seen: u64,
    watch: Option<Watch>,
}

impl Watcher {
    fn list(&mut self, store: &Store) {
        let page = store.range(&Range::prefix(self.prefix)).unwrap();
        self.state = state_of(&page.entries);
        self.seen = page.revision;
        self.watch = Some(store.watch(self.prefix, page.revision).unwrap());
    }

    fn connect(&mut self, store: &Store, model: &Model) {
        if self.watch.is_some() {
            return;
        }
        match store.watch(self.prefix, self.seen) {
            Ok(watch) => self.watch = Some(watch),
            Err(WatchError::Compacted { requested, oldest }) => {
                assert_eq!((requested, oldest), (self.seen, model.compacted));
                assert!(self.seen < model.compacted);
                self.list(store);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes up to `count` events, or fewer when there are no more.
    fn take(&mut self, store: &Store, model: &Model, mut count: usize) {
        self.connect(store, model);
        while count > 0 {
            let watch = self.watch.as_mut().unwrap();
            match watch.next().now_or_never() {
                Some(Some(Ok(event))) => {
                    count -= 1;
                    self.apply(&event, model);
                }
                Some(Some(Err(WatchError::Compacted { oldest, .. }))) => {
                    assert!(self.seen < oldest, "it had seen everything");
                    assert!(watch.next().now_or_never().unwrap().is_none());
                    self.list(store);
                }
                Some(other) => panic!("{other:?}"),
                None if watch.position() < model.head() => {}
                None => {
                    assert_eq!(watch.position(), model.head());
                    break;
                }
            }
            let watch = self.watch.as_ref().unwrap();
            assert!(watch.position() >= self.seen);
            // What lies between is of other keys, so a bookmark may say it.
            self.seen = watch.position();
        }
    }

    fn apply(&mut self, event: &Event, model: &Model) {
        let due = model
            .changes
            .iter()
            .find(|(revision, key, _)| *revision > self.seen && key.starts_with(self.prefix));
        assert_eq!(
            due,
            Some(&(event.revision, event.key.clone(), event.kind)),
            "neither a gap nor a repetition"
        );
        let previous = event
            .previous
            .as_ref()
            .map(|entry| (entry.value.to_vec(), entry.revision, entry.created));
        assert_eq!(self.state.remove(&event.key), previous);
        if event.kind != EventKind::Deleted {
            self.state
                .extend(state_of(std::slice::from_ref(&event.entry)));
        }
        self.seen = event.revision;
    }
}

fn state_of(entries: &[clos_store::Entry]) -> State {
    let state = |entry: &clos_store::Entry| (entry.value.to_vec(), entry.revision, entry.created);
    entries
        .iter()
        .map(|entry| (entry.key.clone(), state(entry)))
        .collect()
}

struct Run {
    disk: Disk,
    store: Option<Store>,
    model: Model,
    watchers: Vec<Watcher>,
}

impl Run {
    fn new() -> Self {
        let disk = Disk::default();
        let watcher = |prefix| Watcher {
            prefix,
            state: State::new(),
            seen: 0,
            watch: None,
        };
        Self {
            store: Some(Self::open(&disk)),
            disk,
            model: Model {
                states: vec![State::new()],
                changes: Vec::new(),
                compacted: 0,
            },
            watchers: PREFIXES.map(watcher).into(),
        }
    }

    /// With so few recent events that watchers read from disk as well as from memory.
    fn open(disk: &Disk) -> Store {
        Store::with_backend(
            disk.clone(),
            Options {
                recent_events: 4,
                ..Options::default()
            },
        )
        .unwrap()
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn expectation(&self, key: &str, guess: Guess) -> Expect {
        let newest = self
            .model
            .newest()
            .get(key)
            .map_or(0, |(_, revision, _)| *revision);
        match guess {
            Guess::Any => Expect::Any,
            Guess::Absent => Expect::Absent,
            Guess::Right => Expect::Revision(newest),
            Guess::Wrong => Expect::Revision(newest + 1),
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Put { key, value, expect } => {
                let (key, value) = (KEYS[key], vec![value; usize::from(value)]);
                let expect = self.expectation(key, expect);
                let put = Put {
                    expect,
                    ..Put::new(key, value.as_slice())
                };
                let result = self.store().put(put).await.map(|done| done.revision);
                self.settle(key, expect, Some(value), result);
            }
            Step::Delete { key, expect } => {
                let expect = self.expectation(KEYS[key], expect);
                let delete = Delete {
                    expect,
                    ..Delete::new(KEYS[key])
                };
                let result = self.store().delete(delete).await.map(|done| done.revision);
                self.settle(KEYS[key], expect, None, result);
            }
            Step::Compact { back } => {
                let through = self.model.head().saturating_sub(back);
                self.store().compact(through).await.unwrap();
                self.model.compacted = self.model.compacted.max(through);
            }
            Step::Reopen => {
                for watcher in &mut self.watchers {
                    watcher.watch = None;
                }
                self.store = None;
                self.store = Some(Self::open(&self.disk));
            }
            Step::ReadAt {
                back,
                prefix,
                limit,
            } => self.read_at(back, PREFIXES[prefix], limit),
            Step::Disconnect { watcher } => self.watchers[watcher].watch = None,
            Step::CatchUp { watcher } => self.watch(watcher, usize::MAX),
            Step::Peek { watcher } => self.watch(watcher, 1),
        }
        assert_eq!(self.store().revision(), self.model.head());
        assert_eq!(self.store().compacted(), self.model.compacted);
    }

    fn settle(
        &mut self,
        key: &str,
        expect: Expect,
        value: Option<Vec<u8>>,
        result: Result<u64, CommitError>,
    ) {
        let current = self
            .model
            .newest()
            .get(key)
            .map(|(_, revision, _)| *revision);
        match (expect, current, result) {
            (Expect::Any, Some(_), Ok(revision)) => assert_eq!(revision, self.model.head() + 1),
            (Expect::Any | Expect::Absent, None, Ok(revision)) => {
                assert!(value.is_some());
                assert_eq!(revision, self.model.head() + 1);
            }
            (Expect::Revision(expected), Some(actual), Ok(revision)) => {
                assert_eq!((revision, actual), (self.model.head() + 1, expected));
            }
            (_, None, Err(CommitError::NotFound { .. })) => {
                assert!(value.is_none() || matches!(expect, Expect::Revision(_)));
                return;
            }
            (Expect::Absent, Some(there), Err(CommitError::Exists { actual, .. })) => {
                assert_eq!(actual, there);
                return;
            }
            (
                Expect::Revision(expected),
                Some(there),
                Err(CommitError::Conflict { actual, .. }),
            ) => {
                assert_ne!(expected, there);
                assert_eq!(actual, there);
                return;
            }
            other => panic!("{other:?}"),
        }
        self.model.change(key, value);
    }

    fn read_at(&self, back: u64, prefix: &str, limit: Option<usize>) {
        let at = self.model.head().saturating_sub(back);
        let mut range = Range {
            at: Some(at),
            limit,
            ..Range::prefix(prefix)
        };
        let mut state = State::new();
        loop {
            let page = match self.store().range(&range) {
                Ok(page) => page,
                Err(ReadError::Compacted { requested, oldest }) => {
                    assert_eq!((requested, oldest), (at, self.model.compacted));
                    assert!(at < oldest);
                    return;
                }
                Err(error) => panic!("{error}"),
            };
            assert!(at >= self.model.compacted);
            state.extend(state_of(&page.entries));
            let expected = self.model.at(at, prefix);
            assert_eq!(
                (page.revision, page.remaining),
                (at, expected.len() - state.len())
            );
            assert_eq!(page.more, page.remaining > 0);
            if !page.more || limit == Some(0) {
                assert!(page.more || state == expected);
                return;
            }
            range.after_key = page.entries.last().map(|entry| entry.key.clone());
        }
    }

    fn watch(&mut self, watcher: usize, count: usize) {
        let watcher = &mut self.watchers[watcher];
        watcher.take(self.store.as_ref().unwrap(), &self.model, count);
        if count == usize::MAX {
            assert_eq!(
                watcher.state,
                self.model.at(self.model.head(), watcher.prefix)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i5_every_history_reads_and_watches_as_it_was_acknowledged(steps in prop::collection::vec(step(), 1..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new();
            for step in steps {
                run.step(step).await;
            }
            for watcher in 0..PREFIXES.len() {
                run.watch(watcher, usize::MAX);
            }
        });
    }
}
