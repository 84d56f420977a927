//! Wakes the source when something in its folder changes. A wake-up only means that it is worth looking; missing one costs time,
//! because the folder is looked at now and then anyway.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Watches a folder for as long as it lives.
pub(super) struct FolderWatch {
    folder: PathBuf,
    wake: Arc<Notify>,
    /// The watcher, and which folder it is that it watches: real path and inode.
    watching: Option<(RecommendedWatcher, (PathBuf, u64))>,
}

impl FolderWatch {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            wake: Arc::new(Notify::new()),
            watching: None,
        }
    }

    /// Waits for a change. Changes that came while nobody waited count.
    pub(super) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Sees to it that the folder which the name means now is watched: it may have been made, replaced or linked anew.
    pub(super) fn renew(&mut self) {
        let Ok(identity) = identity(&self.folder) else {
            self.watching = None;
            return;
        };
        if self
            .watching
            .as_ref()
            .is_some_and(|(_, watched)| *watched == identity)
        {
            return;
        }
        let wake = Arc::clone(&self.wake);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading is what the source itself does.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                wake.notify_one();
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher
                .watch(&identity.0, RecursiveMode::Recursive)
                .map(|()| watcher)
        });
        match watching {
            Ok(watcher) => self.watching = Some((watcher, identity)),
            Err(error) => {
                self.watching = None;
                tracing::warn!(folder = %self.folder.display(), %error, "cannot watch the folder; it is looked at now and then only");
            }
        }
    }
}

fn identity(folder: &Path) -> io::Result<(PathBuf, u64)> {
    let real = folder.canonicalize()?;
    let inode = real.metadata()?.ino();
    Ok((real, inode))
}
