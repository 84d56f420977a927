//! kill -9 and power cuts: what was acknowledged is there, no revision is used twice.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use clos_store::{JournalQuery, OpenError, Options, Put, Range, Stamp, Store};
use futures::stream::{self, StreamExt};
use proptest::prelude::*;

use crate::disk::Disk;

const CYCLES: usize = 10;
const WRITERS: usize = 8;

/// One acknowledged write, as the child prints it.
fn line(revision: u64, key: &str) -> String {
    format!("acked {revision} {key}")
}

fn start_child(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crashing::child_that_writes_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{}", dir.display()).unwrap();
    child
}

/// Not a test: the process that is killed below. Without a folder on its input it does nothing.
#[tokio::test]
#[ignore = "started by the kill test"]
async fn child_that_writes_until_it_is_killed() {
    let mut dir = String::new();
    std::io::stdin().read_line(&mut dir).unwrap();
    if dir.is_empty() {
        return;
    }
    let store = Store::open(Path::new(dir.trim()), Options::default()).unwrap();
    let writes = stream::iter(0..5000).map(|n| {
        let store = store.clone();
        async move {
            let key = format!("{}-{n}", std::process::id());
            let record = |stamp: Stamp| stamp.revision.unwrap().to_be_bytes().to_vec();
            let put = Put {
                record: Some(Box::new(record)),
                ..Put::new(key.as_str(), key.as_str())
            };
            let revision = store.put(put).await.unwrap().revision;
            println!("{}", line(revision, &key));
        }
    });
    writes.buffer_unordered(WRITERS).collect::<()>().await;
}

#[test]
fn i5_what_was_acknowledged_survives_kill_9_and_no_revision_is_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = BTreeMap::new();
    for cycle in 0..CYCLES {
        let mut child = start_child(dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Killed at other places in a commit each time, as many commits differ.
        let enough = acked.len() + 20 + 37 * cycle % 100;
        let mut killed = false;
        while let Some(Ok(text)) = lines.next() {
            let Some((_, ack)) = text.split_once("acked ") else {
                continue;
            };
            let Some((revision, key)) = ack.split_once(' ') else {
                continue;
            };
            if key.is_empty() || !key.contains('-') {
                continue;
            }
            let before = acked.insert(revision.parse::<u64>().unwrap(), key.to_owned());
            assert_eq!(before, None, "revision {revision} was used twice");
            if acked.len() >= enough && !killed {
                if cycle == 0 {
                    let held = Store::open(dir.path(), Options::default()).unwrap_err();
                    let pid = child.id();
                    assert!(
                        matches!(held, OpenError::Held { pid: Some(holder), .. } if holder == pid)
                    );
                }
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");
        check(dir.path(), &acked);
    }
}

/// What was acknowledged is there, everything else was at most on its way, and each change has its record.
fn check(dir: &Path, acked: &BTreeMap<u64, String>) {
    let store = Store::open(dir, Options::default()).unwrap();
    let page = store.range(&Range::default()).unwrap();
    let there: BTreeMap<u64, String> = page
        .entries
        .iter()
        .map(|entry| (entry.revision, entry.key.clone()))
        .collect();
    for (revision, key) in acked {
        // A line the kill has cut in two names the beginning of a key.
        let found = there
            .get(revision)
            .unwrap_or_else(|| panic!("{key}@{revision} is lost"));
        assert!(
            found.starts_with(key.as_str()),
            "{found} instead of {key}@{revision}"
        );
    }
    for entry in &page.entries {
        assert_eq!(entry.value, entry.key, "the value is the one that was put");
    }
    assert_eq!(
        there.len() as u64,
        store.revision(),
        "every revision is one key, none is missing"
    );
    let query = JournalQuery {
        limit: usize::MAX,
        ..JournalQuery::default()
    };
    let records = store.journal(&query).unwrap();
    let recorded: Vec<u64> = records
        .iter()
        .map(|record| u64::from_be_bytes(record.bytes[..].try_into().unwrap()))
        .collect();
    assert_eq!(recorded, (1..=store.revision()).collect::<Vec<_>>());
}

/// Whichever operation on the disk was the last one, and whichever of the unsynced ones it kept.
#[tokio::test]
async fn i5_every_crash_point_recovers_to_what_was_acknowledged_or_one_change_more() {
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    disk.state().history = Some(Vec::new());
    let mut states = vec![store.range(&Range::default()).unwrap()];
    for n in 0..24_u8 {
        let size = usize::from(n) * 400;
        let record = |stamp: Stamp| stamp.revision.unwrap().to_be_bytes().to_vec();
        let key = format!("k{}", n % 7);
        let put = Put {
            record: Some(Box::new(record)),
            ..Put::new(key, vec![n; size])
        };
        let acked = store.put(put).await.unwrap().revision;
        disk.state().acked = acked;
        states.push(store.range(&Range::default()).unwrap());
        if n % 10 == 9 {
            store.compact(acked - 3).await.unwrap();
        }
    }
    let history = disk.state().history.take().unwrap();
    assert!(history.len() > 100, "{} operations", history.len());
    for (operation, (acked, disk)) in history.iter().enumerate() {
        let mut random = 0x9e37_79b9_u32 ^ u32::try_from(operation).unwrap();
        let mut toss = move || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 31 == 0
        };
        for cut in [
            disk.after_power_cut(|| true),
            disk.after_power_cut(|| false),
            disk.after_power_cut(&mut toss),
            disk.after_power_cut(toss),
        ] {
            let store = Store::with_backend(cut, Options::default()).unwrap();
            let revision = store.revision();
            assert!(
                (*acked..=acked + 1).contains(&revision),
                "{revision} after {acked} at {operation}"
            );
            let page = store.range(&Range::default()).unwrap();
            assert_eq!(page, states[usize::try_from(revision).unwrap()]);
            assert_eq!(
                *store.journal_head().borrow(),
                revision,
                "a record for each change"
            );
        }
    }
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
