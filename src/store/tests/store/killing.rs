//! kill -9 at any time, over and over on one database: what was acknowledged is there, no revision is used twice.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clos_store::{JournalQuery, OpenError, Options, Put, Range, Stamp, Store};
use futures::StreamExt;
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::child;

/// As many kills at least; more by the environment, for a long run.
const CYCLES: usize = 200;
const ACKNOWLEDGED: usize = 10_000;
const WRITERS: usize = 8;
/// Keys of one writer.
const KEYS: usize = 7;
/// Most of this time passes between the first acknowledgement and the kill.
const LONGEST_LIFE: Duration = Duration::from_millis(60);

fn cycles() -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the test runs is its caller's choice"
    )]
    let cycles = std::env::var("CLOS_KILL_CYCLES");
    cycles.map_or(CYCLES, |cycles| cycles.parse().unwrap())
}

/// Not a test: the process that is killed below.
#[tokio::test]
#[ignore = "started by the kill test"]
async fn child_that_writes_until_it_is_killed() {
    let Some(dir) = child::input() else {
        return;
    };
    let store = Store::open(&dir, Options::default()).unwrap();
    let writer = async |writer: usize| {
        for n in 0..100_000 {
            let value = format!("{}-{writer}-{n}", std::process::id());
            let record = |stamp: Stamp| stamp.revision.unwrap().to_be_bytes().to_vec();
            let put = Put {
                record: Some(Box::new(record)),
                ..Put::new(key(writer, n), value.as_str())
            };
            let revision = store.put(put).await.unwrap().revision;
            println!("acked {revision} {} {value} .", key(writer, n));
        }
    };
    join_all((0..WRITERS).map(writer)).await;
}

fn key(writer: usize, n: usize) -> String {
    format!("w{writer}/{}", n % KEYS)
}

/// One acknowledged write; `None` for other lines, and for one that the kill has cut.
fn acknowledged(line: &str) -> Option<(u64, (String, String))> {
    // The test harness may have begun the line.
    let mut words = line.split_once("acked ")?.1.split(' ');
    let revision = words.next()?.parse().ok()?;
    let (key, value) = (words.next()?, words.next()?);
    (words.next()? == ".").then(|| (revision, (key.to_owned(), value.to_owned())))
}

/// Kills the child after a while, or waits until it is told that the child has ended by itself.
fn kill_after(mut child: Child, life: Duration, ended: &mpsc::Receiver<()>) -> bool {
    let alive = ended.recv_timeout(life).is_err();
    if alive {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    alive
}

/// What the database must hold, as far as that is known.
#[derive(Default)]
struct Model {
    /// Every key's value and revision.
    state: BTreeMap<String, (String, u64)>,
    revision: u64,
    acknowledged: usize,
    reopened: Vec<Duration>,
}

impl Model {
    /// Compares what is there with what was acknowledged since the last time, and takes over the rest.
    async fn check(&mut self, dir: &Path, acked: &BTreeMap<u64, (String, String)>) {
        let started = Instant::now();
        let store = Store::open(dir, Options::default()).unwrap();
        self.reopened.push(started.elapsed());
        let head = store.revision();
        assert!(head >= self.revision, "revisions went back to {head}");
        assert!(
            acked.keys().all(|revision| *revision > self.revision),
            "a revision up to {} was given out again",
            self.revision
        );
        assert!(
            acked.keys().all(|revision| *revision <= head),
            "{acked:?} is not there at {head}"
        );
        let unacknowledged = usize::try_from(head - self.revision).unwrap() - acked.len();
        assert!(
            unacknowledged <= WRITERS,
            "{unacknowledged} more than were on their way"
        );
        let mut watch = store.watch("", self.revision).unwrap();
        while self.revision < head {
            let event = watch.next().await.unwrap().unwrap();
            self.revision += 1;
            assert_eq!(event.revision, self.revision);
            let value = String::from_utf8(event.entry.value.to_vec()).unwrap();
            if let Some((acked_key, acked_value)) = acked.get(&event.revision) {
                assert_eq!((&event.key, &value), (acked_key, acked_value));
            }
            self.state.insert(event.key, (value, event.revision));
        }
        let page = store.range(&Range::default()).unwrap();
        let there: BTreeMap<String, (String, u64)> = page
            .entries
            .into_iter()
            .map(|entry| {
                let value = String::from_utf8(entry.value.to_vec()).unwrap();
                (entry.key, (value, entry.revision))
            })
            .collect();
        assert_eq!(there, self.state);
        check_journal(&store);
        self.acknowledged += acked.len();
        // So that every cycle costs the same.
        store.compact(head).await.unwrap();
        store.trim_journal(head.saturating_sub(50)).await.unwrap();
    }
}

/// Each change has its one record.
fn check_journal(store: &Store) {
    let query = JournalQuery {
        limit: usize::MAX,
        ..JournalQuery::default()
    };
    let records = store.journal(&query).unwrap();
    let first = records.first().map_or(1, |record| record.seq);
    let numbers: Vec<u64> = records.iter().map(|record| record.seq).collect();
    let recorded: Vec<u64> = records
        .iter()
        .map(|record| u64::from_be_bytes(record.bytes[..].try_into().unwrap()))
        .collect();
    let expected: Vec<u64> = (first..=store.revision()).collect();
    assert_eq!((&numbers, &recorded), (&expected, &expected));
}

#[tokio::test]
async fn i5_what_was_acknowledged_survives_kill_9_and_no_revision_is_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(0x6b69_6c6c);
    let mut model = Model::default();
    let (mut cycle, cycles) = (0, cycles());
    while cycle < cycles || model.acknowledged < ACKNOWLEDGED {
        let mut child = child::start("killing::child_that_writes_until_it_is_killed", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut acked = BTreeMap::new();
        acked.extend(lines.by_ref().find_map(|line| acknowledged(&line)));
        let life = LONGEST_LIFE.mul_f64(random.random());
        let (ends, ended) = mpsc::channel();
        let killer = std::thread::spawn(move || kill_after(child, life, &ended));
        for (revision, write) in lines.filter_map(|line| acknowledged(&line)) {
            let before = acked.insert(revision, write);
            assert_eq!(before, None, "revision {revision} was used twice");
        }
        // It may be killed already.
        let _ = ends.send(());
        assert!(killer.join().unwrap(), "the child ended by itself");
        model.check(dir.path(), &acked).await;
        cycle += 1;
    }
    model.reopened.sort();
    let median = model.reopened[model.reopened.len() / 2];
    println!(
        "{} writes acknowledged, {cycle} kills, opened again in {median:?}",
        model.acknowledged
    );
    assert!(median <= Duration::from_secs(2), "{median:?}");
}

#[test]
fn another_process_is_refused_at_once_with_the_holder_and_the_holder_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = child::start("killing::child_that_writes_until_it_is_killed", dir.path());
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let before = lines.by_ref().find_map(|line| acknowledged(&line)).unwrap();
    let started = Instant::now();
    let refused = Store::open(dir.path(), Options::default()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1));
    assert!(
        matches!(&refused, OpenError::Held { path, pid: Some(pid) }
            if path == dir.path() && *pid == child.id()),
        "{refused:?}"
    );
    // More than were on their way.
    let after = lines.filter_map(|line| acknowledged(&line)).nth(200);
    assert!(after.unwrap().0 > before.0);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(Store::open(dir.path(), Options::default()).is_ok());
}
