//! A watch as a stream of lines: the initial objects, then changes as the client's selection sees them, bookmarks in
//! between, and an error as the last line when the history it needs is gone. Not here: what the client asked for
//! (`verbs::watch`) and where changes come from (the store).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use clos_store::{Entry, Event, EventKind, Watch};
use futures::{Stream, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::status::ApiError;
use crate::storage::watch_error;

/// How often a client that asked for bookmarks is told how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// How long before the end the last bookmark is sent.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// How many bytes of initial objects are sent at once.
const CHUNK: usize = 64 * 1024;

/// How one watch sees objects: which it may see, and in which form.
pub(crate) trait View {
    /// Whether the watch is about this object.
    fn sees(&self, entry: &Entry) -> Result<bool, ApiError>;

    /// The text of the object as an event carries it; `first` is true until one event was sent.
    fn text(&self, entry: Entry, first: bool) -> Result<Vec<u8>, ApiError>;

    /// The object of a bookmark: a kind and a resource version, nothing else.
    fn bookmark(
        &self,
        revision: u64,
        initial_events_end: bool,
        first: bool,
    ) -> Result<Vec<u8>, ApiError>;
}

/// What a watch is fed with.
pub(crate) struct Feed {
    /// What is there at the beginning, where it was asked for.
    pub(crate) initial: Option<Vec<Entry>>,
    /// The changes that follow, or why there are none.
    pub(crate) changes: Result<Watch, ApiError>,
    /// The revision behind which changes begin.
    pub(crate) after: u64,
    /// Whether bookmarks are sent.
    pub(crate) bookmarks: bool,
    /// When the watch ends.
    pub(crate) deadline: Instant,
    /// Ends the watch before that.
    pub(crate) closing: CancellationToken,
}

/// The state of one watch.
pub(crate) struct Follower<V> {
    view: V,
    initial: Option<VecDeque<Entry>>,
    changes: Option<Watch>,
    failed: Option<ApiError>,
    after: u64,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    closing: CancellationToken,
    first: bool,
}

/// What happens next on a watch.
enum Step {
    Change(Event),
    Failed(ApiError),
    Bookmark,
    End,
}

impl<V: View + Send + Sync> Follower<V> {
    /// A watch that has sent nothing yet.
    pub(crate) fn new(feed: Feed, view: V) -> Self {
        let (changes, failed) = match feed.changes {
            Ok(changes) => (Some(changes), None),
            Err(error) => (None, Some(error)),
        };
        let mut follower = Self {
            view,
            initial: feed.initial.map(VecDeque::from),
            changes,
            failed,
            after: feed.after,
            bookmarks: feed.bookmarks,
            next_bookmark: feed.deadline,
            deadline: feed.deadline,
            closing: feed.closing,
            first: true,
        };
        follower.schedule_bookmark();
        follower
    }

    /// The lines, in chunks.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        futures::stream::unfold(self, |mut follower| async move {
            let lines = follower.next().await?;
            Some((Ok(Bytes::from(lines)), follower))
        })
    }

    /// The next lines; `None` is the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        if self.initial.is_some() {
            let lines = self.initial_lines();
            if !lines.is_empty() {
                return Some(lines);
            }
        }
        if let Some(error) = self.failed.take() {
            self.changes = None;
            return Some(line("ERROR", error.to_value().to_string().as_bytes()));
        }
        loop {
            let outcome = match self.step().await {
                Step::End => return None,
                Step::Bookmark => {
                    self.schedule_bookmark();
                    let revision = self.position();
                    self.view
                        .bookmark(revision, false, self.first)
                        .map(|object| Some(line("BOOKMARK", &object)))
                }
                Step::Change(event) => self.seen(event),
                Step::Failed(error) => Err(error),
            };
            match outcome {
                Ok(Some(lines)) => {
                    self.first = false;
                    return Some(lines);
                }
                Ok(None) => {}
                Err(error) => {
                    self.changes = None;
                    return Some(line("ERROR", error.to_value().to_string().as_bytes()));
                }
            }
        }
    }

    /// A chunk of the initial objects, closed by the bookmark that says it was all.
    fn initial_lines(&mut self) -> Vec<u8> {
        let mut lines = Vec::new();
        while let Some(entry) = self.initial.as_mut().and_then(VecDeque::pop_front) {
            match self.view.text(entry, self.first) {
                Ok(object) => write_line(&mut lines, "ADDED", &object),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
            self.first = false;
            if lines.len() >= CHUNK {
                return lines;
            }
        }
        self.initial = None;
        if self.bookmarks && self.failed.is_none() {
            match self.view.bookmark(self.after, true, self.first) {
                Ok(object) => write_line(&mut lines, "BOOKMARK", &object),
                Err(error) => self.failed = Some(error),
            }
            self.first = false;
        }
        lines
    }

    async fn step(&mut self) -> Step {
        let Some(changes) = self.changes.as_mut() else {
            return Step::End;
        };
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Step::End,
            () = sleep_until(self.deadline) => Step::End,
            change = changes.next() => match change {
                Some(Ok(event)) => Step::Change(event),
                Some(Err(error)) => Step::Failed(watch_error(error)),
                None => Step::End,
            },
            () = sleep_until(self.next_bookmark), if self.bookmarks => Step::Bookmark,
        }
    }

    /// The change as this watch sees it: an object that leaves the selection is gone for it, one that enters is new.
    fn seen(&self, event: Event) -> Result<Option<Vec<u8>>, ApiError> {
        let revision = event.revision;
        let before = match &event.previous {
            Some(entry) => self.view.sees(entry)?,
            None => false,
        };
        let now = match event.kind {
            EventKind::Created | EventKind::Updated => self.view.sees(&event.entry)?,
            EventKind::Deleted => false,
        };
        let (kind, entry) = match (before, now) {
            (false, false) => return Ok(None),
            (false, true) => ("ADDED", Some(event.entry)),
            (true, true) => ("MODIFIED", Some(event.entry)),
            (true, false) => ("DELETED", event.previous),
        };
        let Some(entry) = entry else { return Ok(None) };
        // Every event carries the revision it is, also the last state of what is gone.
        let object = self.view.text(Entry { revision, ..entry }, self.first)?;
        Ok(Some(line(kind, &object)))
    }

    fn position(&self) -> u64 {
        self.changes
            .as_ref()
            .map_or(self.after, |changes| changes.position().max(self.after))
    }

    /// Regularly, and once shortly before the end.
    fn schedule_bookmark(&mut self) {
        let now = Instant::now();
        let last = self
            .deadline
            .checked_sub(BOOKMARK_BEFORE_END)
            .unwrap_or(self.deadline);
        let regular = now + BOOKMARK_INTERVAL;
        self.next_bookmark = if now < last {
            regular.min(last)
        } else {
            regular
        };
    }
}

fn line(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(object.len() + 40);
    write_line(&mut line, kind, object);
    line
}

fn write_line(out: &mut Vec<u8>, kind: &str, object: &[u8]) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}
