//! Backups on the side of whoever keeps them: a file that arrives and is checked before it gets its name, one that is made of a data directory
//! whose server does not run, and a data directory that is restored from one. What a backup holds is the store's business.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clos_audit::{Event, Journal, Object, Outcome, Redactor};
use clos_auth::Identity;
pub use clos_store::{Backup, Restored};
use clos_store::{
    BackupError, CheckError, OpenError, Options, Restore, RestoreError, Store, check_backup,
};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// Why there is no backup, or nothing was restored. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// Something has the name already.
    #[error("{} exists already; give another name, or --replace to replace it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The answer ended early, or was too long.
    #[error("{arrived} of {announced} bytes arrived; nothing was kept, try again")]
    Length {
        /// How many bytes there are.
        arrived: u64,
        /// How many there should be.
        announced: u64,
    },
    /// The bytes are not those that were sent.
    #[error("what arrived is not what the server sent; nothing was kept, try again")]
    Digest,
    /// What arrived is no sound backup.
    #[error("what arrived is no sound backup; nothing was kept")]
    Unsound(#[source] CheckError),
    /// There is no store to back up.
    #[error("{} holds no store; give the data directory of a server with --data-dir", path.display())]
    NoStore {
        /// The data directory.
        path: PathBuf,
    },
    /// The store of the data directory cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store cannot be copied.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The data directory holds a store.
    #[error("{} holds a store already; give another --data-dir, or --replace to put the backup in its place and keep the old store beside it", path.display())]
    Occupied {
        /// The data directory.
        path: PathBuf,
    },
    /// The backup cannot be restored.
    #[error(transparent)]
    Restore(RestoreError),
}

/// What a server said about the backup it sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its length in bytes.
    pub length: u64,
    /// Its digest, as the header `repr-digest` has it: `sha-256=:…:`.
    pub digest: String,
}

/// A backup that is arriving: a private file beside the place where it shall lie, removed unless it is finished.
#[derive(Debug)]
pub struct Arriving {
    file: NamedTempFile,
    digest: Sha256,
    length: u64,
    to: PathBuf,
    replace: bool,
}

impl Arriving {
    /// Begins a file for `to`. What has that name is replaced only when that is asked for, and only at the end.
    pub fn begin(to: &Path, replace: bool) -> Result<Self, KeepError> {
        refuse_existing(to, replace)?;
        let file = tempfile::Builder::new()
            .prefix(".clos-backup-")
            .suffix(".partial")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder_of(to))
            .map_err(|source| cannot_write(to, source))?;
        Ok(Self {
            file,
            digest: Sha256::new(),
            length: 0,
            to: to.to_owned(),
            replace,
        })
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), KeepError> {
        self.digest.update(bytes);
        self.length += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|source| cannot_write(&self.to, source))
    }

    /// Gives the file its name after it was found to be what was sent, made durable, and found to be a sound backup.
    pub fn finish(self, announced: &Announced) -> Result<Backup, KeepError> {
        if self.length != announced.length {
            return Err(KeepError::Length {
                arrived: self.length,
                announced: announced.length,
            });
        }
        let digest = STANDARD.encode(self.digest.finalize());
        if announced.digest != format!("sha-256=:{digest}:") {
            return Err(KeepError::Digest);
        }
        let failed = |source| cannot_write(&self.to, source);
        self.file.as_file().sync_all().map_err(failed)?;
        let backup = check_backup(self.file.path()).map_err(KeepError::Unsound)?;
        let named = if self.replace {
            self.file.persist(&self.to)
        } else {
            self.file.persist_noclobber(&self.to)
        };
        named.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => KeepError::Exists {
                path: self.to.clone(),
            },
            _ => cannot_write(&self.to, error.error),
        })?;
        sync_folder(&self.to)?;
        Ok(backup)
    }
}

/// Backs up the store of a data directory whose server does not run.
pub fn back_up(data_dir: &Path, to: &Path, replace: bool) -> Result<Backup, KeepError> {
    refuse_existing(to, replace)?;
    if !data_dir.join("store.redb").exists() {
        return Err(KeepError::NoStore {
            path: data_dir.to_owned(),
        });
    }
    let store = Store::open(data_dir, Options::default())?;
    let private = tempfile::Builder::new()
        .prefix(".clos-backup-")
        .tempdir_in(folder_of(to))
        .map_err(|source| cannot_write(to, source))?;
    let copy = private.path().join("copy");
    let backup = store.backup(&copy)?;
    if !replace {
        refuse_existing(to, replace)?;
    }
    std::fs::rename(&copy, to).map_err(|source| cannot_write(to, source))?;
    sync_folder(to)?;
    Ok(backup)
}

/// Makes the store of a data directory from a backup, and records that in its audit journal.
pub fn restore(
    backup: &Path,
    data_dir: &Path,
    replace: bool,
    clock: fn() -> Timestamp,
) -> Result<Restored, KeepError> {
    let found =
        check_backup(backup).map_err(|error| KeepError::Restore(RestoreError::Backup(error)))?;
    let shown = std::path::absolute(backup).unwrap_or_else(|_| backup.to_owned());
    let event = Event {
        cause: Some(format!("restored from {}", shown.display())),
        actions: vec![format!(
            "restore revision {} with {} objects",
            found.revision, found.objects
        )],
        ..Event::new(
            &Identity::component("command:restore"),
            "restore",
            Object::path("/backup"),
            Outcome::Changed,
        )
    };
    // Only to write the record in the journal's own form; it is kept in the restored store.
    let journal = Journal::new(Store::in_memory(), Redactor::default(), clock);
    let how = Restore {
        replace,
        now: clock().into(),
        record: Some(journal.within(event)),
    };
    clos_store::restore(backup, data_dir, how).map_err(|error| match error {
        RestoreError::Occupied { path } => KeepError::Occupied { path },
        other => KeepError::Restore(other),
    })
}

fn refuse_existing(to: &Path, replace: bool) -> Result<(), KeepError> {
    let taken = to.symlink_metadata().is_ok();
    if taken && (!replace || to.is_dir()) {
        return Err(KeepError::Exists {
            path: to.to_owned(),
        });
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A name is durable only when its folder is.
fn sync_folder(path: &Path) -> Result<(), KeepError> {
    File::open(folder_of(path))
        .and_then(|folder| folder.sync_all())
        .map_err(|source| cannot_write(path, source))
}

fn cannot_write(path: &Path, source: io::Error) -> KeepError {
    KeepError::Write {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use clos_store::Put;

    use super::*;

    fn clock() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    async fn filled(data_dir: &Path, keys: usize) -> Store {
        let store = Store::open(data_dir, Options::default()).unwrap();
        for key in 0..keys {
            let put = Put::new(format!("/registry/things/{key}"), b"value".to_vec());
            store.put(put).await.unwrap();
        }
        store
    }

    /// A backup of a small store, as bytes with what a server says about them.
    async fn sent() -> (Vec<u8>, Announced) {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(&folder.path().join("data"), 7).await);
        let file = folder.path().join("backup");
        back_up(&folder.path().join("data"), &file, false).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        let digest = STANDARD.encode(Sha256::digest(&bytes));
        let announced = Announced {
            length: bytes.len() as u64,
            digest: format!("sha-256=:{digest}:"),
        };
        (bytes, announced)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_arrives_whole_is_kept_under_its_name_for_its_owner_only() {
        let (bytes, announced) = sent().await;
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.backup");
        let mut arriving = Arriving::begin(&to, false).unwrap();
        for chunk in bytes.chunks(1000) {
            arriving.write(chunk).unwrap();
        }
        assert!(!to.exists(), "not before it is whole");
        let backup = arriving.finish(&announced).unwrap();
        assert_eq!((backup.revision, backup.objects), (7, 7));
        assert_eq!(names(folder.path()), ["a.backup"]);
        let mode = std::fs::metadata(&to).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_is_cut_changed_or_no_backup_leaves_nothing_and_is_said() {
        let (bytes, announced) = sent().await;
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.backup");
        let said = |bytes: &[u8], announced: &Announced| {
            let mut arriving = Arriving::begin(&to, true).unwrap();
            arriving.write(bytes).unwrap();
            arriving.finish(announced).unwrap_err().to_string()
        };
        let half = bytes.len() / 2;
        assert_eq!(
            said(&bytes[..half], &announced),
            format!(
                "{half} of {} bytes arrived; nothing was kept, try again",
                bytes.len()
            )
        );
        let mut changed = bytes.clone();
        changed[half] ^= 1;
        assert_eq!(
            said(&changed, &announced),
            "what arrived is not what the server sent; nothing was kept, try again"
        );
        let page = b"<html>this is a proxy's page</html>";
        let of_page = Announced {
            length: page.len() as u64,
            digest: format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(page))),
        };
        assert_eq!(
            said(page, &of_page),
            "what arrived is no sound backup; nothing was kept"
        );
        drop(Arriving::begin(&to, true).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[tokio::test]
    async fn a_file_that_is_there_is_replaced_only_when_asked_and_only_by_a_whole_one() {
        let (bytes, announced) = sent().await;
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.backup");
        std::fs::write(&to, "the last one").unwrap();
        let refused = Arriving::begin(&to, false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "{} exists already; give another name, or --replace to replace it",
                to.display()
            )
        );
        let mut cut = Arriving::begin(&to, true).unwrap();
        cut.write(&bytes[..10]).unwrap();
        cut.finish(&announced).unwrap_err();
        assert_eq!(std::fs::read(&to).unwrap(), b"the last one");
        let mut whole = Arriving::begin(&to, true).unwrap();
        whole.write(&bytes).unwrap();
        whole.finish(&announced).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), bytes);
        assert!(
            matches!(
                Arriving::begin(folder.path(), true),
                Err(KeepError::Exists { .. })
            ),
            "a folder is never replaced"
        );
    }

    #[tokio::test]
    async fn a_name_that_was_taken_meanwhile_is_not_overwritten() {
        let (bytes, announced) = sent().await;
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("a.backup");
        let mut arriving = Arriving::begin(&to, false).unwrap();
        arriving.write(&bytes).unwrap();
        std::fs::write(&to, "somebody else's").unwrap();
        assert!(matches!(
            arriving.finish(&announced),
            Err(KeepError::Exists { .. })
        ));
        assert_eq!(names(folder.path()), ["a.backup"]);
        assert_eq!(std::fs::read(&to).unwrap(), b"somebody else's");
    }

    #[tokio::test]
    async fn a_data_directory_is_backed_up_and_restored_elsewhere_with_a_record_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("a.backup"));
        drop(filled(&data, 5).await);
        let backup = back_up(&data, &file, false).unwrap();
        assert_eq!(backup.objects, 5);
        let elsewhere = folder.path().join("elsewhere");
        let restored = restore(&file, &elsewhere, false, clock).unwrap();
        assert_eq!((restored.backup.revision, restored.kept), (5, None));
        let store = Store::open(&elsewhere, Options::default()).unwrap();
        let found = store.get("/registry/things/4").unwrap().unwrap();
        assert_eq!(found.value, b"value".as_slice());
        let records = store.journal(&clos_store::JournalQuery::default()).unwrap();
        let newest = String::from_utf8(records.last().unwrap().bytes.to_vec()).unwrap();
        assert!(newest.contains("\"verb\":\"restore\""), "{newest}");
        assert!(
            newest.contains("restore revision 5 with 5 objects"),
            "{newest}"
        );
    }

    #[tokio::test]
    async fn a_store_that_is_there_is_replaced_only_when_asked_and_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("a.backup"));
        drop(filled(&data, 5).await);
        back_up(&data, &file, false).unwrap();
        let refused = restore(&file, &data, false, clock).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "{} holds a store already; give another --data-dir, or --replace to put the backup in its place and keep the old store beside it",
                data.display()
            )
        );
        let restored = restore(&file, &data, true, clock).unwrap();
        assert!(restored.kept.unwrap().exists());
    }

    #[tokio::test]
    async fn a_directory_in_use_is_neither_backed_up_beside_its_server_nor_restored_into() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("a.backup"));
        let running = filled(&data, 2).await;
        running.backup(&file).unwrap();
        let pid = std::process::id().to_string();
        for error in [
            back_up(&data, &folder.path().join("b.backup"), false).unwrap_err(),
            restore(&file, &data, true, clock).unwrap_err(),
        ] {
            let said = error.to_string();
            assert!(
                said.contains(data.to_str().unwrap()) && said.contains(&pid),
                "{said}"
            );
        }
        assert_eq!(names(folder.path()), ["a.backup", "data"]);
    }

    #[test]
    fn a_directory_without_a_store_is_not_made_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = back_up(folder.path(), &folder.path().join("a.backup"), false).unwrap_err();
        assert!(matches!(error, KeepError::NoStore { .. }), "{error}");
        assert_eq!(names(folder.path()), [""; 0]);
    }
}
