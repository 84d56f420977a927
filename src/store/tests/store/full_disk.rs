//! A real disk that is full: a small file system of its own. The same on a disk in memory is in `faults`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use clos_store::{CommitError, Health, Options, Put, Range, Store};

use crate::put;
use crate::tmpfs::Tmpfs;

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).unwrap()
}

fn value(n: u64) -> Vec<u8> {
    vec![u8::try_from(n % 251).unwrap(); 100_000]
}

/// Writes until there is no space; answers how many writes were acknowledged.
async fn fill(store: &Store) -> u64 {
    let mut written = 0;
    loop {
        match store
            .put(Put::new(format!("k{written}"), value(written)))
            .await
        {
            Ok(_) => written += 1,
            Err(CommitError::NoSpace) => return written,
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn recovers(store: &Store) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Err(error) = store.put(Put::new("after", value(0))).await {
        assert!(matches!(error, CommitError::NoSpace), "{error:?}");
        assert!(Instant::now() < deadline, "it does not recover");
        tokio::task::yield_now().await;
    }
    assert!(matches!(store.health(), Health::Writable));
}

fn check(store: &Store, written: u64) {
    let page = store.range(&Range::prefix("k")).unwrap();
    assert_eq!(page.entries.len() as u64, written);
    for entry in page.entries {
        let n = entry.key[1..].parse().unwrap();
        assert_eq!(entry.value, value(n));
    }
}

/// Looking for space does not close the database, so what reads for long is not broken off.
async fn backs_up_elsewhere(store: &Store, written: u64) {
    let failed = store.stats().failed_commits;
    let started = Instant::now();
    let mut made = 0;
    // Several times as long as it waits between two looks.
    while started.elapsed() < Duration::from_secs(1) || made == 0 {
        let refused = store.put(Put::new("refused", value(0))).await;
        assert!(matches!(refused, Err(CommitError::NoSpace)));
        let elsewhere = tempfile::tempdir().unwrap();
        let backup = store.backup(&elsewhere.path().join("backup")).unwrap();
        assert_eq!(backup.objects, written);
        made += 1;
    }
    // It tries all the same, if seldom.
    let tries = store.stats().failed_commits - failed;
    assert!(tries <= started.elapsed().as_secs() / 10, "{tries} tries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i5_a_full_disk_refuses_writes_keeps_reads_opens_again_and_recovers_without_that() {
    let Some(disk) = Tmpfs::mount(32) else {
        return;
    };
    let data = disk.path().join("data");
    let other = disk.path().join("other");
    // Somebody else's file takes the most, to be removed later.
    fs::write(&other, vec![1; 20 << 20]).unwrap();
    let store = open(&data);
    let written = fill(&store).await;
    assert!(written > 10);
    assert!(matches!(store.health(), Health::NoSpace));
    check(&store, written);

    // To the last byte: now no block is free anywhere, not even for the lock's text.
    let _ = fs::write(disk.path().join("rest"), vec![1; 12 << 20]);
    drop(store);
    fs::remove_file(data.join("lock")).unwrap();
    let _ = fs::write(disk.path().join("lock's block"), vec![1; 4096]);
    let store = open(&data);
    check(&store, written);
    let refused = store.put(Put::new("refused", value(0))).await;
    assert!(matches!(refused, Err(CommitError::NoSpace)), "{refused:?}");
    check(&store, written);
    backs_up_elsewhere(&store, written).await;

    fs::remove_file(other).unwrap();
    recovers(&store).await;
    check(&store, written);
    assert_eq!(store.revision(), written + 1);
    drop(store);
    let store = open(&data);
    check(&store, written);
    assert_eq!(put(&store, "last", "1").await, written + 2);
}
