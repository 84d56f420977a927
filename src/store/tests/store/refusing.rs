//! What is no whole backup, or finds no room, is not restored and changes nothing.

use std::error::Error;
use std::fs;

use clos_store::{CheckError, Put, RestoreError, Store, check_backup, restore};

use crate::backing_up::contents;
use crate::damage::Damage;
use crate::put;
use crate::restoring::{behind, how, names, open};
use crate::tmpfs::Tmpfs;

#[tokio::test]
async fn what_is_no_backup_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let new = dir.path().join("new");
    let file = dir.path().join("file");
    let refusal = || match restore(&file, &new, how(true)).unwrap_err() {
        RestoreError::Backup(error) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refusal(), CheckError::Unreadable { .. }));
    for content in ["", "re", "apiVersion: clos.dev/v1alpha1\n"] {
        fs::write(&file, content).unwrap();
        let refused = refusal();
        assert!(matches!(refused, CheckError::NotABackup { .. }));
        assert_eq!(
            refused.to_string(),
            format!("{} is not a backup made by clos", file.display())
        );
    }
    fs::remove_file(&file).unwrap();
    drop(redb::Database::create(&file).unwrap());
    assert!(matches!(refusal(), CheckError::NotABackup { .. }));
    fs::remove_file(&file).unwrap();

    Store::in_memory().backup(&file).unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    let change = |name: &str, value: u64| {
        let database = redb::Database::open(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut table = transaction.open_table(meta).unwrap();
        table.insert(name, value).unwrap();
        drop(table);
        transaction.commit().unwrap();
    };
    change("backup-objects", 1);
    let refused = refusal();
    assert_eq!(
        refused.source().unwrap().to_string(),
        "it does not hold as much as was written"
    );
    change("format", 9);
    assert!(matches!(
        refusal(),
        CheckError::NewerFormat {
            found: 9,
            supported: 1,
            ..
        }
    ));
    assert!(!new.exists());
}

#[tokio::test]
async fn a_restoration_that_finds_no_space_leaves_the_store_as_it_is() {
    let Some(small) = Tmpfs::mount(4) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let large = Store::in_memory();
    for n in 0..100 {
        large
            .put(Put::new(format!("k{n}"), vec![7; 100_000]))
            .await
            .unwrap();
    }
    let backup = dir.path().join("backup");
    large.backup(&backup).unwrap();
    let data = small.path().join("data");
    let store = open(&data);
    put(&store, "a", "1").await;
    drop(store);
    let refused = restore(&backup, &data, how(true)).unwrap_err();
    assert!(
        matches!(refused, RestoreError::NoSpace { .. }),
        "{refused:?}"
    );
    assert_eq!(names(&data), ["lock", "store.redb"]);
    let store = open(&data);
    assert_eq!((store.revision(), store.compacted()), (1, 0));
}

#[tokio::test]
async fn a_damaged_backup_is_refused_or_holds_all_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let saved = behind(dir.path()).await;
    let intact = fs::read(dir.path().join("backup")).unwrap();
    let path = dir.path().join("damaged");
    let new = dir.path().join("new");
    let mut refused = 0;
    for seed in 0..200 {
        let mut bytes = intact.clone();
        Damage::seeded(seed, bytes.len()).apply(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        match check_backup(&path) {
            Ok(backup) => {
                assert_eq!((backup.revision, backup.records), (20, 20));
                // Making a store of it is slow, and its every record has been checked.
                if seed % 10 == 0 {
                    assert_eq!(contents(&path).entries, saved.entries, "damage {seed}");
                }
            }
            Err(CheckError::Damaged { .. } | CheckError::NotABackup { .. }) => {
                refused += 1;
                let error = restore(&path, &new, how(false)).unwrap_err();
                assert!(matches!(error, RestoreError::Backup(_)), "{error:?}");
                assert!(!new.exists());
            }
            Err(other) => panic!("damage {seed}: {other:?}"),
        }
        assert_eq!(
            fs::read(&path).unwrap(),
            bytes,
            "looking at it changes nothing"
        );
    }
    assert!((20..180).contains(&refused), "{refused}");
}
