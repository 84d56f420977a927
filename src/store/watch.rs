//! Following changes: a cursor into the log. A slow watcher costs nothing and is never dropped, until
//! what it has not seen yet is compacted.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use tokio_stream::wrappers::WatchStream;

use crate::entry::Event;
use crate::error::{ReadError, WatchError};
use crate::open::Store;
use crate::read::position;
use crate::shared::Shared;
use crate::tables::{LOG, LogRecord};

/// The most changes looked at before others get their turn.
const SLICE_EVENTS: usize = 256;
/// A slice read from disk copies no more values beyond this.
const SLICE_BYTES: usize = 1 << 20;

/// The changes of the keys with a prefix, in the order of their revisions, without a gap and without a
/// repetition. Ends after an error, and when the store is closed.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    prefix: String,
    /// Changes up to this revision have been looked at.
    scanned: u64,
    /// Changes up to this revision are there.
    head: u64,
    heads: WatchStream<u64>,
    /// Looked at, matching, and not delivered yet.
    pending: VecDeque<Arc<Event>>,
    ended: bool,
}

impl Store {
    /// Follows the changes of the keys with a prefix after a revision. One that does not exist yet is
    /// waited for.
    pub fn watch(&self, prefix: &str, after: u64) -> Result<Watch, WatchError> {
        let shared = Arc::clone(&self.inner.shared);
        let oldest = shared.compacted();
        if after < oldest {
            return Err(WatchError::Compacted {
                requested: after,
                oldest,
            });
        }
        Ok(Watch {
            head: shared.head(),
            heads: WatchStream::new(shared.head_receiver()),
            shared,
            prefix: prefix.to_owned(),
            scanned: after,
            pending: VecDeque::new(),
            ended: false,
        })
    }
}

impl Watch {
    /// The revision up to which everything has been delivered. It advances when the watch is polled,
    /// also over changes of other keys, so it is what a bookmark may say.
    pub fn position(&self) -> u64 {
        // Nothing between the last delivered and the first pending event matched.
        self.pending
            .front()
            .map_or(self.scanned, |next| next.revision - 1)
    }

    /// Looks at the next slice of changes.
    fn scan(&mut self) -> Result<(), WatchError> {
        if let Some(events) = self
            .shared
            .recent_after(self.scanned, self.head, SLICE_EVENTS)
        {
            self.scanned = events.last().map_or(self.scanned, |event| event.revision);
            let prefix = &self.prefix;
            self.pending.extend(
                events
                    .into_iter()
                    .filter(|event| event.key.starts_with(prefix)),
            );
            return Ok(());
        }
        let slice = self.read_slice().map_err(|error| match error {
            ReadError::Compacted { requested, oldest } => {
                WatchError::Compacted { requested, oldest }
            }
            other => WatchError::Read(other),
        })?;
        self.scanned = slice.scanned;
        self.pending.extend(slice.events);
        Ok(())
    }

    fn read_slice(&self) -> Result<Slice, ReadError> {
        self.shared.read(|transaction| {
            let oldest = position(transaction)?.compacted;
            if self.scanned < oldest {
                return Err(ReadError::Compacted {
                    requested: self.scanned,
                    oldest,
                });
            }
            let log = transaction.open_table(LOG)?;
            let mut slice = Slice {
                events: Vec::new(),
                scanned: self.scanned,
            };
            let mut bytes = 0;
            for item in log.range(self.scanned + 1..=self.head)?.take(SLICE_EVENTS) {
                let (revision, record) = item?;
                let revision = revision.value();
                if revision != slice.scanned + 1 {
                    return Err(missing(slice.scanned + 1));
                }
                let record = LogRecord::parse(revision, record.value())?;
                slice.scanned = revision;
                if record.key.starts_with(&self.prefix) {
                    let event = record.to_event();
                    bytes += event.size();
                    slice.events.push(Arc::new(event));
                    if bytes > SLICE_BYTES {
                        break;
                    }
                }
            }
            // An empty slice would be asked for again forever.
            if slice.scanned == self.scanned {
                Err(missing(self.scanned + 1))
            } else {
                Ok(slice)
            }
        })
    }
}

impl Stream for Watch {
    type Item = Result<Event, WatchError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let mut slices = 0;
        loop {
            if let Some(event) = this.pending.pop_front() {
                return Poll::Ready(Some(Ok(Arc::unwrap_or_clone(event))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            if this.scanned < this.head {
                if slices == 1 {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                slices += 1;
                match this.scan() {
                    Ok(()) => {}
                    Err(WatchError::Read(ReadError::Closed)) => this.ended = true,
                    Err(error) => {
                        this.ended = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                continue;
            }
            match Pin::new(&mut this.heads).poll_next(context) {
                Poll::Ready(Some(head)) => this.head = head,
                Poll::Ready(None) => this.ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

struct Slice {
    events: Vec<Arc<Event>>,
    scanned: u64,
}

fn missing(revision: u64) -> ReadError {
    ReadError::Corrupt {
        table: "log",
        key: revision.to_string(),
    }
}
