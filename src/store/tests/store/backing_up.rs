//! Backups: consistent while writes go on, verified, never half there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use clos_store::{
    Backup, BackupError, CheckError, Delete, JournalQuery, OpenError, Options, Page, Put, Range,
    ReadError, Restore, Stamp, Store, check_backup, restore,
};
use futures::future::join_all;
use futures::poll;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::child;
use crate::disk::Disk;
use crate::put;
use crate::tmpfs::Tmpfs;

/// A record of the revision it belongs to.
pub(crate) fn recorded(key: &str, value: &[u8]) -> Put {
    Put {
        record: Some(Box::new(|stamp: Stamp| {
            stamp.revision.unwrap().to_be_bytes().to_vec()
        })),
        ..Put::new(key, value)
    }
}

/// The revisions in the journal, by the number of their records.
pub(crate) fn journal(store: &Store) -> BTreeMap<u64, u64> {
    let query = JournalQuery {
        limit: usize::MAX,
        ..JournalQuery::default()
    };
    let revision = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().unwrap());
    let records = store.journal(&query).unwrap();
    records
        .iter()
        .map(|record| (record.seq, revision(&record.bytes)))
        .collect()
}

fn files(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A backup is read by making a store of it.
fn open_backup(backup: &Path) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let how = Restore {
        replace: false,
        now: UNIX_EPOCH,
        record: None,
    };
    restore(backup, dir.path(), how).unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    (dir, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i5_a_backup_made_beside_writers_is_the_state_of_its_revision_and_holds_none_of_them_up() {
    const WRITERS: usize = 8;
    const BACKUPS: usize = 5;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("data"), Options::default()).unwrap();
    for done in
        join_all((0..2000).map(|n| store.put(recorded(&format!("old/{n}"), &[7; 500])))).await
    {
        done.unwrap();
    }
    let stop = AtomicBool::new(false);
    let writes = join_all((0..WRITERS).map(|writer| {
        let (store, stop) = (&store, &stop);
        async move {
            let mut n = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("k{writer}/{}", n % 13);
                if n % 5 == 4 {
                    let delete = Delete {
                        record: recorded(&key, b"").record,
                        ..Delete::new(&key)
                    };
                    // A key the loop has not come by since it was removed.
                    let _ = store.delete(delete).await;
                } else {
                    let value = format!("{writer} {n} ").repeat(n % 60);
                    store.put(recorded(&key, value.as_bytes())).await.unwrap();
                }
                n += 1;
            }
        }
    }));
    let backups = async {
        let mut made = Vec::new();
        let mut beside = 0;
        let started = Instant::now();
        while made.len() < BACKUPS || beside == 0 {
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "no write came between"
            );
            let (copied, to) = (store.clone(), dir.path().join(made.len().to_string()));
            let before = store.stats().commits;
            let backup = tokio::task::spawn_blocking(move || copied.backup(&to));
            made.push(backup.await.unwrap().unwrap());
            beside += store.stats().commits - before;
        }
        stop.store(true, Ordering::Relaxed);
        made
    };
    let (_, made) = tokio::join!(writes, backups);

    for (n, backup) in made.iter().enumerate() {
        let path = dir.path().join(n.to_string());
        assert_eq!(check_backup(&path).unwrap(), *backup);
        let (_dir, restored) = open_backup(&path);
        let model = store
            .range(&Range {
                at: Some(backup.revision),
                ..Range::default()
            })
            .unwrap();
        let page = restored.range(&Range::default()).unwrap();
        assert_eq!(page.entries, model.entries);
        assert_eq!(backup.objects, model.entries.len() as u64);
        // Every change has its record, so the two are numbered alike.
        let expected: BTreeMap<u64, u64> = (1..=backup.revision).map(|n| (n, n)).collect();
        assert_eq!(journal(&restored), expected);
        assert_eq!(backup.records, backup.revision);
    }
    assert!(made.is_sorted_by_key(|backup| backup.revision));
    assert_eq!(
        files(dir.path()).len(),
        1 + made.len(),
        "nothing but the data and the backups"
    );
}

#[tokio::test]
async fn a_backup_is_private_never_overwrites_and_is_refused_as_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::in_memory();
    put(&store, "a", "1").await;
    let path = dir.path().join("backup");
    let made = store.backup(&path).unwrap();
    let bytes = fs::metadata(&path).unwrap().len();
    let expected = Backup {
        revision: 1,
        objects: 1,
        records: 0,
        bytes,
    };
    assert_eq!(made, expected);
    let permissions = fs::metadata(&path).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);

    put(&store, "a", "2").await;
    let content = fs::read(&path).unwrap();
    let refused = store.backup(&path).unwrap_err();
    assert!(matches!(&refused, BackupError::Exists { path: named } if *named == path));
    assert_eq!(
        refused.to_string(),
        format!(
            "{} exists already; choose another name for the backup",
            path.display()
        )
    );
    assert_eq!(fs::read(&path).unwrap(), content);
    assert_eq!(files(dir.path()), ["backup"]);

    fs::rename(&path, dir.path().join("store.redb")).unwrap();
    let refused = Store::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::IsBackup { .. }), "{refused:?}");
    assert_eq!(check_backup(&dir.path().join("store.redb")).unwrap(), made);
}

#[tokio::test]
async fn a_backup_holds_what_is_durable_and_does_not_wait_for_a_commit_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::default();
    let store = Store::with_backend(disk.clone(), Options::default()).unwrap();
    put(&store, "a", "1").await;
    disk.hold();
    let mut hanging = Box::pin(store.put(Put::new("b", "1")));
    assert!(poll!(&mut hanging).is_pending());
    disk.await_sync();
    let made = store.backup(&dir.path().join("backup")).unwrap();
    assert_eq!((made.revision, made.objects), (1, 1));
    disk.release();
    assert_eq!(hanging.await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::in_memory();
    let missing = dir.path().join("missing/backup");
    let refused = store.backup(&missing).unwrap_err();
    assert!(matches!(refused, BackupError::Write { .. }), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        format!("the backup {} could not be written", missing.display())
    );
    assert_eq!(files(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_store_with_a_damaged_record_is_not_backed_up_and_the_record_is_named() {
    const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Store::open(&data, Options::default()).unwrap();
    put(&store, "bad", "1").await;
    drop(store);
    let database = Database::open(data.join("store.redb")).unwrap();
    let mut stored = {
        let objects = database.begin_read().unwrap().open_table(OBJECTS).unwrap();
        objects.get("bad").unwrap().unwrap().value().to_vec()
    };
    stored[5] ^= 1;
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(OBJECTS)
        .unwrap()
        .insert("bad", stored.as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let store = Store::open(&data, Options::default()).unwrap();
    let refused = store.backup(&dir.path().join("backup")).unwrap_err();
    assert!(
        matches!(&refused, BackupError::Read(ReadError::Corrupt { table: "objects", key }) if key == "bad"),
        "{refused:?}"
    );
    assert_eq!(files(dir.path()), ["data"]);
    drop(store);
    // The cold copy says the same.
    let refused = check_backup(&data.join("store.redb")).unwrap_err();
    assert!(matches!(refused, CheckError::Damaged { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_backup_that_finds_no_space_leaves_nothing_and_the_store_goes_on() {
    let Some(small) = Tmpfs::mount(4) else {
        return;
    };
    let store = Store::in_memory();
    for n in 0..100 {
        store
            .put(Put::new(format!("k{n}"), vec![7; 100_000]))
            .await
            .unwrap();
    }
    let refused = store.backup(&small.path().join("backup")).unwrap_err();
    assert!(
        matches!(refused, BackupError::NoSpace { .. }),
        "{refused:?}"
    );
    assert_eq!(files(small.path()), Vec::<String>::new());
    assert_eq!(put(&store, "k", "1").await, 101);
}

/// The backup lies on the disk of the store and fills it: the store opens its database again under the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_fills_the_disk_of_its_store_ends_and_the_store_recovers() {
    const DISK: u64 = 16 << 20;
    let Some(small) = Tmpfs::mount(16) else {
        return;
    };
    let store = Store::open(&small.path().join("data"), Options::default()).unwrap();
    for n in 0..60 {
        store
            .put(Put::new(format!("k{n}"), vec![7; 50_000]))
            .await
            .unwrap();
    }
    // Half of what the backup needs is free.
    let used = fs::metadata(small.path().join("data/store.redb"))
        .unwrap()
        .blocks()
        * 512;
    let other = usize::try_from(DISK - used - (3 << 19)).unwrap();
    fs::write(small.path().join("other"), vec![1; other]).unwrap();
    let (copied, to) = (store.clone(), small.path().join("backup"));
    let backup = tokio::task::spawn_blocking(move || copied.backup(&to));
    // Few, because they take from the space, too, as long as the backup reads what they replace.
    let (mut written, mut refused) = (0, 0);
    while !backup.is_finished() && written < 20 {
        match store.put(Put::new("small", "1")).await {
            Ok(_) => written += 1,
            Err(_) => refused += 1,
        }
    }
    let error = backup.await.unwrap().unwrap_err();
    assert!(
        matches!(error, BackupError::NoSpace { .. } | BackupError::Read(_)),
        "{error:?} after {refused} refusals"
    );
    assert_eq!(files(small.path()), ["data", "other"]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.put(Put::new("small", "2")).await.is_err() {
        assert!(Instant::now() < deadline, "it does not recover");
    }
    assert_eq!(store.range(&Range::prefix("k")).unwrap().entries.len(), 60);
}

/// Not a test: the process that is killed below.
#[tokio::test]
#[ignore = "started by the kill test"]
async fn child_that_makes_backups_until_it_is_killed() {
    let Some(dir) = child::input() else {
        return;
    };
    let store = Store::open(&dir.join("data"), Options::default()).unwrap();
    let begin = files(&dir).len();
    for n in begin..begin + 10_000 {
        put(&store, &format!("k{}", n % 50), &n.to_string()).await;
        println!("begins {n}");
        store.backup(&dir.join(format!("backup-{n}"))).unwrap();
        println!("made {n}");
    }
}

#[test]
fn a_backup_has_its_name_only_when_it_is_whole_wherever_the_process_is_killed() {
    const CYCLES: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    for cycle in 0..CYCLES {
        let mut child = child::start(
            "backing_up::child_that_makes_backups_until_it_is_killed",
            dir.path(),
        );
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut begun = 0;
        for line in lines.map_while(Result::ok) {
            if let Some(n) = line.trim().strip_prefix("made ") {
                made.push(n.to_owned());
            }
            if line.starts_with("begins ") {
                begun += 1;
                if begun == 3 {
                    // Somewhere in the third backup, each time somewhere else.
                    let reached = Instant::now();
                    let pause = Duration::from_micros(cycle as u64 * 700);
                    while reached.elapsed() < pause {
                        std::hint::spin_loop();
                    }
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
    }
    assert!(made.len() >= 2 * CYCLES);
    for n in made {
        check_backup(&dir.path().join(format!("backup-{n}"))).unwrap();
    }
    let mut partial = 0;
    for name in files(dir.path()) {
        if name.ends_with(".partial") {
            partial += 1;
        } else if name != "data" {
            check_backup(&dir.path().join(name)).unwrap();
        }
    }
    assert!(partial > 0, "no kill has hit a backup in the making");
}

/// Entries as a backup holds them.
pub(crate) fn contents(backup: &Path) -> Page {
    let (_dir, store) = open_backup(backup);
    store.range(&Range::default()).unwrap()
}
