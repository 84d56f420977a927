//! What keeps the store from growing: history older than anybody needs is compacted, and objects of kinds with a time
//! to live are removed when it is over. A server where nothing happens writes nothing.

use std::collections::VecDeque;
use std::time::Duration;

use clos_store::{CommitError, Delete, Expect, Range};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::State;
use crate::registry::Kind;
use crate::storage::{decode, prefix};

/// How much history is kept for watches and old pages of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Changes younger than this are kept.
    pub history: Duration,
    /// So many changes are kept even when they are older.
    pub revisions: u64,
    /// How often is looked.
    pub interval: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            history: Duration::from_mins(10),
            revisions: 1000,
            interval: Duration::from_secs(30),
        }
    }
}

/// Works until `cancellation`.
pub(crate) async fn run(state: &State, cancellation: CancellationToken) {
    let mut marks = VecDeque::new();
    loop {
        tokio::select! {
            () = cancellation.cancelled() => return,
            () = sleep(state.retention.interval) => {}
        }
        expire(state, (state.clock)()).await;
        compact(state, &mut marks, Instant::now()).await;
    }
}

/// Forgets the changes that are both old and many. `marks` holds when which revision was the newest.
async fn compact(state: &State, marks: &mut VecDeque<(Instant, u64)>, now: Instant) {
    let store = state.storage.store();
    let head = store.revision();
    if marks.back().is_none_or(|(_, revision)| *revision != head) {
        marks.push_back((now, head));
    }
    let mut old = 0;
    while let Some((seen, revision)) = marks.front()
        && now.duration_since(*seen) >= state.retention.history
        && marks.len() > 1
    {
        old = *revision;
        marks.pop_front();
    }
    let through = old.min(head.saturating_sub(state.retention.revisions));
    if through > store.compacted()
        && let Err(error) = store.compact(through).await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            through,
            "history could not be compacted"
        );
    }
}

/// Removes the objects whose time is over.
async fn expire(state: &State, now: Timestamp) {
    let kinds = state
        .registry
        .kinds()
        .iter()
        .filter(|kind| kind.strategy.conversion.is_none());
    for kind in kinds {
        let Some(seconds) = kind.strategy.ttl_seconds else {
            continue;
        };
        if let Err(error) = expire_kind(state, kind, seconds, now).await {
            tracing::warn!(
                error = &*error,
                kind = kind.kind,
                "expired objects could not be removed"
            );
        }
    }
}

async fn expire_kind(
    state: &State,
    kind: &Kind,
    seconds: i64,
    now: Timestamp,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let store = state.storage.store();
    let page = store.range(&Range::prefix(prefix(kind, None)))?;
    for entry in page.entries {
        let object = decode(&entry.value, entry.revision)?;
        if !is_over(&object, seconds, now) {
            continue;
        }
        let delete = Delete {
            key: entry.key,
            expect: Expect::Revision(entry.revision),
            record: None,
        };
        match store.delete(delete).await {
            // It was written or removed in between: the next round looks again.
            Ok(_) | Err(CommitError::NotFound { .. } | CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the last sign of the object lies longer ago than `seconds`. One without any is kept.
fn is_over(object: &serde_json::Value, seconds: i64, now: Timestamp) -> bool {
    let signs = [
        "/metadata/creationTimestamp",
        "/lastTimestamp",
        "/eventTime",
        "/series/lastObservedTime",
    ];
    let last = signs
        .iter()
        .filter_map(|sign| object.pointer(sign)?.as_str()?.parse::<Timestamp>().ok())
        .max();
    last.is_some_and(|last| now.duration_since(last).as_secs() >= seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_over_when_its_last_sign_is_long_ago() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let event = |last: &str| json!({ "metadata": { "creationTimestamp": "2026-01-01T01:00:00Z" }, "lastTimestamp": last });
        assert!(is_over(&event("2026-01-01T11:00:00Z"), 3600, now));
        assert!(!is_over(&event("2026-01-01T11:00:01Z"), 3600, now));
        assert!(is_over(
            &json!({ "metadata": { "creationTimestamp": "2026-01-01T01:00:00Z" } }),
            3600,
            now
        ));
        assert!(!is_over(&json!({ "metadata": {} }), 3600, now));
    }
}
