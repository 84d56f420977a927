//! The copy of the journal in a file for other tools. It follows the journal by number, so it
//! delays nobody and catches up after a restart. The file itself is in `log_file`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clos_telemetry::Chain;
use tokio_util::sync::CancellationToken;

use crate::journal::{Journal, JournalError};
use crate::log_file::{LogFile, Sink};
use crate::query::page;

/// How long after a failure the file is tried again.
const RETRY: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("cannot open {path}", path = path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write {path}", path = path.display())]
    Append {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Read(#[from] JournalError),
}

impl Journal {
    /// Copies every entry to `sink`, one line each, until `stop` is cancelled; then what is
    /// recorded by then is copied and the future ends.
    ///
    /// The last line in the file says where to go on, so a restart loses nothing. When the
    /// file cannot be written, that is logged and tried again; meanwhile the journal goes on.
    pub async fn export(&self, sink: Sink, stop: CancellationToken) {
        loop {
            let Err(error) = self.copy(&sink, &stop).await else {
                return;
            };
            tracing::error!(error = %Chain(&error), "audit export failed, trying again");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn copy(&self, sink: &Sink, stop: &CancellationToken) -> Result<(), ExportError> {
        let path = sink.path.display();
        let (mut file, mut cursor) = open(sink.clone()).await?;
        let mut head = self.store.journal_head();
        loop {
            // Asked before the newest number is: what is recorded before the stop is copied.
            let stopping = stop.is_cancelled();
            let newest = *head.borrow_and_update();
            if newest < cursor {
                let last = cursor;
                tracing::warn!(%path, last, newest, "audit file is ahead of the journal");
                cursor = 0;
            }
            while cursor < newest {
                let records = page(&self.store, cursor, newest).await?;
                let oldest = records.first().map_or(newest + 1, |record| record.seq);
                if cursor > 0 && oldest > cursor + 1 {
                    let after = cursor;
                    tracing::warn!(%path, after, oldest, "audit events removed before copied");
                }
                cursor = records.last().map_or(newest, |record| record.seq);
                let lines = records
                    .iter()
                    .map(|record| String::from_utf8_lossy(&record.bytes).into_owned())
                    .collect();
                file = append(file, lines).await?;
            }
            if stopping {
                return Ok(());
            }
            tokio::select! {
                () = stop.cancelled() => {}
                changed = head.changed() => if changed.is_err() {
                    return Ok(());
                },
            }
        }
    }
}

async fn open(sink: Sink) -> Result<(LogFile, u64), ExportError> {
    let path = sink.path.clone();
    on_disk(move || LogFile::open(&sink))
        .await
        .map_err(|source| ExportError::Open { path, source })
}

async fn append(mut file: LogFile, lines: Vec<String>) -> Result<LogFile, ExportError> {
    let path = file.path().to_owned();
    on_disk(move || file.append(&lines).map(|()| file))
        .await
        .map_err(|source| ExportError::Append { path, source })
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
