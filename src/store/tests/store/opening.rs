//! Opening a folder: what is made, what is refused and with which words, what is still there.

use std::error::Error;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clos_store::{Delete, OpenError, Options, Put, Range, Stamp, Store};
use redb::{Database, TableDefinition};

use crate::disk::Disk;
use crate::put;

fn open(dir: &Path) -> Result<Store, OpenError> {
    Store::open(dir, Options::default())
}

fn refusal(dir: &Path) -> OpenError {
    open(dir).unwrap_err()
}

#[tokio::test]
async fn i5_everything_acknowledged_is_there_after_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a", "1").await;
    put(&store, "b", "1").await;
    store.delete(Delete::new("b")).await.unwrap();
    let record = |_: Stamp| b"record".to_vec();
    store.append(Box::new(record)).await.unwrap();
    store.compact(2).await.unwrap();
    let before = store.range(&Range::default()).unwrap();
    drop(store);

    let store = open(dir.path()).unwrap();
    assert_eq!((store.revision(), store.compacted()), (3, 2));
    assert_eq!(store.range(&Range::default()).unwrap(), before);
    assert_eq!(*store.journal_head().borrow(), 1);
    assert_eq!(put(&store, "b", "2").await, 4);
    assert_eq!(store.append(Box::new(record)).await.unwrap(), 2);
}

#[tokio::test]
async fn i5_a_revision_is_not_used_again_when_the_log_and_all_keys_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    put(&store, "a", "1").await;
    store.delete(Delete::new("a")).await.unwrap();
    store.compact(2).await.unwrap();
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(store.put(Put::new("a", "1")).await.unwrap().revision, 3);
}

#[test]
fn the_folder_and_its_files_are_private() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("new/data");
    let _store = open(&dir).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("store.redb")), 0o600);
    assert_eq!(mode(&dir.join("lock")), 0o600);
    let mut names: Vec<_> = fs::read_dir(&dir)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "store.redb"]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_with_its_holder_and_free_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let clone = first.clone();
    drop(first);
    let message = refusal(dir.path()).to_string();
    let expected = format!(
        "{} is in use by process {}; stop that process or choose another data directory",
        dir.path().display(),
        std::process::id()
    );
    assert_eq!(message, expected);
    put(&clone, "a", "1").await;
    drop(clone);
    open(dir.path()).unwrap();
}

#[test]
fn the_database_is_protected_even_when_somebody_removes_the_lock_file() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    fs::remove_file(dir.path().join("lock")).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        OpenError::Held { pid: None, .. }
    ));
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let path = dir.path().join("store.redb");
    let meta = TableDefinition::<&str, u64>::new("meta");
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(meta)
        .unwrap()
        .insert("format", 9)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let refused = refusal(dir.path());
        assert!(matches!(
            refused,
            OpenError::NewerFormat {
                found: 9,
                supported: 1,
                ..
            }
        ));
        assert_eq!(
            refused.to_string(),
            format!(
                "{} has data format 9 and this version reads up to 1; start the newer version again",
                path.display()
            )
        );
    }
}

#[test]
fn an_empty_database_file_is_damage_and_not_a_new_store() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.redb"), "").unwrap();
    let refused = refusal(dir.path());
    assert!(matches!(refused, OpenError::Corrupt { .. }));
    assert!(
        refused
            .to_string()
            .ends_with("is damaged or is not a clos store; move it away and restore a backup")
    );
    assert_eq!(refused.source().unwrap().to_string(), "the file is empty");
}

#[test]
fn a_file_that_is_no_database_and_a_database_that_is_no_store_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    fs::write(&path, "apiVersion: clos.dev/v1alpha1\n".repeat(500)).unwrap();
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
    fs::remove_file(&path).unwrap();
    drop(Database::create(&path).unwrap());
    assert!(matches!(refusal(dir.path()), OpenError::Corrupt { .. }));
}

#[test]
fn a_creation_that_was_interrupted_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("store.redb.new"), "half a database").unwrap();
    assert_eq!(open(dir.path()).unwrap().revision(), 0);
    assert!(!dir.path().join("store.redb.new").exists());
}

#[test]
fn a_folder_that_cannot_be_made_names_the_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let refused = refusal(&dir.path().join("file/data"));
    assert!(
        matches!(&refused, OpenError::Io { path, .. } if path.ends_with("file/data")),
        "{refused:?}"
    );
}

#[test]
fn an_immutable_place_is_called_not_writable() {
    // Not even root writes here.
    let refused = refusal(Path::new("/sys/kernel/clos"));
    assert!(
        matches!(refused, OpenError::NotWritable { .. }),
        "{refused:?}"
    );
    assert!(
        refused.to_string().contains("give this user write access"),
        "{refused}"
    );
}

#[test]
fn a_disk_too_full_for_a_new_store_is_named_as_such() {
    let disk = Disk::default();
    disk.state().capacity = Some(4096);
    let refused = Store::with_backend(disk, Options::default()).unwrap_err();
    assert!(matches!(refused, OpenError::NoSpace { .. }), "{refused:?}");
    assert_eq!(
        refused.to_string(),
        "there is no space left for the storage backend; free some and start again"
    );
}
